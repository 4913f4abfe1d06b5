"""What of a location is newer than what it serves, or why it serves nothing, in words.

Owns the sentence of a launch, and the same where what is not there may be in what failed to load. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from supervisor.errors import UnfitOrderError, UnknownDefinitionError
from supervisor.locations.generation import Generation
from supervisor.locations.location import Location
from supervisor.states import State

__all__ = ["asked_of", "note", "with_note"]


def note(location: Location, serving: Generation | None) -> str:
    """What of the location is newer than what runs, in a sentence, or ""."""
    if serving is None or location.newest is serving or location.generation == serving.number:
        return ""
    if location.under_way:
        return f"generation {serving.number} runs; {location.spec.name} is {location.state} anew"
    why = location.failure.message.partition("\n")[0] if location.failure else location.reason
    return (
        f"generation {serving.number} runs; generation {location.generation} is {location.state}: "
        f"{why}"
    )


def with_note(location: Location, hint: str | None) -> str | None:
    """``hint`` of an error that the location serves no such thing, and what it serves instead of its newest code."""
    name = location.spec.name
    if location.state is State.STOPPED:
        said = f"{name} is stopped, and stays so: `supervise start {name}` loads its code again"
    else:
        said = note(location, location.serving)
    return "; ".join(filter(None, (hint, said))) or None


@contextmanager
def asked_of(location: Location) -> Iterator[None]:
    """What is looked for meanwhile is in what the location serves: errors say what is newer."""
    try:
        yield
    except (UnknownDefinitionError, UnfitOrderError) as error:
        error.hint = with_note(location, error.hint)
        raise
