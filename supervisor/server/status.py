"""The status document: what clients are told about the supervisor and its locations.

Owns the shape that docs/protocol.md promises, and reads memory and CPU of processes for it. A
location's ``env`` never appears here. Changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner_shim.masking import masked
from supervisor import procfs
from supervisor.errors import ConfigurationProblem
from supervisor.locations.attempt import Attempt
from supervisor.locations.location import Location
from supervisor.specs import Limits, LocationSpec
from supervisor.states import ELSEWHERE

if TYPE_CHECKING:
    from supervisor import documents

__all__ = ["Usage", "environment_status", "location_status", "problem_data", "remote_status"]

_LINUX = sys.platform == "linux"
_LIMITS = tuple(one.name for one in fields(Limits))


class Usage:
    """CPU and memory of processes; remembers CPU times to tell a percentage since the last look."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[float, float]] = {}

    @staticmethod
    async def ready(*, detail: bool) -> None:
        """To be awaited before the first ``read``: imports what that needs, in a thread."""
        if (detail or not _LINUX) and "psutil" not in sys.modules:
            with contextlib.suppress(RuntimeError):  # no thread can be started
                await asyncio.to_thread(importlib.import_module, "psutil")

    def read(self, pid: int, *, detail: bool) -> documents.Usage:
        """What a process uses, each null where it cannot be read.

        ``uss`` needs the kernel to walk the memory map: only with ``detail``.
        """
        try:
            # psutil takes seven times as long, for each location at each status.
            rss, seconds, age = procfs.usage(pid) if _LINUX else _usage(pid)
        except (OSError, IndexError, ValueError):
            return {"memory": None, "cpu_seconds": None, "cpu_percent": None}
        memory: documents.Memory = {"rss": rss}
        if detail:
            memory["uss"] = _unshared(pid)
        now = time.time()
        then, before = self._last.get(pid, (now - age, 0.0))
        percent = round(100 * max(seconds - before, 0) / max(now - then, 0.01), 1)
        if now - then > 1.0:
            self._last[pid] = (now, seconds)
        return {"memory": memory, "cpu_seconds": seconds, "cpu_percent": percent}

    def forget_all_but(self, pids: set[int]) -> None:
        """Drop what was remembered of processes that are gone."""
        for pid in self._last.keys() - pids:
            del self._last[pid]


def _usage(pid: int) -> tuple[int, float, float]:
    """What ``procfs.usage`` tells, where there is no /proc."""
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            age = time.time() - process.create_time()
            return process.memory_info().rss, times.user + times.system, age
    except psutil.Error as error:
        raise OSError(str(error)) from error


def _unshared(pid: int) -> int | None:
    import psutil

    try:
        return int(psutil.Process(pid).memory_full_info().uss)
    except (psutil.Error, OSError):
        return None


def problem_data(problem: ConfigurationProblem) -> documents.ProblemRow:
    """A configuration problem as plain data."""
    return {
        "file": problem.position.file,
        "line": problem.position.line,
        "column": problem.position.column,
        "path": problem.path,
        "message": problem.message,
        "expected": problem.expected,
        "suggestion": problem.suggestion,
    }


def location_status(location: Location, usage: Usage, *, detail: bool) -> documents.LocationStatus:
    """One entry of ``locations``; ``detail`` adds the log's tail and the whole failure."""
    spec = location.spec
    snapshot, failure = location.snapshot, location.failure
    serving = location.serving
    newest = location.newest or serving
    entry: documents.LocationStatus = {
        **_base(spec),
        "state": location.state.value,
        "reason": location.reason,
        "since": location.since,
        "generation": location.generation,
        "restarts": location.restarts,
        "next_restart": location.next_restart,
        "limits": _limits(spec),
        "strays": [{"pid": one.pid, "command": one.command} for one in location.strays],
        "failure": None,
        "process": _process(serving or newest, usage, detail=detail),
        "environment": environment_status(spec, newest),
        "verification": location.verification.as_data(),
        "serving": None,
        "warnings": [],
        "conditions": [one.as_data() for one in location.conditions],
        "log": {"path": str(location.log.path)},
    }
    if failure is not None:
        entry["failure"] = failure.as_data(location.generation, brief=not detail)
    if snapshot is not None:
        report = snapshot.report
        entry["warnings"] = snapshot.warnings
        entry["serving"] = {
            "generation": snapshot.generation,
            "fingerprint": snapshot.fingerprint,
            "loaded_at": snapshot.loaded_at,
            "load_seconds": report.get("load_seconds", 0.0),
            "start_seconds": serving.start_seconds if serving is not None else 0.0,
            "alive": serving is not None and serving.alive,
            "counts": dict(snapshot.counts),
            "size": snapshot.size,
            "python": report.get("python", ""),
            "frameworks": report.get("frameworks", []),
        }
    if detail:
        tail = [line.as_data() for line in location.log.tail]
        entry["log"] = {"path": str(location.log.path), "tail": tail}
    return entry


def remote_status(spec: LocationSpec, since: float) -> documents.LocationStatus:
    """The entry of a location that somebody else serves."""
    return {
        **_base(spec),
        "state": ELSEWHERE,
        "reason": f"served elsewhere, at {spec.remote}: neither started nor watched here",
        "since": since,
        "generation": 0,
        "restarts": 0,
        "next_restart": None,
        "limits": {},
        "strays": [],
        "failure": None,
        "process": None,
        "environment": None,
        "verification": None,
        "serving": None,
        "warnings": [],
        "conditions": [],
        "log": None,
    }


def _base(spec: LocationSpec) -> documents.Configured:
    target = spec.target
    return {
        "name": spec.name,
        "target": None
        if target is None
        else {
            "kind": target.kind.value,
            "name": target.name,
            "attribute": target.attribute,
            "working_directory": str(target.working_directory),
        },
        "remote": None if spec.remote is None else str(spec.remote),
        "form": spec.form,
        "origin": None if spec.origin is None else str(spec.origin),
        "metadata": masked(_plain(spec.metadata)),
    }


def _process(attempt: Attempt | None, usage: Usage, *, detail: bool) -> documents.Process | None:
    if attempt is None or not attempt.alive or attempt.placed is None:
        return None
    pid = attempt.placed.pid
    return {
        "pid": pid,
        "generation": attempt.generation,
        "started": attempt.started_at,
        "start_method": attempt.placed.method,
        "start_method_reason": attempt.placed.reason,
        "limits": dict(attempt.placed.limits),
        **usage.read(pid, detail=detail),
    }


def environment_status(spec: LocationSpec, attempt: Attempt | None) -> documents.Environment:
    """What a location runs in: as prepared for ``attempt``, or as far as ``spec`` tells."""
    wanted = spec.environment
    found: documents.Environment = {
        "name": wanted.name or wanted.executable_path or "default",
        "python": "",
        "executable": wanted.executable_path or "",
        "prefix": "",
        "managed": wanted.managed,
        "requirements_file": _path(wanted.requirements_file),
        "project": _path(wanted.project),
    }
    if attempt is not None and attempt.prepared is not None:
        made = attempt.prepared.environment
        found["name"], found["managed"] = made.name, made.managed
        found["python"] = made.interpreter.version_text
        found["executable"] = str(made.interpreter.executable)
        found["prefix"] = str(made.prefix)
    return found


def _limits(spec: LocationSpec) -> dict[str, float]:
    values = ((name, getattr(spec.limits, name)) for name in _LIMITS)
    return {name: value for name, value in values if value is not None}


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _plain(value: Any) -> Any:
    """Metadata as msgpack and JSON can carry it: YAML also knows dates."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
