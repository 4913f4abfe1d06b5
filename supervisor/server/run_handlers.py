"""What the methods of the control protocol that concern runs do, beside ``handlers``.

Owns the shape of results. What a run does is ``supervisor.runs``'s.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from runner_shim import masking
from supervisor.access.identity import OPERATOR, asker
from supervisor.errors import RequestError
from supervisor.fleet.change_signal import ChangeSignal
from supervisor.locations.conversation import retrieve
from supervisor.runs.ordering import Ordered, again
from supervisor.runs.ranges import Range, orders
from supervisor.runs.ranges import all_ranges as ranges_of
from supervisor.runs.recovery import from_failure_of
from supervisor.runs.run import Run
from supervisor.server.places import named
from supervisor.server.rpc import Reply
from supervisor.server.turns import held
from supervisor.states import RunState
from supervisor.time_slices import Steps, in_turns

if TYPE_CHECKING:
    from supervisor.server.daemon import Daemon

__all__ = ["RunHandlers"]

_MAX_WAIT = 60.0
# Runs that are looked at in one step.
_AT_ONCE = 500
_STREAMS = ("events", "out", "err")


class RunHandlers:
    """The handlers of the methods that concern runs of ``daemon``."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def launch(self, params: Mapping[str, Any]) -> Reply:
        """Run a job; with ``dry_run`` only what would be run is told."""
        ordered = await self._ordered(params)
        if params["dry_run"]:
            return _launched(None, ordered), []
        return await self._launch(ordered)

    async def runs(self, params: Mapping[str, Any]) -> Reply:
        """The newest runs, of all locations or of one, of all states or of some."""
        location, parent = params["location"], params["parent"]
        sees = cache(asker().sees)
        runs = [one for one in self._daemon.work.runs.newest_first() if sees(one.location)]
        fleet = self._daemon.fleet
        known = {one.location for one in runs}.union(fleet.locations, fleet.remotes)
        if location is not None and location not in known:
            fleet.location(location)  # raises UnknownLocationError
        found: Sequence[Run | Range]
        if parent is not None:
            found = self._range(parent).runs
        else:
            ranges = ranges_of(runs)
            found = runs
            if ranges:
                found = list(dict.fromkeys(ranges.get(one.range_id or "", one) for one in runs))
        chosen, counts = await in_turns(_chosen(found, params))
        first = params["offset"]
        rows = await in_turns(_rows(chosen[first : first + params["limit"]]))
        return {"runs": rows, "total": len(chosen), "states": counts}, []

    async def run_figures(self, params: Mapping[str, Any]) -> Reply:
        """What is counted of the runs of all locations, or of one."""
        names = [one.spec.name for one in self._daemon.fleet.ordered()]
        chosen = [one for one in names if params["location"] in (None, one) and asker().sees(one)]
        living = self._daemon.work.runs.living()
        return {
            "locations": self._daemon.work.runs.figures.documents(chosen, living, time.time())
        }, []

    async def run(self, params: Mapping[str, Any]) -> Reply:
        """One run in full, or a range of partitions, at once or when it has ended."""
        run = self._named(params["run"])
        if params["timeout"]:
            async with held():
                await self._signal(run).wait(
                    lambda: self._now(run).ended, min(params["timeout"], _MAX_WAIT)
                )
            run = self._now(run)
        return run.detail(), []

    async def follow_run(self, params: Mapping[str, Any]) -> AsyncGenerator[Reply, None]:
        """What is new of a run, until it has ended and all is told."""
        run = self._named(params["run"])
        cursors = {name: params[name] for name in _STREAMS if params[name] is not None}
        if isinstance(run, Range) and cursors:
            raise RequestError(
                f"{run.id} is a range of partitions: each of its runs has its own events and output",
                hint=f"`supervise runs show {run.id}` lists them",
            )
        heard: dict[str, int] = {}
        while True:
            run = self._now(run)
            news, ended = run.news, run.ended
            if isinstance(run, Range):
                found = _news(run, heard)
            else:
                found, cursors = await self._read(run, cursors)
            if found:
                yield {**found, "next": cursors, "run": run.row()}, []
            elif ended or params["no_wait"]:
                return
            else:
                async with held():
                    await self._signal(run).wait(partial(_differs, run, news), math.inf)

    def _signal(self, run: Run | Range) -> ChangeSignal:
        return run.changed if isinstance(run, Run) else self._daemon.work.runs.news

    def _now(self, run: Run | Range) -> Run | Range:
        """The run, or the range with the runs that repeat others of it."""
        return run if isinstance(run, Run) or not run.ended else self._range(run.id)

    def _named(self, name: str) -> Run | Range:
        """The run or the range of that id; raises ``UnknownRunError``."""
        return named(self._daemon.work.runs, name, asker().sees)

    def _range(self, name: str) -> Range:
        found = self._named(name)
        if isinstance(found, Run):
            raise RequestError(
                f"{found.id} is no range of partitions, it is one run",
                hint=f"`supervise runs show {found.id}` tells of it",
            )
        return found

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
        """Ask a run to end, or kill it with ``now``; of a range, all that have not ended."""
        run = self._named(params["run"])
        # Only the operator's clients are believed who they ask for.
        who = params["who"] or "a client" if asker() is OPERATOR else asker().name
        for one in run.runs if isinstance(run, Range) else (run,):
            await self._daemon.work.runs.cancel(one, who, now=params["now"])
        return run.row(), []

    async def retry_run(self, params: Mapping[str, Any]) -> Reply:
        """Run the same again; ``from_failure``: only what has not succeeded of it."""
        run, from_failure = self._named(params["run"]), params["from_failure"]
        if not run.ended:
            raise RequestError(
                f"run {run.id} has not ended: it is {run.state}",
                hint=f"`supervise runs cancel {run.id}` ends it",
            )
        if from_failure and run.state is RunState.SUCCESS:
            raise RequestError(
                f"run {run.id} has succeeded: nothing of it is left to run",
                hint="a retry that is not from the failure runs all of it again",
            )
        if isinstance(run, Range):
            runs = [one for one in run.runs if not from_failure or one.state != RunState.SUCCESS]
            ordered = await self._ordered(again(runs[0].order))
            keys = [str(one.order["partition_key"]) for one in runs]
            ordered = replace(ordered, partitions=keys)
        else:
            earlier = await asyncio.to_thread(from_failure_of, run) if from_failure else None
            ordered = await self._ordered({**again(run.order), "from_failure": earlier})
        ordered.order["retry_of"] = run.id
        return await self._launch(ordered)

    async def _ordered(self, params: Mapping[str, Any]) -> Ordered:
        orders = self._daemon.work.orders
        async with held():  # a process that is started takes its time
            note = await orders.ready(params)
        ordered = await orders.make(params)
        return replace(ordered, note=note) if note else ordered

    async def _launch(self, ordered: Ordered) -> Reply:
        self._daemon.fleet.check_orders()
        # A launch that has begun is finished, also when its client goes: no half of it stays on the disk.
        launching = asyncio.create_task(self._launched(ordered))
        self._daemon.work.launching.add(launching)
        launching.add_done_callback(self._daemon.work.launching.discard)
        launching.add_done_callback(retrieve)
        return _launched(await asyncio.shield(launching), ordered), []

    async def _launched(self, ordered: Ordered) -> Run | Range:
        if not ordered.partitions:
            return await self._daemon.work.runs.launch(ordered.order)
        launched: list[Run] = []
        try:
            for order in orders(ordered.order, ordered.partitions):
                self._daemon.fleet.check_orders()
                launched.append(await self._daemon.work.runs.launch(order))
        except RequestError:  # a full disk, the end of the supervisor: all or none
            for run in launched:
                await self._daemon.work.runs.cancel(run, "the launch, which failed", now=True)
            raise
        return Range(tuple(launched))


