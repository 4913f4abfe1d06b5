"""The result of an order for a location: one line, and details below it.

Owns the sentence that orders, waits and the foreground supervisor's plain output share, for example
``risk: ready in 0.4s - 3 jobs, 2 schedules (python 3.7.16, native 0.1.0)``. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.presentation import failures, words
from supervisor.presentation.text import clean, paint
from supervisor.states import TROUBLED

if TYPE_CHECKING:
    from supervisor.protocol.documents import Diff, LocationStatus

__all__ = ["outcome_line", "outcome_lines"]


def outcome_line(
    location: LocationStatus, *, colour: bool = False, diff: Diff | None = None
) -> str:
    """The state of a location in one line; with ``diff``, what a reload changed."""
    state = location["state"]
    _, style = words.symbol(state)
    if location["remote"]:
        return (
            f"{clean(location['name'])}: {paint(clean(location['reason'] or state), style, colour)}"
        )
    head = f"{clean(location['name'])}: {paint(state, style, colour)}"
    serving = location["serving"]
    if state == "ready" and serving is not None:
        took = (serving["start_seconds"] or 0.0) + (serving["load_seconds"] or 0.0)
        head += f" in {words.seconds(took)}" if took else ""
        if diff is not None:
            return f"{head}, generation {serving['generation']} — {clean(words.changes(diff))}"
        return f"{head} — {clean(words.summary(location))}"
    detail = failures.headline(location) if state == "failed" else location["reason"]
    kept = ""
    if serving is not None and serving["alive"] and state in TROUBLED:
        kept = f"; generation {serving['generation']} is still served"
    first, newline, source = clean(detail).partition(
        "\n"
    )  # of a syntax error: the line, and a caret
    place = clean(failures.entry(location))
    entry = f" ({place})" if place else ""
    return f"{head} — {first}{entry}{kept}{newline}{source}" if detail else head + kept


def outcome_lines(
    location: LocationStatus,
    *,
    colour: bool = False,
    diff: Diff | None = None,
    traceback: bool = False,
    log_lines: int = 0,
) -> list[str]:
    """The line, and below it the failure in short."""
    lines = [outcome_line(location, colour=colour, diff=diff)]
    if location["state"] in TROUBLED and location["failure"] is not None:
        rendered = failures.render(
            location, colour=colour, traceback=traceback, log_lines=log_lines, with_headline=False
        )
        lines += [f"  {line}" for line in rendered]
    return lines
