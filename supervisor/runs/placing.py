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
from supervisor.runs.run import Run
from supervisor.runs.store import CannotStartError
from supervisor.states import RunState

__all__ = ["Placer", "request_of"]

# The shim may be busy with another request for so long; then a fresh process runs it (seconds).
_PATIENCE = 1.0
_LOOK = 5.0
# What the monitor's interpreter needs of our variables.
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PATH")


class Placer:
    """Places runs in the locations of ``fleet``."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def __call__(self, run: Run) -> str:
        """Have ``run`` forked, or started afresh; why afresh, or "". Raises ``CannotStartError``."""
        if run.order.get("handed"):  # to an earlier supervisor
            raise CannotStartError("the server that wanted it has ended before it began")
        serving = await self._serving(run)
        request = request_of(run)
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
        name = run.location
        while True:
            try:
                location = self._fleet.location(name)
            except SupervisorError as error:
                raise CannotStartError(f"it cannot be started: {error}") from None
            if run.state is RunState.CANCELLING:
                raise CannotStartError(run.reason)
            serving = location.serving
            if serving is not None and serving.alive:
                return serving
            if location.state is State.STOPPED:
                location.start("a run was launched")
            elif not location.under_way:
                raise CannotStartError(
                    f"{name} serves nothing: {location.state}, {location.reason}"
                )
            await self._fleet.news.wait(_other_than(location, run), _LOOK)


def _other_than(location: Location, run: Run) -> Callable[[], bool]:
    before = location.state, location.serving, run.state
    return lambda: (location.state, location.serving, run.state) != before


def request_of(run: Run) -> dict[str, Any]:
    """What runner_shim/process/birth.py needs of a run."""
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
