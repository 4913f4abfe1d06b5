"""The pages of docs/ hold: their commands run, their links lead somewhere, their configuration reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from commands import supervise
from documented import follow, of_a_reader
from places import ROOT

from supervisor.cli.app import HOMES
from supervisor.workspace_files import Selection, resolve

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.slow
def test_the_tutorial_can_be_followed(tmp_path: Path, runtime: Path) -> None:
    environ = of_a_reader(tmp_path / "programs", runtime)
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    try:
        text = (ROOT / "docs" / "tutorial.md").read_text()
        assert follow(text, workspace, environ) > 15
    finally:
        supervise("shutdown", "--now", cwd=workspace, runtime=runtime)


@pytest.mark.slow
def test_the_first_steps_of_the_readme_lead_to_a_run(tmp_path: Path, runtime: Path) -> None:
    steps = (ROOT / "README.md").read_text().split("## First steps")[1].split("\n## ")[0]
    code = re.search(r"^```python\n(.*?)^```", steps, re.MULTILINE | re.DOTALL)
    assert code is not None
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "definitions.py").write_text(code[1])
    commands = re.findall(r"^\$ supervise (\w+(?: reports \w+)?) +#", steps, re.MULTILINE)
    assert commands == ["init", "check", "launch reports nightly", "tick reports every_night"]
    try:
        for words in [*commands[:2], "up -d", "wait --timeout 60", *commands[2:]]:
            done = supervise(*words.split(), cwd=tmp_path, runtime=runtime)
            assert done.returncode == 0, (words, done.stdout, done.stderr)
        assert "would launch 1 run" in done.stdout
    finally:
        supervise("shutdown", "--now", cwd=tmp_path, runtime=runtime)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = page if not path else (page.parent / path)
        assert file.exists(), f"{page.name} links to {target}"
        if heading and file.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert heading in map(_anchor, headings), f"{page.name} links to {target}"


def _anchor(heading: str) -> str:
    plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return plain.replace(" ", "-")


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "howto").glob("*.md")), ids=lambda path: path.name
)
def test_the_workspaces_of_the_howtos_read(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)):
        data = yaml.safe_load(text)
        if not isinstance(data, dict) or "load_from" not in data:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in re.findall(r"(?:env_file|requirements_file): (\S+)", text):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("")
        for name in re.findall(r"project: (\S+)", text):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / "pyproject.toml").write_text("")
        path = folder / "workspace.yaml"
        path.write_text(text)
        resolve(Selection(files=(path,)), cwd=folder, environ={"HOME": "/home/ops"})


def test_the_messages_of_troubleshooting_are_ours() -> None:
    source = "\n".join(
        path.read_text()
        for package in ("supervisor", "runner_shim", "envs")
        for path in (ROOT / package).rglob("*.py")
    )
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a sentence over several lines
    source = re.sub(r"\{[^{}]*\}|%[sdr.]+", "…", source)
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "troubleshooting.md").read_text(), re.M)
    unknown = []
    for message in (one for row in rows for one in re.findall(r"`([^`]+)`", row)):
        parts = [part.strip(" :;,.") for part in message.split("…")]
        if not all(part in source for part in parts if len(part) > 3):
            unknown.append(message)
    assert len(rows) > 30
    assert not unknown, unknown


def test_every_command_is_in_the_readme() -> None:
    part = (ROOT / "README.md").read_text().split("## Commands")[1].split("## Read on")[0]
    named = {word for span in re.findall(r"`([^`]+)`", part) for word in span.split()}
    assert not set(HOMES) - named, "README.md, Commands"


def test_every_page_is_reached_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in text or f"(docs/{page.name}#" in text, page.name
    index = (ROOT / "docs" / "howto" / "README.md").read_text()
    for page in (ROOT / "docs" / "howto").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name
