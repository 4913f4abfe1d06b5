"""The status document: the state of the supervisor and its locations.

Owns the shape that docs/protocol.md promises. A location's ``env`` never appears here. Changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner_shim.masking import masked
from supervisor.locations.generation import Generation
from supervisor.locations.location import Location
from supervisor.locations.phases import prepared
from supervisor.processes.launcher import ShimProcess, Usage
from supervisor.specs import Limits, LocationSpec
from supervisor.states import ELSEWHERE, State

if TYPE_CHECKING:
    from supervisor.protocol import documents

__all__ = [
    "environment_status",
    "location_status",
    "process_shown",
    "remote_status",
    "usage_data",
]

# A load that takes longer (seconds) says what it is at.
_A_WHILE = 1.0
_LIMITS = tuple(one.name for one in fields(Limits))


def process_shown(location: Location) -> ShimProcess | None:
    """The process that the status tells of: the one that serves, else the newest, while it runs."""
    generation = location.serving or location.newest
    return None if generation is None or not generation.alive else generation.process


def location_status(
    location: Location,
    usage: Usage | None,
    *,
    detail: bool,
    code_servers: documents.CodeServers | None = None,
) -> documents.LocationStatus:
    """One entry of ``locations``; ``detail`` adds the log's tail and the whole failure.

    ``usage`` is what the process takes that ``process_shown`` gives.
    """
    spec = location.spec
    snapshot, failure = location.snapshot, location.failure
    serving = location.serving
    newest = location.newest or serving
    entry: documents.LocationStatus = {
        **_base(spec),
        "state": location.state.value,
        "reason": _reason(location),
        "since": location.since,
        "generation": location.generation,
        "restarts": location.restarts,
        "restart_reason": location.restart_reason,
        "next_restart": location.next_restart,
        "limits": _limits(spec),
        "strays": [{"pid": one.pid, "command": one.command} for one in location.orphans],
        "failure": None,
        "process": _process(location, usage),
        "environment": environment_status(spec, newest),
        "verification": location.verification.as_data(),
        "code_servers": code_servers,
        "serving": None,
        "warnings": [],
        "conditions": [one.as_data() for one in location.conditions],
        "log": {"path": str(location.log.path)},
    }
    # While a newer generation is under way, the failure is that of the one before.
    if failure is not None and location.state not in (State.STARTING, State.LOADING):
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


def _reason(location: Location) -> str:
    """Why it is in its state; of a load that takes a while, what it is at."""
    newest = location.newest
    if newest is None or location.state is not State.LOADING:
        return location.reason
    seconds = time.monotonic() - newest.reading_since
    if seconds < _A_WHILE:
        return location.reason
    what = f"importing {newest.importing}" if newest.importing else "loading"
    return f"{what}, {seconds:.0f} s of {location.spec.load_timeout:g} s"


def remote_status(spec: LocationSpec, since: float) -> documents.LocationStatus:
    """The entry of a location that is served elsewhere."""
    return {
        **_base(spec),
        "state": ELSEWHERE,
        "reason": f"served elsewhere, at {spec.remote}: neither started nor watched here",
        "since": since,
        "generation": 0,
        "restarts": 0,
        "restart_reason": "",
        "next_restart": None,
        "limits": {},
        "strays": [],
        "failure": None,
        "process": None,
        "environment": None,
        "verification": None,
        "code_servers": None,
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
        "tags": masked(dict(spec.tags)),
        "metadata": masked(_plain(spec.metadata)),
    }


def _process(location: Location, usage: Usage | None) -> documents.Process | None:
    generation, process = location.serving or location.newest, process_shown(location)
    if generation is None or process is None:
        return None
    return {
        "pid": process.pid,
        "generation": generation.number,
        "started": generation.started_at,
        "start_method": process.method,
        "start_method_reason": process.reason,
        "limits": dict(process.limits),
        **usage_data(usage),
    }


def usage_data(usage: Usage | None) -> documents.Usage:
    """What a process takes, each null where it cannot be read."""
    if usage is None:
        return {"memory": None, "cpu_seconds": None, "cpu_percent": None}
    memory: documents.Memory = {"rss": usage.rss}
    if usage.uss is not None:
        memory["uss"] = usage.uss
    return {
        "memory": memory,
        "cpu_seconds": usage.cpu_seconds,
        "cpu_percent": usage.cpu_percent,
    }


def environment_status(spec: LocationSpec, generation: Generation | None) -> documents.Environment:
    """What a location runs in: as prepared for ``generation``, or as far as ``spec`` tells."""
    wanted = spec.environment
    found: documents.Environment = {
        "name": wanted.name or wanted.executable_path or "default",
        "python": "",
        "executable": wanted.executable_path or "",
        "prefix": "",
        "managed": wanted.managed,
        "lacks": _path(wanted.lacks),
        "adding": "",
        "requirements_file": _path(wanted.requirements_file),
        "project": _path(wanted.project),
    }
    ready = None if generation is None else prepared(generation.phase)
    if ready is not None:
        made = ready.environment
        found["name"], found["managed"] = made.name, made.managed
        found["python"] = made.interpreter.version_text
        found["executable"] = str(made.interpreter.executable)
        found["prefix"] = str(made.prefix)
        found["adding"] = ready.adding
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
