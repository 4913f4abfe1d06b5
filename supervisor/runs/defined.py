"""The schedules and sensors that locations define by now, each as it is held, and those of which ticks are left.

Owns the reading of what was loaded. A definition that has yet to be constructed by the team's code is listed at
once and constructed beside all else: one that hangs holds up its own location alone. What fires is ``automations``'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import replace
from typing import Any

from supervisor.errors import RequestTimeoutError, SupervisorError
from supervisor.fleet.fleet import Fleet
from supervisor.locations.generation import Generation
from supervisor.runs.automation import Automation, definitions_of, of_definition
from supervisor.runs.held import Held
from supervisor.runs.tick_store import Stored
from supervisor.runs.ticking import Ticking
from supervisor.snapshots.snapshot import Snapshot
from supervisor.time_slices import in_turns

__all__ = ["Defined", "Unfinished"]

Unfinished = dict[tuple[str, str], list[dict[str, Any]]]
# A client waits so long for those that are being constructed (seconds).
_PATIENCE = 5.0


class Defined:
    """Those of the locations of ``fleet``.

    ``stored`` is what is remembered, by location and name, ``unfinished`` the ticks of what no location is known
    to define. ``spawn`` has work go on beside all else; ``changed`` is called when one has been constructed.
    """

    def __init__(
        self,
        fleet: Fleet,
        ticking: Ticking,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        changed: Callable[[], None],
    ) -> None:
        self.stored: dict[tuple[str, str], Stored] = {}
        self.unfinished: Unfinished = {}
        self.lock = asyncio.Lock()
        self._fleet = fleet
        self._ticking = ticking
        self._spawn = spawn
        self._changed = changed
        self._held: dict[str, dict[tuple[str, str | None], Held]] = {}
        self._read: dict[str, Snapshot] = {}
        # By which process those of a location were constructed, whether that has ended, and what hangs.
        self._asked: dict[str, tuple[Generation, asyncio.Event]] = {}
        self._hangs: dict[tuple[str, str], tuple[str, str]] = {}

    def begin(self, stored: dict[tuple[str, str], Stored], unfinished: Unfinished) -> None:
        """Know what was remembered on the disk; all is read anew."""
        self.stored, self.unfinished = stored, unfinished
        self._held, self._read, self._asked = {}, {}, {}

    def forget(self, locations: Iterable[str]) -> None:
        """Nothing is remembered any more of ``locations``, but of those that are there."""
        gone = set(locations).difference(self._fleet.locations)
        for table in (self.stored, self.unfinished):
            for key in [one for one in table if one[0] in gone]:
                del table[key]

    def __contains__(self, location: str) -> bool:
        return location in self._held

    def of(self, location: str) -> list[Held]:
        """Those of a location, by name."""
        return list(self._held.get(location, {}).values())

    def locations(self) -> list[str]:
        """The locations that were read."""
        return list(self._held)

    def fired(self) -> Iterator[Held]:
        """Those that the supervisor fires."""
        for found in self._held.values():
            for held in found.values():
                if held.one.ours and not held.one.lazy:
                    yield held

    def gone(self, location: str) -> Iterator[Held]:
        """What ``location`` has ticks of and does not define any more; it is not known here any longer."""
        snapshot = self._read.get(location)
        if snapshot is None:
            return
        for key in [one for one in self.unfinished if one[0] == location]:
            ticks = self.unfinished.pop(key)
            said = {"name": key[1], "kind": ticks[0]["kind"]}
            one = of_definition(snapshot, said)
            held = Held(one, self.stored.setdefault(key, Stored()))
            held.unfinished, held.gone = ticks, True
            yield held

    async def read(self) -> None:
        """Know what the locations define by now."""
        async with self.lock:
            for key in [one for one in self._hangs if one[0] not in self._fleet.locations]:
                del self._hangs[key]
            for name in self._held.keys() - self._fleet.locations.keys():
                self._leave(self._held.pop(name).values())
                self._read.pop(name, None)
                self._asked.pop(name, None)
            for name, location in list(self._fleet.locations.items()):
                snapshot = location.snapshot
                if snapshot is not None and self._read.get(name) is not snapshot:
                    await self._read_one(name, snapshot)
                    self._asked.pop(name, None)
                self._construct_of(name, location.serving)

    async def constructed(self, locations: list[str]) -> None:
        """Wait for those of ``locations`` that are being constructed, for a bounded time."""
        ended = [self._asked[name][1] for name in locations if name in self._asked]
        waiting = [asyncio.ensure_future(one.wait()) for one in ended if not one.is_set()]
        if waiting:
            _, pending = await asyncio.wait(waiting, timeout=_PATIENCE)
            for one in pending:
                one.cancel()

    async def _read_one(self, name: str, snapshot: Snapshot) -> None:
        definitions = await in_turns(definitions_of(snapshot))
        found: list[Automation] = []
        if definitions:
            found = await asyncio.to_thread(
                lambda: [of_definition(snapshot, one) for one in definitions]
            )
        before = self._held.get(name, {})
        held: dict[tuple[str, str | None], Held] = {}
        for one in found:
            key = one.name, one.repository
            known = before.pop(key, None)
            if known is None:
                known = Held(one, self.stored.setdefault(one.key, Stored()))
                known.unfinished = self.unfinished.pop(one.key, [])
            else:
                known.one, known.due = one, None
            held[key] = known
        self._leave(before.values())
        self._held[name], self._read[name] = held, snapshot

    def _leave(self, found: Iterable[Held]) -> None:
        """They are defined no more; what is under way of them ends, and what is left is told."""
        for held in found:
            held.gone = True
            if held.unfinished:
                self.unfinished.setdefault(held.one.key, []).extend(held.unfinished)
                held.unfinished = []

    def _construct_of(self, name: str, serving: Generation | None) -> None:
        """Have those constructed that ``serving`` has only named."""
        if serving is None or not serving.alive:
            return
        asked = self._asked.get(name)
        if asked is not None and asked[0] is serving:
            return
        lazy = [held for held in self.of(name) if held.one.lazy and held.one.ours]
        if lazy:
            ended = asyncio.Event()
            self._asked[name] = serving, ended
            self._spawn(self._construct(name, self._read[name], lazy, ended))

    async def _construct(
        self, name: str, snapshot: Snapshot, lazy: list[Held], ended: asyncio.Event
    ) -> None:
        try:
            for held in lazy:
                listed = held.one
                one = await self._constructed(listed, snapshot)
                if self._read.get(name) is not snapshot or held.one is not listed:
                    return
                held.one, held.due = one, None
                self._changed()
        finally:
            ended.set()

    async def _constructed(self, listed: Automation, snapshot: Snapshot) -> Automation:
        fingerprint, trouble = self._hangs.get(listed.key, ("", ""))
        if fingerprint == snapshot.fingerprint:  # its process was ended for it: not again
            return replace(listed, trouble=trouble)
        try:
            return await self._ticking.find(listed.location, listed.name, listed.repository)
        except RequestTimeoutError as error:
            self._hangs[listed.key] = snapshot.fingerprint, str(error)
            return replace(listed, trouble=str(error))
        except SupervisorError as error:
            return replace(listed, trouble=str(error))
