"""All definitions of all locations, ready to be searched.

Owns the snapshots that this process has, one a location, renewed when the location serves another
generation: their bytes, and a row for each definition, which says where in them it begins. One that is
looked at is decoded then. Owns the last few differences that were looked at, too; and what can only be
told from all locations together: the search, names that more than one location defines, the graph of
assets. Draws nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner_shim import masking
from supervisor.errors import (
    RequestError,
    SupervisorError,
    UnknownDefinitionError,
    UnknownLocationError,
)
from supervisor.snapshots import msgpack_reader
from supervisor.snapshots.snapshot import Snapshot, definition_key
from supervisor.web.render import kind_key
from supervisor.web.shapes import LISTED, checked, is_external

if TYPE_CHECKING:
    from supervisor.protocol.documents import Diff, History
    from supervisor.web.link import Link

__all__ = [
    "GROUPINGS",
    "Asset",
    "Catalogue",
    "Check",
    "Row",
    "Shelf",
    "assets_of",
    "search",
    "shelf_of",
]

GROUPINGS = ("kind", "location", "team", "tag", "group")
"""What rows can be grouped by; a row is in each of its tags."""

_AT_ONCE = 4
_LARGE = 256 * 1024
_DIFFS = 8
_NONE = "none"
_NODES = ("op", "solid", "graph")


@dataclass(frozen=True, slots=True)
class Row:
    """A definition in a list. ``text`` is what a search looks at, in lower case.

    ``external`` is true for an asset that is known and not made. ``start`` and ``place`` are where the
    definition and its source begin in the shelf's bytes; None for a source that is not known.
    """

    location: str
    kind: str
    name: str
    repository: str | None
    description: str
    group: str | None
    owners: tuple[str, ...]
    tags: tuple[str, ...]
    lazy: bool
    text: str = field(repr=False)
    external: bool
    start: int
    place: int | None

    def groups(self, by: str) -> tuple[str, ...]:
        """The groups that the row is in when grouped ``by`` one of ``GROUPINGS``."""
        if by == "kind":
            return (self.kind,)
        if by == "location":
            return (self.location,)
        if by == "tag":
            return self.tags or (_NONE,)
        if by == "group":
            return (self.group or _NONE,)
        return self.teams or (_NONE,)

    @property
    def teams(self) -> tuple[str, ...]:
        """Who owns it: its owners, else its tag ``team`` or ``owner``."""
        if self.owners:
            return self.owners
        pairs = (tag.partition("=") for tag in self.tags)
        return tuple(value for key, _, value in pairs if key in ("team", "owner") and value)


@dataclass(frozen=True, slots=True)
class Shelf:
    """What one location serves: a snapshot's bytes (docs/snapshot.md), and where what is in them.

    ``nodes`` are where the sources of ops and graphs begin, by their keys.
    """

    location: str
    generation: int
    fingerprint: str
    definitions: bytes = field(repr=False)
    sources: bytes = field(repr=False)
    rows: tuple[Row, ...] = field(repr=False)
    nodes: Mapping[str, int] = field(repr=False)

    def definition(self, row: Row) -> dict[str, Any]:
        """A definition, its secrets masked: the caller checks what it takes from it (``shapes``)."""
        # A shim masks them itself. This one may lie, or be that of an earlier version.
        one: dict[str, Any] = masking.definition(msgpack_reader.at(self.definitions, row.start))
        return one

    def source(self, row: Row) -> list[Any] | None:
        """``[file, line]``, where it is known."""
        return None if row.place is None else msgpack_reader.entry_at(self.sources, row.place)[1]

    def source_of_node(self, node: Mapping[str, Any], repository: str | None) -> list[Any] | None:
        """``[file, line]`` of what a node of a job is made from, where it is known."""
        name = node.get("definition", node["name"])
        start = self.nodes.get(
            definition_key({"kind": node["kind"], "name": name, "repository": repository})
        )
        return None if start is None else msgpack_reader.entry_at(self.sources, start)[1]

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        """The definitions of some kinds, by kind and name, each field in its shape or left out."""
        return [checked(self.definition(row)) for row in self.rows if row.kind in kinds]


@dataclass(frozen=True, slots=True)
class Check:
    """An asset check. ``name`` is its own; that of its definition is ``asset:name``."""

    name: str
    location: str
    definition: str
    repository: str | None
    description: str
    blocking: bool
    also: tuple[str, ...]


@dataclass(slots=True)
class Asset:
    """An asset key over all locations.

    ``homes`` are the locations that make it, ``seen_in`` those that only know it (a source). The
    edges are asset names: a dependency may be one that no location defines. ``checks`` are those of
    all locations, ``kinds`` what it is made with or as.
    """

    name: str
    homes: list[str] = field(default_factory=list)
    seen_in: list[str] = field(default_factory=list)
    group: str | None = None
    kinds: tuple[str, ...] = ()
    checks: list[Check] = field(default_factory=list)
    upstream: set[str] = field(default_factory=set)
    downstream: set[str] = field(default_factory=set)

    @property
    def location(self) -> str | None:
        """Where its page is, or None when no location defines it."""
        return next(iter([*self.homes, *self.seen_in]), None)


class Catalogue:
    """The definitions that the supervisor behind ``link`` serves."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._shelves: dict[str, Shelf] = {}
        self._renewing: dict[str, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._rows: list[Row] | None = None
        self._assets: dict[str, Asset] | None = None
        self._twice: dict[tuple[str, str], list[str]] | None = None
        self._diffs: dict[tuple[Any, ...], Diff] = {}
        self.changes = 0

    async def fresh(self, *names: str) -> dict[str, Shelf]:
        """The shelves as the newest status document has them; of ``names``, or of all locations.

        While no supervisor runs, what was last had, or is on the disk.
        """
        serving = {
            one["name"]: one["serving"]
            for one in self._link.locations
            if one["serving"] is not None
        }
        if not names and self._link.document is not None:
            for gone in self._shelves.keys() - serving.keys():
                del self._shelves[gone]
                self._forget()
        stale = []
        for name in names or serving:
            now, shelf = serving.get(name), self._shelves.get(name)
            if now is not None and (
                shelf is None
                or (shelf.generation, shelf.fingerprint) != (now["generation"], now["fingerprint"])
            ):
                stale.append(name)
        if stale and self._link.running:
            await asyncio.gather(*map(self._renewed, stale))
        elif stale:
            await self._look_back(stale)
        return self._shelves

    async def _look_back(self, names: Iterable[str]) -> None:
        """While no supervisor runs: what is on the disk, of those that were not received from one."""
        kept = await self._link.snapshots()
        for name in names:
            if name not in self._shelves and name in kept:
                self._shelves[name] = await asyncio.to_thread(shelf_of, kept[name])
                self._forget()

    async def shelf(self, name: str) -> Shelf | None:
        """What one location serves, or None when that is nothing yet."""
        return (await self.fresh(name)).get(name)

    async def rows(self) -> list[Row]:
        """The rows of all definitions, by location, then kinds as people ask for them, then name."""
        shelves = await self.fresh()
        if self._rows is None:
            self._rows = [row for name in sorted(shelves) for row in shelves[name].rows]
        return self._rows

    async def assets(self) -> dict[str, Asset]:
        """All assets by name, with their edges across locations."""
        shelves = await self.fresh()
        if self._assets is None:
            self._assets = assets_of(shelves.values())
        return self._assets

    @property
    def version(self) -> str:
        """What is had now, as a text that is another one when it is something else."""
        known = sorted((one.location, one.fingerprint) for one in self._shelves.values())
        return hashlib.sha256(repr(known).encode()).hexdigest()[:16]

    async def defined_twice(self) -> dict[tuple[str, str], list[str]]:
        """Kind and name to locations, where more than one defines it.

        A source asset is known, not defined: only assets that are made count.
        """
        shelves = await self.fresh()
        if self._twice is None:
            homes: dict[tuple[str, str], list[str]] = {}
            for name in sorted(shelves):
                for row in shelves[name].rows:
                    if not row.external:
                        places = homes.setdefault((row.kind, row.name), [])
                        if name not in places:
                            places.append(name)
            self._twice = {key: places for key, places in homes.items() if len(places) > 1}
        return self._twice

    async def definition(
        self, location: str, name: str, kind: str | None, repository: str | None
    ) -> tuple[dict[str, Any], list[Any] | None, int]:
        """One definition as it was sent, its source and generation; a lazy one is constructed now,
        if a supervisor runs."""
        self._link.location(location)
        shelf = await self.shelf(location)
        found = [
            row
            for row in (shelf.rows if shelf is not None else ())
            if row.name == name
            and kind in (None, "", row.kind)
            and (repository or None) in (None, row.repository)
        ]
        if shelf is None or not found:
            raise UnknownDefinitionError(name, hint=f"it is not among those of {location}")
        row = min(found, key=lambda row: row.start)
        one = shelf.definition(row)
        if not one.get("lazy") or not self._link.running:
            return one, shelf.source(row), shelf.generation
        shown = await self._link.client.show(
            location, name, kind=one["kind"], repository=one.get("repository")
        )
        return shown["definition"], shown["source"], shown["generation"]

    async def diff(self, name: str, before: int, after: int, history: History) -> Diff:
        """What changed in ``name`` between two generations of its ``history``; asked for once."""
        marks = {one["generation"]: one["fingerprint"] for one in history["generations"]}
        key = (name, before, marks.get(before), after, marks.get(after))
        found = self._diffs.pop(key, None)
        if found is None:
            found = await self._link.client.diff(name, before, after)
        self._diffs[key] = found
        while len(self._diffs) > _DIFFS:
            del self._diffs[next(iter(self._diffs))]
        return found

    async def _renewed(self, name: str) -> None:
        task = self._renewing.get(name)
        if task is None:
            task = asyncio.create_task(self._renew(name), name=f"snapshot of {name}")
            self._renewing[name] = task
            task.add_done_callback(lambda _: self._renewing.pop(name, None))
        await asyncio.shield(task)

    async def _renew(self, name: str) -> None:
        async with self._gate:
            try:
                snapshot = await self._link.client.snapshot(name)
            except (RequestError, UnknownLocationError):
                self._shelves.pop(name, None)
            except SupervisorError:
                return  # no answer: what was last received stays
            else:
                large = snapshot.size > _LARGE
                made = await asyncio.to_thread(shelf_of, snapshot) if large else shelf_of(snapshot)
                self._shelves[name] = made
            self._forget()

    def _forget(self) -> None:
        self._rows = self._assets = self._twice = None
        self.changes += 1


def shelf_of(snapshot: Snapshot) -> Shelf:
    places = {key: start for key, _place, start in msgpack_reader.entries(snapshot.sources)}
    known = {key: start for key, start in places.items() if key.partition(":")[0] in _NODES}
    rows = (
        _row(snapshot.location, masking.definition(one), start, places.get(definition_key(one)))
        for one, start, _end in msgpack_reader.items(snapshot.definitions, "definitions", {})
    )
    return Shelf(
        location=snapshot.location,
        generation=snapshot.generation,
        fingerprint=snapshot.fingerprint,
        definitions=snapshot.definitions,
        sources=snapshot.sources,
        rows=tuple(sorted(rows, key=lambda row: (kind_key(row.kind), row.name))),
        nodes=known,
    )


def _row(location: str, sent: Mapping[str, Any], start: int, place: int | None) -> Row:
    one = checked(sent, LISTED)
    pairs = tuple(f"{key}={value}" for key, value in one.get("tags", {}).items())
    people = tuple(one.get("owners", ()))
    description = one.get("description", "")
    external = is_external(sent)
    group = _group(one, external)
    words = (one["name"], one["kind"], location, description, group or "", *pairs, *people)
    return Row(
        location=location,
        kind=one["kind"],
        name=one["name"],
        repository=one.get("repository"),
        description=description,
        group=group,
        owners=people,
        tags=pairs,
        lazy=bool(one.get("lazy")),
        text="\n".join(words).lower(),
        external=external,
        start=start,
        place=place,
    )


def _group(one: Mapping[str, Any], external: bool) -> str | None:
    """The group of an asset. One that is only referred to has "default" for want of another."""
    group = one.get("group") or None
    return None if external and group == "default" else group


def search(rows: Iterable[Row], text: str, *, kind: str = "", location: str = "") -> list[Row]:
    """The rows that hold every word of ``text``, in any order and case."""
    words = text.lower().split()
    return [
        row
        for row in rows
        if (not kind or row.kind == kind)
        and (not location or row.location == location)
        and all(word in row.text for word in words)
    ]


def assets_of(shelves: Iterable[Shelf]) -> dict[str, Asset]:
    found: dict[str, Asset] = {}

    def asset(name: str) -> Asset:
        return found.setdefault(name, Asset(name))

    for shelf in sorted(shelves, key=lambda one: one.location):
        for one in shelf.of_kind("asset"):
            node = asset(one["name"])
            places = node.seen_in if is_external(one) else node.homes
            if shelf.location not in places:  # several repositories may have it
                places.append(shelf.location)
            group = _group(one, is_external(one))
            # What makes an asset knows its group; what only refers to it may not.
            node.group = node.group or group if is_external(one) else group or node.group
            node.kinds = node.kinds or _kinds(one)
            for dependency in one.get("dependencies", ()):
                node.upstream.add(dependency)
                asset(dependency).downstream.add(node.name)
        for one in shelf.of_kind("asset_check"):
            if one.get("asset"):
                asset(one["asset"]).checks.append(_check(shelf.location, one))
    return found


def _kinds(one: Mapping[str, Any]) -> tuple[str, ...]:
    kinds = one.get("kinds") or [one.get("compute_kind", "")]
    return tuple(kind for kind in kinds if kind)


def _check(location: str, one: Mapping[str, Any]) -> Check:
    return Check(
        name=one.get("check") or one["name"],
        location=location,
        definition=one["name"],
        repository=one.get("repository"),
        description=one.get("description", ""),
        blocking=bool(one.get("blocking")),
        also=tuple(one.get("additional_assets", ())),
    )
