"""Foreign projects: what the supervisor finds in them, compared name by name with what Dagster itself finds.

``python -m benchmarks.projects FOLDER`` reads ``FOLDER/projects.toml``, a table for each project:

    [team-etl]                          # its name in the report
    what = "setup.py, [tool.dagster]"   # in words, for the report
    directory = "etl/team"              # of the clone, below FOLDER; where a user would stand
    workspace = "workspace.yaml"        # for -w; left out: what a search finds there
    by_hand = ["supervise init"]        # what was needed before `supervise check`
    env = { TOKEN = "x" }               # variables that the user would set

It runs a supervisor for each, has Dagster list the same targets in the same interpreters
(``dagster_listing``), and prints a table. With ``--prepare`` the commands of ``by_hand`` are run first. Owns
no clone and fetches none: a folder of them is the developer's own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import dagster_listing
from supervisor.specs import LocationSpec
from supervisor.workspace_files import Selection, resolve

__all__ = ["main"]

_LISTING = Path(dagster_listing.__file__)
_DEADLINE = 1800.0  # seconds, for environments that are made
_LISTED_WITHIN = 300.0  # seconds
_SAME_KIND = {"pipeline": "job"}
_ATTRIBUTES = {
    "asset": ("group", "dependencies", "partitioned", "description"),
    "asset_check": ("blocking",),
    "schedule": ("cron_schedule", "execution_timezone", "job", "default_status"),
    "sensor": ("jobs", "minimum_interval_seconds", "sensor_type"),
}


@dataclass(slots=True)
class _Project:
    name: str
    what: str
    directory: Path
    by_hand: list[str]
    workspace: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        beside = str(Path(sys.executable).parent)
        path = f"{beside}:{os.environ.get('PATH', '')}"
        rest = {name: text for name, text in os.environ.items() if name != "VIRTUAL_ENV"}
        return {**rest, "PATH": path, **self.env}

    def supervise(self, *words: str) -> subprocess.CompletedProcess[str]:
        flags = [word for one in self.workspace for word in ("-w", one)]
        command = [str(Path(sys.executable).with_name("supervise")), *words, *flags]
        return subprocess.run(
            command,
            cwd=self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )


@dataclass(slots=True)
class _Row:
    project: str
    location: str
    python: str = ""
    release: str = ""
    ours: int = 0
    theirs: int = 0
    differences: list[str] = field(default_factory=list)
    failure: str = ""

    def as_text(self) -> str:
        said = self.failure or (
            f"{len(self.differences)} differences" if self.differences else "equal"
        )
        return (
            f"{self.location}: python {self.python}, dagster {self.release}, "
            f"{self.ours} ours, {self.theirs} theirs: {said}"
        )


def main(arguments: list[str] | None = None) -> int:
    """Compares, and prints; the exit status is 1 when anything differs or cannot be loaded."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.projects", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds projects.toml and the clones")
    parser.add_argument("name", nargs="*", help="these projects only")
    parser.add_argument("--prepare", action="store_true", help="run the commands of by_hand first")
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    options = parser.parse_args(arguments)
    failed = False
    everything = []
    for project in _projects(options.folder, options.name):
        print(f"\n{project.name} ({project.what}; commit {_commit(project.directory)})")
        for command in project.by_hand:
            print(f"  by hand: {command}")
            if options.prepare:
                subprocess.run(
                    command, shell=True, cwd=project.directory, env=project.environ, check=True
                )
        for row in _compared(project):
            failed = failed or bool(row.differences or row.failure)
            print(f"  {row.as_text()}", flush=True)
            for difference in row.differences[:40]:
                print(f"    {difference}")
            everything.append(
                {name: getattr(row, name) for name in _Row.__slots__}
                | {"commit": _commit(project.directory), "by_hand": project.by_hand}
            )
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))
    return 1 if failed else 0


def _projects(folder: Path, names: list[str]) -> Iterator[_Project]:
    table = tomllib.loads((folder / "projects.toml").read_text())
    for name, one in table.items():
        if names and name not in names:
            continue
        workspace = one.get("workspace", [])
        yield _Project(
            name,
            one.get("what", ""),
            (folder / one.get("directory", name)).absolute(),
            one.get("by_hand", []),
            [workspace] if isinstance(workspace, str) else workspace,
            one.get("env", {}),
        )


