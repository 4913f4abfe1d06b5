"""What clients may ask about runs: the second half of the method table of docs/protocol.md.

Owns the reading of parameters and the shape of results, as ``handlers`` does. What a run does is
``supervisor.runs``'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from runner_shim import masking
from supervisor import parameters
from supervisor.errors import (
    InvalidParameterError,
    RequestError,
    UnfitOrderError,
    UnknownDefinitionError,
)
from supervisor.locations.failures import from_shim
from supervisor.locations.location import Location
from supervisor.nearest import nearest
from supervisor.runs.run import FINAL, Run, RunState
from supervisor.runs.wanted import order_of
from supervisor.server.rpc import Method, Reply
from supervisor.server.turns import held
from supervisor.time_slices import in_turns

if TYPE_CHECKING:
    from supervisor.server.daemon import Daemon

__all__ = ["RunMethods"]

_MAX_WAIT = 60.0
# How long the shim may take to judge an order (seconds).
_PATIENCE = 2.0
# Refusals of an order (runner_shim/execution) that are the command line's mistakes.
_MISTAKES = frozenset({"run_config", "unknown_op", "partition"})
_MOST_ROWS = 1000
_STREAMS = frozenset({"events", "out", "err"})


class RunMethods:
    """The methods of ``daemon`` that concern runs."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def table(self) -> Mapping[str, Method]:
        """Handlers by name."""
        return {
            "launch": self.launch,
            "runs": self.runs,
            "run": self.run,
            "follow_run": self.follow_run,
            "cancel_run": self.cancel_run,
            "retry_run": self.retry_run,
        }

    async def launch(self, params: Mapping[str, Any]) -> Reply:
        """Run a job; with ``dry_run`` only what would be run is told."""
        location = self._daemon.location(parameters.text("location", params.get("location")))
        order = await self._order(location, params)
        if params.get("dry_run"):
            return {"run": None, "order": _shown(order)}, []
        return await self._launch(order)

    async def runs(self, params: Mapping[str, Any]) -> Reply:
        """The newest runs, of all locations or of one, of all states or of some."""
        location = params.get("location")
        if location is not None:
            parameters.text("location", location)
        states = set(parameters.texts("states", params.get("states") or []))
        unknown = states - set(RunState)
        if unknown:
            hint = nearest(min(unknown), sorted(RunState))
            raise InvalidParameterError(f"no run is ever {min(unknown)!r}", hint=hint)
        since = parameters.seconds("since", params.get("since", 0))
        most = parameters.whole("limit", params.get("limit", 20), 0, _MOST_ROWS)
        rows: list[dict[str, Any]] = []
        for run in self._daemon.runs.newest_first():
            fits = location in (None, run.location) and (not states or run.state in states)
            if len(rows) < most and fits and float(run.order.get("created") or 0) >= since:
                rows.append(run.row())
        return {"runs": rows}, []

    async def run(self, params: Mapping[str, Any]) -> Reply:
        """One run in full, at once or, with ``wait``, when it has ended."""
        run = self._run(params)
        seconds = min(parameters.seconds("wait", params.get("wait", 0)), _MAX_WAIT)
        if seconds:
            async with held():
                await self._daemon.runs.news.wait(lambda: run.ended, seconds)
        return {"run": _shown(run.detail())}, []

    async def follow_run(self, params: Mapping[str, Any]) -> Reply:
        """What is new of a run behind the cursors ``after``, as soon as there is any.

        ``after`` maps ``events``, ``out`` and ``err``, or some of them, to cursors; ``done`` is True
        when the run has ended and there is nothing more.
        """
        run = self._run(params)
        after = params.get("after")
        if not isinstance(after, dict) or not after or not after.keys() <= _STREAMS:
            raise InvalidParameterError("after must be a map of events, out or err to cursors")
        cursors = {name: parameters.whole(name, value) for name, value in after.items()}
        seconds = min(parameters.seconds("timeout", params.get("timeout", 0)), _MAX_WAIT)
        async with held():
            while True:
                news, ended = run.news, run.ended
                found, behind = await self._read(run, cursors)
                if found or ended or seconds <= 0:
                    break
                if not await self._daemon.runs.news.wait(partial(_differs, run, news), seconds):
                    seconds = 0
        done = ended and not found
        return {**found, "next": behind, "done": done, "run": run.row()}, []

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
        run = self._run(params)
        now = params.get("now", False)
        if not isinstance(now, bool):
            raise InvalidParameterError("now must be true or false")
        who = parameters.text("who", params.get("who") or "a client")
        await self._daemon.runs.cancel(run, who, now=now)
        return {"run": run.row()}, []

    async def retry_run(self, params: Mapping[str, Any]) -> Reply:
        """Run the same again."""
        run = self._run(params)
        if run.state not in FINAL:
            raise RequestError(f"run {run.id} has not ended: it is {run.state}")
        location = self._daemon.location(run.location)
        before = run.order
        wanted = {
            key: before.get(key) for key in ("job", "repository", "config", "tags", "timeout")
        }
        order = await self._order(location, wanted)
        order["op_selection"], order["retry_of"] = before.get("op_selection"), run.id
        return await self._launch(order)

    async def _launch(self, order: dict[str, Any]) -> Reply:
        if self._daemon.stopping:
            raise RequestError("the supervisor is stopping")
        run = await self._daemon.runs.launch(order)
        return {"run": run.row()}, []

    def _run(self, params: Mapping[str, Any]) -> Run:
        return self._daemon.runs.get(parameters.text("run", params.get("run")))

    async def _order(self, location: Location, params: Mapping[str, Any]) -> dict[str, Any]:
        job = parameters.text("job", params.get("job"))
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
            names = [one["name"] for one in snapshot.each() if one["kind"] == "job"]
            raise UnknownDefinitionError(
                job, hint=nearest(job, names) if names else "it has no jobs"
            )
        if len(found) > 1:
            where = ", ".join(str(one.get("repository")) for one in found)
            raise RequestError(f"{job!r} is a job of {where}", hint="say which with --repository")
        order = order_of(params, found[0])
        order["location"], order["generation"] = name, snapshot.generation
        if serving is not None and serving.alive:  # else its process will refuse it
            answer = await serving.quickly({"type": "validate_run", "order": order}, _PATIENCE)
            if isinstance(answer, dict) and answer["type"] == "failed":
                failure = from_shim(answer.get("failure"))
                kind = UnfitOrderError if failure.kind in _MISTAKES else RequestError
                raise kind(failure.message, hint=failure.hint)
        return order


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
