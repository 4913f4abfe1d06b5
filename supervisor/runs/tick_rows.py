"""The rows of schedules, sensors and their ticks that clients get.

Owns their shape, and the hiding of secrets in them: what lies on the disk has them, for runs need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner_shim import masking
from supervisor.runs.automation import Automation
from supervisor.states import TickState

__all__ = ["shown", "tick_row"]


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


def shown(tick: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A tick without secrets."""
    if tick is None:
        return None
    return {
        **tick,
        "reason": None if tick["reason"] is None else masking.masked_text(tick["reason"]),
        "requests": [
            {**one, "config": masking.masked(one["config"]), "tags": masking.masked(one["tags"])}
            for one in tick["requests"]
        ],
        "logs": [{**one, "message": masking.masked_text(one["message"])} for one in tick["logs"]],
    }
