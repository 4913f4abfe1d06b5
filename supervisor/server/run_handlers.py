"""What the methods of the control protocol that concern runs do, beside ``handlers``.

Owns the shape of results. What a run does is ``supervisor.runs``'s.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from runner_shim import masking
from supervisor import nearest
from supervisor.errors import (
    RequestError,
    UnfitOrderError,
    UnknownDefinitionError,
)
from supervisor.locations.failures import from_shim
from supervisor.locations.shim_connection import Answer
from supervisor.runs.run import Run
from supervisor.runs.wanted import order_of
from supervisor.server.rpc import Reply
from supervisor.server.turns import held
from supervisor.snapshots.snapshot import Snapshot
from supervisor.time_slices import Steps, in_turns

if TYPE_CHECKING:
    from supervisor.server.daemon import Daemon

__all__ = ["RunHandlers"]

_MAX_WAIT = 60.0
# How long the shim may take to judge an order: at its first it rehearses a run (seconds).
_PATIENCE = 20.0
# Refusals of an order (runner_shim/execution) that are the command line's mistakes.
_MISTAKES = frozenset({"run_config", "unknown_op", "partition"})
_STREAMS = ("events", "out", "err")


class RunHandlers:
    """The handlers of the methods that concern runs of ``daemon``."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def launch(self, params: Mapping[str, Any]) -> Reply:
        """Run a job; with ``dry_run`` only what would be run is told."""
        order = await self._wanted(params)
        if params["dry_run"]:
            return {"run": None, "order": _shown(order)}, []
        return await self._launch(order)

    async def runs(self, params: Mapping[str, Any]) -> Reply:
        """The newest runs, of all locations or of one, of all states or of some."""
        location, states = params["location"], set(params["states"])
        rows: list[dict[str, Any]] = []
        for run in self._daemon.runs.newest_first():
            fits = location in (None, run.location) and (not states or run.state in states)
            late = run.created >= params["since"]
            if fits and late and len(rows) < params["limit"]:
                rows.append(run.row())
        return {"runs": rows}, []

    async def run(self, params: Mapping[str, Any]) -> Reply:
        """One run in full, at once or when it has ended."""
        run = self._daemon.runs.get(params["run"])
        if params["timeout"]:
            async with held():
                seconds = min(params["timeout"], _MAX_WAIT)
                await self._daemon.runs.news.wait(lambda: run.ended, seconds)
        return _shown(run.detail()), []

    async def follow_run(self, params: Mapping[str, Any]) -> AsyncGenerator[Reply, None]:
        """What is new of a run, until it has ended and all is told."""
        run = self._daemon.runs.get(params["run"])
        cursors = {name: params[name] for name in _STREAMS if params[name] is not None}
        while True:
            news, ended = run.news, run.ended
            found, cursors = await self._read(run, cursors)
            if found:
                yield {**found, "next": cursors, "run": run.row()}, []
            elif ended or params["no_wait"]:
                return
            else:
                async with held():
                    await self._daemon.runs.news.wait(partial(_differs, run, news), math.inf)

    async def _read(
        self, run: Run, cursors: Mapping[str, int]
    ) -> tuple[dict[str, Any], dict[str, int]]:
        found: dict[str, Any] = {}
        behind = dict(cursors)
        ended = run.ended
        for name, after in cursors.items():
            if name == "events":
                events, behind[name] = await asyncio.to_thread(run.journal.events, after)
                if events:
                    found[name] = events
                continue
            data, end = await asyncio.to_thread(run.journal.output, name, after)
            kept = _whole_characters(data, ended)
            if kept:
                behind[name] = end - len(data) + len(kept)
                found[name] = kept.decode("utf-8", "replace")
        return found, behind

    async def cancel_run(self, params: Mapping[str, Any]) -> Reply:
        """Ask a run to end, or kill it with ``now``."""
        run = self._daemon.runs.get(params["run"])
        await self._daemon.runs.cancel(run, params["who"] or "a client", now=params["now"])
        return run.row(), []

    async def retry_run(self, params: Mapping[str, Any]) -> Reply:
        """Run the same again."""
        run = self._daemon.runs.get(params["run"])
        if not run.ended:
            raise RequestError(f"run {run.id} has not ended: it is {run.state}")
        order = await self._wanted({**run.order, "op_selection": None})
        order["op_selection"], order["retry_of"] = run.order.get("op_selection"), run.id
        return await self._launch(order)

    async def _launch(self, order: dict[str, Any]) -> Reply:
        if self._daemon.stopping:
            raise RequestError("the supervisor is stopping")
        run = await self._daemon.runs.launch(order)
        return {"run": run.row(), "order": _shown(order)}, []

    async def _wanted(self, params: Mapping[str, Any]) -> dict[str, Any]:
        location, job = self._daemon.fleet.location(params["location"]), params["job"]
        name, snapshot = location.spec.name, location.snapshot
        if snapshot is None:
            raise UnknownDefinitionError(
                job,
                hint=f"{name} has loaded nothing yet: it is {location.state}, {location.reason}",
            )
        serving = location.serving
        if (serving is None or not serving.alive) and location.failure and not location.under_way:
            raise RequestError(
                f"{name} has no process to run {job!r}: {location.failure.message}",
                hint=f"generation {snapshot.generation} was the last that loaded",
            )
        found = [one for one in await in_turns(snapshot.named(job)) if one["kind"] == "job"]
        repository = params.get("repository")
        found = [one for one in found if repository in (None, one.get("repository"))]
        if not found:
            names = await in_turns(_jobs(snapshot))
            raise UnknownDefinitionError(
                job, hint=nearest.hint(job, names) if names else "it has no jobs"
            )
        if len(found) > 1:
            where = ", ".join(str(one.get("repository")) for one in found)
            raise RequestError(f"{job!r} is a job of {where}", hint="say which with --repository")
        order = order_of(params, found[0])
        order["location"], order["generation"] = name, snapshot.generation
        order["instance"] = str(self._daemon.state.instance_path(name))
        order["storage"] = str(self._daemon.state.values_path(name))
        if serving is not None and serving.alive:  # else its process will refuse it
            answer = await serving.quickly("validate_run", _PATIENCE, order=order)
            if isinstance(answer, Answer) and answer.type == "failed":
                failure = from_shim(answer.message.get("failure"))
                kind = UnfitOrderError if failure.kind in _MISTAKES else RequestError
                raise kind(failure.message, hint=failure.hint)
        return order


def _jobs(snapshot: Snapshot) -> Steps[list[str]]:
    names = []
    for one in snapshot.each():
        if one["kind"] == "job":
            names.append(one["name"])
        yield
    return names


def _differs(run: Run, news: int) -> bool:
    return run.news != news


def _shown(order: dict[str, Any]) -> dict[str, Any]:
    """``order`` without secrets."""
    return {**order, **{key: masking.masked(order.get(key)) for key in ("config", "tags")}}


def _whole_characters(data: bytes, done: bool) -> bytes:
    """``data`` without the beginning of a character at its end, of which the rest has yet to come."""
    if done:
        return data
    for length in range(1, min(4, len(data)) + 1):
        byte = data[-length]
        if byte & 0xC0 != 0x80:  # where a character begins
            needs = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-length] if needs > length else data
    return data
