"""One evaluation of a schedule or sensor, by the process that serves; its result is checked and bounded.

Owns the finding of the definition, the 60 seconds, and the reading of what comes back. User code runs in its
own process, so one that hangs delays no other. Launches nothing and keeps no cursor.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner_shim import wire
from supervisor import kinds, nearest
from supervisor.errors import NotServedError, RequestError, UnknownDefinitionError
from supervisor.fleet.fleet import Fleet
from supervisor.locations.failures import (
    Failure,
    LoadFailedError,
    ProcessDiedError,
    from_shim,
)
from supervisor.locations.generation import Generation
from supervisor.locations.location import Location
from supervisor.locations.phases import launched
from supervisor.locations.shim_connection import Answer
from supervisor.processes.fresh_run import fresh_of
from supervisor.running_time import RunningTime
from supervisor.runs import newer_code
from supervisor.runs.automation import Automation, of_definition
from supervisor.runs.served_code import refusal
from supervisor.time_slices import in_turns

__all__ = ["LIMIT", "Outcome", "Ticking"]

LIMIT = 60.0
"""Seconds that the function of a schedule or sensor may take."""
_STACKS_BEFORE = 0.5
# The shim may be busy for so long, and then it does not answer any more (seconds).
_PATIENCE = 30.0
# A process that ends meanwhile is replaced: so often, and so long is the next one waited for (seconds).
_TRIES = 3
_TO_SERVE = 15.0
_MOST_BYTES = 2 * 1024 * 1024
_MOST_REQUESTS = 1000
_MOST_LINES = 1000
_MOST_TEXT = 20_000
# Decoded at once, more would hold up everybody else (bytes).
_PIECE = 32 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an evaluation gave. ``requests`` are as ``runner_shim/execution/ticks.py`` has them.

    ``began`` is Unix seconds. ``failure`` is what went wrong, or None.
    """

    began: float
    generation: int
    framework: str | None = None
    requests: Sequence[Mapping[str, Any]] = field(default=())
    skipped: str | None = None
    cursor: str | None = None
    logs: Sequence[Mapping[str, str]] = field(default=())
    failure: Failure | None = None
    fresh_because: str = ""


