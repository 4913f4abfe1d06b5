"""The set of locations: applies the sources of desired state and gives orders to the locations.

Owns the locations, those served elsewhere, those that are leaving, the revision that clients wait
for, the problems of the sources and the supervisor's conditions. A source is read again whenever it
says so; ``merge`` makes one set of all of them, and the difference to what runs is
applied, one location after the other. The host makes the locations.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from supervisor import nearest
from supervisor.conditions import Conditions
from supervisor.desired import Desired, Entry
from supervisor.errors import (
    ConfigurationProblem,
    RequestError,
    UnknownLocationError,
)
from supervisor.fleet.change_signal import ChangeSignal
from supervisor.fleet.following import Following
from supervisor.fleet.merge import Claim, Merged, merge
from supervisor.fleet.source import Source
from supervisor.locations.location import Location
from supervisor.processes.orphans import Orphan, location_of
from supervisor.snapshots.snapshot import Snapshot
from supervisor.specs import LocationSpec
from supervisor.time_slices import Steps
from supervisor.watching.reloading import FileWatch

__all__ = ["Fleet", "Host"]

_log = logging.getLogger(__name__)

_REFUSED, _MISSING = "entry_refused", "entries_missing"
_MOST_NAMED = 5


class Host(Protocol):
    """What a fleet needs of the one that owns it. Everything is called in the event loop."""

    def make(self, spec: LocationSpec, earlier: Snapshot | None) -> Location:
        """A location that is not started yet; ``earlier`` is what it last served."""

    async def last_served(self, name: str) -> Snapshot | None:
        """What a location of that name served when it was last there, as far as it is kept."""

    def left(self, name: str) -> None:
        """The location ``name`` is no longer of the fleet; its processes are ending."""

    def settled(self) -> None:
        """The fleet is what its sources desire."""

    def calm(self) -> None:
        """All sources that have changed are read, and what followed is done."""

    def find_orphans(self) -> Mapping[str, list[Orphan]]:
        """What ``orphans.look`` finds."""


class Fleet:
    """The locations that ``sources`` desire, made by ``host``. Of two sources the first goes first.

    ``revision`` counts the changes that clients can see, ``news`` wakes those who wait for one. With
    ``idle`` a location is started when that is ordered, or something is to be run in it.
    """

    def __init__(self, sources: Sequence[Source], host: Host, *, idle: bool = False) -> None:
        self._idle = idle
        self.revision = 0
        self.news = ChangeSignal()
        self.conditions = Conditions(self.changed, time.time)
        self.locations: dict[str, Location] = {}
        self.remotes: dict[str, LocationSpec] = {}
        self.stopping = False
        self._host = host
        self._leaving: list[Location] = []  # several may have had one name
        self._farewells: set[asyncio.Task[None]] = set()
        self._following = [Following(one, partial(self._took, one), self._calm) for one in sources]
        self._entries: dict[str, tuple[Entry, ...]] = {one.title: () for one in sources}
        self._problems: dict[str, tuple[ConfigurationProblem, ...]] = {}
        self._outdated: dict[str, str] = {}
        self._merged = Merged()
        self._applying = asyncio.Lock()
        self._started = False

    # What is there.

    @property
    def problems(self) -> tuple[ConfigurationProblem, ...]:
        """What is wrong in the sources, theirs and that of names that two of them claim."""
        found = (one for title in self._entries for one in self._problems.get(title, ()))
        return (*found, *self._merged.problems)

    def __len__(self) -> int:
        return len(self.locations) + len(self.remotes)

    def ordered(self) -> list[Location]:
        """The locations in the order of their sources."""
        return list(self.locations.values())

    def all(self) -> list[Location]:
        """Those that are leaving, too."""
        return [*self.locations.values(), *self._leaving]

    def location(self, name: str) -> Location:
        """The location of that name; raises ``UnknownLocationError``, and ``RequestError`` for one
        that is served elsewhere."""
        if name in self.remotes:
            raise RequestError(f"{name} is served elsewhere: it has no process here")
        found = self.locations.get(name)
        if found is None:
            raise UnknownLocationError(
                name, hint=nearest.hint(name, [*self.locations, *self.remotes])
            )
        return found

    def files_of(self, name: str) -> FileWatch | None:
        """What watches the files of that location."""
        location = self.locations.get(name)
        return None if location is None else location.files

    @property
    def under_way(self) -> bool:
        """True while the state of a location will change by itself."""
        return any(one.under_way for one in self.all())

    # What happens.

    def changed(self) -> None:
        """Something that clients can see has changed."""
        self.revision += 1
        self.news.tell()

    def ordering(
        self, names: Iterable[str], order: Callable[[Location], str]
    ) -> Steps[dict[str, str]]:
        """Give ``order`` to the locations ``names``, one at each step; what each answered.

        Those that go meanwhile get no order. Raises ``RequestError`` once the fleet is stopping.
        """
        chosen = {name: self.location(name) for name in names}
        answers: dict[str, str] = {}
        self.check_orders()
        for name, location in chosen.items():
            self.check_orders()
            if self.locations.get(name) is location:
                answers[name] = order(location)
            else:
                answers[name] = "is no longer in the workspace"
            yield
        return answers

    def check_orders(self) -> None:
        """Raises ``RequestError`` once no more orders are taken."""
        if self.stopping:
            raise RequestError(
                "the supervisor is stopping", hint="`supervise` starts it again when it has ended"
            )

    def look_for_orphans(self) -> None:
        """Have every location know which of its processes left their session."""
        found = self._host.find_orphans()
        for name, location in self.locations.items():
            if found or location.orphans:
                location.orphans_seen(found.get(location_of(name), []))

    # Its life.

    async def read(self) -> set[str]:
        """Read every source for the first time; the names that they desire."""
        for one in self._following:
            await one.read()
        entries = (one for found in self._entries.values() for one in found)
        return {one.name for one in entries if one.name is not None}

    async def start(self, earlier: Mapping[str, Snapshot]) -> None:
        """Start all, and follow the sources; ``earlier`` are snapshots that are served at first."""
        self._started = True
        await self._apply("the supervisor started", earlier)

    def follow(self) -> None:
        """Read the sources again whenever they have changed."""
        for one in self._following:
            one.start()

    def reread(self) -> None:
        """Read all sources again, whether or not they are known to have changed."""
        for one in self._following:
            one.ask()

    def refuse(self) -> None:
        """Take no more orders and no more changes."""
        self.stopping = True

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """End every process, and ``refuse``; ``stopped`` waits for it."""
        self.refuse()
        for location in self.all():
            location.stop(reason, at_once=at_once)

    async def stopped(self) -> None:
        """Wait until every process has ended."""
        for one in self._following:
            await one.close()
        for location in self.all():
            await location.stopped()

    # What the sources say.

    async def _took(
        self, source: Source, desired: Desired | None, problems: tuple[ConfigurationProblem, ...]
    ) -> None:
        for problem in problems:
            if problem not in self._problems.get(source.title, ()):
                _log.info("refused: %s", problem)  # clients show it; the log keeps it
        self._problems[source.title] = problems
        if desired is not None:
            self._entries[source.title] = desired.entries
            self._outdated |= desired.outdated
            if self._started:
                await self._apply("it was added to the workspace")
        self.changed()

    def _calm(self) -> None:
        if not any(one.busy for one in self._following):
            self._host.calm()

    async def _apply(self, added: str, earlier: Mapping[str, Snapshot] | None = None) -> None:
        """Make the set of locations what the sources desire; ``added`` is the reason for new ones.

        ``earlier`` is what they served; None: the host knows.
        """
        async with self._applying:
            claims = [
                Claim(title, entry) for title, found in self._entries.items() for entry in found
            ]
            before = self._merged.claims
            merged = self._merged = merge(before, claims)
            for name in before.keys() - merged.claims.keys():
                self._remove(name)
            for spec in list(merged.specs()):
                served = None
                if spec.name not in self.locations:
                    served = (
                        await self._host.last_served(spec.name)
                        if earlier is None
                        else earlier.get(spec.name)
                    )
                if self.stopping:
                    return
                kept = spec.name in merged.kept or spec.name in merged.missing
                self._realize(spec, added, served, kept=kept)
                await asyncio.sleep(0)  # the first go on
            order = {name: position for position, name in enumerate(merged.claims)}
            self.locations = dict(sorted(self.locations.items(), key=lambda one: order[one[0]]))
            self._tell(merged)
            self._host.settled()

    def _realize(
        self, spec: LocationSpec, added: str, served: Snapshot | None, *, kept: bool
    ) -> None:
        name = spec.name
        location, remote = self.locations.get(name), self.remotes.get(name)
        if location is None and remote is None:
            self._add(spec, added, served)
        elif kept:
            return
        elif (location is None) != (spec.target is None):
            self._remove(name)
            self._add(spec, "it was changed in the workspace", served)
        elif location is None:
            self.remotes[name] = spec
        else:
            same = location.spec == spec
            location.update(spec, "its entry in the workspace changed")
            if same and name in self._outdated:
                location.reload(self._outdated[name])
        self._outdated.pop(name, None)

    def _add(self, spec: LocationSpec, reason: str, served: Snapshot | None) -> None:
        if spec.remote is not None:
            self.remotes[spec.name] = spec
            return
        location = self._host.make(spec, served)
        self.locations[spec.name] = location
        if self._idle:
            return
        if served is not None:  # numbers of generations that failed since are given anew
            generation = served.generation
            location.log.remark(f"{reason}; generation {generation} was the last that loaded")
        location.start(reason)

    def _remove(self, name: str) -> None:
        self.remotes.pop(name, None)
        location = self.locations.pop(name, None)
        if location is None:
            return
        self._host.left(name)
        if location.files is not None:
            location.files.close()
        self._leaving.append(location)
        location.stop("it is no longer in the workspace")
        task = asyncio.create_task(self._see_off(location))
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)

    async def _see_off(self, location: Location) -> None:
        await location.stopped()
        self._leaving.remove(location)

    def _tell(self, merged: Merged) -> None:
        for name, location in self.locations.items():
            problem = merged.kept.get(name)
            if problem is None:
                location.conditions.clear(_REFUSED)
            else:
                location.conditions.set(
                    _REFUSED,
                    f"it keeps its previous settings: there is a problem in its entry, at {problem.position}",
                    "correct the entry: until then its changes have no effect",
                )
        if merged.missing:
            names = list(merged.missing)
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            self.conditions.set(
                _MISSING,
                "not in the workspace as far as it can be read, and still running: "
                f"{', '.join(names[:_MOST_NAMED])}{more}",
                "correct the problems of the workspace: what it does not name then ends",
            )
        else:
            self.conditions.clear(_MISSING)
