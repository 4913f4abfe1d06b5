"""Schedules, sensors and their ticks in words.

Owns the one rendering that the commands share. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from supervisor.presentation import runs, words
from supervisor.presentation.text import clean

if TYPE_CHECKING:
    from supervisor.protocol.automation_documents import Automation, Tick, TickRequest

__all__ = ["STYLES", "outcome", "request_lines", "tick_lines", "when"]

STYLES = {
    "due": "dim",
    "launching": "yellow",
    "launched": "green",
    "skipped": "dim",
    "failed": "red",
    "asked": "blue",
}
"""State of a tick to style."""


def when(one: Automation) -> str:
    """When it is fired: its cron strings and zone, or its interval."""
    if one["kind"] == "sensor":
        return f"every {words.seconds(one['interval'])}" if one["interval"] is not None else ""
    return ", ".join(one["cron"]) + (f" {one['zone']}" if one["zone"] else "")


def outcome(tick: Tick) -> str:
    """What became of it, in a few words."""
    launched = [one for one in tick["requests"] if one["run"] and not one["note"]]
    if tick["state"] == "launched":
        return f"launched {words.plural(len(launched), 'run')}"
    if tick["state"] == "asked" and tick["requests"]:
        return f"would launch {words.plural(len(tick['requests']), 'run')}"
    several = f" ({tick['count']} ticks)" if tick["count"] > 1 else ""
    return f"{tick['state']}{several}" + (f": {clean(tick['reason'])}" if tick["reason"] else "")


def request_lines(number: int, one: TickRequest) -> list[str]:
    """A run that was asked for: what it is, with what, and what became of it."""
    what = clean(one["job"] or ", ".join(one["assets"] or []))
    facts: Mapping[str, Any] = {
        "partition": one["partition"],
        "run key": one["run_key"],
        "config": json.dumps(one["config"]) if one["config"] else None,
        "tags": ", ".join(f"{key}={value}" for key, value in one["tags"].items()),
        "run": one["run"],
        "note": one["note"],
    }
    lines = [f"{number}. {what}"]
    lines += [f"   {name}: {clean(str(value))}" for name, value in facts.items() if value]
    return lines


def tick_lines(tick: Tick) -> list[str]:
    """All of a tick: what became of it, what it asked for, what its function logged or raised."""
    kind, name = tick["kind"], clean(tick["name"])
    lines = [f"{kind} {name} for {words.moment(tick['time'])}: {outcome(tick)}"]
    for number, one in enumerate(tick["requests"], 1):
        lines += [f"  {line}" for line in request_lines(number, one)]
    lines += [f"  {one['level'].lower()}: {clean(one['message'])}" for one in tick["logs"]]
    if tick["new_cursor"] is not None:
        lines.append(f"  cursor: {clean(tick['new_cursor'])}")
    detail: Any = {"failure": tick["failure"]}
    if tick["failure"] is not None:
        lines += [f"  {line}" for line in runs.failure_lines(detail)]
    return lines
