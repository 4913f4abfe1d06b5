"""Orders: what a client wants run is resolved, judged by the process that serves, and made explicit.

Owns the way from a client's words to an order that can lie in a journal (docs/runs.md), and each refusal on
it. Has a location that does not run started, because what it serves is what is asked. Launches nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor import kinds, nearest
from supervisor.errors import (
    NotServedError,
    RequestError,
    UnfitOrderError,
    UnknownDefinitionError,
    UnknownPartitionError,
)
from supervisor.fleet.fleet import Fleet
from supervisor.locations.failures import from_shim
from supervisor.locations.generation import Generation
from supervisor.locations.location import Location
from supervisor.locations.shim_connection import Answer
from supervisor.processes.run_limits import RunLimits
from supervisor.run_settings import Instance, RunSettings
from supervisor.runs import newer_code
from supervisor.runs.served_code import refusal
from supervisor.runs.wanted import Wanted, check_partition, of_assets, of_job, order_of
from supervisor.snapshots.snapshot import Snapshot
from supervisor.states import State
from supervisor.time_slices import Steps, in_turns

__all__ = ["MOST_PARTITIONS", "Ordered", "Orders", "again"]

MOST_PARTITIONS = 400
"""Partitions of one range: more than a year of days, and fewer than the runs that are kept."""

# How long the shim may take to judge an order: at its first it rehearses a run; and how long what does not
# serve yet is waited for (seconds).
_PATIENCE = 20.0
_TO_SERVE = 15.0
_HOME = "DAGSTER_HOME"
_MOST_PROBLEMS = 100
# Of one location that are remembered.
_MOST_JOBS = 20
_OF_PROBLEM = ("path", "message", "expected")
_INSTANCES = ("own", "shared", "ephemeral")
# What a shim refuses (runner_shim/execution) by the error that it is here; a RequestError else.
_REFUSALS: Mapping[str, type[RequestError]] = {
    "run_config": UnfitOrderError,
    "unknown_op": UnfitOrderError,
    "partition": UnfitOrderError,
    "not_supported": UnfitOrderError,
    "not_kept": UnfitOrderError,
    "unknown_partition": UnknownPartitionError,
}


@dataclass(frozen=True, slots=True)
class Ordered:
    """An order that can be run. ``steps`` and ``checks`` are what it runs, in an order in which it can.

    ``partitions`` are the keys of a range, one run each. ``fresh_because`` says why it will not be forked,
    as far as it is known now. ``note`` tells what of the location is newer than what runs.
    """

    order: dict[str, Any]
    wanted: Wanted
    partitions: Sequence[str] = field(default=())
    fresh_because: str = ""
    note: str = ""


class Orders:
    """Makes orders for the locations of ``fleet``.

    ``instance_of`` is where a location's own instance lies, ``values_of`` where values of its assets are
    kept, ``settings_of`` what the workspace says of its runs, ``limits`` what limits there can be. ``environ`` are the supervisor's variables, ``shown`` returns
    the instance of a page that runs beside it, or "".
    """

    def __init__(
        self,
        fleet: Fleet,
        instance_of: Callable[[str], Path],
        values_of: Callable[[str], Path],
        settings_of: Callable[[str], RunSettings],
        limits: RunLimits,
        environ: Mapping[str, str],
        shown: Callable[[], str],
    ) -> None:
        self._fleet = fleet
        self._instance_of = instance_of
        self._values_of = values_of
        self._settings_of = settings_of
        self._limits = limits
        self._environ = environ
        self._shown = shown
        self._judging: set[Generation] = set()
        # What jobs of a location are, of the snapshot that was asked last: schedules launch the same again.
        self._jobs: dict[str, tuple[Snapshot, dict[tuple[str, Any, Any], Wanted]]] = {}

    def keep_only(self, locations: Container[str]) -> None:
        """Forget what was known of others."""
        self._jobs = {one: known for one, known in self._jobs.items() if one in locations}

    async def serving(self, name: str, what: str) -> None:
        """Have the location serve, for a bounded time; refuse where it will not.

        Raises ``UnknownLocationError``, and ``NotServedError`` with what it is instead.
        """
        location = self._fleet.location(name)
        if _serves(location):
            return
        if location.state is State.STOPPED:
            self._fleet.check_orders()
            location.start("a run was launched")
        if location.under_way:
            await self._fleet.news.wait(
                lambda: _serves(location) or not location.under_way, _TO_SERVE
            )
        if _serves(location) or location.under_way:
            return
        why = location.failure.message if location.failure else location.reason
        raise NotServedError(
            f"{name} has no process to run {what}: it is {location.state}, {why}",
            hint=_mending(name, location.state),
        )

    async def ready(self, params: Mapping[str, Any]) -> str:
        """Have the location of a launch serve, as ``serving`` does; what was done for that, or "".

        One that is stopped is not started for a dry run, nor for what it did not serve before.
        """
        location = self._fleet.location(params["location"])
        name, stopped = location.spec.name, location.state is State.STOPPED
        if stopped and location.snapshot is not None:
            try:
                await self._wanted(location, params)
            except NotServedError:  # its process makes that definition
                if params.get("dry_run"):
                    raise
            if params.get("dry_run"):
                return f"{name} is stopped: what it last served is looked at"
        await self.serving(name, params["job"] or "the assets")
        return f"{name} was stopped, and was started for this" if stopped else ""

    async def make(self, params: Mapping[str, Any]) -> Ordered:
        """The order for a launch as ``params`` have it (the method ``launch``), refused where it cannot be.

        Raises ``SupervisorError``; nothing is left behind then.
        """
        location = self._fleet.location(params["location"])
        wanted = await self._wanted(location, params)
        span = _span(params.get("partition_range"))
        if span and params.get("partition") is not None:
            raise UnfitOrderError("a partition and a range of them cannot be launched together")
        check_partition(wanted, params.get("partition"), of_range=bool(span))
        order = order_of(wanted, params)
        name = order["location"] = location.spec.name
        assert location.snapshot is not None  # else nothing was found in it
        order["from_failure"] = params.get("from_failure")
        order["generation"] = location.snapshot.generation
        order["fingerprint"] = location.snapshot.fingerprint
        order["instance"] = self._instance(location, name, params.get("instance"))
        order["storage"] = str(self._values_of(name))
        order["shared_instance"] = order["instance"] not in (None, str(self._instance_of(name)))
        refused = self._limits.refusal(name, location.spec.limits, order["limits"])
        if refused:
            raise UnfitOrderError(refused)
        serving = location.serving
        note = newer_code.note(location, serving)
        if serving is None or not serving.alive:  # its process will judge it
            if span:
                raise RequestError(
                    f"{name} is {location.state}: the partitions of a range are asked of its process",
                    hint=f"launch it again once {name} is ready",
                )
            return Ordered(order, wanted, note=note)
        answer = await self._judge(serving, order, span)
        if isinstance(answer, str):
            if span:
                raise RequestError(f"the partitions of {wanted.what} cannot be listed: {answer}")
            return Ordered(order, wanted, fresh_because=answer, note=note)
        ordered = self._judged(answer, order, wanted, note)
        if ordered.fresh_because and not location.under_way and location.newest is not serving:
            text = await refusal(location, serving)
            if text:
                raise RequestError(
                    f"{wanted.what} is not run: {text}",
                    hint=f"it needs a fresh process: {ordered.fresh_because}",
                )
        return ordered

    async def _judge(
        self, serving: Generation, order: Mapping[str, Any], span: list[Any] | None
    ) -> Answer | str:
        """What the shim says of an order, or why it says nothing."""
        if serving in self._judging:  # it may rehearse a run, and judges this order next
            return await serving.quickly("validate_run", _PATIENCE, order=order, span=span)
        if busy := await serving.busy():
            return busy
        self._judging.add(serving)
        try:
            return await serving.quickly("validate_run", _PATIENCE, order=order, span=span)
        finally:
            self._judging.discard(serving)

    def kept_in(self, name: str) -> tuple[Path, bool]:
        """Where runs of a location are recorded by default, and whether others use that, too."""
        found = Path(self._instance(self._fleet.location(name), name, None) or "")
        return found, found != self._instance_of(name)

    def _judged(self, answer: Answer, order: dict[str, Any], wanted: Wanted, note: str) -> Ordered:
        if answer.type == "failed":
            raise _refused(answer.message.get("failure"))
        keys, unfit = answer.message.get("partitions"), answer.message.get("unfit")
        found = [str(one) for one in keys] if isinstance(keys, list) else []
        return Ordered(order, wanted, found, str(unfit or ""), note)

    async def _wanted(self, location: Location, params: Mapping[str, Any]) -> Wanted:
        job, assets, name = params.get("job"), params.get("assets"), location.spec.name
        if (job is None) == (assets is None):
            raise UnfitOrderError(
                "a launch names a job or selects assets, and not both"
                if job is not None
                else "nothing is named that could be launched: give a job, or assets",
            )
        if assets is not None and params.get("op_selection") is not None:
            raise UnfitOrderError("ops are selected of a job, and no job is named")
        snapshot = location.snapshot
        if snapshot is None:
            raise UnknownDefinitionError(
                str(job or assets),
                f"{name} has loaded nothing yet: it is {location.state}, {location.reason}",
                hint=f"`supervise status {name}` tells more",
            )
        with newer_code.asked_of(location):
            return await self._found(location, snapshot, params)

    async def _found(
        self, location: Location, snapshot: Snapshot, params: Mapping[str, Any]
    ) -> Wanted:
        job, assets = params.get("job"), params.get("assets")
        repository, name = params.get("repository"), location.spec.name
        if assets is not None:
            return await asyncio.to_thread(of_assets, name, snapshot.each(), assets, repository)
        asked = str(job), repository, params.get("op_selection")
        known, jobs = self._jobs.get(name, (None, {}))
        if known is snapshot and asked in jobs:
            return jobs[asked]
        definition = await _job(name, snapshot, str(job), repository)
        lazy = definition.get("lazy")
        if lazy:
            made = await location.describe(
                definition["kind"], definition["name"], definition.get("repository")
            )
            definition = made["definition"]
        wanted = await asyncio.to_thread(of_job, definition, asked[2])
        if not lazy:  # else the team's code makes it, each time
            if known is not snapshot or len(jobs) >= _MOST_JOBS:
                jobs = {}
            jobs[asked] = wanted
            self._jobs[name] = snapshot, jobs
        return wanted

    def _instance(self, location: Location, name: str, kind: str | None) -> str | None:
        """The directory of the framework's instance, or None for one that ends with the run."""
        if kind not in (None, *_INSTANCES):
            raise UnfitOrderError(
                f"there is no instance {kind!r}", hint=f"it is {', '.join(_INSTANCES)}"
            )
        if kind == "ephemeral":
            return None
        shared = self._settings_of(name).instance is Instance.SHARED
        if kind == "shared" and not shared:
            raise UnfitOrderError(
                f"the workspace does not say that runs of {name} may use a shared instance",
                hint=f"add `runs: {{instance: shared}}` to {name} in the workspace file",
            )
        if kind == "own" or not shared:
            return str(self._instance_of(name))
        home = location.spec.env.get(_HOME) or self._shown() or self._environ.get(_HOME) or ""
        if not home.startswith("/"):
            said = f"{_HOME} is {home!r}, no absolute path" if home else f"{_HOME} is not set"
            raise UnfitOrderError(
                f"runs of {name} are recorded in a shared instance, and {said}",
                hint=f"set it in `env` of {name}, or where the supervisor is started",
            )
        return home


