"""What the methods of the control protocol do; what they are is declared in ``supervisor.protocol.methods``.

Owns the shape of results. A handler gets the parameters of its method, checked. Every face (command
line, Python client, web page) comes through here. Changes locations only by giving them the orders
they know.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.installed import distributions
from runner_shim import masking, wire
from supervisor import __version__
from supervisor.access.identity import asker
from supervisor.errors import RequestError, UnknownDefinitionError
from supervisor.locations.lifecycle import State
from supervisor.locations.location import Location
from supervisor.locations.location_log import LocationLog
from supervisor.nearest import near_in_steps
from supervisor.processes.launcher import Usage
from supervisor.processes.usage import UsageMeter
from supervisor.protocol.methods import METHODS
from supervisor.run_settings import RunSettings
from supervisor.runs.newer_code import with_note
from supervisor.server import rpc
from supervisor.server.automation_handlers import AutomationHandlers
from supervisor.server.rpc import Packed, Reply
from supervisor.server.run_handlers import RunHandlers
from supervisor.server.status import (
    environment_status,
    location_status,
    process_shown,
    remote_status,
    usage_data,
)
from supervisor.server.turns import held
from supervisor.snapshots import msgpack_reader
from supervisor.snapshots.snapshot import Snapshot, comparing, definition_key
from supervisor.time_slices import Steps, in_turns, turns
from supervisor.workspace_files.effective import location_settings

if TYPE_CHECKING:
    from supervisor.protocol import documents
    from supervisor.server.daemon import Daemon

__all__ = ["Handlers"]

# Rows of a list are put together in pieces of about so many bytes.
_PORTION = 64 * 1024
# What a status document says of all locations together.
_OF_ALL = ("files", "warnings", "conditions", "configuration_problems")
# A client that is gone is not noticed: its requests end by themselves.
_MAX_WAIT = 60.0


class Handlers(RunHandlers, AutomationHandlers):
    """The methods of ``daemon``."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon)
        self._meter = UsageMeter(os.getpid())

    def table(self) -> rpc.Handlers:
        """Each method and its handler, which has the same name but where that is a type of Python."""
        return {
            name: (method, getattr(self, {"list": "definitions"}.get(name, name)))
            for name, method in METHODS.items()
        }

    async def status(self, params: Mapping[str, Any]) -> Reply:
        """The status document, at once or when the revision is another than ``since``."""
        since = params["since"]
        if since is not None:
            await self._revised(since, _bounded(params))
        _, document = await self._status(params["location"])
        return document, []

    async def watch(self, params: Mapping[str, Any]) -> AsyncGenerator[Reply, None]:
        """The status document, and again when it has changed."""
        refresh = params["refresh"]
        while True:
            seen, document = await self._status(params["location"])
            yield document, []
            await self._revised(seen, math.inf if refresh is None else refresh)

    async def _revised(self, seen: int, seconds: float) -> None:
        fleet = self._daemon.fleet
        async with held():
            await fleet.news.wait(lambda: fleet.revision != seen, seconds)

    async def _written(self, log: LocationLog, after: int, seconds: float) -> None:
        async with held():
            await self._daemon.fleet.news.wait(lambda: log.cursor > after, seconds)

    async def _status(self, name: str | None) -> tuple[int, dict[str, Any] | Packed]:
        """The document, and its revision."""
        daemon = self._daemon
        revision = daemon.fleet.revision  # what changes meanwhile is news
        document: dict[str, Any] = {
            "format": 1,
            "revision": revision,
            "supervisor": self._supervisor(await self._meter.read()),
        }
        if name is None:
            return revision, Packed(await self._all_packed(document))
        entry: documents.LocationStatus
        if name in daemon.fleet.remotes:
            entry = remote_status(daemon.fleet.remotes[name], daemon.started_at)
        else:
            location = daemon.fleet.location(name)
            daemon.fleet.look_for_orphans()
            usage = await _usage(location, detail=True)
            servers = daemon.services.code_servers.status(name)
            entry = location_status(location, usage, detail=True, code_servers=servers)
        return revision, {**document, "locations": [entry]}

    async def _all_packed(self, document: dict[str, Any]) -> list[bytes]:
        """``document`` with all locations, each packed at once: very many would take much room."""
        fleet, since, sees = self._daemon.fleet, self._daemon.started_at, asker().sees
        locations = [one for one in fleet.ordered() if sees(one.spec.name)]
        remotes = [one for one in fleet.remotes.values() if sees(one.name)]
        pieces = [bytes([0x80 | (len(document) + 1)])]  # a map with the locations beside the rest
        pieces += [wire.pack(one) for item in document.items() for one in item]
        pieces += [
            wire.pack("locations"),
            msgpack_reader.list_header(len(locations) + len(remotes)),
        ]
        with turns() as step:
            for one in locations:
                usage = await _usage(one)
                servers = self._daemon.services.code_servers.status(one.spec.name)
                entry = location_status(one, usage, detail=False, code_servers=servers)
                pieces.append(wire.pack(entry))
                await step()
        return pieces + [wire.pack(remote_status(one, since)) for one in remotes]

    async def definitions(self, params: Mapping[str, Any]) -> Reply:
        """All definitions, of one kind or one location if asked."""
        kind, chosen = params["kind"], self._one_or_all(params["location"])
        pieces = [b""]
        number = await in_turns(_all_listed(chosen, kind, pieces))
        # Packed at once, very many rows would hold up all other requests.
        pieces[0] = b"\x81" + wire.pack("definitions") + msgpack_reader.list_header(number)
        return Packed(pieces), []

    async def show(self, params: Mapping[str, Any]) -> Reply:
        """One definition; a lazy one is constructed by the shim."""
        location = self._daemon.fleet.location(params["location"])
        name, kind, repository = params["name"], params["kind"], params["repository"]
        snapshot = self._serving(location)
        found = _matching(await in_turns(snapshot.named(name)), kind, repository)
        if not found:
            names = (one["name"] for one in snapshot.each())
            meant = await in_turns(near_in_steps(name, names))
            see = f"see `supervise list --location {snapshot.location}`"
            hint = f"did you mean {meant}?" if meant else see
            raise UnknownDefinitionError(name, hint=with_note(location, hint))
        if len(found) > 1:
            keys = ", ".join(definition_key(one) for one in found)
            raise RequestError(
                f"{name!r} names {len(found)} definitions of {location.spec.name}: {keys}",
                hint="say which with --kind or --repository",
            )
        definition = found[0]
        source = await in_turns(snapshot.source_of(definition_key(definition)))
        if definition.get("lazy"):
            where = definition.get("repository")
            async with held():  # user code constructs it
                made = await location.describe(definition["kind"], name, where)
            definition, source = made["definition"], made["source"] or source
        return {
            "definition": masking.definition(definition),
            "source": source,
            "generation": snapshot.generation,
        }, []

    async def snapshot(self, params: Mapping[str, Any]) -> Reply:
        """A whole snapshot, as bytes."""
        location = self._daemon.fleet.location(params["location"])
        snapshot = await self._generation(location, params["generation"])
        return {
            "location": location.spec.name,
            "generation": snapshot.generation,
            "fingerprint": snapshot.fingerprint,
            "loaded_at": snapshot.loaded_at,
            "counts": dict(snapshot.counts),
            "report": dict(snapshot.report),
        }, [snapshot.definitions, snapshot.sources]

    async def diff(self, params: Mapping[str, Any]) -> Reply:
        """What changed between two generations; by default the last two."""
        location = self._daemon.fleet.location(params["location"])
        after = await self._generation(location, params["to"])
        wanted = params["from"]
        if wanted is None:
            kept = await self._daemon.store.generations(location.spec.name)
            earlier = [one for one in kept if one < after.generation]
            if not earlier:
                raise RequestError(
                    f"generation {after.generation} of {location.spec.name} is the first that is "
                    "kept: there is nothing to compare it with",
                    hint=f"`supervise history {location.spec.name}` lists those that are kept",
                )
            wanted = earlier[-1]
        before = await self._generation(location, wanted)
        difference = await in_turns(comparing(before, after))
        return {
            "location": location.spec.name,
            "from": _generation_data(before),
            "to": _generation_data(after),
            "added": list(difference.added),
            "removed": list(difference.removed),
            "changed": [
                {
                    "key": one.key,
                    "fields": list(one.fields),
                    "before": masking.definition({f: one.before.get(f) for f in one.fields}),
                    "after": masking.definition({f: one.after.get(f) for f in one.fields}),
                }
                for one in difference.changed
            ],
        }, []

    async def history(self, params: Mapping[str, Any]) -> Reply:
        """The generations of one location that are kept."""
        location = self._daemon.fleet.location(params["location"])
        kept = await self._daemon.store.history(location.spec.name)
        snapshot = location.snapshot
        return {
            "location": location.spec.name,
            "serving": None if snapshot is None else snapshot.generation,
            "generations": kept,
        }, []

    async def settings(self, params: Mapping[str, Any]) -> Reply:
        """The settings of one location, without the values of its variables."""
        name = params["location"]
        spec = self._daemon.fleet.remotes.get(name) or self._daemon.fleet.location(name).spec
        found = location_settings(spec, self._daemon.spec.runs or RunSettings(), variables=False)
        return {
            "location": name,
            "form": spec.form,
            "at": None if spec.origin is None else str(spec.origin),
            "settings": {one.key: one.as_data() for one in found},
        }, []

    async def environments(self, params: Mapping[str, Any]) -> Reply:
        """The environments in use, by whom, and what is installed in each."""
        found = await in_turns(_environments(self._one_or_all(params["location"])))
        for entry in found:
            # Directories of many entries, perhaps on a slow disk: not in the event loop.
            entry["packages"] = None
            if entry["prefix"]:
                async with held():
                    entry["packages"] = await asyncio.to_thread(
                        distributions, Path(entry["prefix"]), entry["python"]
                    )
        return {"environments": found}, []

    async def stacks(self, params: Mapping[str, Any]) -> Reply:
        """Where the threads of one location's process are."""
        location = self._daemon.fleet.location(params["location"])
        running = [
            one for one in (location.newest, location.serving) if one is not None and one.alive
        ]
        name = location.spec.name
        if not running:
            raise RequestError(
                f"{name} has no process: it is {location.state}, {location.reason}",
                hint=f"use `supervise status {name}` to see why",
            )
        async with held():
            lines = await running[0].stacks()
        if not lines:
            raise RequestError(
                f"the process of {name} does not tell where it is",
                hint="its interpreter is still starting, or a signal or a debugger holds it",
            )
        return {"location": name, "generation": running[0].number, "lines": lines}, []

    async def reload(self, params: Mapping[str, Any]) -> Reply:
        """Load anew beside what serves."""
        return await self._order(params, Location.reload)

    async def restart(self, params: Mapping[str, Any]) -> Reply:
        """Stop the processes and start new ones."""
        return await self._order(params, Location.restart)

    async def start(self, params: Mapping[str, Any]) -> Reply:
        """Start what is stopped, failed or crashed."""
        return await self._order(params, Location.start)

    async def stop(self, params: Mapping[str, Any]) -> Reply:
        """End the processes."""
        return await self._order(params, Location.stop)

    async def wait(self, params: Mapping[str, Any]) -> Reply:
        """Wait until no chosen location is under way."""
        remotes = self._daemon.fleet.remotes
        asked = params["locations"]
        here = [one for one in asked if one not in remotes]
        # Nothing here can make a remote one ready: it is not waited for.
        names = here if asked else self._all_names()
        locations = [self._daemon.fleet.location(name) for name in names]
        async with held():
            await self._daemon.fleet.news.wait(
                lambda: not any(one.under_way for one in locations), _bounded(params)
            )
        return {
            "ready": all(one.state is State.READY for one in locations),
            "settled": not any(one.under_way for one in locations),
            "locations": {
                **{one.spec.name: one.state.value for one in locations},
                **{one: "elsewhere" for one in asked if one in remotes},
            },
        }, []

    async def logs(self, params: Mapping[str, Any]) -> Reply:
        """The last lines of a log, or those after a cursor as soon as there are any."""
        location = self._daemon.fleet.location(params["location"])
        log = location.log
        after = params["after"]
        if after is not None:
            await self._written(log, after, _bounded(params))
            answer = await log.answer(after=after)
        else:
            answer = await log.answer(lines=params["lines"], before=params["before"])
        return Packed([answer]), []

    async def follow(self, params: Mapping[str, Any]) -> AsyncGenerator[Reply, None]:
        """The lines of a log as they are written."""
        log = self._daemon.fleet.location(params["location"]).log
        after = log.cursor if params["after"] is None else params["after"]
        while True:
            await self._written(log, after, math.inf)
            answer = await log.answer(after=after)
            yield Packed([answer]), []
            after = wire.unpack(answer, wire.MAX_MESSAGE_BYTES)["next"]

    async def shutdown(self, params: Mapping[str, Any]) -> Reply:
        """End the supervisor, after this reply."""
        ending = partial(self._daemon.shutdown, params["at_once"], leave_runs=params["leave_runs"])
        asyncio.get_running_loop().call_soon(ending)
        return {"pid": os.getpid()}, []

    async def whoami(self, params: Mapping[str, Any]) -> Reply:
        """Who asks."""
        who = asker()
        return {"name": who.name, "role": str(who.role), "locations": list(who.locations)}, []

    def _supervisor(self, usage: Usage | None) -> dict[str, Any]:
        daemon = self._daemon
        document = {
            "pid": os.getpid(),
            "version": __version__,
            "started": daemon.started_at,
            "now": time.time(),
            "workspace": daemon.spec.title,
            "files": [str(path) for path in daemon.spec.files],
            "directory": str(daemon.spec.directory),
            "state_directory": str(daemon.state.path),
            "stopping": daemon.stopping,
            **usage_data(usage),
            "warnings": [*daemon.spec.warnings, *(one.message for one in daemon.fleet.conditions)],
            "conditions": [one.as_data() for one in daemon.fleet.conditions],
            "configuration_problems": [one.as_data() for one in daemon.fleet.problems],
            "face": None if daemon.face is None else daemon.face.as_data(),
        }
        if not asker().everywhere:  # they name locations, and files that are named after some
            document |= {key: [] for key in _OF_ALL}
            if daemon.spec.title.startswith("-"):
                document["workspace"] = "flags"
        return document

    def _one_or_all(self, name: str | None) -> list[Location]:
        fleet = self._daemon.fleet
        if name is not None:
            return [fleet.location(name)]
        return [one for one in fleet.ordered() if asker().sees(one.spec.name)]

    def _all_names(self) -> list[str]:
        return [one for one in self._daemon.fleet.locations if asker().sees(one)]

    async def _order(self, params: Mapping[str, Any], order: Callable[[Location], str]) -> Reply:
        fleet = self._daemon.fleet
        for name in params["locations"]:
            fleet.location(name)
        names = params["locations"] or self._all_names()
        fleet.check_orders()  # of none, too
        return {"locations": await in_turns(fleet.ordering(names, order))}, []

    @staticmethod
    def _serving(location: Location) -> Snapshot:
        if location.snapshot is None:
            raise RequestError(
                f"{location.spec.name} has no snapshot: it is {location.state}, {location.reason}",
                hint=f"use `supervise status {location.spec.name}` to see why",
            )
        return location.snapshot

    async def _generation(self, location: Location, wanted: Any) -> Snapshot:
        serving = self._serving(location)
        if wanted is None or wanted == serving.generation:
            return serving
        store, name = self._daemon.store, location.spec.name
        found = await store.get(name, wanted)
        if found is None:
            kept = ", ".join(str(one) for one in await store.generations(name))
            raise RequestError(
                f"generation {wanted} of {name} is not kept",
                hint=f"kept are {kept or serving.generation}",
            )
        return found


