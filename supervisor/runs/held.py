"""A schedule or sensor as the scheduler keeps it: its definition, its recorded data and its state.

Owns when its next times are. What fires is ``automations``'.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from supervisor.runs.automation import Automation
from supervisor.runs.firing import NOT_THERE, Memory, next_look, sensor_due
from supervisor.runs.tick_store import Stored

__all__ = ["Held"]


class Held:
    """A schedule or sensor that a location defines now, and what is remembered of it.

    ``due`` is when its next tick is, as far as that is known; ``away``: why it could not be fired until now,
    "" when it could; ``busy``: one of its ticks is due or under way; ``turn`` is held by that. ``unfinished``
    are ticks that go on before another is due. ``gone``: its location does not define it any more.
    """

    __slots__ = ("away", "busy", "due", "gone", "one", "stored", "turn", "unfinished")

    def __init__(self, one: Automation, stored: Stored) -> None:
        self.one = one
        self.stored = stored
        self.due: float | None = None
        self.away = NOT_THERE
        self.busy = self.gone = False
        self.turn = asyncio.Lock()
        self.unfinished: list[dict[str, Any]] = []

    @property
    def on(self) -> bool:
        """Whether it is switched on."""
        switched = self.stored.switched
        return self.one.default_on if switched is None else switched

    def next(self) -> float | None:
        """When its next tick is due."""
        one, now = self.one, time.time()
        if not self.on:
            return None
        if one.schedule is not None:
            memory = self.stored.memory if one.ours else None
            return next_look(one.schedule, memory or Memory(now, ""))
        if one.kind == "schedule" or not one.ours:
            return None
        return sensor_due(one.interval, self.stored.last_tick, now)

    def times(self, count: int) -> Iterator[float]:
        """Its next ``count`` times, on or off; none of a sensor."""
        moment: float | None = time.time()
        for _ in range(count if self.one.schedule is not None else 0):
            assert self.one.schedule is not None and moment is not None
            moment = self.one.schedule.timetable.after(moment)
            if moment is None:
                return
            yield moment
