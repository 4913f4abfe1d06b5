"""Runs in words: a line for an event, a line for how a run ended, the user's frames of a failure.

Owns the one rendering of runs that the commands share. Pure.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from supervisor.presentation import words
from supervisor.presentation.text import clean, paint

if TYPE_CHECKING:
    from supervisor.protocol.run_documents import (
        Launched,
        PartitionCounts,
        RunDetail,
        RunEvent,
        RunRow,
    )

__all__ = [
    "STYLES",
    "Steps",
    "counted",
    "event_line",
    "failure_lines",
    "limits",
    "of_partition",
    "preview",
    "subject",
    "summary",
    "took",
]

STYLES = {state: style for state, (_, style) in words.RUN_SYMBOLS.items()}
"""State to style."""

_MAX_FRAMES = 6
_MAX_NAMED = 3


class Steps:
    """Remembers when steps began, to tell how long they took. ``running`` are those under way."""

    def __init__(self) -> None:
        self.running: dict[str, float] = {}
        self._began: dict[str, float] = {}
        self._cancelling = False

    def line(self, event: RunEvent) -> str | None:
        """The event in a line; None for one that says nothing new to a reader who follows."""
        step, kind = event["step"], event["type"]
        if kind == "STEP_START" and step is not None:
            self._began[step] = event["time"]
            self.running = {**self.running, step: event["time"]}
        if step is not None and kind in ("STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED"):
            self.running = {name: at for name, at in self.running.items() if name != step}
            took = words.seconds(max(event["time"] - self._began.get(step, event["time"]), 0.0))
            word = "done in" if kind == "STEP_SUCCESS" else self._failed(event)
            return f"{clean(step)}: {word} {took}" if kind != "STEP_SKIPPED" else f"{step}: skipped"
        self._cancelling = self._cancelling or kind == "RUN_CANCELING"
        if kind in ("LOGS", "ENGINE_EVENT", "RUN_CANCELING"):
            return f"{clean(step)}: {clean(event['message'])}" if step else clean(event["message"])
        return None

    def _failed(self, event: RunEvent) -> str:
        """A step that ends because the run is cancelled has not failed."""
        failure = (event["data"] or {}).get("failure") or {}
        kind = failure.get("kind")
        cancelled = kind == "interrupted" or (self._cancelling and kind != "exception")
        return "cancelled after" if cancelled else "failed after"


def event_line(event: RunEvent) -> str:
    """Type, step and message."""
    parts = [event["type"], event["step"] or "", event["message"] or ""]
    return "  ".join(clean(one) for one in parts if one)


def subject(run: RunRow) -> str:
    """What it runs: its job or its assets, and the partition."""
    assets = run["assets"] or []
    names = ", ".join(assets[:_MAX_NAMED])
    if len(assets) > _MAX_NAMED:
        names += f" and {len(assets) - _MAX_NAMED} more"
    what = run["job"] or names or "what cannot be read"
    partition = run["partition"]
    if run["partitions"] and run["partitions"]["count"] == 1 and partition:
        partition = partition.partition("..")[0]
    return clean(f"{what} [{partition}]" if partition else what)


def preview(launched: Launched, location: str) -> list[str]:
    """What a launch would run, in order."""
    order, steps = launched["order"], launched["steps"]
    one, several = ("asset", "assets") if order["assets"] else ("op", "ops")
    what = f"{len(steps)} {one if len(steps) == 1 else several}" if steps else ""
    if order["job"]:
        what = f"{what} of {order['job']}" if steps else order["job"]
    lines = [f"would run {what} in {location}, generation {order['generation']}:"]
    lines += [f"  {number}. {name}" for number, name in enumerate(steps, 1)]
    how = (
        f"in a fresh process: {launched['fresh_because']}"
        if launched["fresh_because"]
        else "forked"
    )
    facts: dict[str, Any] = {
        "checks": ", ".join(launched["checks"]),
        "partition": order["partition_key"],
        "partitions": ", ".join(launched["partitions"]),
        "repository": order["repository"],
        "config": json.dumps(order["config"]) if order["config"] else "",
        "tags": ", ".join(f"{name}={value}" for name, value in order["tags"].items()),
        "timeout": words.seconds(order["timeout"]) if order["timeout"] else "",
        "instance": order["instance"] or "ephemeral",
        "process": how,
        "note": launched["note"],
    }
    return [clean(one) for one in [*lines, *(f"  {k}: {v}" for k, v in facts.items() if v)]]


def took(run: RunRow, now: float) -> str:
    """How long it has run, in words."""
    if run["began"] is None:
        return ""
    return words.seconds(max((run["ended"] or now) - run["began"], 0.0))


def summary(run: RunRow, now: float, *, colour: bool = False) -> str:
    """``run 019ac3f2-… of settle in payments: success in 1.2s``, with the reason where there is one."""
    state = paint(run["state"].replace("_", " "), STYLES.get(run["state"], ""), colour)
    head = f"run {run['run']} of {subject(run)} in {clean(run['location'])}: {state}"
    time = took(run, now)
    head += (
        f" after {time}" if time and run["state"] != "success" else f" in {time}" if time else ""
    )
    return f"{head} — {clean(run['reason'])}" if run["reason"] else head


def of_partition(run: RunRow, now: float, *, colour: bool = False) -> str:
    """How one run of a range ended: ``2024-01-02: success in 1.2s``."""
    state = paint(run["state"].replace("_", " "), STYLES.get(run["state"], ""), colour)
    head = f"{clean(str(run['partition']))}: {state}"
    time = took(run, now)
    head += f" in {time}" if time else ""
    return f"{head} — {clean(run['reason'])}" if run["reason"] else head


def counted(counts: PartitionCounts) -> str:
    """How the runs of a range stand: ``31 partitions: 12 success, 1 running``."""
    states = [f"{number} {state.replace('_', ' ')}" for state, number in counts["states"].items()]
    return f"{counts['count']} partitions: {', '.join(states)}"


def limits(run: RunDetail) -> str:
    """``memory 512 MiB (cgroup), cpu 0.5 (not enforced)``."""
    return words.limits(run["limits"], run["limits_by"])


def failure_lines(run: RunDetail) -> list[str]:
    """The user's own frames of why it failed, the causes and the remedy."""
    failure: Any = run["failure"] or {}
    lines = []
    for frame in (failure.get("frames") or [])[-_MAX_FRAMES:]:
        lines.append(f"{frame.get('file')}, line {frame.get('line')}, in {frame.get('function')}")
        if frame.get("code"):
            lines.append(f"    {frame['code']}")
    for problem in failure.get("problems") or []:
        lines.append(f"{problem.get('path')}: {problem.get('message')}")
    lines += [f"caused by {cause.get('message')}" for cause in failure.get("causes") or []]
    if failure.get("hint"):
        lines.append(f"hint: {failure['hint']}")
    return [clean(one) for one in lines]
