"""Which events are sent to receivers: runs that fail, are lost or late; locations, schedules and sensors that fail and recover.

Owns which event is sent only once, and the message. A receiver is one of the location's ``notify`` in the workspace file,
or where it has none of the workspace's. The next supervisor reports runs that ended while none was running.
Delivers nothing: that is ``notify_delivery``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from runner_shim import masking
from supervisor.fleet.fleet import Fleet
from supervisor.notify_settings import Notify, Occasion
from supervisor.runs.automation import Automation
from supervisor.runs.run import Run
from supervisor.runs.store import Runs
from supervisor.server.notify_delivery import Deliveries
from supervisor.states import RunState, State

__all__ = ["Notifying"]

_log = logging.getLogger(__name__)

# Runs are looked at so often for those that are late, or sooner where one will be; and the time up to which
# all was told is written (seconds).
_LOOK = 15.0
_SOONEST = 0.1
_NOTED = 30.0
_OF_RUNS: Mapping[RunState, tuple[Occasion, str]] = {
    RunState.FAILURE: (Occasion.RUN_FAILED, "has failed"),
    RunState.TIMED_OUT: (Occasion.RUN_FAILED, "took too long"),
    RunState.LOST: (Occasion.RUN_LOST, "is lost"),
}
_RESTARTED = (Occasion.LOCATION_CRASHED, "has crashed, and is started again")
_OF_LOCATIONS: Mapping[State, tuple[Occasion, str]] = {
    State.FAILED: (Occasion.LOCATION_FAILED, "has failed to load"),
    State.CRASHED: (Occasion.LOCATION_CRASHED, "has crashed, and is not started again"),
}


class Notifying:
    """Tells the receivers of ``fleet`` and ``runs``.

    ``shared`` gives the receivers of the workspace; ``noted`` is a file whose time says up to when all was
    told.
    """

    def __init__(
        self,
        fleet: Fleet,
        runs: Runs,
        deliveries: Deliveries,
        shared: Callable[[], Iterable[Notify]],
        title: Callable[[], str],
        noted: Path,
    ) -> None:
        self._fleet = fleet
        self._runs = runs
        self._deliveries = deliveries
        self._shared = shared
        self._title = title
        self._noted = noted
        self._troubled: dict[str, Occasion] = {}
        self._restarts: dict[str, int] = {}
        # Runs that were found to have ended before the start, and were reported then.
        self._adopted: set[str] | None = set()
        self._late: set[tuple[str, Notify]] = set()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        runs.when_ended = self._run_ended

    async def start(self) -> None:
        """Tell of runs that ended, or are late, since it was last noted, and watch from now on."""
        since = await asyncio.to_thread(_time_of, self._noted)
        if since is not None:
            for run in self._runs.newest_first():
                if (run.ended_at or 0.0) > since and run.id not in (self._adopted or ()):
                    self._run_ended(run)
            for run in self._runs.living():
                for to in self._receivers(run.location):
                    if to.late_after is not None and run.created + to.late_after <= since:
                        self._late.add((run.id, to))
        self._adopted = None
        self._tasks = (
            asyncio.create_task(self._watch(), name="notifying"),
            asyncio.create_task(self._note(), name="noting"),
        )

    async def close(self) -> None:
        """End the watching, and what is on its way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._deliveries.close()
        await asyncio.to_thread(_touch, self._noted)

    def changed(self) -> None:
        """The receivers may be others: what is on its way to those that are gone is dropped."""
        named = {one for each in self._fleet.ordered() for one in each.spec.notify or ()}
        self._deliveries.forget(named.union(self._shared()))

    def _receivers(self, location: str) -> tuple[Notify, ...]:
        found = self._fleet.locations.get(location)
        own = None if found is None else found.spec.notify
        return tuple(self._shared()) if own is None else own

    def _tell(
        self,
        occasion: Occasion,
        location: str,
        text: str,
        to: Iterable[Notify],
        *,
        run: Run | None = None,
        automation: Automation | None = None,
    ) -> None:
        message: dict[str, Any] = {
            "event": occasion.value,
            "workspace": self._title(),
            "location": location,
            "time": time.time(),
            "text": text,
            "run": None if run is None else run.row(),
            "automation": None,
        }
        if automation is not None:
            message["automation"] = {"name": automation.name, "kind": automation.kind}
        for one in to:
            if occasion in one.events:
                self._deliveries.send(one, message)

    # Runs.

    def _run_ended(self, run: Run) -> None:
        if self._adopted is not None:
            self._adopted.add(run.id)
        found = _OF_RUNS.get(run.state)
        if found is None or run.retried_by:  # reported when no retry follows
            return
        occasion, words = found
        text = f"{_subject(run)} in {run.location} {words}: {run.reason}"
        self._tell(occasion, run.location, text, self._receivers(run.location), run=run)

    def _look_for_late(self, now: float) -> float:
        """Tell of those that are; seconds until the next one will be, at most ``_LOOK``."""
        soonest = _LOOK
        living = self._runs.living()
        self._late &= {(run.id, to) for run in living for to in self._receivers(run.location)}
        for run in living:
            for to in self._receivers(run.location):
                if to.late_after is None or (run.id, to) in self._late:
                    continue
                left = run.created + to.late_after - now
                if left > 0:
                    soonest = min(soonest, left)
                    continue
                self._late.add((run.id, to))
                text = f"{_subject(run)} in {run.location} is late: it is {run.state.value}"
                self._tell(Occasion.RUN_LATE, run.location, text, (to,), run=run)
        return max(soonest, _SOONEST)

    # Schedules and sensors.

    def turned(self, one: Automation, tick: Mapping[str, Any], failing: bool) -> None:
        """``one`` begins to fail with ``tick``, or is well again."""
        what = f"{one.kind} {one.name} of {one.location}"
        if failing:
            reason = masking.masked_text(str(tick["reason"]))
            occasion, text = Occasion.AUTOMATION_FAILED, f"{what} fails: {reason}"
        else:
            occasion, text = Occasion.AUTOMATION_RECOVERED, f"{what} does not fail any more"
        self._tell(occasion, one.location, text, self._receivers(one.location), automation=one)

    # Locations.

    def _look_at_locations(self) -> None:
        known = {one.spec.name: one for one in self._fleet.ordered()}
        for name in self._restarts.keys() - known.keys():
            self._troubled.pop(name, None)
            del self._restarts[name]
        for name, location in known.items():
            # It may be started again before it is looked at.
            died = location.restarts > self._restarts.get(name, 0)
            self._restarts[name] = location.restarts
            found = _RESTARTED if died else _OF_LOCATIONS.get(location.state)
            if found is not None and found[0] is not self._troubled.get(name):
                occasion, words = found
                failure = location.failure
                trouble = failure.message if failure else location.reason
                reason = location.restart_reason if died else trouble
                why = f": {reason}" if reason else ""
                self._troubled[name] = occasion
                self._tell(occasion, name, f"{name} {words}{why}", self._receivers(name))
            if location.state is State.READY and name in self._troubled:
                del self._troubled[name]
                text = f"{name} is ready again"
                occasion = Occasion.LOCATION_RECOVERED
                self._tell(occasion, name, text, self._receivers(name))
            elif location.state is State.STOPPED:
                self._troubled.pop(name, None)

    async def _watch(self) -> None:
        while True:
            seen, left = self._fleet.revision, _LOOK
            try:
                self._look_at_locations()
                left = self._look_for_late(time.time())
            except Exception:  # a defect of ours must not be the end of notifications
                _log.exception("locations and runs could not be looked at for notifications")
            await self._fleet.news.wait(partial(self._moved_on, seen), left)
            # Not as often as many locations change.
            await asyncio.sleep(_SOONEST)

    def _moved_on(self, seen: int) -> bool:
        return self._fleet.revision != seen

    async def _note(self) -> None:
        while True:
            await asyncio.to_thread(_touch, self._noted)
            await asyncio.sleep(_NOTED)


def _subject(run: Run) -> str:
    row = run.row()
    what = row["job"] or ", ".join((row["assets"] or ())[:3]) or "a run"
    return f"{what} [{row['partition']}]" if row["partition"] else str(what)


def _time_of(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):  # a full disk: a little is told twice then
        path.touch(mode=0o600)