def _commit(directory: Path) -> str:
    done = subprocess.run(
        ["git", "-C", directory, "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _compared(project: _Project) -> Iterator[_Row]:
    selection = Selection(files=tuple(map(Path, project.workspace)))
    spec = resolve(selection, cwd=project.directory, environ=project.environ)
    started = project.supervise("up", "-d")
    if started.returncode:
        raise SystemExit(f"error: `supervise up -d` in {project.directory}: {started.stderr}")
    try:
        project.supervise("wait", "--timeout", str(_DEADLINE))
        status = json.loads(project.supervise("status", "--json").stdout)
        states = {one["name"]: one for one in status["locations"]}
        for location in spec.locations:
            if location.target is not None:
                yield _location(project, location, states[location.name])
    finally:
        project.supervise("shutdown")


def _location(project: _Project, spec: LocationSpec, state: Mapping[str, Any]) -> _Row:
    row = _Row(project.name, spec.name)
    if state["state"] != "ready":
        failure = state["failure"] or {}
        row.failure = f"{state['state']}: {failure.get('message', 'no reason is known')}"
    else:
        served = json.loads(project.supervise("snapshot", spec.name).stdout)
        ours = _ours(served)
        row.python = served["report"]["python"]
        row.ours = sum(map(len, ours.values()))
    interpreter = (state["environment"] or {}).get("executable")
    if not interpreter:  # there is none: its environment could not be made
        return row
    target = spec.target
    assert target is not None
    asked = {
        "kind": target.kind.value,
        "name": target.name,
        "attribute": target.attribute,
        "working_directory": str(target.working_directory),
    }
    environ = {**project.environ, "DAGSTER_IS_DEV_CLI": "1", **spec.env}
    environ["PATH"] = f"{Path(interpreter).parent}:{environ['PATH']}"
    try:
        done = subprocess.run(
            [interpreter, _LISTING, json.dumps(asked)],
            cwd=project.directory,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LISTED_WITHIN,
        )
    except subprocess.TimeoutExpired:
        row.failure = row.failure or "Dagster does not list it in time"
        return row
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        if row.failure:
            row.failure = f"neither loads it: {row.failure}"
        else:
            row.failure = f"Dagster cannot load it, and we can: {last[0]}"
        return row
    answer = json.loads(done.stdout)
    row.release = answer["version"]
    theirs = answer["found"]
    row.theirs = sum(map(len, theirs.values()))
    if row.failure:
        row.failure += " (Dagster loads it)"
    else:
        row.differences = list(_differences(ours, theirs))
    return row


def _ours(served: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for one in served["definitions"]["definitions"]:
        kind = _SAME_KIND.get(one["kind"], one["kind"])
        if kind in dagster_listing.KINDS:
            found.setdefault(kind, {})[one["name"]] = one
    return found


def _differences(
    ours: Mapping[str, Mapping[str, Mapping[str, Any]]],
    theirs: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> Iterator[str]:
    for kind in dagster_listing.KINDS:
        mine, other = ours.get(kind, {}), theirs.get(kind, {})
        for name in sorted({*mine, *other}):
            if name not in mine:
                yield f"{kind} {name}: Dagster has it, and we do not"
            elif name not in other:
                yield f"{kind} {name}: we have it, and Dagster does not"
            else:
                for key in _ATTRIBUTES.get(kind, ()):
                    one, two = _plain(key, mine[name]), _plain(key, other[name])
                    if one != two:
                        yield f"{kind} {name}: its {key} is {one!r}, with Dagster {two!r}"


def _plain(key: str, definition: Mapping[str, Any]) -> Any:
    """A value in the form that both have; None, empty and the default are one."""
    value = definition.get(key)
    if key == "partitioned":
        return bool(value) or "partitions" in definition
    if key == "description":
        return " ".join((value or "").split())[:80]
    if key == "default_status":
        return value or "stopped"
    return value or None


if __name__ == "__main__":
    sys.exit(main())
