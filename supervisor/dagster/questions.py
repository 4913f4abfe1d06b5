"""Requests of Dagster's servers: to start a run, to cancel one, whether one can be cancelled, which runs are
running and where they are recorded, and to reload.

Owns the answers. A server gets information about its own location only. The table of runs is that of the
journals: it is the same after the server, the shim and the supervisor have been restarted.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from supervisor.errors import SupervisorError
from supervisor.fleet.fleet import Fleet
from supervisor.locations import phases
from supervisor.locations.failures import from_shim
from supervisor.locations.generation import Generation
from supervisor.locations.shim_connection import Asks
from supervisor.processes.fresh_run import fresh_of
from supervisor.runs.dispatch import CannotStartError
from supervisor.runs.placing import Placer
from supervisor.runs.run import Run
from supervisor.runs.store import Runs
from supervisor.states import RunState, State

__all__ = ["ORIGIN", "Questions"]

ORIGIN = "dagster"
"""The ``origin`` of runs that were launched through a server."""

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_MOST_TEXT = 1000
_MOST_RUNS = 1000  # that fit into an answer
# The shim may be busy with a request of its own for so long (seconds of running time).
_PATIENCE = 60.0
# Dagster's page asks how long a run may take to end, and kills nothing itself.
_GRACE = 60.0
# As long as Dagster's page waits for a reload (seconds).
_RELOAD = 170.0


class Questions:
    """Answers for the ``runs``, which ``placer`` places, and the locations of ``fleet``.

    ``known`` is set once the runs that an earlier supervisor has left are known.
    """

    def __init__(self, runs: Runs, placer: Placer, fleet: Fleet, known: asyncio.Event) -> None:
        self._runs = runs
        self._placer = placer
        self._fleet = fleet
        self._known = known

    def in_flight(self, location: str) -> Mapping[int, int]:
        """How many runs of ``location`` that a server asked for have not ended, by generation."""
        found: dict[int, int] = {}
        for run in self._living(location):
            number = int(run.order.get("generation") or 0)
            found[number] = found.get(number, 0) + 1
        return found

    def _living(self, location: str) -> list[Run]:
        """The runs of ``location`` that a server asked for and that have not ended."""
        return [
            run
            for run in self._runs.living()
            if run.location == location and run.order.get("origin") == ORIGIN
        ]

    async def answer(self, generation: Generation, asks: Asks) -> None:
        """Answer what the process of ``generation`` asks."""
        answers = {
            "run": self._run,
            "cancel": self._cancel,
            "can_cancel": self._can_cancel,
            "current_runs": self._current_runs,
            "unheard": self._current_runs,
            "instance": self._instance,
            "reload": self._reload,
        }
        await self._known.wait()
        found = answers.get(asks.what)
        answer = {"error": f"nothing is known of {asks.what!r}"}
        try:
            if found is not None:
                answer = await found(generation, asks)
        except SupervisorError as error:
            answer = {"error": str(error)}
        await generation.conversation.answer(asks.number, **answer)

    async def _run(self, generation: Generation, asks: Asks) -> dict[str, Any]:
        """Have what was handed over run, with a journal and a monitor."""
        name = _text(asks.message, "run")
        if _ID.match(name) is None:
            return {"error": f"the id of a run must be a UUID, not {name!r}"}
        order: dict[str, Any] = {
            "location": generation.spec.name,
            "generation": generation.number,
            "job": _text(asks.message, "job"),
            "repository": _text(asks.message, "repository"),
            "origin": ORIGIN,
            "framework": ORIGIN,
            "recorded": ORIGIN,
            "handed": True,
            "config": {},
            "tags": {},
            "op_selection": None,
            "assets": None,
            "partition_key": None,
            "timeout": None,
            "grace": _GRACE,
            "instance_ref": asks.message.get("instance"),
        }
        failed: list[str] = []
        placed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def start(run: Run) -> str:
            try:
                return await self._place(generation, asks.number, run)
            except CannotStartError as error:
                failed.append(str(error))
                raise
            finally:
                placed.set_result(None)
                self._runs.news.tell()

        run = await self._runs.launch(order, name=name.lower(), handed=start)
        # What was handed over is let go of by the answer.
        if not await self._runs.news.wait(lambda: placed.done() or run.ended, 2 * _PATIENCE):
            await self._runs.cancel(run, "the supervisor, which could not start it", now=True)
            return {"error": f"it was not started within {2 * _PATIENCE:g} s"}
        if failed:
            return {"error": failed[0]}
        return {"started": True} if placed.done() else {"error": run.reason}

    async def _cancel(self, generation: Generation, asks: Asks) -> dict[str, Any]:
        run = self._of(generation, asks)
        if run is None or run.ended:
            return {"done": False, "error": "the run has ended, or is not known here"}
        await self._runs.cancel(run, ORIGIN)
        return {"done": True}

    async def _can_cancel(self, generation: Generation, asks: Asks) -> dict[str, Any]:
        run = self._of(generation, asks)
        ended = run is None or run.ended or run.state is RunState.CANCELLING
        return {"can": not ended}

    async def _current_runs(self, generation: Generation, asks: Asks) -> dict[str, Any]:
        return {"runs": [run.id for run in self._living(generation.spec.name)][:_MOST_RUNS]}

    async def _instance(self, generation: Generation, asks: Asks) -> dict[str, Any]:
        """Where Dagster has the records of a run, as it says it itself; None where that is too long."""
        run = self._of(generation, asks)
        return {"instance": None if run is None else run.order.get("instance_ref")}

    async def _reload(self, generation: Generation, asks: Asks) -> dict[str, Any]:
        """Load anew, and answer when that has succeeded or failed: what was good stays served."""
        location = self._fleet.location(generation.spec.name)
        if location.state is State.STOPPED:
            return {"error": "the location is stopped"}
        location.reload("reloaded from dagster's page")
        await self._fleet.news.wait(lambda: not location.under_way, _RELOAD)
        return {"state": location.state.value}

    async def _place(self, generation: Generation, handed: int, run: Run) -> str:
        """Have the process that was handed over under ``handed`` forked; why afresh, or ""."""
        launch = phases.launched(generation.phase)
        if launch is None:
            raise CannotStartError("its process has ended")
        request = {**self._placer.request(run, generation, launch), "handed": handed}
        answer = await generation.quickly(
            "start_run", _PATIENCE, run=request, fresh=fresh_of(launch)
        )
        if isinstance(answer, str):
            raise CannotStartError(answer)
        if answer.type != "run_started":
            raise CannotStartError(from_shim(answer.message.get("failure")).message)
        return str(answer.message.get("unfit") or "")

    def _of(self, generation: Generation, asks: Asks) -> Run | None:
        name = _text(asks.message, "run").lower()
        try:
            run = self._runs.get(name)
        except SupervisorError:
            return None
        return run if run.id == name and run.location == generation.spec.name else None


def _text(message: Mapping[str, Any], name: str) -> str:
    return str(message.get(name) or "")[:_MOST_TEXT]
