"""Where a run's process comes from: the shim that serves its location, or a fresh process.

Owns the choice, and the waiting for a location that is not ready yet. The code that runs is that of
the generation that serves; what failed to load runs never. Writes nothing of the run's journal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor.errors import SupervisorError
from supervisor.fleet.fleet import Fleet
from supervisor.locations.failures import from_shim
from supervisor.locations.generation import Generation
from supervisor.locations.lifecycle import State
from supervisor.locations.location import Location
from supervisor.locations.phases import launched
from supervisor.locations.shim_connection import Answer
from supervisor.processes import orphans
from supervisor.processes.fresh_run import start_fresh
from supervisor.processes.launcher import LaunchError
from supervisor.runs import monitor
from supervisor.runs.dispatch import CannotStartError
from supervisor.runs.run import Run
from supervisor.states import RunState

__all__ = ["Placer"]

# The shim may be busy with another request for so long; then a fresh process runs it (seconds).
_PATIENCE = 1.0
_LOOK = 5.0
# What the monitor's interpreter needs of our variables.
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PATH")


class Placer:
    """Places runs in the locations of ``fleet``."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def can_start(self, location: str) -> str:
        """Why ``location`` can start no run now, "" when it can; one that is stopped is started.

        Raises ``CannotStartError`` when it never will.
        """
        try:
            found = self._fleet.location(location)
        except SupervisorError as error:
            raise CannotStartError(f"it cannot be started: {error}") from None
        if found.serving is not None and found.serving.alive:
            return ""
        if found.state is State.STOPPED and not self._fleet.stopping:
            found.start("a run was launched")
        elif not found.under_way:
            raise CannotStartError(f"{location} serves nothing: {found.state}, {found.reason}")
        return f"waits for {location}, which is {found.state}"

    async def __call__(self, run: Run) -> str:
        """Have ``run`` forked, or started afresh; why afresh, or "". Raises ``CannotStartError``."""
        serving = await self._serving(run)
        request = _request(run)
        answer = await serving.quickly("start_run", _PATIENCE, run=request)
        if isinstance(answer, Answer) and answer.type == "run_started":
            return ""
        # It may still fork one later: a run's journal lets only one of two monitors begin.
        reason = (
            answer if isinstance(answer, str) else from_shim(answer.message.get("failure")).message
        )
        if reason:
            spec = launched(serving.phase)
            assert spec is not None  # it serves, or did
            try:
                await start_fresh(spec, request, run.journal.path)
            except LaunchError as error:
                raise CannotStartError(str(error)) from None
        return reason

    async def _serving(self, run: Run) -> Generation:
        """The generation that serves, waited for while one starts."""
        while True:
            if run.state is RunState.CANCELLING:
                raise CannotStartError(run.reason)
            if not self.can_start(run.location):
                serving = self._fleet.location(run.location).serving
                assert serving is not None  # it can start one
                return serving
            location = self._fleet.location(run.location)
            await self._fleet.news.wait(_other_than(location, run), _LOOK)


def _other_than(location: Location, run: Run) -> Callable[[], bool]:
    before = location.state, location.serving, run.state
    return lambda: (location.state, location.serving, run.state) != before


def _request(run: Run) -> dict[str, Any]:
    """What runner_shim/process/birth.py needs."""
    title = f"{run.location} {run.id}"
    return {
        "order": dict(run.order),
        "directory": str(run.journal.path),
        "monitor": [sys.executable, "-I", "-S", str(Path(monitor.__file__)), title],
        "environ": {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            orphans.VARIABLE: orphans.token_of("\0monitor", run.id),
        },
        "tokens": {
            "monitor": orphans.token_of("\0monitor", run.id),
            "run": orphans.token_of(run.location, run.id),
        },
    }
