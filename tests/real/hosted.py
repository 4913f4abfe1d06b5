"""Dagster's real webserver and daemon on our processes, beside Dagster's own servers of the same code."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from commands import Foreground, foreground
from dagster_page import Page
from places import PROGRAMS

from supervisor import procfs

__all__ = ["Hosted", "descendants", "free_port", "hosted", "own"]

INSTANCE = {
    "telemetry": {"enabled": False},
    "run_coordinator": {
        "module": "dagster.core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {"dequeue_interval_seconds": 1},
    },
}


def own(name: str) -> str:
    """The name in the page of Dagster's own server of the location ``name``."""
    return f"{name} by dagster"


@dataclass
class Hosted:
    """A running ``supervise dagster``. ``folders`` holds the code of each location."""

    page: Page
    supervisor: Foreground
    folders: Mapping[str, Path]
    directory: Path
    arguments: Sequence[str]
    variables: Mapping[str, str]

    def file(self, location: str) -> Path:
        """The module of a location."""
        return self.folders[location] / "team.py"

    def edit(self, location: str, old: str, new: str) -> None:
        """Replace text in its module, in one step."""
        file = self.file(location)
        text = file.read_text()
        assert old in text
        other = file.with_suffix(".new")
        other.write_text(text.replace(old, new))
        other.replace(file)


def descendants(root: int) -> list[int]:
    """The ids of the processes that are below ``root``."""
    parents = {}
    for pid in procfs.pids():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parents[pid] = procfs.parent(pid)
    found = [root]
    for one in found:
        found += [pid for pid, parent in parents.items() if parent == one]
    return found[1:]


@contextlib.contextmanager
def hosted(
    directory: Path,
    runtime: Path,
    host: Path,
    pythons: Mapping[str, Path],
    *,
    beside: bool = False,
    **keys: object,
) -> Iterator[Hosted]:
    """``supervise dagster`` with the environment of the interpreter ``host``, on a location for each of
    ``pythons``; with ``beside`` Dagster's own server of the same code is in the page, too. ``keys`` stand in the
    workspace file."""
    with contextlib.ExitStack() as closing:
        load_from, folders = [], {}
        for name, python in pythons.items():
            folder = folders[name] = directory / name
            folder.mkdir(parents=True)
            shutil.copy(PROGRAMS / "dagster_page.py", folder / "team.py")
            target = {"relative_path": f"{name}/team.py", "working_directory": name}
            load_from.append(
                {"python_file": {**target, "location_name": name, "executable_path": str(python)}}
            )
        for name, python in pythons.items() if beside else ():
            path = runtime / f"{len(load_from)}.sock"
            load_from.append({"grpc_server": {"socket": str(path), "location_name": own(name)}})
            closing.enter_context(_server(python, folders[name], path, directory / f"{name}.log"))
        (directory / "workspace.yaml").write_text(yaml.safe_dump({"load_from": load_from, **keys}))
        (directory / "dagster.yaml").write_text(yaml.safe_dump(INSTANCE))
        port = free_port()
        arguments = ("--port", str(port), "--dagster-environment", str(host.parent.parent))
        extra = {"DAGSTER_HOME": "", "PYTHONDONTWRITEBYTECODE": ""}
        supervisor = closing.enter_context(
            foreground(directory, runtime, "dagster", *arguments, **extra)
        )
        page = Page(f"http://127.0.0.1:{port}")
        supervisor.until(lambda line: line == f"dagster: {page.url}")
        supervisor.read_on()
        names = [name for one in load_from for name in [next(iter(one.values()))["location_name"]]]
        page.loaded(*names)
        yield Hosted(page, supervisor, folders, directory, arguments, extra)


@contextlib.contextmanager
def _server(python: Path, folder: Path, path: Path, log: Path) -> Iterator[None]:
    """Dagster's own server of the code in ``folder``."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [
        python,
        "-m",
        "dagster",
        "api",
        "grpc",
        "--socket",
        path,
        "--fixed-server-id",
        log.stem,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--python-file", folder / "team.py", "--working-directory", folder],
            env={**environ, "DAGSTER_DISABLE_TELEMETRY": "1"},
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """One that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        found: int = one.getsockname()[1]
        return found
