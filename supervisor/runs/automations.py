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
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import replace
from typing import Any

from supervisor.conditions import Tell
from supervisor.errors import SupervisorError
from supervisor.fleet.fleet import Fleet
from supervisor.locations.location import Location
from supervisor.runs import tick_store
from supervisor.runs.automation import Automation, definitions_of, of_definition
from supervisor.runs.firing import (
    LONGEST_STEP,
    NOT_THERE,
    CatchUp,
    Decision,
    Memory,
    decide,
    next_look,
    sensor_due,
)
from supervisor.runs.held import Held
from supervisor.runs.ordering import Orders
from supervisor.runs.store import Runs
from supervisor.runs.tasks import Tasks
from supervisor.runs.tick_life import Ticks
from supervisor.runs.tick_rows import tick_row
from supervisor.runs.tick_store import Stored, TickStore
from supervisor.runs.ticking import Ticking
from supervisor.runs.timetable import Timetable
from supervisor.snapshots.snapshot import Snapshot
from supervisor.states import State, TickState
from supervisor.time_slices import in_turns

__all__ = ["Automations"]

_log = logging.getLogger(__name__)

# A clock that is set is noticed after so long (seconds), and what could not be done is tried again.
_LOOK = 1.0
_AGAIN = 5.0
# How long one look at many holds up the loop (seconds).
_TURN = 0.01


