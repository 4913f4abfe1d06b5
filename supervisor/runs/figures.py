"""Statistics of runs since the supervisor started: ends by state, durations, waits, adoptions, retries.

Owns the counts of each location, and the document made of them. They begin at zero with each supervisor:
what ended while none ran is not counted. Reads no clock and no file.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from itertools import accumulate
from typing import Any

from supervisor.runs.run import Run
from supervisor.states import RunState

__all__ = ["DURATIONS", "WAITS", "Figures"]

DURATIONS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Bounds of the histogram of how long runs took (seconds)."""
WAITS = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Bounds of the histogram of how long runs waited in the queue (seconds)."""


class _Histogram:
    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        value = max(value, 0.0)  # a clock was set back
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def document(self) -> dict[str, Any]:
        *upper, count = accumulate(self._counts)
        return {
            "bounds": list(self._bounds),
            "counts": upper,
            "count": count,
            "sum": self._sum,
        }


class _OfLocation:
    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self.adopted = self.retried = 0
        self.durations, self.waits = _Histogram(DURATIONS), _Histogram(WAITS)


class Figures:
    """The counts of all locations that had runs."""

    def __init__(self) -> None:
        self._locations: defaultdict[str, _OfLocation] = defaultdict(_OfLocation)

    def admitted(self, run: Run) -> None:
        """``run`` has left the queue."""
        # A retry waits from the end of its delay on.
        begin = max(run.created, run.not_before)
        self._locations[run.location].waits.add(run.started - begin)

    def ended(self, run: Run) -> None:
        """``run`` has its final record, and what repeats it is ordered."""
        of = self._locations[run.location]
        of.ended[run.state.value] += 1
        of.adopted += run.adopted
        of.retried += bool(run.retried_by)
        if run.began is not None and run.ended_at:
            of.durations.add(run.ended_at - run.began)

    def keep_only(self, locations: Container[str]) -> None:
        """Forget what was counted of others."""
        for name in [one for one in self._locations if one not in locations]:
            del self._locations[name]

    def documents(
        self, locations: Iterable[str], living: Iterable[Run], now: float
    ) -> list[dict[str, Any]]:
        """The document ``RunFigures`` of each of ``locations``; ``living`` are the runs that have not ended."""
        states: defaultdict[str, Counter[str]] = defaultdict(Counter)
        adopted: Counter[str] = Counter()
        oldest: dict[str, float] = {}
        for run in living:
            states[run.location][run.state.value] += 1
            adopted[run.location] += run.adopted
            if run.state is RunState.QUEUED:
                begin = max(run.created, run.not_before)
                oldest[run.location] = min(begin, oldest.get(run.location, now))
        found = []
        for name in locations:
            of = self._locations.get(name) or _OfLocation()
            waits = None if name not in oldest else max(now - oldest[name], 0.0)
            found.append(
                {
                    "location": name,
                    "states": dict(states[name]),
                    "ended": dict(of.ended),
                    "adopted": of.adopted + adopted[name],
                    "retried": of.retried,
                    "longest_wait": waits,
                    "durations": of.durations.document(),
                    "waits": of.waits.document(),
                }
            )
        return found
