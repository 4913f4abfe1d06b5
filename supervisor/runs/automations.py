"""The scheduler: fires native schedules and sensors, and knows all others.

Owns what is due and the order of steps of a tick. Which ticks of a schedule fire is ``firing``'s, pure; what
is remembered ``tick_store``'s. Nothing fires twice, and nothing is lost, whenever this process is killed:

1. That a schedule's tick is due is on the disk before it is evaluated.
2. What a tick asks for, the id of each run, the run keys and the cursor are on the disk, at once, before the
   first of the runs is ordered. A sensor that is killed before that is asked again, with the same cursor.
3. A run is ordered under that id, once: its journal is there or is not.
4. That the tick is over is written last. The next supervisor takes up what was not.

A location that is stopped, or serves nothing, fires nothing. Dagster's schedules and sensors are listed, and
never fired: its own daemon does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from supervisor.conditions import Tell
from supervisor.errors import NotServedError, RequestError, SupervisorError
from supervisor.fleet.fleet import Fleet
from supervisor.runs import tick_store
from supervisor.runs.automation import Automation
from supervisor.runs.defined import Defined, Unfinished
from supervisor.runs.firing import (
    LONGEST_STEP,
    NOT_THERE,
    CatchUp,
    Decision,
    Memory,
    deciding,
    next_look,
    sensor_due,
)
from supervisor.runs.held import Held
from supervisor.runs.moment import Moment
from supervisor.runs.ordering import Orders
from supervisor.runs.store import Runs
from supervisor.runs.tasks import Tasks
from supervisor.runs.tick_life import Ticks, Turned
from supervisor.runs.tick_rows import tick_row
from supervisor.runs.tick_store import Stored, TickStore, UnwritableError
from supervisor.runs.ticking import Ticking
from supervisor.snapshots.store import FORGET_SECONDS
from supervisor.states import State, TickState
from supervisor.time_slices import Steps, at_once, in_turns

__all__ = ["Automations"]

_log = logging.getLogger(__name__)

# A clock that is set is noticed after so long (seconds), and what could not be done is tried again.
_LOOK = 1.0
_AGAIN = 5.0
# So often it is looked for locations that have been gone for long (seconds).
_FORGET_EVERY = 86400.0
# How long one look at many holds up the loop (seconds).
_TURN = 0.01
_GONE = "its location does not define it any more"


class Automations:
    """Those of the locations of ``fleet``. Nothing fires before ``open``, nor after ``suspend``.

    ``tell`` hears why nothing can be written, and None once it can; ``turned`` is as ``Ticks`` has it.
    """

    def __init__(
        self,
        fleet: Fleet,
        runs: Runs,
        orders: Orders,
        ticking: Ticking,
        store: TickStore,
        tell: Tell,
        turned: Turned,
    ) -> None:
        self._fleet = fleet
        self._runs = runs
        self._ticking = ticking
        self._store = store
        self._ticks = Ticks(ticking, orders, runs, store, tell, fleet.changed, turned)
        self._tasks = Tasks()
        self._wake = asyncio.Event()
        self._defined = Defined(fleet, ticking, self._tasks.spawn, self._wake.set)
        self._moment = Moment(runs.together)
        self._latest = 0.0
        self._fires = False
        self._suspended = False
        # Why nothing is read and written, None where it is.
        self._shut: RequestError | None = RequestError("this supervisor fires nothing")

    async def open(self, *, fires: bool = True) -> None:
        """Take up what an earlier supervisor has left, and fire what is due from now on; nothing of that
        unless it ``fires``. Where the store cannot be read that is tried again from time to time."""
        self._fires = fires
        self._store.open()
        if not await self._opened():
            self._tasks.spawn(self._open_later())

    async def _opened(self) -> bool:
        try:
            stored = await self._ticks.written(tick_store.everything)
            left = await self._ticks.written(tick_store.unfinished)
        except UnwritableError as error:
            self._shut = error
            return False
        if self._suspended:
            return True
        unfinished: Unfinished = {}
        for tick in left:
            unfinished.setdefault((tick["location"], tick["name"]), []).append(tick)
            self._runs.keeper.planned.update(one["run"] for one in tick["requests"])
        self._defined.begin(stored, unfinished)
        self._shut = None
        if self._fires:
            self._tasks.spawn(self._go())
        self._tasks.spawn(self._forget_from_time_to_time())
        return True

    async def _forget_from_time_to_time(self) -> None:
        while True:
            present = [*self._fleet.locations, *self._fleet.remotes]
            forget = partial(
                tick_store.forget_absent, present=present, now=time.time(), after=FORGET_SECONDS
            )
            with contextlib.suppress(UnwritableError):
                self._defined.forget(await self._ticks.written(forget))
            await asyncio.sleep(_FORGET_EVERY)

    async def _open_later(self) -> None:
        done = False
        while not done:
            await asyncio.sleep(_AGAIN)
            async with self._defined.lock:
                done = await self._opened()

    def suspend(self) -> None:
        """Fire nothing more."""
        self._suspended = True
        self._shut = RequestError("the supervisor is stopping")

    async def close(self) -> None:
        """End what is under way; the next supervisor takes it up."""
        self.suspend()
        await self._tasks.close()
        await self._store.close()

    def look(self) -> None:
        """Locations have changed."""
        self._wake.set()

    # What clients ask.

    async def held(self, location: str | None = None) -> list[Held]:
        """All that are known, or those of a location, by name."""
        await self._defined.read()
        names = list(self._fleet.locations) if location is None else [location]
        await self._defined.constructed(names)
        return [one for name in names for one in self._defined.of(name)]

    async def ticks(self, location: str, name: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest ticks of a location; raises ``SupervisorError``."""
        if self._shut is not None:
            return []
        found: list[dict[str, Any]] = await self._ticks.written(
            lambda database: tick_store.ticks_of(database, location, name, limit)
        )
        return found

    async def switch(self, location: str, name: str, on: bool) -> list[Held]:
        """Switch those of that name; raises ``SupervisorError`` where that cannot be written."""
        if self._shut is not None:
            raise self._shut
        found = [one for one in await self.held(location) if one.one.name == name]
        for held in found:
            stored = held.stored
            before = stored.switched, stored.memory
            if on and not held.on:
                stored.memory, held.due, held.away = None, None, ""
            stored.switched = on
            try:
                await self._remember(held)
            except SupervisorError:
                stored.switched, stored.memory = before
                raise
        self._wake.set()
        return found

    def waits(self, held: Held) -> str | None:
        """Why it is not fired now although it is on."""
        if not held.one.ours or not held.on:
            return None
        return held.one.trouble or self._why_not(held.one.location) or None

    def stored(self, one: Automation) -> Stored:
        """What is remembered of it."""
        return self._defined.stored.get(one.key) or Stored()

    async def launched_as(self, one: Automation, run_key: str | None) -> str | None:
        """The run that was launched under a run key of it."""
        if run_key is None or self._shut is not None:
            return None
        found: str | None = await self._ticks.written(
            lambda database: tick_store.run_of(database, one.key, run_key)
        )
        return found

    async def fire(
        self, one: Automation, at: float, *, cursor: str | None, by: str
    ) -> dict[str, Any]:
        """Evaluate it now and launch what it asks for, as ``by`` wants; the row of the tick.

        Without ``cursor`` it begins with its own, and leaves it. Raises ``SupervisorError``.
        """
        if self._shut is not None:
            raise self._shut
        known = {
            (each.one.name, each.one.repository): each for each in await self.held(one.location)
        }
        held = known.get((one.name, one.repository))
        stored = self._defined.stored.setdefault(one.key, Stored()) if held is None else held.stored
        turn = asyncio.Lock() if held is None else held.turn
        done: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            try:
                async with turn:
                    tick = await self._ticks.do(one, stored, at, given=cursor, by=by)
                if not done.done():
                    done.set_result(tick)
            except SupervisorError as error:
                if not done.done():
                    done.set_exception(error)
            finally:
                if not done.done():
                    done.set_exception(RequestError("the supervisor is stopping"))

        # What was planned is launched also where the caller is cancelled.
        self._tasks.spawn(work())
        return await done

    # What happens.

    async def _go(self) -> None:
        while True:
            self._wake.clear()
            wait: float | None = _LOOK
            try:
                await self._defined.read()
                due = await self._fire_due(time.time()) if self._shut is None else None
                wait = None if due is None else min(max(due - time.time(), 0.0), _LOOK)
            except Exception:  # one look that fails is no reason to fire nothing any more
                _log.exception("schedules and sensors could not be looked at")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    def _why_not(self, location: str) -> str:
        """Why nothing of that location is fired, or ""."""
        found = self._fleet.locations.get(location)
        if found is None or found.state is State.STOPPED:
            return "the location is stopped"
        if found.serving is None or not found.serving.alive:
            return f"the location serves nothing: it is {found.state}"
        return ""

    async def _fire_due(self, now: float) -> float | None:
        """Begin the ticks that are due; when the next one is. Others have their turn in between."""
        begun = time.perf_counter()
        self._moment = Moment(self._runs.together)
        if now < self._latest - 1.0:  # the clock was set back
            for held in self._defined.fired():
                held.due = None
        looked, self._latest = self._latest, now
        because = {name: self._why_not(name) for name in self._defined.locations()}
        for held in [
            one for name in because if not because[name] for one in self._defined.gone(name)
        ]:
            self._begin(held, partial(self._take_up, held))
        running: set[tuple[str, str]] | None = None
        earliest: float | None = None
        for held in list(self._defined.fired()):
            if time.perf_counter() - begun > _TURN:
                await asyncio.sleep(0)
                begun = time.perf_counter()
            if because.get(held.one.location, "it is new"):
                stopped = self._fleet.locations.get(held.one.location)
                if not held.away and stopped is not None and stopped.state is State.STOPPED:
                    held.stored.memory = None  # as if it was switched off meanwhile
                held.away, held.due = held.away or "the location did not serve", None
                continue
            if held.busy:
                continue
            if held.unfinished:
                self._begin(held, partial(self._take_up, held))
                continue
            if not held.on:
                continue
            if held.one.kind == "sensor":
                due: float | None = sensor_due(held.one.interval, held.stored.last_tick, now)
                if due is not None and due <= now:
                    self._begin(held, partial(self._do, held, tick_row(held.one, now)))
                    continue
            else:
                memory = held.stored.memory
                if held.due is None or held.due <= now or (memory and memory.waiting):
                    if running is None:
                        running = self._running()
                    self._decide(held, now, looked, held.one.key in running)
                due = held.due
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest

    def _begin(self, held: Held, work: Callable[[], Awaitable[None]]) -> None:
        """Have ``work`` on one of its ticks done; nothing else of it begins before that has ended."""

        moment = self._moment
        moment.begin()

        async def done() -> None:
            try:
                async with held.turn:
                    await work()
            except Exception:  # not at once again
                _log.exception("a tick of %s failed", held.one.name)
                await asyncio.sleep(_AGAIN)
            finally:
                held.busy = False
                moment.end()
                self._wake.set()

        held.busy = True
        self._tasks.spawn(done())

    def _running(self) -> set[tuple[str, str]]:
        """The schedules of which runs have not ended."""
        return {
            (run.location, str(said.get("name")))
            for run in self._runs.living()
            if (said := run.order.get("automation"))
        }

    def _decide(self, held: Held, now: float, looked: float, running: bool) -> None:
        one, stored = held.one, held.stored
        if one.schedule is None:
            return
        if stored.memory is None:
            stored.memory = Memory(now, one.schedule.fingerprint)
            held.away = ""
            self._tasks.spawn(self._remember_quietly(held))
        before, away = stored.memory, held.away
        steps = deciding(one.schedule, before, now, running=running, looked=looked,
                         was_away=bool(away), absent=away)  # fmt: skip
        held.away = ""
        if now - before.until > LONGEST_STEP:  # many may have been due
            held.due = None
            self._begin(held, partial(self._catch_up, held, before, steps, away))
            return
        memory, decisions = at_once(steps)
        held.due = next_look(one.schedule, memory)
        if decisions:
            self._begin(held, partial(self._fire, held, memory, decisions, away))
        else:
            self._decided(held, memory)

    async def _catch_up(
        self,
        held: Held,
        before: Memory,
        steps: Steps[tuple[Memory, list[Decision]]],
        away: str,
    ) -> None:
        memory, decisions = await in_turns(steps)
        if held.stored.memory is not before:  # it was switched meanwhile
            return
        if decisions:
            await self._fire(held, memory, decisions, away)
        else:
            self._decided(held, memory)

    def _decided(self, held: Held, memory: Memory) -> None:
        """Nothing is due."""
        before, held.stored.memory = held.stored.memory, memory
        if before is None or replace(before, until=memory.until) != memory:
            self._tasks.spawn(self._remember_quietly(held))

    async def _fire(self, held: Held, memory: Memory, decisions: list[Decision], away: str) -> None:
        """Have the decisions on the disk, and then evaluate the ticks that fire."""
        one, stored = held.one, held.stored
        ticks = [
            tick_row(one, decision.ticks[-1], count=len(decision.ticks),
                     state=TickState.SKIPPED if decision.skipped else TickState.DUE,
                     reason=_reason(decision))
            for decision in decisions
        ]  # fmt: skip
        before, stored.memory = stored.memory, memory

        def work(database: sqlite3.Connection) -> list[int]:
            tick_store.remember(database, one.key, stored)
            return [tick_store.add_tick(database, tick) for tick in ticks]

        try:
            numbers = await self._ticks.written(work)
        except SupervisorError:
            stored.memory, held.due, held.away = before, None, held.away or away
            await asyncio.sleep(_AGAIN)
            return
        for tick, number in zip(ticks, numbers, strict=True):
            tick["tick"] = number
            stored.last = tick
        for tick in ticks:
            if tick["state"] == TickState.DUE:
                await self._do(held, tick)

    async def _do(self, held: Held, tick: dict[str, Any], skipped: str = "") -> None:
        """Go on with a tick from where it stands on the disk; again until what it does can be written.

        It is only written where it is ``skipped``.
        """
        one, stored = held.one, held.stored
        while True:
            try:
                if skipped:
                    found = {"state": TickState.SKIPPED, "reason": skipped}
                    await self._ticks.end(one, stored, tick, found)
                elif tick["state"] == TickState.LAUNCHING:
                    await self._ticks.launch(one, stored, tick)
                else:
                    await self._ticks.do(one, stored, tick["time"], begun=tick)
                return
            except NotServedError:  # its process was ended: taken up once there is another
                if held.gone:
                    self._defined.unfinished.setdefault(one.key, []).append(tick)
                else:
                    held.unfinished.append(tick)
                return
            except SupervisorError as error:
                _log.warning("%s of %s: %s", one.name, one.location, error)
                await asyncio.sleep(_AGAIN)
            if tick["tick"] is None:  # a sensor is asked anew
                return

    async def _take_up(self, held: Held) -> None:
        """Go on with the ticks that an earlier supervisor, or a process that was ended, has left unfinished."""
        ticks, held.unfinished = held.unfinished, []
        due = [one for one in ticks if one["state"] == TickState.DUE and not held.gone]
        chosen = {CatchUp.ALL: due, CatchUp.LAST: due[-1:], CatchUp.NONE: []}[held.one.catch_up]
        for tick in ticks:
            goes_on = tick["state"] == TickState.LAUNCHING or tick in chosen
            await self._do(held, tick, "" if goes_on else _GONE if held.gone else NOT_THERE)

    async def _remember(self, held: Held) -> None:
        key, stored = held.one.key, held.stored
        await self._ticks.written(lambda database: tick_store.remember(database, key, stored))

    async def _remember_quietly(self, held: Held) -> None:
        with contextlib.suppress(SupervisorError):
            await self._remember(held)


def _reason(decision: Decision) -> str | None:
    if decision.at_least:
        return f"{decision.skipped}; at least {len(decision.ticks):,} were missed"
    return decision.skipped or None
