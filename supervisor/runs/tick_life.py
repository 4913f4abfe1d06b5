"""One tick of a schedule or sensor, from its evaluation to its end, each step on the disk before the next.

Owns the order of the steps (``automations`` says why it is that) and what is written at each. The row of a tick
is as it is on the disk: what could not be written is done again from there. When a tick is due is not known here.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from runner_shim import masking
from supervisor.conditions import Tell
from supervisor.errors import NotServedError, SupervisorError
from supervisor.runs import launching, tick_store
from supervisor.runs.automation import Automation
from supervisor.runs.ordering import Orders
from supervisor.runs.run import new_id
from supervisor.runs.store import Runs
from supervisor.runs.tick_rows import tick_row
from supervisor.runs.tick_store import Stored, TickStore, UnwritableError
from supervisor.runs.ticking import Outcome, Ticking
from supervisor.states import TickState

__all__ = ["Ticks", "Turned", "told"]

_T = TypeVar("_T")
Turned = Callable[[Automation, Mapping[str, Any], bool], None]
# So long it is waited before a launch that was refused for now is tried again (seconds).
_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


class Ticks:
    """``tell`` hears why nothing can be written, and None once it can; ``changed`` that a client sees more.

    ``turned(one, tick, failing)`` hears of the first tick that fails, and of the first that does not any more.
    """

    def __init__(
        self,
        ticking: Ticking,
        orders: Orders,
        runs: Runs,
        store: TickStore,
        tell: Tell,
        changed: Callable[[], None],
        turned: Turned,
    ) -> None:
        self._ticking = ticking
        self._orders = orders
        self._runs = runs
        self._store = store
        self._tell = tell
        self._changed = changed
        self._turned = turned

    async def do(
        self,
        one: Automation,
        stored: Stored,
        at: float,
        *,
        begun: dict[str, Any] | None = None,
        given: str | None = None,
        by: str | None = None,
    ) -> dict[str, Any]:
        """Evaluate, and launch what is asked for; the row. ``given`` is a cursor that is not its own.

        Raises ``SupervisorError`` where it cannot be written: nothing was launched then; and for one that is
        on the disk ``NotServedError`` where its process was ended.
        """
        tick = begun if begun is not None else tick_row(one, at, by=by)
        keeps = one.kind == "sensor" and given is None
        cursor = stored.cursor if keeps else given
        try:
            outcome = await self._ticking.evaluate(
                one,
                at,
                cursor=cursor,
                last_run_key=stored.last_run_key,
                last_tick=stored.last_tick,
            )
        except SupervisorError as error:
            if isinstance(error, NotServedError) and tick["tick"] is not None:
                raise
            if keeps:
                stored.last_tick = time.time()
            failed = {"cursor": cursor, "state": TickState.FAILED, "reason": str(error)}
            await self.end(one, stored, tick, failed)
            return tick
        found = {"cursor": cursor, **told(outcome)}
        if outcome.failure is not None or not outcome.requests:
            if keeps:
                stored.last_tick = outcome.began
                if outcome.failure is None and outcome.cursor is not None:
                    stored.cursor = outcome.cursor
            await self.end(one, stored, tick, found, remember=keeps)
            return tick
        await self._plan(one, stored, tick, found, outcome, keeps=keeps)
        await self.launch(one, stored, tick)
        return tick

    async def _plan(
        self,
        one: Automation,
        stored: Stored,
        tick: dict[str, Any],
        found: Mapping[str, Any],
        outcome: Outcome,
        *,
        keeps: bool,
    ) -> None:
        """Have on the disk what is to be launched, under which ids, and the cursor behind it."""
        requests = [{**each, "run": new_id(), "note": None} for each in outcome.requests]
        after = Stored(
            stored.switched, stored.memory, stored.cursor, stored.last_tick, stored.last_run_key
        )
        if keeps:
            after.last_tick = outcome.began
            if outcome.cursor is not None:
                after.cursor = outcome.cursor
        keys = [each["run_key"] for each in requests if each["run_key"] is not None]
        if keys:
            after.last_run_key = keys[-1]
        planned = {**tick, **found, "requests": requests, "state": TickState.LAUNCHING.value}

        def work(database: sqlite3.Connection) -> int:
            for each in requests:
                if each["run_key"] is None:
                    continue
                earlier = tick_store.take_key(database, one.key, each["run_key"], each["run"])
                if earlier is not None:
                    each |= {"run": earlier, "note": "it was launched already, under its run key"}
            if keys:
                tick_store.forget_keys(database, one.key)
            tick_store.remember(database, one.key, after)
            return _put(database, planned)

        number = await self.written(work)
        self._runs.keeper.planned.update(each["run"] for each in requests)
        tick |= {**planned, "tick": number}
        stored.cursor, stored.last_tick = after.cursor, after.last_tick
        stored.last_run_key, stored.last = after.last_run_key, tick

    async def launch(self, one: Automation, stored: Stored, tick: dict[str, Any]) -> None:
        """Have the planned runs ordered that are not yet, and the tick ended.

        Raises ``SupervisorError`` where that is to be tried again.
        """
        requests, refused = [], []
        for planned in tick["requests"]:
            request = planned
            if request["note"] is None:
                note = await self._launched(one, stored, tick, request)
                if note is not None:
                    refused.append(request)
                    request = {**request, "note": note, "run": None}
            requests.append(request)
        after: dict[str, Any] = {"requests": requests, "ended": time.time()}
        if any(each["note"] is None for each in requests):
            after |= {"state": TickState.LAUNCHED, "reason": None}
        elif refused:
            why = next(each["note"] for each in requests if each["run"] is None)
            after |= {"state": TickState.FAILED, "reason": why}
        else:
            after |= {"state": TickState.SKIPPED, "reason": "all of it was launched already"}

        def work(database: sqlite3.Connection) -> None:
            for each in refused:
                if each["run_key"] is not None:
                    tick_store.free_key(database, one.key, each["run_key"], each["run"])
            tick_store.set_tick(database, tick["tick"], {**tick, **after})

        await self.written(work)
        self._runs.keeper.planned.difference_update(each["run"] for each in tick["requests"])
        tick |= after
        stored.last = tick
        self._ended(one, stored, tick)

    async def _launched(
        self, one: Automation, stored: Stored, tick: dict[str, Any], request: Mapping[str, Any]
    ) -> str | None:
        """Why it is refused, or None. A reason that may pass is heeded after some tries, which the tick tells."""
        waits = iter(() if tick["by"] else _WAITS)
        while True:
            try:
                return await launching.launch(self._orders, self._runs, one, tick, request)
            except launching.RefusedForNowError as error:
                said = str(error)
            wait = next(waits, None)
            if wait is None:
                return said
            told = {**tick, "reason": f"not launched yet, and tried again: {said}"}
            await self.written(partial(tick_store.set_tick, number=tick["tick"], tick=told))
            tick |= told
            stored.last = tick
            await asyncio.sleep(wait)

    async def end(
        self,
        one: Automation,
        stored: Stored,
        tick: dict[str, Any],
        found: Mapping[str, Any],
        *,
        remember: bool = False,
    ) -> None:
        """Have its end on the disk, with what was ``found``, and what is remembered of its schedule or sensor
        if ``remember``."""
        after = {**tick, **found, "ended": time.time()}

        def work(database: sqlite3.Connection) -> int:
            if remember:
                tick_store.remember(database, one.key, stored)
            return _put(database, after)

        number = await self.written(work)
        tick |= {**after, "tick": number}
        stored.last = tick
        self._ended(one, stored, tick)

    def _ended(self, one: Automation, stored: Stored, tick: Mapping[str, Any]) -> None:
        """See whether it begins to fail, or is well again, by a tick of its own that was evaluated."""
        failing = tick["state"] == TickState.FAILED
        if tick_store.told_of(tick) and failing != stored.failing:
            stored.failing = failing
            self._turned(one, tick, failing)

    async def written(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Have ``work`` on the disk; raises ``UnwritableError``."""
        try:
            result = await self._store.write(work)
        except (sqlite3.Error, OSError) as error:
            raise self.unwritable(error) from None
        self._tell(None)
        self._changed()
        return result

    def unwritable(self, error: sqlite3.Error | OSError) -> UnwritableError:
        """Tell that nothing can be written; the error that says so."""
        text = f"schedules and sensors are not fired: their store cannot be written: {error}"
        self._tell(text)
        return UnwritableError(text)


def _put(database: sqlite3.Connection, tick: Mapping[str, Any]) -> int:
    """Have a tick as it is now; its number."""
    number: int | None = tick["tick"]
    if number is None:
        return tick_store.add_tick(database, tick)
    tick_store.set_tick(database, number, tick)
    return number


def told(outcome: Outcome) -> dict[str, Any]:
    """What an evaluation gave, as fields of its row."""
    failure = outcome.failure
    if failure is not None:
        state, reason = TickState.FAILED, failure.message
    elif outcome.requests:
        state, reason = TickState.ASKED, None
    else:
        state, reason = TickState.SKIPPED, outcome.skipped
    return {
        "began": outcome.began,
        "framework": outcome.framework,
        "state": state,
        "reason": reason,
        "requests": [{**one, "run": None, "note": None} for one in outcome.requests],
        "new_cursor": outcome.cursor if failure is None else None,
        "failure": None if failure is None else masking.masked(failure.as_data(outcome.generation)),
        "logs": list(outcome.logs),
        "fresh_because": outcome.fresh_because or None,
    }
