"""The rows of schedules, sensors and their ticks that clients get.

Owns their shape, and the hiding of secrets in them: what lies on the disk has them, for runs need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner_shim import masking
from supervisor.runs.automation import Automation
from supervisor.states import TickState
from supervisor.time_slices import Steps

__all__ = ["brief", "showing", "tick_row"]


def tick_row(
    one: Automation,
    at: float,
    *,
    count: int = 1,
    state: TickState = TickState.DUE,
    reason: str | None = None,
    by: str | None = None,
) -> dict[str, Any]:
    """A new tick for the time ``at``, as it is kept (the document ``Tick``)."""
    return {
        "tick": None,
        "location": one.location,
        "name": one.name,
        "kind": one.kind,
        "framework": one.framework,
        "state": state.value,
        "time": at,
        "count": count,
        "began": None,
        "ended": None,
        "by": by,
        "reason": reason,
        "requests": [],
        "cursor": None,
        "new_cursor": None,
        "failure": None,
        "logs": [],
        "fresh_because": None,
    }


def showing(tick: Mapping[str, Any]) -> Steps[dict[str, Any]]:
    """A tick without secrets; it may have very many requests."""
    requests = []
    for one in tick["requests"]:
        hidden = {name: masking.masked(one[name]) for name in ("config", "tags")}
        requests.append({**one, **hidden})
        yield
    logs = [{**one, "message": masking.masked_text(one["message"])} for one in tick["logs"]]
    return {**tick, "reason": _reason(tick), "requests": requests, "logs": logs}


def brief(tick: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A tick without secrets, and without the configurations and tags of its runs and its log."""
    if tick is None:
        return None
    requests = [{**one, "config": {}, "tags": {}} for one in tick["requests"]]
    return {**tick, "reason": _reason(tick), "requests": requests, "logs": []}


def _reason(tick: Mapping[str, Any]) -> str | None:
    return None if tick["reason"] is None else masking.masked_text(tick["reason"])
