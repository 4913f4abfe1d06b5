"""A framework is named in its own folder alone: another one is added without a change elsewhere."""

from __future__ import annotations

import re

from places import ROOT

from runner_shim.frameworks import registry, unread

# A place, which frameworks it may name (all: None), and why.
ALLOWED = (
    ("runner_shim/frameworks/registry.py", None, "the table: one line for each"),
    ("runner_shim/frameworks/unread.py", None, "the table of those that are not read"),
    ("runner_shim/frameworks/dagster/projects.py", {"dbt"}, "its integration reads projects of it"),
    ("runner_shim/frameworks/dagster/adapter.py", {"dbt"}, "the same"),
    (
        "supervisor/presentation/distributions.py",
        None,
        "a table of what is installed for an import",
    ),
    ("supervisor/cli/", {"dagster"}, "its command and options"),
    ("supervisor/server/daemon.py", {"dagster"}, "puts the parts together"),
    ("supervisor/dagster/", {"dagster"}, "its own page and daemon work with our processes"),
    ("supervisor/server/daemon.py", {"dagster"}, "puts that together"),
    ("supervisor/cli/options.py", {"dagster"}, "the option that asks for it"),
    ("supervisor/cli/app.py", {"dagster"}, "the same"),
    ("supervisor/cli/run.py", {"dagster"}, "the same"),
    ("supervisor/runs/ordering.py", {"dagster"}, "the variable that names a shared instance"),
    ("supervisor/protocol/automation_documents.py", {"dagster"}, "an automation says whose it is"),
    ("supervisor/client/automation_operations.py", {"dagster"}, "its own daemon fires its own"),
    ("supervisor/runs/automation.py", {"dagster"}, "the same"),
    ("supervisor/runs/automations.py", {"dagster"}, "the same"),
    ("supervisor/drafts/", {"dagster"}, "its projects and code servers are looked for"),
    ("supervisor/workspace_files/", {"dagster"}, "the formats of its workspace files are read"),
)
SUFFIXES = {".py", ".html", ".js", ".css"}


def read_frameworks() -> set[str]:
    """The names of the frameworks that are read, but for our own."""
    return {entry.adapter().name for entry in registry.entries()} - {"native"}


def test_no_framework_is_named_outside_of_its_folder() -> None:
    names = read_frameworks() | {package for _name, package, _nouns in unread.FRAMEWORKS}
    shown = {name.lower() for name, _package, _nouns in unread.FRAMEWORKS}
    word = re.compile(rf"(?i)(?<![a-z])({'|'.join(sorted(names | shown))})(?![a-z])")
    wrong = []
    for package in ("runner_shim", "supervisor", "envs"):
        for path in sorted((ROOT / package).rglob("*")):
            place = path.relative_to(ROOT).as_posix()
            if path.suffix not in SUFFIXES:
                continue
            own = {one for one in names if place.startswith(f"runner_shim/frameworks/{one}/")}
            for start, allowed, _why in ALLOWED:
                if place.startswith(start):
                    own |= names | shown if allowed is None else allowed
            for number, line in enumerate(path.read_text().splitlines(), 1):
                found = {one.lower() for one in word.findall(line)} - own
                wrong += [f"{place}:{number} names {one}: {line.strip()}" for one in found]
    assert not wrong, "\n".join(wrong)


def test_what_may_name_frameworks_is_there() -> None:
    for place, _names, why in ALLOWED:
        assert (ROOT / place).exists(), f"{place}: {why}"
