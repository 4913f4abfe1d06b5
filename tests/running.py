"""Runs orders of a target in a real interpreter, as a run would, for the tests of runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from places import PROGRAMS, ROOT

__all__ = ["execute", "failure", "printed", "shown", "spans", "told", "validate"]


def _ask(target: Path, orders: list[dict[str, Any]], python: str | Path | None, **also: Any) -> Any:
    request = {
        "target": {
            "kind": "python_file",
            "name": str(target),
            "working_directory": str(target.parent),
        },
        "orders": orders,
        **also,
    }
    environ = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "VIRTUAL_ENV", "DAGSTER"))
    }
    with subprocess.Popen(
        [python or sys.executable, PROGRAMS / "run_orders.py", ROOT, json.dumps(request)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        cwd="/",
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=200)
        finally:
            with contextlib.suppress(ProcessLookupError):  # what its steps have left
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, stderr[-4000:]
    assert " - dagster - DEBUG - " not in stderr  # events are told once, as events
    *printed, answer = stdout.splitlines()
    found = json.loads(answer)
    assert "failure" not in found, found["failure"]
    return found["runs"], printed


def execute(
    target: Path,
    orders: list[dict[str, Any]],
    python: str | Path | None = None,
    *,
    forked: bool = False,
) -> list[dict[str, Any]]:
    """For each order ``{"events", "outcome"}``, or ``{"events", "refused"}`` where it is refused.

    All in one process, or each ``forked`` from one that has checked it.
    """
    found: list[dict[str, Any]] = _ask(target, orders, python, forked=forked)[0]
    return found


def spans(
    target: Path,
    asked: list[tuple[dict[str, Any], list[Any]]],
    python: str | Path | None = None,
) -> list[dict[str, Any]]:
    """For each order and range ``{"partitions": keys}``, or ``{"refused": failure}``."""
    orders = [{**order, "span": span} for order, span in asked]
    found: list[dict[str, Any]] = _ask(target, orders, python)[0]
    return found


def printed(target: Path, order: dict[str, Any], python: str | Path | None = None) -> list[str]:
    """The lines that the steps of one order have written to their standard output, the descriptor."""
    return list(_ask(target, [order], python)[1])


def validate(
    target: Path, orders: list[dict[str, Any]], python: str | Path | None = None
) -> list[dict[str, Any] | None]:
    """For each order why it is refused, or None; none is run."""
    found = _ask(target, orders, python, validate=True)[0]
    assert all(one["events"] == [] for one in found)
    return [one["refused"] for one in found]


def told(run: dict[str, Any], *prefixes: str) -> list[tuple[str, str | None]]:
    """(type, step) of the events of a run, of those types alone that begin with one of ``prefixes``."""
    assert "outcome" in run, run["refused"]
    return [
        (event["type"], event["step"])
        for event in run["events"]
        if not prefixes or event["type"].startswith(prefixes)
    ]


def shown(run: dict[str, Any]) -> list[str]:
    """``step: message`` of the lines that user code has logged."""
    return [
        f"{event['step']}: {event['message']}" for event in run["events"] if event["type"] == "LOGS"
    ]


def failure(run: dict[str, Any]) -> dict[str, Any]:
    """The failure of a run that has failed."""
    assert run["outcome"]["state"] == "failure", run
    found: dict[str, Any] = run["outcome"]["failure"]
    return found
