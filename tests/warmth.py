"""Interpreters with made-up installed libraries, for the tests of forkservers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from loading import write
from supervised import Supervised

from supervisor.warm import WarmLauncher


def scratch_environment(folder: Path, python: str, libraries: Mapping[str, str]) -> Path:
    """A virtualenv of ``python`` that has ``libraries`` (path: text) installed; its executable."""
    if not (folder / "bin" / "python").exists():
        subprocess.run(
            [python, "-m", "venv", "--without-pip", str(folder)],
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
    write(site_packages(folder), dict(libraries))
    return folder / "bin" / "python"


def site_packages(folder: Path) -> Path:
    """Where that virtualenv's libraries are."""
    (found,) = folder.glob("lib/python*/site-packages")
    return found


def launcher(running: Supervised) -> WarmLauncher:
    """The launcher of a running supervisor."""
    return running.daemon._launcher


def forkservers(running: Supervised) -> list[int]:
    """Process ids of the forkservers that would be used next."""
    servers = launcher(running)._servers.values()
    return [one.pid for one in servers if one.usable and one.pid is not None]


async def method(running: Supervised, name: str) -> tuple[str, str]:
    """How the process of a location was started, and why so."""
    process = (await running.status(name))["process"]
    assert process, running.states()
    return process["start_method"], process["start_method_reason"]


async def methods(running: Supervised, names: Iterable[str]) -> set[tuple[str, str]]:
    """``method`` of several locations."""
    return {await method(running, name) for name in names}
