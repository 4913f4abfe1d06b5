"""The status document: what clients are told about the supervisor and its locations.

Owns the shape that docs/protocol.md promises. A location's ``env`` never appears here. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from runner_shim.masking import masked
from supervisor.errors import ConfigurationProblem
from supervisor.locations.generation import Generation
from supervisor.locations.location import Location
from supervisor.locations.phases import prepared
from supervisor.processes.launcher import ShimProcess, Usage
from supervisor.specs import Limits, LocationSpec

__all__ = [
    "environment_status",
    "location_status",
    "problem_data",
    "process_shown",
    "remote_status",
]

_LIMITS = tuple(one.name for one in fields(Limits))


def problem_data(problem: ConfigurationProblem) -> dict[str, Any]:
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


def process_shown(location: Location) -> ShimProcess | None:
    """The process that the status tells of: the one that serves, else the newest, while it runs."""
    generation = location.serving or location.newest
    return None if generation is None or not generation.alive else generation.process


def location_status(location: Location, usage: Usage | None, *, detail: bool) -> dict[str, Any]:
    """One entry of ``locations``; ``detail`` adds the log's tail and the whole failure.

    ``usage`` is what the process takes that ``process_shown`` gives.
    """
    spec = location.spec
    snapshot, failure = location.snapshot, location.failure
    serving = location.serving
    newest = location.newest or serving
    entry = _base(spec)
    entry.update(
        {
            "state": location.state.value,
            "reason": location.reason,
            "since": location.since,
            "generation": location.generation,
            "restarts": location.restarts,
            "next_restart": location.next_restart,
            "limits": _limits(spec),
            "strays": [asdict(one) for one in location.orphans],
            "failure": None,
            "process": _process(location, usage),
            "environment": environment_status(spec, newest),
            "verification": location.verification.as_data(),
            "serving": None,
            "warnings": [],
            "conditions": [one.as_data() for one in location.conditions],
            "log": {"path": str(location.log.path)},
        }
    )
    if failure is not None:
        entry["failure"] = {
            **failure.as_data(brief=not detail),
            "generation": location.generation,
        }
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
        entry["log"]["tail"] = [line.as_data() for line in location.log.tail]
    return entry


def remote_status(spec: LocationSpec, since: float) -> dict[str, Any]:
    """The entry of a location that somebody else serves."""
    return {
        **_base(spec),
        "state": "elsewhere",
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


def _base(spec: LocationSpec) -> dict[str, Any]:
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


def _process(location: Location, usage: Usage | None) -> dict[str, Any] | None:
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
        **({"memory": {}} if usage is None else usage.as_data()),
    }


def environment_status(spec: LocationSpec, generation: Generation | None) -> dict[str, Any]:
    """What a location runs in: as prepared for ``generation``, or as far as ``spec`` tells."""
    found = None if generation is None else prepared(generation.phase)
    sources = {
        "requirements_file": _path(spec.environment.requirements_file),
        "project": _path(spec.environment.project),
    }
    if found is None:
        wanted = spec.environment
        return {
            **sources,
            "name": wanted.name or wanted.executable_path or "default",
            "python": "",
            "executable": wanted.executable_path or "",
            "prefix": "",
            "managed": wanted.managed,
        }
    environment = found.environment
    return {
        **sources,
        "name": environment.name,
        "python": environment.interpreter.version_text,
        "executable": str(environment.interpreter.executable),
        "prefix": str(environment.prefix),
        "managed": environment.managed,
    }


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