class Ticking:
    """Evaluates what the locations of ``fleet`` define.

    ``instance_of(location)`` is ``(directory, shared)`` of the framework's instance of a location.
    """

    def __init__(self, fleet: Fleet, instance_of: Callable[[str], tuple[Path, bool]]) -> None:
        self._fleet = fleet
        self._instance_of = instance_of
        self._numbers = itertools.count(1)

    async def find(self, location: str, name: str, repository: str | None = None) -> Automation:
        """The schedule or sensor of that name; raises ``UnknownDefinitionError`` and ``RequestError``."""
        snapshot = self._fleet.location(location).snapshot
        if snapshot is None:
            raise UnknownDefinitionError(name, f"{location} has loaded nothing yet")
        named = await in_turns(snapshot.named(name))
        found = [one for one in named if one["kind"] in kinds.AUTOMATIONS]
        found = [one for one in found if repository in (None, one.get("repository"))]
        if not found:
            raise self.unknown(location, name)
        if len(found) > 1:
            where = ", ".join(str(one.get("repository")) for one in found)
            raise RequestError(f"{name!r} is one of {where}", hint="say which with --repository")
        definition = found[0]
        if definition.get("lazy"):
            made = await self._fleet.location(location).describe(
                definition["kind"], name, definition.get("repository")
            )
            definition = made["definition"]
        return await asyncio.to_thread(of_definition, snapshot, definition)

    def unknown(self, location: str, name: str) -> UnknownDefinitionError:
        """That the location serves no schedule or sensor of that name, with those that it serves."""
        snapshot = self._fleet.location(location).snapshot
        found = [] if snapshot is None else [(one["name"], one["kind"]) for one in snapshot.each()]
        names = [one for one, kind in found if kind in kinds.AUTOMATIONS]
        other = next((kind for one, kind in found if one == name), None)
        if other is not None:
            hint = kinds.remedy(location, name, other)
        else:
            hint = (
                nearest.hint(name, names) if names else f"{location} has no schedules and sensors"
            )
        return UnknownDefinitionError(
            name,
            f"{location} has no schedule or sensor {name!r}",
            hint=newer_code.with_note(self._fleet.location(location), hint),
        )

    async def evaluate(
        self,
        one: Automation,
        at: float,
        *,
        cursor: str | None = None,
        last_run_key: str | None = None,
        last_tick: float | None = None,
    ) -> Outcome:
        """Evaluate it for the time ``at`` (Unix seconds).

        Raises ``NotServedError`` where the location serves nothing, or its process was ended by an order before it
        had an answer, and none took its place.
        """
        location = self._fleet.location(one.location)
        serving = location.serving
        if serving is None or not serving.alive:
            raise NotServedError(
                f"{one.location} has no process to evaluate {one.name}: it is {location.state}, "
                f"{location.reason}"
            )
        directory, shared = self._instance_of(one.location)
        if not one.ours and not shared:
            with suppress(OSError):
                await asyncio.to_thread(directory.mkdir, 0o700, parents=True, exist_ok=True)
        order = {
            "location": one.location,
            "name": one.name,
            "kind": one.kind,
            "repository": one.repository,
            "framework": one.framework,
            "time": at,
            "offset": _offset(one, at),
            "cursor": cursor,
            "last_run_key": last_run_key,
            "last_tick": last_tick,
            "instance": str(directory),
            "shared_instance": shared,
        }
        began = time.time()
        for _ in range(_TRIES):
            try:
                return await self._evaluate(location, serving, order, began, "")
            except LoadFailedError as error:
                return Outcome(began, serving.number, failure=error.failure)
            except ProcessDiedError as error:
                text = f"the process of {one.location} ended meanwhile: {error}"
            # Another takes its place: after a reload, or because it has died.
            after = await self._next(location, serving)
            if after is None:
                break
            serving = after
        if serving.because:
            raise NotServedError(
                f"the process that evaluated {one.name} was ended: {serving.because}"
            )
        return Outcome(began, serving.number, failure=Failure("died", text))

    async def _next(self, location: Location, before: Generation) -> Generation | None:
        """The generation that serves after ``before``; None where none does for a while."""

        def found() -> bool:
            serving = location.serving
            return serving is not None and serving is not before and serving.alive

        if not found():
            await self._fleet.news.wait(lambda: found() or not location.under_way, _TO_SERVE)
        return location.serving if found() else None

    async def _evaluate(
        self,
        location: Location,
        serving: Generation,
        order: Mapping[str, Any],
        began: float,
        fresh_because: str,
    ) -> Outcome:
        launch = launched(serving.phase)
        assert launch is not None and launch.target is not None  # it serves
        number = f"{serving.number}-{next(self._numbers)}"
        asked = await serving.conversation.ask(
            "tick",
            tick=number,
            order=order,
            fresh=fresh_of(launch),
            target=launch.target.as_data(),
            fresh_because=fresh_because,
        )
        try:
            answer = await self._answer(serving, asked, number)
        except asyncio.CancelledError:
            with suppress(Exception):
                await serving.conversation.ask("end_tick", tick=number, how="kill")
            raise
        if not isinstance(answer, Answer) or answer.type != "ticked":
            text = "the process that serves cannot go on"
            return Outcome(began, serving.number, failure=Failure("died", text))
        outcome = await _read(answer, began, serving.number, order)
        failure = outcome.failure
        if failure is not None and failure.kind == "unfit" and not fresh_because:
            other = await refusal(location, serving)
            if other:
                text = f"{order['name']} is not evaluated: {other}"
                return Outcome(began, serving.number, failure=Failure("unfit", text))
            return await self._evaluate(location, serving, order, began, failure.message)
        return outcome

    async def _answer(self, serving: Generation, asked: asyncio.Future[Any], number: str) -> Any:
        """What comes, once the process was told to end where its time is over."""
        for how, patience in (("stacks", LIMIT - _STACKS_BEFORE), ("kill", _STACKS_BEFORE)):
            if await RunningTime(patience).wait([asked]):
                return await asked
            await serving.conversation.ask("end_tick", tick=number, how=how)
        if not await RunningTime(_PATIENCE).wait([asked]):
            await serving.unresponsive("ending a tick", _PATIENCE)
        return await asked


