"""What clients may ask about runs: the second half of the method table of docs/protocol.md.

Owns the reading of parameters and the shape of results, as ``handlers`` does. What a run does is
``supervisor.runs``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from runner_shim import masking
from supervisor import parameters
from supervisor.errors import InvalidParameterError, RequestError, UnknownDefinitionError
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
_MOST_ROWS = 1000


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
            "run_events": self.run_events,
            "run_output": self.run_output,
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

    async def run_events(self, params: Mapping[str, Any]) -> Reply:
        """Events behind a cursor, as soon as there are any."""
        run = self._run(params)
        after = parameters.whole("after", params.get("after", 0))
        seconds = min(parameters.seconds("timeout", params.get("timeout", 0)), _MAX_WAIT)
        runs = self._daemon.runs
        async with held():
            while True:
                news = run.news
                found, behind, done = await runs.events(run, after)
                if found or done or seconds <= 0:
                    break
                if not await runs.news.wait(partial(_differs, run, news), seconds):
                    seconds = 0
        return {"events": found, "next": behind, "done": done, "state": run.state.value}, []

    async def run_output(self, params: Mapping[str, Any]) -> Reply:
        """Output behind a cursor, as soon as there is any; ``text`` is UTF-8 as far as it is."""
        run = self._run(params)
        stream = params.get("stream", "out")
        if stream not in ("out", "err"):
            raise InvalidParameterError("stream must be out or err")
        after = parameters.whole("after", params.get("after", 0))
        seconds = min(parameters.seconds("timeout", params.get("timeout", 0)), _MAX_WAIT)
        runs = self._daemon.runs
        async with held():
            while True:
                news = run.news
                data, behind, done = await runs.output(run, stream, after)
                kept = _whole_characters(data, run.ended)
                data, behind = kept, behind - len(data) + len(kept)
                if data or done or seconds <= 0:
                    break
                if not await runs.news.wait(partial(_differs, run, news), seconds):
                    seconds = 0
        return {
            "text": data.decode("utf-8", "replace"),
            "next": behind,
            "done": done,
            "state": run.state.value,
        }, []

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