class Automations:
    """Those of the locations of ``fleet``. Nothing fires before ``open``, nor after ``suspend``.

    ``tell`` hears why nothing can be written, and None once it can.
    """

    def __init__(
        self,
        fleet: Fleet,
        runs: Runs,
        orders: Orders,
        ticking: Ticking,
        store: TickStore,
        tell: Tell,
    ) -> None:
        self._fleet = fleet
        self._runs = runs
        self._ticking = ticking
        self._store = store
        self._ticks = Ticks(ticking, orders, runs, store, tell, fleet.changed)
        self._stored: dict[tuple[str, str], Stored] = {}
        self._held: dict[str, dict[tuple[str, str | None], Held]] = {}
        self._read: dict[str, Snapshot] = {}
        self._unfinished: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._tasks = Tasks()
        self._wake = asyncio.Event()
        self._reading = asyncio.Lock()
        self._latest = 0.0
        self._open = False

    async def open(self, *, fires: bool = True) -> None:
        """Take up what an earlier supervisor has left, and fire what is due from now on; nothing of that
        unless it ``fires``."""
        if await self._begun():
            self._go_on(fires)
        else:
            self._tasks.spawn(self._open_later(fires))

    async def _begun(self) -> bool:
        """Know what is stored; False where that cannot be read now."""
        try:
            self._stored |= await self._store.open()
            for tick in await self._store.write(tick_store.unfinished):
                self._unfinished.setdefault((tick["location"], tick["name"]), []).append(tick)
        except sqlite3.Error as error:
            self._ticks.unwritable(error)
            return False
        return True

    async def _open_later(self, fires: bool) -> None:
        while True:
            await asyncio.sleep(_AGAIN)
            if await self._begun():
                break
        self._held.clear()  # they know nothing of what is stored
        self._read.clear()
        self._go_on(fires)

    def _go_on(self, fires: bool) -> None:
        self._open = True
        if fires:
            self._tasks.spawn(self._go())

    def suspend(self) -> None:
        """Fire nothing more."""
        self._open = False

    async def close(self) -> None:
        """End what is under way; the next supervisor takes it up."""
        self._open = False
        await self._tasks.close()
        await self._store.close()

    def look(self) -> None:
        """Locations have changed."""
        self._wake.set()

    # What clients ask.

    async def held(self, location: str | None = None) -> list[Held]:
        """All that are known, or those of a location, by name."""
        await self._read_all()
        names = list(self._fleet.locations) if location is None else [location]
        return [one for name in names for one in self._held.get(name, {}).values()]

    async def ticks(self, location: str, name: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest ticks of a location; raises ``SupervisorError``."""
        if not self._open:
            return []
        found: list[dict[str, Any]] = await self._ticks.written(
            lambda database: tick_store.ticks_of(database, location, name, limit)
        )
        return found

    async def switch(self, location: str, name: str, on: bool) -> list[Held]:
        """Switch those of that name; raises ``SupervisorError`` where that cannot be written."""
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

    def next_of(self, held: Held) -> float | None:
        """When its next tick is due."""
        one, now = held.one, time.time()
        if not held.on:
            return None
        if one.schedule is not None:
            memory = held.stored.memory if one.ours else None
            return next_look(one.schedule, memory or Memory(now, ""))
        if one.kind == "schedule" or not one.ours:
            return None
        return sensor_due(one.interval, held.stored.last_tick, now)

    def times_of(self, held: Held, count: int) -> Iterator[float]:
        """Its next ``count`` times, on or off; none of a sensor."""
        moment: float | None = time.time()
        for _ in range(count if held.one.schedule is not None else 0):
            assert held.one.schedule is not None and moment is not None
            moment = held.one.schedule.timetable.after(moment)
            if moment is None:
                return
            yield moment

    def stored(self, one: Automation) -> Stored:
        """What is remembered of it."""
        return self._stored.get(one.key) or Stored()

    async def launched_as(self, one: Automation, run_key: str | None) -> str | None:
        """The run that was launched under a run key of it."""
        if run_key is None or not self._open:
            return None
        found: str | None = await self._ticks.written(
            lambda database: tick_store.run_of(database, one.key, run_key)
        )
        return found

    async def fire(
        self, one: Automation, at: float, *, cursor: str | None, by: str
    ) -> dict[str, Any]:
        """Evaluate it now and launch what it asks for, as ``by`` wants; the row of the tick.

        Without ``cursor`` it begins with its own, and leaves it.
        """
        known = {
            (each.one.name, each.one.repository): each for each in await self.held(one.location)
        }
        held = known.get((one.name, one.repository))
        stored = self._stored.setdefault(one.key, Stored()) if held is None else held.stored
        turn = asyncio.Lock() if held is None else held.turn
        async with turn:
            return await self._ticks.do(one, stored, at, given=cursor, by=by)

    # What happens.

    async def _go(self) -> None:
        while True:
            self._wake.clear()
            wait: float | None = _LOOK
            try:
                await self._read_all()
                due = await self._fire_due(time.time()) if self._open else None
                wait = None if due is None else min(max(due - time.time(), 0.0), _LOOK)
            except Exception:  # one look that fails is no reason to fire nothing any more
                _log.exception("schedules and sensors could not be looked at")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def _read_all(self) -> None:
        """Know what the locations define by now."""
        async with self._reading:
            for name in self._held.keys() - self._fleet.locations.keys():
                del self._held[name]
                self._read.pop(name, None)
            for name, location in list(self._fleet.locations.items()):
                snapshot = location.snapshot
                if snapshot is not None and self._read.get(name) is not snapshot:
                    await self._read_one(name, location, snapshot)

    async def _read_one(self, name: str, location: Location, snapshot: Snapshot) -> None:
        definitions = await in_turns(definitions_of(snapshot))
        found: list[Automation] = []
        if definitions:
            found = await asyncio.to_thread(
                lambda: [of_definition(snapshot, one) for one in definitions]
            )
        before = self._held.get(name, {})
        held: dict[tuple[str, str | None], Held] = {}
        for listed in found:
            one = listed
            if one.lazy and one.ours and location.serving is not None and location.serving.alive:
                with contextlib.suppress(SupervisorError):
                    one = await self._ticking.find(name, one.name, one.repository)
            key = one.name, one.repository
            known = before.get(key)
            if known is None:
                known = Held(one, self._stored.setdefault(one.key, Stored()))
                known.unfinished = self._unfinished.pop(one.key, [])
            else:
                known.one, known.due = one, None
            held[key] = known
        self._held[name] = held
        if not any(each.one.lazy for each in held.values()) or location.serving is not None:
            self._read[name] = snapshot

    def _each(self) -> Iterator[Held]:
        for found in self._held.values():
            for held in found.values():
                if held.one.ours and not held.one.lazy:
                    yield held

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
        if now < self._latest - 1.0:  # the clock was set back
            for held in self._each():
                held.due = None
        self._latest = now
        because = {name: self._why_not(name) for name in self._held}
        self._take_up_gone(because)
        running: set[tuple[str, str]] | None = None
        earliest: float | None = None
        for held in list(self._each()):
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
                self._begin(held, self._take_up(held))
                continue
            if not held.on:
                continue
            if held.one.kind == "sensor":
                due: float | None = sensor_due(held.one.interval, held.stored.last_tick, now)
                if due is not None and due <= now:
                    self._begin(held, self._ask(held, now))
                    continue
            else:
                memory = held.stored.memory
                if held.due is None or held.due <= now or (memory and memory.waiting):
                    if running is None:
                        running = self._running()
                    self._decide(held, now, held.one.key in running)
                due = held.due
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest

    def _take_up_gone(self, because: Mapping[str, str]) -> None:
        """What is unfinished of schedules and sensors that are not defined any more: planned runs are launched."""
        for key in [one for one in self._unfinished if because.get(one[0]) == ""]:
            ticks = self._unfinished.pop(key)
            said = {"name": key[1], "kind": ticks[0]["kind"]}
            one = of_definition(self._read[key[0]], said)
            held = Held(one, self._stored.setdefault(key, Stored()))
            held.unfinished = ticks
            self._begin(held, self._take_up(held))

    def _begin(self, held: Held, work: Coroutine[Any, Any, None]) -> None:
        """Have ``work`` on one of its ticks done; nothing else of it begins before that has ended."""

        async def done() -> None:
            try:
                async with held.turn:
                    await work
            finally:
                held.busy = False
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

    def _decide(self, held: Held, now: float, running: bool) -> None:
        one, stored = held.one, held.stored
        if one.schedule is None:
            return
        if stored.memory is None:
            stored.memory = Memory(now, one.schedule.fingerprint)
            held.away = ""
            self._tasks.spawn(self._remember_quietly(held))
        if now - stored.memory.until > LONGEST_STEP:  # there may be thousands of ticks to look at
            self._begin(held, self._decide_apart(held, one, now, running))
            return
        before = stored.memory
        memory, decisions = decide(one.schedule, before, now, running=running,
                                   was_away=bool(held.away), absent=held.away)  # fmt: skip
        held.away = ""
        held.due = next_look(one.schedule, memory)
        if decisions:
            self._begin(held, self._fire(held, memory, decisions))
            return
        stored.memory = memory
        if memory.fingerprint != before.fingerprint or memory.waiting != before.waiting:
            self._tasks.spawn(self._remember_quietly(held))

    async def _decide_apart(self, held: Held, one: Automation, now: float, running: bool) -> None:
        """As ``_decide``, in a thread, with a timetable of its own."""
        schedule, memory, absent = one.schedule, held.stored.memory, held.away
        assert schedule is not None and memory is not None  # else nothing would be decided

        def work() -> tuple[Memory, list[Decision]]:
            apart = replace(schedule, timetable=Timetable(one.crons, one.zone))
            return decide(apart, memory, now, running=running, was_away=True, absent=absent)

        after, decisions = await asyncio.to_thread(work)
        held.away, held.due = "", None
        await self._fire(held, after, decisions)

    async def _fire(self, held: Held, memory: Memory, decisions: list[Decision]) -> None:
        """Have the decisions on the disk, and then evaluate the ticks that fire."""
        one, stored = held.one, held.stored
        ticks = [
            tick_row(one, decision.ticks[-1], count=len(decision.ticks),
                     state=TickState.SKIPPED if decision.skipped else TickState.DUE,
                     reason=decision.skipped or None)
            for decision in decisions
        ]  # fmt: skip
        before, stored.memory = stored.memory, memory

        def work(database: sqlite3.Connection) -> list[int]:
            tick_store.remember(database, one.key, stored)
            return [tick_store.add_tick(database, tick) for tick in ticks]

        try:
            numbers = await self._ticks.written(work)
        except SupervisorError:
            stored.memory, held.due = before, None
            await asyncio.sleep(_AGAIN)
            return
        for tick, number in zip(ticks, numbers, strict=True):
            tick["tick"] = number
            stored.last = tick
        for tick in ticks:
            if tick["state"] == TickState.DUE:
                await self._do(held, tick)

    async def _ask(self, held: Held, now: float) -> None:
        """Ask a sensor."""
        await self._do(held, tick_row(held.one, now))

    async def _do(self, held: Held, tick: dict[str, Any]) -> None:
        """Do a tick; what cannot be written, or ordered, is tried again."""
        try:
            await self._ticks.do(held.one, held.stored, tick["time"], begun=tick)
        except SupervisorError as error:
            _log.warning("%s of %s: %s", held.one.name, held.one.location, error)
            if tick["tick"] is not None:
                held.unfinished.append(tick)
            await asyncio.sleep(_AGAIN)

    async def _take_up(self, held: Held) -> None:
        """Go on with the ticks that an earlier supervisor, or a disk that was full, has left unfinished."""
        ticks, held.unfinished = held.unfinished, []
        due = [one for one in ticks if one["state"] == TickState.DUE]
        chosen = {CatchUp.ALL: due, CatchUp.LAST: due[-1:], CatchUp.NONE: []}
        for tick in ticks:
            try:
                if tick["state"] == TickState.LAUNCHING:
                    await self._ticks.launch(held.one, held.stored, tick)
                elif tick in chosen[held.one.catch_up]:
                    await self._ticks.do(held.one, held.stored, tick["time"], begun=tick)
                else:
                    tick |= {"state": TickState.SKIPPED, "reason": NOT_THERE}
                    await self._ticks.end(held.one, held.stored, tick)
            except SupervisorError:
                held.unfinished.append(tick)
        if held.unfinished:
            await asyncio.sleep(_AGAIN)

    async def _remember(self, held: Held) -> None:
        key, stored = held.one.key, held.stored
        await self._ticks.written(lambda database: tick_store.remember(database, key, stored))

    async def _remember_quietly(self, held: Held) -> None:
        with contextlib.suppress(SupervisorError):
            await self._remember(held)
