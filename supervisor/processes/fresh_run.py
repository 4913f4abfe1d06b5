"""Starts a run in a fresh process, where it cannot be forked from the shim that serves.

Owns that start alone: the process forks the run's monitor and ends (runner_shim/process/fresh.py). It
hangs on no lifeline, for what it starts outlives the supervisor.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervisor.processes import orphans
from supervisor.processes.launcher import LaunchError, LaunchSpec
from supervisor.processes.spawn import BOOT

__all__ = ["fresh_of", "start_fresh"]


def fresh_of(launch: LaunchSpec) -> dict[str, Any]:
    """What a shim needs to start a fresh process like itself."""
    overlay = launch.prepared.overlay
    return {
        "command": [str(launch.prepared.executable), "-u", str(BOOT)],
        "environ": {**launch.environ, orphans.VARIABLE: launch.token},
        "overlay": None if overlay is None else str(overlay),
    }


async def start_fresh(spec: LaunchSpec, run: Mapping[str, Any], directory: Path) -> None:
    """Start ``run`` with the environment and the target of ``spec``; raises ``LaunchError``.

    What the interpreter writes before the run has its streams is in ``trouble`` in ``directory``.
    """
    await asyncio.to_thread(_start, spec, run, directory)


def _start(spec: LaunchSpec, run: Mapping[str, Any], directory: Path) -> None:
    assert spec.target is not None
    start = {
        "v": 1,
        "overlay": None if spec.prepared.overlay is None else str(spec.prepared.overlay),
        "run": run,
        "target": spec.target.as_data(),
    }
    try:
        with (directory / "trouble").open("ab") as trouble:
            child = subprocess.Popen(
                [str(spec.prepared.executable), "-u", str(BOOT), f"run of {spec.name}"],
                stdin=subprocess.PIPE,
                stdout=trouble,
                stderr=trouble,
                env={**spec.environ, orphans.VARIABLE: run["tokens"]["monitor"]},
                cwd="/",
                start_new_session=True,
            )
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        raise LaunchError(
            f"{spec.prepared.executable} cannot be started: {(text or str(error)).lower()}"
        ) from None
    child.communicate(json.dumps(start).encode() + b"\n")