async def _read(answer: Answer, began: float, generation: int, order: Mapping[str, Any]) -> Outcome:
    """What the answer says; a shim is not trusted."""
    data = answer.payload[0]
    try:
        said = (
            wire.unpack(data, _MOST_BYTES)
            if len(data) <= _PIECE
            else await asyncio.to_thread(wire.unpack, data, _MOST_BYTES)
        )
        because = answer.message.get("fresh_because")
        fresh = because[:500] if isinstance(because, str) else ""
        if not isinstance(said, dict):
            raise wire.WireError("it is no map")
        if not isinstance(said.get("result"), dict):
            failure = from_shim(said.get("failure"))
            if failure.kind == "timeout":
                text = f"{order['name']} took longer than {LIMIT:g} s"
                hint = "its stacks at that time are in the log of the location"
                failure = Failure("timeout", text, hint)
            return Outcome(began, generation, failure=failure, fresh_because=fresh)
        result = said["result"]
        requests = _list(result.get("requests"))
        if len(requests) > _MOST_REQUESTS:
            raise wire.WireError("it has too many requests")
        return Outcome(
            began,
            generation,
            framework=_text(result.get("framework")),
            requests=[_request(one) for one in requests],
            skipped=_text(result.get("skipped")),
            cursor=_text(result.get("cursor"), whole=True),
            logs=[
                {"level": str(one.get("level"))[:20], "message": str(one.get("message"))[:2000]}
                for one in _list(result.get("logs"))[:_MOST_LINES]
                if isinstance(one, dict)
            ],
            fresh_because=fresh,
        )
    except (wire.WireError, ValueError) as error:
        text = f"what the process said of the tick cannot be read: {error}"
        return Outcome(began, generation, failure=Failure("protocol", text))


def _request(one: Any) -> dict[str, Any]:
    if not isinstance(one, dict):
        raise wire.WireError("a request is no map")
    assets, config, tags = one.get("assets"), one.get("config"), one.get("tags")
    if not isinstance(config, dict) or not isinstance(tags, dict):
        raise wire.WireError("a request has no config and tags")
    if assets is not None and not (
        isinstance(assets, list) and assets and all(isinstance(each, str) for each in assets)
    ):
        raise wire.WireError("the assets of a request are no names")
    if assets is None and not isinstance(one.get("job"), str):
        raise wire.WireError("a request names no job")
    return {
        "job": _text(one.get("job"), whole=True),
        "assets": assets,
        "run_key": _text(one.get("run_key"), whole=True),
        "config": config,
        "tags": {str(key): str(value) for key, value in tags.items()},
        "partition": _text(one.get("partition"), whole=True),
    }


def _text(value: Any, *, whole: bool = False) -> str | None:
    if value is None or not isinstance(value, str):
        return None
    if whole and len(value) > _MOST_TEXT:
        raise wire.WireError(f"a text has more than {_MOST_TEXT} characters")
    return value[:_MOST_TEXT]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _offset(one: Automation, at: float) -> float:
    """Seconds that the clocks of its zone are before those of UTC then, in whole minutes."""
    zone = UTC if one.schedule is None else one.schedule.timetable.zone
    try:
        found = datetime.fromtimestamp(at, zone).utcoffset()
    except (ValueError, OSError, OverflowError):
        return 0.0
    return 0.0 if found is None else found.total_seconds() // 60 * 60