def again(order: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a launch that does the same as ``order``."""
    names = {"op_selection": ",".join, "assets": ",".join}
    found = {name: join(order[name]) if order.get(name) else None for name, join in names.items()}
    kept = ("location", "job", "repository", "config", "tags", "limits", "grace")
    asked: Mapping[str, Any] = order.get("asked") or {}
    return {
        **found,
        **{name: order.get(name) for name in kept},
        **{name: asked.get(name) for name in ("timeout", "retries")},
        "partition": order.get("partition_key"),
        "instance": None
        if order.get("instance")
        else "ephemeral",  # the shared one may be another now
    }


def _serves(location: Location) -> bool:
    return location.serving is not None and location.serving.alive


def _mending(name: str, state: State) -> str:
    """How a location comes to serve again."""
    if state is State.FAILED:
        anew = f"a saved file is loaded by itself, all else with `supervise reload {name}`"
        return f"correct that, and launch again: {anew}"
    if state is State.CRASHED:
        return f"`supervise logs {name}` tells why, `supervise restart {name}` starts it again"
    return f"`supervise status {name}` tells more"


def _span(given: Any) -> list[Any] | None:
    if given is None:
        return None
    first, dots, last = str(given).partition("..")
    if not dots or not first or not last:
        raise UnfitOrderError(
            f"{given!r} is no range of partitions", hint="write it as FIRST..LAST, both included"
        )
    return [first, last, MOST_PARTITIONS]


def _refused(said: Any) -> RequestError:
    failure = from_shim(said)
    kind = _REFUSALS.get(failure.kind, RequestError)
    if kind is not UnfitOrderError:
        return kind(failure.message, hint=failure.hint)
    return UnfitOrderError(failure.message, hint=failure.hint, problems=_problems(said))


def _problems(said: Any) -> list[dict[str, str]]:
    """What is wrong in the configuration, as a shim has it in its answer ``said``."""
    found = said.get("problems") if isinstance(said, dict) else None
    rows = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return [
        {name: str(one.get(name) or "") for name in _OF_PROBLEM} for one in rows[:_MOST_PROBLEMS]
    ]


async def _job(
    location: str, snapshot: Snapshot, job: str, repository: str | None
) -> dict[str, Any]:
    named = await in_turns(snapshot.named(job))
    found = [one for one in named if one["kind"] in kinds.JOBS]
    where = sorted({str(one.get("repository")) for one in found})
    found = [one for one in found if repository in (None, one.get("repository"))]
    if where and not found:
        raise UnknownDefinitionError(
            job,
            f"{location} has no job {job!r} in a repository {repository!r}",
            hint=f"it is a job of {', '.join(where)}",
        )
    if not found:
        if named:  # of another kind
            hint = kinds.remedy(location, job, named[0]["kind"])
        else:
            names = await in_turns(_jobs(snapshot))
            hint = nearest.hint(job, names) if names else "it has no jobs"
        raise UnknownDefinitionError(job, f"{location} has no job {job!r}", hint=hint)
    if len(found) > 1:
        raise RequestError(
            f"{job!r} is a job of {', '.join(where)}", hint="say which with --repository"
        )
    return found[0]


def _jobs(snapshot: Snapshot) -> Steps[list[str]]:
    names = []
    for one in snapshot.each():
        if one["kind"] in kinds.JOBS:
            names.append(one["name"])
        yield
    return names
