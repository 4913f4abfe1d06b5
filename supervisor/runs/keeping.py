"""Removes the journals of runs that are not kept any more, one after the other, in threads.

Owns when that is: after a run has ended, after other settings, and once a minute for what has become too
old. ``retention`` decides which ones.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Container, Coroutine, Sequence
from typing import Any

from supervisor.runs import retention
from supervisor.runs.queue import Limits
from supervisor.runs.run import Run

__all__ = ["Keeper"]

_EVERY = 60.0


class Keeper:
    """Keeps ``runs`` within what ``limits`` gives; ``spawn`` runs a task until the end of all.

    Those whose ids are ``planned`` stay: they would be launched again where their journals are gone.
    """

    def __init__(
        self,
        runs: dict[str, Run],
        limits: Callable[[], Limits],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.planned: set[str] = set()
        self._runs = runs
        self._limits = limits
        self._spawn = spawn
        self._begun = self._at_work = self._again = False
        self._next = 0.0

    def begin(self) -> None:
        """Remove from now on: it is known which runs are planned."""
        self._begun = True
        self.look()

    def look(self) -> None:
        """See soon whether all are kept."""
        if not self._begun:
            return
        self._again = True
        self._next = time.monotonic() + _EVERY
        if not self._at_work:
            self._at_work = True
            self._spawn(self._remove())

    def look_from_time_to_time(self) -> None:
        """See whether some have become too old, unless that was seen lately."""
        if time.monotonic() >= self._next:
            self.look()

    async def _remove(self) -> None:
        try:
            while self._again:
                self._again = False
                runs, limits = list(self._runs.values()), self._limits()
                await self._measure(runs, limits)
                # In a thread: there may be ten thousand.
                going = await asyncio.to_thread(
                    _doomed, runs, limits, frozenset(self.planned), time.time()
                )
                for name in going:
                    run = self._runs.pop(name, None)
                    if run is not None:
                        await asyncio.to_thread(retention.remove, run.journal.path)
        finally:
            self._at_work = False

    async def _measure(self, runs: Sequence[Run], limits: Limits) -> None:
        """Have the sizes of journals known, where sizes count."""
        said = (limits.workspace, *limits.locations.values())
        if all(one.max_disk in (None, math.inf) for one in said):
            return
        for run in runs:
            if not run.ended or not run.size:
                run.size = await asyncio.to_thread(retention.size_of, run.journal.path)


def _doomed(runs: Sequence[Run], limits: Limits, planned: Container[str], now: float) -> list[str]:
    under_way = {one.range_id for one in runs if not one.ended} - {None}
    kept = [
        retention.Kept(one.id, one.location, one.ended_at, one.size)
        for one in runs
        if not one.ended or (one.range_id not in under_way and one.id not in planned)
    ]
    return retention.doomed(kept, limits.workspace, limits.locations, now)
