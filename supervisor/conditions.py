"""Conditions: warnings that are true now, each under a key, with since when.

Owns the set of them. A condition is set while it is true and cleared when it is not; setting it again
changes its words and not its time. The message is one sentence without a full stop; what it says is
wrong should not hold a number that changes from look to look. Pure: the clock is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.protocol import documents

__all__ = ["Condition", "Conditions", "Tell"]

Tell = Callable[[str | None], None]
"""Sets one condition to a text, or clears it with None."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is not as it should be. ``since`` is Unix seconds."""

    key: str
    message: str
    hint: str
    since: float

    def as_data(self) -> documents.Condition:
        """As the control protocol sends it."""
        return {"key": self.key, "message": self.message, "hint": self.hint, "since": self.since}


class Conditions:
    """The conditions of a supervisor or a location.

    ``changed()`` is called when one was set, cleared, or has other words. ``clock`` gives Unix
    seconds.
    """

    __slots__ = ("_changed", "_clock", "_held")

    def __init__(self, changed: Callable[[], None], clock: Callable[[], float]) -> None:
        self._changed = changed
        self._clock = clock
        self._held: dict[str, Condition] = {}

    def __iter__(self) -> Iterator[Condition]:
        return iter(list(self._held.values()))

    def __contains__(self, key: str) -> bool:
        return key in self._held

    def set(self, key: str, message: str, hint: str = "") -> None:
        """``key`` is true now, for the reason that ``message`` gives; ``hint`` is the remedy."""
        before = self._held.get(key)
        if before is None:
            self._held[key] = Condition(key, message, hint, self._clock())
        elif (before.message, before.hint) == (message, hint):
            return
        else:
            self._held[key] = Condition(key, message, hint, before.since)
        self._changed()

    def clear(self, key: str) -> None:
        """``key`` is not true any more."""
        if self._held.pop(key, None) is not None:
            self._changed()

    def tell(self, key: str) -> Tell:
        """A function that sets ``key`` to a text, or clears it with None."""

        def told(message: str | None) -> None:
            if message is None:
                self.clear(key)
            else:
                self.set(key, message)

        return told
