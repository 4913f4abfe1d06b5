"""What the methods of the control protocol that concern schedules and sensors do, beside ``handlers``.

Owns the shape of results. What fires them is ``supervisor.runs.automations``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from supervisor.access.identity import OPERATOR, asker
from supervisor.errors import NotServedError, RequestError, UnknownDefinitionError
from supervisor.runs.automation import Automation
from supervisor.runs.held import Held
from supervisor.runs.launching import judge
from supervisor.runs.tick_life import told
from supervisor.runs.tick_rows import brief, showing, tick_row
from supervisor.server.rpc import Reply
from supervisor.server.turns import held as waiting
from supervisor.states import State, TickState
from supervisor.time_slices import Steps, in_turns

if TYPE_CHECKING:
    from supervisor.server.daemon import Daemon

__all__ = ["AutomationHandlers"]

# So many requests of a tick that launches nothing are judged.
_MOST_JUDGED = 20


class AutomationHandlers:
    """The handlers of the methods that concern schedules and sensors of ``daemon``."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def tick(self, params: Mapping[str, Any]) -> Reply:
        """Evaluate one, and with ``launch`` launch what it asks for."""
        daemon, location, name = self._daemon, params["location"], params["name"]
        async with waiting():  # a process that is started takes its time, and so does user code
            await self._served(location, name, params["repository"])
            one = await daemon.work.ticking.find(location, name, params["repository"])
            if params["cursor"] is not None and one.kind != "sensor":
                raise RequestError(
                    f"{name} is a schedule: it has no cursor", hint="leave the cursor out"
                )
            at = params["at"] if params["at"] is not None else time.time()
            if params["launch"]:
                daemon.fleet.check_orders()
                by = "a client" if asker() is OPERATOR else asker().name
                tick = await daemon.work.automations.fire(one, at, cursor=params["cursor"], by=by)
            else:
                tick = await self._asked(one, at, params["cursor"])
        return await in_turns(showing(tick)), []

    async def _served(self, location: str, name: str, repository: str | None) -> None:
        """Have the location serve; one that is stopped is not started for what it did not serve before."""
        found = self._daemon.fleet.location(location)
        if found.state is State.STOPPED and found.snapshot is not None:
            with suppress(NotServedError):  # its process makes that definition
                await self._daemon.work.ticking.find(location, name, repository)
        await self._daemon.work.orders.serving(location, name)

    async def _asked(self, one: Automation, at: float, cursor: str | None) -> dict[str, Any]:
        """What it would launch; nothing is kept."""
        stored = self._daemon.work.automations.stored(one)
        if cursor is None and one.kind == "sensor":
            cursor = stored.cursor
        outcome = await self._daemon.work.ticking.evaluate(
            one, at, cursor=cursor, last_run_key=stored.last_run_key, last_tick=stored.last_tick
        )
        tick = {**tick_row(one, at), **told(outcome), "cursor": cursor, "ended": time.time()}
        for request in tick["requests"][:_MOST_JUDGED]:
            earlier = await self._daemon.work.automations.launched_as(one, request["run_key"])
            if earlier is not None:
                request |= {"run": earlier, "note": "it was launched already, under its run key"}
            else:
                request["note"] = await judge(self._daemon.work.orders, one, request)
        if tick["state"] == TickState.DUE:
            tick["state"] = TickState.ASKED
        return tick

    async def automations(self, params: Mapping[str, Any]) -> Reply:
        """The schedules and sensors of all locations that the client sees, or of one."""
        location = params["location"]
        if location is not None:
            self._daemon.fleet.location(location)  # raises UnknownLocationError
        found = [
            one
            for one in await self._daemon.work.automations.held(location)
            if asker().sees(one.one.location) and params["name"] in (None, one.one.name)
        ]
        return {"automations": await in_turns(self._rows(found, params["times"]))}, []

    async def ticks(self, params: Mapping[str, Any]) -> Reply:
        """The newest ticks of a location."""
        location, name = params["location"], params["name"]
        self._daemon.fleet.location(location)  # raises UnknownLocationError
        found = await self._daemon.work.automations.ticks(location, name, params["limit"])
        if name is not None and not found:  # what is gone keeps its ticks
            held = await self._daemon.work.automations.held(location)
            if all(one.one.name != name for one in held):
                raise self._daemon.work.ticking.unknown(location, name)
        return {"ticks": [await in_turns(showing(one)) for one in found]}, []

    async def switch_automation(self, params: Mapping[str, Any]) -> Reply:
        """Switch a native schedule or sensor on or off."""
        location, name = params["location"], params["name"]
        one = await self._daemon.work.ticking.find(location, name, None)
        if not one.ours:
            raise RequestError(
                f"{name} of {location} is fired by the daemon of {one.framework}",
                hint=self._unfired(one) or self._switched_there(),
            )
        found = await self._daemon.work.automations.switch(location, name, params["on"])
        if not found:
            raise UnknownDefinitionError(name, f"{location} has no schedule or sensor {name!r}")
        return self._row(found[0]), []

    def _unfired(self, one: Automation) -> str | None:
        """Why one that another's daemon fires is not fired: none can see it."""
        if one.ours or self._daemon.face is not None:
            return None
        return f"no {one.framework} daemon runs: `supervise {one.framework}`"

    def _switched_there(self) -> str:
        assert self._daemon.face is not None
        url = self._daemon.face.url
        return (
            f"switch it in its page, {url}"
            if url
            else "switch it in its page, or with its own command"
        )

    def _rows(self, found: Sequence[Held], times: int) -> Steps[list[dict[str, Any]]]:
        rows = []
        for held in found:
            row = self._row(held)
            for moment in held.times(times):
                row["times"].append(moment)
                yield
            rows.append(row)
            yield
        return rows

    def _row(self, held: Held) -> dict[str, Any]:
        one, stored = held.one, held.stored
        return {
            "location": one.location,
            "name": one.name,
            "kind": one.kind,
            "repository": one.repository,
            "framework": one.framework,
            "fired_by": "supervise" if one.ours else one.framework,
            "jobs": list(one.jobs),
            "cron": list(one.crons),
            "zone": one.zone,
            "interval": one.interval if one.kind == "sensor" else None,
            "catch_up": one.catch_up.value if one.ours and one.schedule else None,
            "overlap": one.overlap.value if one.ours and one.schedule else None,
            "on": held.on,
            "default_on": one.default_on,
            "switched": stored.switched,
            "waits": self._daemon.work.automations.waits(held) or self._unfired(one),
            "next": held.next(),
            "times": [],
            "cursor": stored.cursor,
            "last": brief(stored.last),
        }