async def _usage(location: Location, *, detail: bool = False) -> Usage | None:
    process = process_shown(location)
    return None if process is None else await process.usage(detail=detail)


def _generation_data(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "generation": snapshot.generation,
        "fingerprint": snapshot.fingerprint,
        "loaded_at": snapshot.loaded_at,
    }


def _environments(locations: list[Location]) -> Steps[list[dict[str, Any]]]:
    """The environment of each location, and the names of those that run in it."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for location in locations:
        data = environment_status(location.spec, location.newest or location.serving)
        entry = found.setdefault((data["name"], data["executable"]), {**data, "locations": []})
        entry["locations"].append(location.spec.name)
        yield
    return list(found.values())


def _all_listed(locations: list[Location], kind: str | None, pieces: list[bytes]) -> Steps[int]:
    number = 0
    for location in locations:
        if location.snapshot is not None:
            number += yield from _listed(location.snapshot, kind, pieces)
        yield
    return number


def _listed(snapshot: Snapshot, kind: str | None, pieces: list[bytes]) -> Steps[int]:
    """Add the rows of a list to ``pieces``, as msgpack; how many they are."""
    number, portion = 0, bytearray()
    for one in snapshot.each():
        if kind is None or one["kind"] == kind:
            row = {
                "location": snapshot.location,
                "kind": one["kind"],
                "name": one["name"],
                "repository": one.get("repository"),
                "lazy": bool(one.get("lazy")),
                "description": one.get("description"),
            }
            number += 1
            portion += wire.pack(row)
            if len(portion) > _PORTION:
                pieces.append(bytes(portion))
                portion.clear()
        yield
    pieces.append(bytes(portion))
    return number


def _matching(
    found: list[dict[str, Any]], kind: str | None, repository: str | None
) -> list[dict[str, Any]]:
    return [
        one
        for one in found
        if kind in (None, one["kind"]) and repository in (None, one.get("repository"))
    ]


def _bounded(params: Mapping[str, Any]) -> float:
    return min(float(params["timeout"]), _MAX_WAIT)
