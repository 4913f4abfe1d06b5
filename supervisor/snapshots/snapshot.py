"""Snapshots: checked, fingerprinted, indexed and compared.

Owns what docs/snapshot.md says of a snapshot once it has left the shim. What a shim sends is
untrusted: ``accept`` takes bytes, checks shape and bounds and either returns a frozen ``Snapshot``
or raises ``SnapshotError``. The bytes are kept as they came and served as they came; they are
decoded only to be looked at. No I/O and no clock.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner_shim import wire
from supervisor.snapshots import msgpack_reader
from supervisor.time_slices import Steps, at_once

if TYPE_CHECKING:
    from supervisor.protocol.documents import LoadWarning

__all__ = [
    "Change",
    "Snapshot",
    "SnapshotDiff",
    "SnapshotError",
    "accept",
    "accepting",
    "checked_warnings",
    "compare",
    "comparing",
    "definition_key",
]

_MAX_NAME = 4096
_MAX_DEFINITIONS = 1_000_000
_MAX_IMPORTS = 40
_MAX_IMPORT_NAME = 200
# So many definitions are looked through sooner than it is worth to remember where they are.
_FEW = 64
# So many bytes are hashed in one step.
_HASHED = 256 * 1024


class SnapshotError(Exception):
    """A shim sent something that is no snapshot; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One generation of a location's definitions.

    ``definitions`` and ``sources`` are msgpack bytes (docs/snapshot.md), ``report`` is decoded.
    ``fingerprint`` is the hex SHA-256 of ``definitions``. ``counts`` maps kinds to numbers.
    ``loaded_at`` is Unix seconds. ``names`` and ``places`` say where each definition and the source of
    each key begin; None where there are few, as in most of very many locations, and in a client.
    """

    location: str
    generation: int
    fingerprint: str
    loaded_at: float
    definitions: bytes = field(repr=False)
    sources: bytes = field(repr=False)
    report: Mapping[str, Any] = field(repr=False)
    counts: Mapping[str, int] = field(default_factory=dict)
    names: msgpack_reader.Places | None = field(default=None, repr=False, compare=False)
    places: msgpack_reader.Places | None = field(default=None, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Bytes of the definitions and sources."""
        return len(self.definitions) + len(self.sources)

    @property
    def warnings(self) -> list[LoadWarning]:
        """What the shim found worth a warning, as the report has it."""
        return list(self.report.get("warnings", ()))

    def document(self) -> dict[str, Any]:
        """The decoded definitions document."""
        value: dict[str, Any] = wire.unpack(self.definitions)
        return value

    def each(self) -> Iterator[dict[str, Any]]:
        """The definitions, each decoded when it is its turn."""
        for one, _start, _end in msgpack_reader.items(self.definitions, "definitions", {}):
            yield one

    def index(self) -> dict[str, dict[str, Any]]:
        """Definitions by key (``kind:name`` or ``kind:name@repository``)."""
        return {definition_key(one): one for one in self.each()}

    def named(self, name: str) -> Steps[list[dict[str, Any]]]:
        """The definitions of that name, of whatever kind and repository."""
        found = []
        candidates = (
            self.each()
            if self.names is None
            else (msgpack_reader.at(self.definitions, start) for start in self.names.of(name))
        )
        for one in candidates:
            if one["name"] == name:
                found.append(one)
            yield
        return found

    def source_of(self, key: str) -> Steps[list[Any] | None]:
        """``[file, line]`` of the definition with ``key`` (``definition_key``), if it is known."""
        candidates = (
            ((one, place) for one, place, _start in msgpack_reader.entries(self.sources))
            if self.places is None
            else (msgpack_reader.entry_at(self.sources, start) for start in self.places.of(key))
        )
        for one, place in candidates:
            if one == key:
                found: list[Any] = place
                return found
            yield
        return None

    def source_map(self) -> dict[str, list[Any]]:
        """``[file, line]`` by definition key."""
        value: dict[str, list[Any]] = wire.unpack(self.sources)
        return value


