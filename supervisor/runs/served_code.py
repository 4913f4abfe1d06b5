"""Whether a fresh process would load the code that is served: compares its files with their contents at the load.

Owns that comparison, the waiting for the reload that a change begins, and the sentence where none comes.
What was installed is not compared: its change begins a reload, too, and is no other code of the team's.
"""

from __future__ import annotations

from collections.abc import Callable

from supervisor.fleet.change_signal import ChangeSignal
from supervisor.locations.generation import Generation
from supervisor.locations.location import Location
from supervisor.states import TROUBLED

__all__ = ["other_code", "refusal"]

# How long a change may take to be noticed and to begin a reload (seconds).
_TO_NOTICE = 5.0
_LOOK = 5.0


async def other_code(
    location: Location, serving: Generation, news: ChangeSignal, given_up: Callable[[], bool]
) -> str:
    """Why a fresh process may not run in the place of ``serving``, or "".

    While a reload is under way, or may begin in a moment, its end is waited for: then another generation may
    serve. ``given_up()`` ends the waiting.
    """
    text = await refusal(location, serving)
    if not text:
        return ""

    def over() -> bool:
        return location.serving is not serving or given_up()

    if location.newest is serving:
        await news.wait(lambda: over() or location.under_way, _TO_NOTICE)
    while location.under_way and not over():
        await news.wait(lambda: over() or not location.under_way, _LOOK)
    return "" if location.serving is not serving else await refusal(location, serving)


async def refusal(location: Location, serving: Generation) -> str:
    """The sentence for a fresh process that would load other code than ``serving``; "" where it would not."""
    if location.files is None:
        return ""
    changed = sorted(await location.files.other_than_served())
    if not changed:
        return ""
    more = f" and {len(changed) - 1} more files" if len(changed) > 1 else ""
    text = f"{changed[0]}{more} changed since generation {serving.number} was loaded"
    newest, failure = location.newest, location.failure
    newer = location.state in TROUBLED and newest is not serving
    if newer and newest is not None and failure is not None:
        text += f", and generation {newest.number} is {location.state}: {failure.message}"
    return f"{text}; a fresh process would run other code than is served"
