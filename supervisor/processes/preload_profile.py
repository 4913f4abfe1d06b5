"""What to preload: learned from what locations imported, kept per environment.

Owns ``preload.json`` in the workspace's state directory: for each environment what its locations
imported in their last loads, and the libraries that cannot be preloaded. Reads and writes it in a
thread, a moment after a change, and replaces it as a whole. Only names; whether one is an installed
library, the forkserver asks its own interpreter.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["PreloadProfile"]

_FORMAT = 2
_MAX_MODULES = 20_000
_MAX_ENVIRONMENTS = 100
_MAX_LOCATIONS = 1000
# Of those that the workspace does not name any more.
_MAX_GONE = 20
_MAX_LEFT_OUT = 500
_MAX_NAME = 300
_MAX_REASON = 500
# A module that a location has not imported in so many loads is forgotten.
_LOADS = 3
# So is a location that has not been loaded in so many lives of the supervisor.
_LIVES = 5

_NAME = re.compile(r"\w+(\.\w+)*")


@dataclass(slots=True)
class _Location:
    """``modules`` maps what was imported to the number of loads since that did not import it."""

    modules: dict[str, int] = field(default_factory=dict)
    lives: int = 0


@dataclass(slots=True)
class _Environment:
    """``packages`` is the fingerprint of what was installed when ``left_out`` was found."""

    packages: str = ""
    left_out: dict[str, str] = field(default_factory=dict)
    locations: dict[str, _Location] = field(default_factory=dict)


class PreloadProfile:
    """The modules that locations of each environment imported, in the order of their import."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._environments: dict[str, _Environment] = {}
        self._reading: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._changed = False

    async def opened(self) -> None:
        """Return once the file has been read; for before anything else."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)

    def modules(self, environment: str, guess: Iterable[str]) -> list[str]:
        """What to preload for ``environment``: what is known of it, else ``guess``."""
        found: dict[str, None] = {}
        for location in self._environment(environment).locations.values():
            found.update(dict.fromkeys(location.modules))
        return list(found)[:_MAX_MODULES] if found else list(guess)

    def add(self, environment: str, location: str, modules: Iterable[str]) -> None:
        """Note that a load of ``location`` imported ``modules`` and no others.

        Names that no module has are left out: a shim may report anything.
        """
        kept = self._environments.pop(environment, None) or _Environment()
        self._environments[environment] = kept  # the latest, so the last to be forgotten
        while len(self._environments) > _MAX_ENVIRONMENTS:
            del self._environments[next(iter(self._environments))]
        names = dict.fromkeys(one for one in modules if _is_name(one))
        if len(names) > _MAX_MODULES:
            return
        known = kept.locations.pop(location, None) or _Location()
        kept.locations[location] = known
        while len(kept.locations) > _MAX_LOCATIONS:
            del kept.locations[next(iter(kept.locations))]
        before = dict(known.modules)
        for name, loads in before.items():
            known.modules[name] = 0 if name in names else loads + 1
        known.modules = {
            **{name: loads for name, loads in known.modules.items() if loads < _LOADS},
            **{name: 0 for name in names if name not in before},
        }
        if known.modules != before or known.lives:
            known.lives = 0
            self._write_soon()

    def keep_only(self, locations: Container[str]) -> None:
        """Of others than ``locations`` keep the last few of each environment: they may come back."""
        for environment in self._environments.values():
            gone = [one for one in environment.locations if one not in locations]
            for name in gone[:-_MAX_GONE]:
                del environment.locations[name]
                self._write_soon()

    def forget(self, environment: str, modules: Iterable[str]) -> None:
        """``modules`` do not exist any more: the libraries have changed."""
        gone = set(modules)
        for location in self._environment(environment).locations.values():
            kept = {name: loads for name, loads in location.modules.items() if name not in gone}
            if len(kept) < len(location.modules):
                location.modules = kept
                self._write_soon()

    def left_out(self, environment: str, packages: str) -> dict[str, str]:
        """The libraries that cannot be preloaded, and why; none that is known of other packages."""
        known = self._environment(environment)
        return dict(known.left_out) if known.packages == packages else {}

    def leave_out(self, environment: str, packages: str, left_out: Mapping[str, str]) -> None:
        """Note that these libraries cannot be preloaded."""
        known = self._environments.setdefault(environment, _Environment())
        if known.packages != packages:
            known.packages, known.left_out = packages, {}
        known.left_out.update(list(left_out.items())[:_MAX_LEFT_OUT])
        self._write_soon()

    async def close(self) -> None:
        """Return once everything has been written."""
        if self._reading is not None:
            await asyncio.wait([self._reading])
        while self._writing is not None:
            await asyncio.wait([self._writing])

    def _environment(self, key: str) -> _Environment:
        return self._environments.get(key) or _Environment()

    async def _read(self) -> None:
        if self._path is not None:
            data = await asyncio.to_thread(_parsed, self._path)
            for key, environment in data.items():
                self._environments.setdefault(key, environment)

    def _write_soon(self) -> None:
        self._changed = True
        if self._writing is None and self._path is not None:
            self._writing = asyncio.create_task(self._write(self._path))

    async def _write(self, path: Path) -> None:
        try:
            while self._changed:
                self._changed = False
                # A plain copy: the thread must not meet what changes meanwhile.
                data = {
                    key: (
                        one.packages,
                        dict(one.left_out),
                        [(name, each.lives, each.modules) for name, each in one.locations.items()],
                    )
                    for key, one in self._environments.items()
                }
                await asyncio.to_thread(_store, path, data)
        finally:
            self._writing = None


def _store(path: Path, data: Mapping[str, Any]) -> None:
    text = json.dumps(
        {
            "format": _FORMAT,
            "environments": {
                key: {
                    "packages": packages,
                    "left_out": left_out,
                    "locations": {
                        name: {"lives": lives, "modules": modules}
                        for name, lives, modules in locations
                    },
                }
                for key, (packages, left_out, locations) in data.items()
            },
        }
    )
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        return  # a full disk: it is known in memory


def _parsed(path: Path) -> dict[str, _Environment]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}  # a first start, or a damaged file: it is learned again
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        return {}
    return {
        key: _environment_of(value)
        for key, value in list(_map(data.get("environments")).items())[-_MAX_ENVIRONMENTS:]
    }


def _environment_of(value: Any) -> _Environment:
    value = _map(value)
    packages = value.get("packages")
    found = _Environment(packages if isinstance(packages, str) else "")
    for name, reason in list(_map(value.get("left_out")).items())[:_MAX_LEFT_OUT]:
        if _is_name(name) and isinstance(reason, str):
            found.left_out[name] = reason[:_MAX_REASON]
    for name, each in list(_map(value.get("locations")).items())[-_MAX_LOCATIONS:]:
        lives = _count(_map(each).get("lives")) + 1
        modules = list(_map(_map(each).get("modules")).items())[:_MAX_MODULES]
        if lives <= _LIVES:
            found.locations[name] = _Location(
                {one: _count(loads) for one, loads in modules if _is_name(one)}, lives
            )
    return found


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _is_name(one: Any) -> bool:
    return isinstance(one, str) and len(one) <= _MAX_NAME and _NAME.fullmatch(one) is not None