def definition_key(definition: Mapping[str, Any]) -> str:
    """``kind:name``, with ``@repository`` where the definition names one."""
    key = f"{definition['kind']}:{definition['name']}"
    repository = definition.get("repository")
    return f"{key}@{repository}" if repository else key


def accepting(
    location: str,
    generation: int,
    *,
    report: Any,
    definitions: bytes,
    sources: bytes,
    loaded_at: float,
) -> Steps[Snapshot]:
    """Check what a shim sent and make a ``Snapshot`` of it; raises ``SnapshotError``."""
    try:
        names, places = msgpack_reader.Places(), msgpack_reader.Places()
        counts = yield from _check_definitions(definitions, names)
        yield from _check_sources(sources, places)
    except wire.WireError as error:
        raise SnapshotError(str(error)) from None
    fingerprint = hashlib.sha256()
    for start in range(0, len(definitions), _HASHED):
        fingerprint.update(definitions[start : start + _HASHED])
        yield
    return Snapshot(
        location=location,
        generation=generation,
        fingerprint=fingerprint.hexdigest(),
        loaded_at=loaded_at,
        definitions=definitions,
        sources=sources,
        report=_checked_report(report),
        counts=counts,
        names=names if len(names) > _FEW else None,
        places=places if len(places) > _FEW else None,
    )


def accept(location: str, generation: int, **parts: Any) -> Snapshot:
    """As ``accepting``, at once."""
    return at_once(accepting(location, generation, **parts))


def _check_definitions(data: bytes, names: msgpack_reader.Places) -> Steps[dict[str, int]]:
    counts: Counter[str] = Counter()
    keys: set[str] = set()
    rest: dict[str, Any] = {}
    try:
        for position, (one, start, _end) in enumerate(
            msgpack_reader.items(data, "definitions", rest)
        ):
            if position == _MAX_DEFINITIONS:
                raise SnapshotError(f"more than {_MAX_DEFINITIONS} definitions are not allowed")
            key = _check_definition(position, one)
            if key in keys:
                raise SnapshotError(f"{key!r} is there twice")
            keys.add(key)
            names.add(one["name"], start)
            counts[one["kind"]] += 1
            yield
    except msgpack_reader.NoMapError:
        raise SnapshotError("the definitions are no map") from None
    names.complete()
    if rest.get("format") != 1:
        raise SnapshotError(f"format {rest.get('format')!r} is unknown, 1 was expected")
    if not isinstance(rest.get("definitions"), list):
        raise SnapshotError("'definitions' is no list")
    return dict(sorted(counts.items()))


def _check_definition(position: int, one: Any) -> str:
    if not isinstance(one, dict):
        raise SnapshotError(f"definition {position} is no map")
    kind = one.get("kind")
    if not isinstance(kind, str) or not 0 < len(kind) <= 64:
        raise SnapshotError(f"definition {position} has no kind")
    name = one.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        raise SnapshotError(f"definition {position} ({kind}) has no name")
    if not isinstance(one.get("repository", ""), str):
        raise SnapshotError(f"the repository of {kind} {name!r} is no text")
    return definition_key(one)


def _check_sources(data: bytes, places: msgpack_reader.Places) -> Steps[None]:
    try:
        for key, place, start in msgpack_reader.entries(data):
            if (
                not isinstance(place, list)
                or len(place) != 2
                or not isinstance(place[0], str)
                or not isinstance(place[1], int)
            ):
                raise SnapshotError(f"the source of {key!r} is not [file, line]")
            places.add(key, start)
            yield
        places.complete()
    except msgpack_reader.NoMapError:
        raise SnapshotError("the sources are no map") from None


_REPORT_TEXT = (
    "python",
    "implementation",
    "executable",
    "prefix",
    "platform",
    "module",
    "attribute",
)
_REPORT_LISTS = ("files", "folders", "installed", "preloaded")


