"""Where a run's process comes from: the shim that serves its location, or a fresh process.

Owns the choice, and the waiting for a location that is not ready yet. The code that runs is that of
the generation that serves; what failed to load runs never. Writes nothing of the run's journal.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from supervisor.errors import SupervisorError
from supervisor.fleet.fleet import Fleet
from supervisor.locations.failures import from_shim
from supervisor.locations.generation import Generation
from supervisor.locations.lifecycle import State
from supervisor.locations.location import Location
from supervisor.locations.phases import launched, process_of
from supervisor.locations.shim_connection import Answer
from supervisor.processes import orphans
from supervisor.processes.fresh_run import report, reporter_of, start_fresh
from supervisor.processes.launcher import LaunchError, LaunchSpec
from supervisor.processes.limits import CGROUP
from supervisor.processes.run_limits import RunLimits, merged
from supervisor.runs import monitor
from supervisor.runs.dispatch import CannotStartError
from supervisor.runs.run import Run
from supervisor.runs.served_code import other_code
from supervisor.states import RunState

__all__ = ["Placer"]

# A shim that is not busy may take so long to fork a run, whose journal waits for the disk (seconds).
_PATIENCE = 10.0
_LOOK = 5.0
# How long until what could not report on a run is asked again, where no other generation comes (seconds).
_FIRST_DELAY, _LONGEST_DELAY = 10.0, 3600.0
# What the monitor's interpreter needs of our variables.
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PATH")


class Placer:
    """Places runs in the locations of ``fleet``, each within its ``limits``."""

    def __init__(self, fleet: Fleet, limits: RunLimits) -> None:
        self._fleet = fleet
        self._limits = limits

    def can_start(self, location: str) -> str:
        """Why ``location`` can start no run now, "" when it can; one that is stopped is started.

        Raises ``CannotStartError`` when it never will.
        """
        found = self._location(location)
        if found.serving is not None and found.serving.alive:
            return ""
        if found.state is State.STOPPED and not self._fleet.stopping:
            found.start("a run was launched")
        elif not found.under_way:
            raise CannotStartError(f"{location} serves nothing: {found.state}, {found.reason}")
        return f"waits for {location}, which is {found.state}"

    async def __call__(self, run: Run) -> str:
        """Have ``run`` forked, or started afresh; why afresh, or "". Raises ``CannotStartError``."""
        if run.order.get("handed"):  # to an earlier supervisor
            raise CannotStartError("the server that wanted it has ended before it began")
        serving = await self._serving(run)
        spec = launched(serving.phase)
        assert spec is not None  # it serves, or did
        request = self.request(run, serving, spec)
        answer: Answer | str = await serving.busy()
        if not answer:
            answer = await serving.quickly("start_run", _PATIENCE, run=request)
        if isinstance(answer, Answer) and answer.type == "run_started":
            return ""
        # It may still fork one later: a run's journal lets only one of two monitors begin.
        reason = (
            answer if isinstance(answer, str) else from_shim(answer.message.get("failure")).message
        )
        if not reason or await asyncio.to_thread(run.journal.begun) is not None:
            return ""  # forked, though the answer may be lost
        if await self._other_code(run, serving):
            return await self(run)
        try:
            await start_fresh(spec, request, run.journal.path)
        except LaunchError as error:
            raise CannotStartError(str(error)) from None
        return reason

    def request(self, run: Run, serving: Generation, spec: LaunchSpec) -> dict[str, Any]:
        """What runner_shim/process/birth.py needs of ``run``, which ``serving`` forks or hands over."""
        reporter = reporter_of(spec, run.order, orphans.token_of("\0monitor", run.id))
        return {**_request(run, self._limits_of(run, serving)), "reporter": json.dumps(reporter)}

    async def _other_code(self, run: Run, serving: Generation) -> bool:
        """True where another generation serves by now; a fresh process may be started where False."""
        location = self._location(run.location)
        text = await other_code(
            location, serving, self._fleet.news, lambda: run.state is RunState.CANCELLING
        )
        if text:
            raise CannotStartError(f"it is not run: {text}")
        return location.serving is not serving

    def _location(self, name: str) -> Location:
        try:
            return self._fleet.location(name)
        except SupervisorError as error:
            raise CannotStartError(f"it cannot be started: {error}") from None

    def report(self, run: Run) -> Awaitable[str] | None:
        """Have the records of a run's framework told how it ended (``untold.Report``)."""
        try:
            serving = self._fleet.location(run.location).serving
        except SupervisorError:
            return None
        if serving is None or not serving.alive:
            return None
        number, due, delay = run.report_tried or (0, 0.0, _FIRST_DELAY)
        now = time.monotonic()
        if number == serving.number and now < due:
            return None
        run.report_tried = (serving.number, now + delay, min(delay * 2, _LONGEST_DELAY))
        spec = launched(serving.phase)
        assert spec is not None  # it serves
        token = orphans.token_of("\0monitor", run.id)
        return report(spec, run.order, run.final or {}, token, run.journal.path / "report")

    def _limits_of(self, run: Run, serving: Generation) -> Mapping[str, Any]:
        process = process_of(serving.phase)
        leave = process is not None and CGROUP in process.limits.values()
        own = run.order.get("limits") or {}
        return self._limits.make(run.id, merged(serving.spec.limits, own), leave=leave)

    async def _serving(self, run: Run) -> Generation:
        """The generation that serves, waited for while one starts."""
        while True:
            if run.state is RunState.CANCELLING:
                raise CannotStartError(run.reason)
            waits = self.can_start(run.location)
            location = self._location(run.location)
            if not waits:
                assert location.serving is not None  # it can start one
                return location.serving
            await self._fleet.news.wait(_other_than(location, run), _LOOK)


def _other_than(location: Location, run: Run) -> Callable[[], bool]:
    before = location.state, location.serving, run.state
    return lambda: (location.state, location.serving, run.state) != before


def _request(run: Run, limits: Mapping[str, Any]) -> dict[str, Any]:
    """What runner_shim/process/birth.py needs."""
    title = f"{run.location} {run.id}"
    token = orphans.token_of(run.location, run.id)
    return {
        "order": dict(run.order),
        "directory": str(run.journal.path),
        "limits": limits,
        "monitor": [sys.executable, "-I", "-S", monitor.PROGRAM, title],
        "environ": {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            orphans.VARIABLE: orphans.token_of("\0monitor", run.id),
        },
        "tokens": {
            "monitor": orphans.token_of("\0monitor", run.id),
            "run": token,
            "mark": orphans.mark_of(token),
        },
    }
