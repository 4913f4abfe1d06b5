"""Feeds the queue with events, and starts the runs that it returns.

Owns the queue of a workspace, the delays before retries, and the look at which locations can start runs
now. Reads and writes no journal: how a run starts, and how one ends that never can, are arguments.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from supervisor.machine import cores
from supervisor.run_settings import RunSettings, most_at_once
from supervisor.runs.queue import Ended, Event, Held, Limits, Queue, Queued, Started, Waiting
from supervisor.runs.run import Run

__all__ = ["CannotStartError", "Dispatch", "Place", "Start"]

_LONGEST = 86400.0
# Runs of one moment wait for the orders of all of them so long at most (seconds).
_TOGETHER = 0.2
_NOTHING = Limits(RunSettings(max_concurrent=0))


class CannotStartError(Exception):
    """The run has no process; the text says why."""


class Place(Protocol):
    """Where a run's process comes from."""

    def can_start(self, location: str) -> str:
        """Why ``location`` can start no run now, "" when it can. Raises ``CannotStartError`` when it
        never will."""

    async def __call__(self, run: Run) -> str:
        """Have the run's monitor and process forked; why in a fresh process, or "". Raises
        ``CannotStartError``."""


Start = Callable[[Run], Awaitable[str]]
"""As ``Place``, for one run."""


class Dispatch:
    """``can_start`` says why a location can start no run now, "" when it can, and raises
    ``CannotStartError`` when it never will. ``start`` and ``fail`` are called with a run that is no
    longer queued. Nothing starts before ``resume``.
    """

    def __init__(
        self,
        can_start: Callable[[str], str],
        start: Callable[[Run], None],
        fail: Callable[[Run, str], None],
    ) -> None:
        self._can_start = can_start
        self._start = start
        self._fail = fail
        self._limits = Limits()
        self._queue = Queue(_NOTHING, most=most_at_once(cores()))
        self._held: dict[str, str] = {}
        self._runs: dict[str, Run] = {}
        self._delayed: dict[str, asyncio.TimerHandle] = {}
        self._ordered: asyncio.Future[None] | None = None
        self._ordered_by = 0.0
        self._open = self._looking = False

    def __contains__(self, run: Run) -> bool:
        return run.id in self._queue or run.id in self._delayed

    def __len__(self) -> int:
        return len(self._queue) + len(self._delayed)

    @property
    def queued(self) -> list[Run]:
        """The runs that wait, in no order."""
        return list(self._runs.values())

    def standing(self, run: Run) -> tuple[str, int]:
        """Why ``run`` waits, and at which place; "" and 0 when it does not."""
        if run.id in self._delayed:
            if not run.not_before:
                return "others that are due at this moment are ordered first", 0
            left = max(run.not_before - time.time(), 0.0)
            return f"attempt {run.order.get('attempt')} begins in {left:.0f} s", 0
        if not self._open and run.id in self._queue:
            return "the supervisor is stopping", self._queue.place(run.id)
        return self._queue.why(run.id), self._queue.place(run.id)

    # What happens.

    def resume(self) -> None:
        """Start what may start, from now on."""
        self._open = True
        self.look()
        self._handle(self._limits)

    def suspend(self) -> None:
        """Start nothing more."""
        self._open = False
        self._handle(_NOTHING)

    def configure(self, limits: Limits) -> None:
        """Heed these limits from now on."""
        self._limits = limits
        if self._open:
            self._handle(limits)

    def together(self, ordered: asyncio.Future[None]) -> None:
        """Runs of schedules and sensors that are added from now on start once all of this moment are
        ``ordered``, or a moment later: those that are started take the processor from those to come."""
        self._ordered = ordered
        self._ordered_by = asyncio.get_running_loop().time() + _TOGETHER

    def add(self, run: Run) -> None:
        """A run wants to start, once its time has come."""
        self._runs[run.id] = run
        loop, ordered = asyncio.get_running_loop(), self._ordered
        delay = min(run.not_before - time.time(), _LONGEST) if run.not_before else 0.0
        if delay > 0:
            self._delayed[run.id] = loop.call_later(delay, self._due, run)
        elif ordered is None or ordered.done() or not run.order.get("automation"):
            self._due(run)
        elif loop.time() < self._ordered_by:
            self._delayed[run.id] = loop.call_at(self._ordered_by, self._due, run)
            ordered.add_done_callback(lambda _: self._no_more(run))
        else:
            self._due(run)

    def started(self, run: Run) -> None:
        """A run has started, by this queue or otherwise."""
        self._forget(run)
        self._handle(Started(_waiting(run)))

    def remove(self, run: Run) -> None:
        """A run has ended, or is not to start any more."""
        self._forget(run)
        self._handle(Ended(run.id))

    def look(self) -> None:
        """See which locations can start runs; one of which none can any more fails its runs."""
        if self._looking:
            return
        self._looking = True
        try:
            held, never = {}, {}
            for name in self._queue.locations():
                try:
                    why = self._can_start(name)
                except CannotStartError as error:
                    why = never[name] = str(error)
                if why:
                    held[name] = why
            if held != self._held:
                self._held = held
                self._handle(Held(held))
        finally:
            self._looking = False
        if never and self._open:
            for run in [one for one in self.queued if one.location in never]:
                if run.id in self._queue:
                    self.remove(run)
                    self._fail(run, never[run.location])

    def close(self) -> None:
        """Forget all."""
        for timer in self._delayed.values():
            timer.cancel()
        self._delayed.clear()

    def _no_more(self, run: Run) -> None:
        """It waits for no other's order."""
        timer = self._delayed.get(run.id)
        if timer is not None:
            timer.cancel()
            self._due(run)

    def _due(self, run: Run) -> None:
        self._delayed.pop(run.id, None)
        if self._open:
            self._hold(run.location)
        self._handle(Queued(_waiting(run)))
        if self._open:
            self.look()

    def _hold(self, location: str) -> None:
        """Know of a location that had no run in the queue whether it can start one."""
        if location in self._held or location in self._queue.locations():
            return
        try:
            why = self._can_start(location)
        except CannotStartError as error:
            why = str(error)
        if why:
            self._held[location] = why
            self._handle(Held(dict(self._held)))

    def _forget(self, run: Run) -> None:
        self._runs.pop(run.id, None)
        timer = self._delayed.pop(run.id, None)
        if timer is not None:
            timer.cancel()

    def _handle(self, event: Event) -> None:
        for name in self._queue.handle(event):
            self._start(self._runs.pop(name))


def _waiting(run: Run) -> Waiting:
    return Waiting(run.id, run.key, run.location, run.order.get("tags") or {})