def _checked_imports(imports: Any) -> list[dict[str, Any]]:
    found = []
    for one in imports[:_MAX_IMPORTS] if isinstance(imports, list) else ():
        numbers = [one.get(name) for name in ("seconds", "own")] if isinstance(one, dict) else []
        if not numbers or not all(isinstance(n, float) and 0 <= n < 1e9 for n in numbers):
            continue
        row = {"name": str(one.get("name"))[:_MAX_IMPORT_NAME], "seconds": numbers[0]}
        row["own"] = numbers[1]
        if isinstance(one.get("file"), str) and isinstance(one.get("line"), int):
            row["file"], row["line"] = sys.intern(one["file"]), one["line"]
        found.append(row)
    return found


def _checked_report(report: Any) -> dict[str, Any]:
    """The known fields of a report that have the type they should; the rest is left out."""
    if not isinstance(report, dict):
        raise SnapshotError("the report is no map")
    checked: dict[str, Any] = {}
    # Interned: a thousand locations of one environment name the same modules.
    for name in _REPORT_TEXT:
        if isinstance(report.get(name), str):
            checked[name] = sys.intern(report[name])
    for name in _REPORT_LISTS:
        if isinstance(report.get(name), list):
            checked[name] = [sys.intern(item) for item in report[name] if isinstance(item, str)]
    seconds = report.get("load_seconds")
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        checked["load_seconds"] = float(seconds)
    frameworks = report.get("frameworks")
    checked["frameworks"] = [
        {"name": str(one.get("name", "")), "version": str(one.get("version", ""))}
        for one in (frameworks if isinstance(frameworks, list) else ())
        if isinstance(one, dict)
    ]
    imports = _checked_imports(report.get("imports"))
    if imports:
        checked["imports"] = imports
    checked["warnings"] = checked_warnings(report.get("warnings"))
    return checked


def checked_warnings(warnings: Any) -> list[dict[str, Any]]:
    """Those of ``warnings`` that are warnings (docs/snapshot.md), with their known fields."""
    return [
        {key: one[key] for key, kind in _WARNING_FIELDS.items() if isinstance(one.get(key), kind)}
        for one in (warnings if isinstance(warnings, list) else ())
        if isinstance(one, dict) and isinstance(one.get("message"), str)
    ]


_WARNING_FIELDS: dict[str, type] = {
    "code": str,
    "message": str,
    "hint": str,
    "file": str,
    "line": int,
}


@dataclass(frozen=True, slots=True)
class Change:
    """A definition that is in both snapshots with other content; ``fields`` names what differs."""

    key: str
    fields: tuple[str, ...]
    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SnapshotDiff:
    """What it takes to get from one snapshot to another; keys are in order."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        parts = {"added": self.added, "removed": self.removed, "changed": self.changed}
        found = [f"{len(keys)} {word}" for word, keys in parts.items() if keys]
        return ", ".join(found) or "definitions unchanged"


def comparing(before: Snapshot, after: Snapshot) -> Steps[SnapshotDiff]:
    """The difference between two snapshots; empty exactly when the definitions are the same."""
    if before.fingerprint == after.fingerprint:
        return SnapshotDiff((), (), ())
    added, changed = [], []
    old: dict[str, slice] = {}
    for one, start, end in msgpack_reader.items(before.definitions, "definitions", {}):
        old[definition_key(one)] = slice(start, end)
        yield
    for one, start, end in msgpack_reader.items(after.definitions, "definitions", {}):
        yield
        key = definition_key(one)
        place = old.pop(key, None)
        if place is None:
            added.append(key)
        elif before.definitions[place] != after.definitions[start:end]:
            other = wire.unpack(before.definitions[place])
            fields = sorted(f for f in one.keys() | other.keys() if one.get(f) != other.get(f))
            if fields:
                changed.append(Change(key, tuple(fields), other, one))
    return SnapshotDiff(
        added=tuple(sorted(added)),
        removed=tuple(sorted(old)),
        changed=tuple(sorted(changed, key=lambda one: one.key)),
    )


def compare(before: Snapshot, after: Snapshot) -> SnapshotDiff:
    """As ``comparing``, at once."""
    return at_once(comparing(before, after))
