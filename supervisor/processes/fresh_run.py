"""Fresh processes of a team's environment for a run: to start it, and to report how it ended.

Owns their start messages. What starts a run, where that cannot be forked from the shim that serves, forks
the run's monitor and ends (runner_shim/process/fresh.py); it hangs on no lifeline, for what it starts
outlives the supervisor. What reports (runner_shim/process/report.py) is the monitor's, as a rule:
``reporter_of`` is what that needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervisor.processes import orphans
from supervisor.processes.launcher import LaunchError, LaunchSpec
from supervisor.processes.reporting import REPORT_SECONDS, start_message
from supervisor.processes.spawn import BOOT

__all__ = ["fresh_of", "report", "reporter_of", "start_fresh"]


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


def reporter_of(spec: LaunchSpec, order: Mapping[str, Any], token: str) -> dict[str, Any]:
    """``{"command", "environ", "start"}`` of the process that can report on the run of ``order``."""
    assert spec.target is not None
    told = {
        "run_id": order["run"],
        **{
            name: order.get(name) for name in ("job", "instance", "instance_ref", "shared_instance")
        },
    }
    return {
        "command": [str(spec.prepared.executable), "-u", str(BOOT), f"report of {spec.name}"],
        "environ": {**spec.environ, orphans.VARIABLE: token},
        "start": {
            "v": 1,
            "overlay": None if spec.prepared.overlay is None else str(spec.prepared.overlay),
            "report": {"order": told},
            "target": spec.target.as_data(),
        },
    }


async def report(
    spec: LaunchSpec, order: Mapping[str, Any], final: Mapping[str, Any], token: str, errors: Path
) -> str:
    """Tell the framework ``final["untold"]`` how the run ended; why that failed, or "".

    What the process writes is in the file ``errors``.
    """
    return await asyncio.to_thread(_report, reporter_of(spec, order, token), dict(final), errors)


def _report(reporter: dict[str, Any], final: dict[str, Any], errors: Path) -> str:
    try:
        with errors.open("wb") as output:
            child = subprocess.Popen(
                reporter["command"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=reporter["environ"],
                cwd="/",
                start_new_session=True,
            )
    except (OSError, ValueError) as error:
        return f"{reporter['command'][0]} cannot be started: {error}"
    assert child.stdin is not None  # it stays open: it is the lifeline
    with contextlib.suppress(OSError):
        child.stdin.write(start_message(reporter, final))
        child.stdin.flush()
    try:
        status = child.wait(REPORT_SECONDS + 1)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        status = child.wait()
    with contextlib.suppress(OSError):
        child.stdin.close()
    if status < 0:
        return f"it took longer than {REPORT_SECONDS:g} s"
    lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "" if status == 0 else (lines or [f"exit status {status}"])[-1][:500]


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
