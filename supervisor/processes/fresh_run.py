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
from supervisor.processes.launcher import BOOT, LaunchError, LaunchRequest

__all__ = ["start_fresh"]


async def start_fresh(request: LaunchRequest, run: Mapping[str, Any], directory: Path) -> None:
    """Start ``run`` with the environment and the target of ``request``; raises ``LaunchError``.

    What the interpreter writes before the run has its streams is in ``trouble`` in ``directory``.
    """
    await asyncio.to_thread(_start, request, run, directory)


def _start(request: LaunchRequest, run: Mapping[str, Any], directory: Path) -> None:
    assert request.target is not None
    start = {
        "v": 1,
        "overlay": None if request.overlay is None else str(request.overlay),
        "run": run,
        "target": request.target.as_data(),
    }
    try:
        with (directory / "trouble").open("ab") as trouble:
            child = subprocess.Popen(
                [str(request.executable), "-u", str(BOOT), f"run of {request.name}"],
                stdin=subprocess.PIPE,
                stdout=trouble,
                stderr=trouble,
                env={**request.environ, orphans.VARIABLE: run["marks"]["monitor"]},
                cwd="/",
                start_new_session=True,
            )
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        raise LaunchError(
            f"{request.executable} cannot be started: {(text or str(error)).lower()}"
        ) from None
    child.communicate(json.dumps(start).encode() + b"\n")