def _chosen(
    runs: Sequence[Run | Range], params: Mapping[str, Any]
) -> Steps[tuple[list[Run | Range], dict[str, int]]]:
    """Those that fit, and how many of those in any state are in which."""
    location, job, since = params["location"], params["job"], params["since"]
    states, words = set(params["states"]), (params["words"] or "").lower().split()
    chosen: list[Run | Range] = []
    counts: Counter[RunState] = Counter()
    for at in range(0, len(runs), _AT_ONCE):
        found = runs[at : at + _AT_ONCE]  # one test after the other: that takes a tenth
        if location is not None:
            found = [one for one in found if _first(one).location == location]
        if job is not None:
            found = [one for one in found if _first(one).order.get("job") == job]
        if since:
            found = [one for one in found if one.created >= since]
        if params["tag"]:
            found = [one for one in found if _has_tag(_first(one), params["tag"])]
        for word in words:
            found = [one for one in found if word in one.text]
        counts.update([one.state for one in found])
        if states:
            found = [one for one in found if one.state in states]
        chosen += found
        yield
    return chosen, {state.value: count for state, count in counts.items()}


def _has_tag(run: Run, wanted: str) -> bool:
    """Whether one of its tags is ``wanted``, as they are shown: a secret cannot be guessed by asking for it."""
    name, equals, value = wanted.partition("=")
    tags = run.order.get("tags") or {}
    return name in tags and (not equals or masking.masked({name: tags[name]})[name] == value)


def _first(one: Run | Range) -> Run:
    return one.runs[0] if isinstance(one, Range) else one


def _rows(runs: Sequence[Run | Range]) -> Steps[list[dict[str, Any]]]:
    rows = []
    for one in runs:
        rows.append(one.row())
        yield
    return rows


def _launched(run: Run | Range | None, ordered: Ordered) -> dict[str, Any]:
    return {
        "run": None if run is None else run.row(),
        "order": _shown(ordered.order),
        "steps": list(ordered.wanted.steps),
        "checks": list(ordered.wanted.checks),
        "partitions": list(ordered.partitions),
        "fresh_because": ordered.fresh_because or None,
        "note": ordered.note or None,
    }


def _news(run: Range, heard: dict[str, int]) -> dict[str, Any]:
    """The runs of a range of which more is known than was ``heard``."""
    news = [one for one in run.runs if heard.get(one.id) != one.news]
    heard.update((one.id, one.news) for one in news)
    return {"runs": [one.row() for one in news]} if news else {}


def _differs(run: Run | Range, news: int) -> bool:
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
