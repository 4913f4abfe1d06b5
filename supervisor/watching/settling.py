"""When to act on changed files: not in the middle of a burst, nor of a load that may yet end.

Owns both judgements. One saved file is acted on at once; a checkout of a thousand is over only when
nothing has changed for a while, and the longer it has taken, the longer that is. A load that is under
way goes on although files have changed since, for one that is saved every second would else never be
loaded; but one that hangs must not keep the edit that mends it waiting. Pure: ``now`` is monotonic
seconds.
"""

from __future__ import annotations

from collections.abc import Collection
from math import inf

__all__ = ["NOTHING", "Burst", "Floor"]

NOTHING: frozenset[str] = frozenset()
"""No path. The same object for all: there are very many owners of files, and an empty set has a size."""

# What comes after so long a pause belongs to another burst.
_APART = 1.0
# So many of a location's own files are a burst; so is any writing of so many files at such a rate.
_OWN = 3
_MANY = 20
_RATE = 40.0
# Quiet time that ends a burst: this share of how long it took, within these limits. While files are
# being written they are told of every 50 ms.
_SHARE = 0.3
_SHORTEST = 0.1
_LONGEST_QUIET = 1.0
# Nothing is held back for longer.
_LONGEST = 10.0

# A load has at least so long, and so many times what the last one took.
_FLOOR = 2.0
_TIMES = 2.0


class Burst:
    """The burst that is going on in the directories of one location, if there is one."""

    __slots__ = ("_count", "_first", "_last", "_own")

    def __init__(self) -> None:
        self._first = self._last = -inf
        self._own = NOTHING
        self._count = 0

    def heard(self, count: int, now: float) -> None:
        """``count`` files changed, of this location or of others."""
        if now - self._last > _APART:
            self._first = now
            self._own = NOTHING
            self._count = 0
        self._last = now
        self._count += count

    def concerned(self, paths: Collection[str]) -> None:
        """Of what was heard, ``paths`` are the location's own."""
        if len(self._own) < _OWN:
            self._own |= frozenset(paths)

    def wait(self, now: float) -> float:
        """Seconds until it will be over if nothing more is heard; 0 when it is."""
        lasted = self._last - self._first
        many = self._count >= _MANY and self._count >= _RATE * lasted
        if len(self._own) < _OWN and not many:
            return 0.0
        quiet = min(max(_SHORTEST, _SHARE * lasted), _LONGEST_QUIET)
        return max(0.0, min(self._last + quiet, self._first + _LONGEST) - now)


class Floor:
    """``seconds`` that a load has before a changed file may have another take its place."""

    __slots__ = ("_cut", "_loaded")

    def __init__(self) -> None:
        self._loaded = self._cut = 0.0

    @property
    def seconds(self) -> float:
        """Counted from when its process began to read."""
        return max(_FLOOR, _TIMES * self._loaded, _TIMES * self._cut)

    def loaded(self, seconds: float) -> None:
        """One took so long, and is ready."""
        self._loaded, self._cut = seconds, 0.0

    def cut(self, seconds: float) -> None:
        """One was given up after so long: perhaps it needs longer than any before."""
        self._cut = max(self._cut, seconds)
