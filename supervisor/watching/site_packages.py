"""Installed packages: when those of an environment change, all locations that use it are told.

Owns the list of installed distributions of each environment in use (by their metadata directories
and ``.pth`` files) and the waiting for an installation to be over. Watches through the watcher,
lists in the threads of ``Disk``, and leaves what follows from a change to the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from envs.installed import package_directories
from supervisor.watching.links import Places
from supervisor.watching.reloading import Disk
from supervisor.watching.watcher import Watcher

__all__ = ["Packages", "fingerprint"]

_METADATA = (".dist-info", ".egg-info", ".egg-link", ".pth")
# An installation writes for a while: it is over when nothing has changed for so long (seconds).
_QUIET = 1.0


@dataclass(frozen=True, slots=True)
class _Listing:
    """What is installed below a prefix; ``directories`` to watch, and ``links`` that lead there."""

    names: frozenset[str]
    directories: frozenset[str]
    links: frozenset[str]


class Packages:
    """Tells ``changed(prefix)`` when other distributions are installed below ``prefix``."""

    OWNER = "\0packages"  # no location can have this name

    def __init__(self, watcher: Watcher, disk: Disk, changed: Callable[[Path], None]) -> None:
        self._watcher = watcher
        self._disk = disk
        self._changed = changed
        self._wanted: frozenset[Path] = frozenset()
        self._known: dict[Path, _Listing] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._unwatched = False

    def use(self, prefixes: Iterable[Path]) -> None:
        """Watch the environments at ``prefixes`` and no others."""
        wanted = frozenset(prefixes)
        if wanted == self._wanted:
            return
        self._wanted = wanted
        self._known = {one: known for one, known in self._known.items() if one in wanted}
        self._list(wanted - self._known.keys(), self._add)

    async def add(self, prefix: Path) -> None:
        """Watch this one too; returns once what is installed there is known."""
        if prefix in self._known:
            return
        self._wanted |= {prefix}
        added = asyncio.get_running_loop().create_future()

        def add(found: dict[Path, _Listing] | None) -> None:
            self._add(found)
            if not added.done():
                added.set_result(None)

        self._list(frozenset({prefix}), add)
        await added

    @property
    def watched(self) -> bool:
        """True when nothing is waited for: neither a watch nor the end of an installation."""
        return not self._unwatched and self._timer is None and self._known.keys() == self._wanted

    def look(self) -> None:
        """What was asked for is being watched now: what came just before would go unnoticed."""
        if self._unwatched:
            self._unwatched = False
            self._look_soon()

    def hear(self, paths: set[str]) -> None:
        """``paths`` changed; looks closer when one of them may be a package's."""
        links = {link for one in self._known.values() for link in one.links}
        if any(path.endswith(_METADATA) or path in links for path in paths):
            self._look_soon()

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _list(
        self,
        prefixes: frozenset[Path],
        done: Callable[[dict[Path, _Listing] | None], None],
    ) -> None:
        self._disk.submit(lambda: {one: _listing(one) for one in prefixes}, done)

    def _add(self, found: dict[Path, _Listing] | None) -> None:
        for prefix, listing in (found or {}).items():
            if prefix in self._wanted:
                self._known.setdefault(prefix, listing)
        self._watch()

    def _watch(self) -> None:
        self._unwatched = True
        found = (one.directories for one in self._known.values())
        self._watcher.watch(self.OWNER, frozenset[str]().union(*found))

    def _look_soon(self) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_later(_QUIET, self._look)

    def _look(self) -> None:
        self._list(frozenset(self._known), partial(self._compare, self._timer))

    def _compare(
        self, timer: asyncio.TimerHandle | None, found: dict[Path, _Listing] | None
    ) -> None:
        if self._timer is timer:  # else it is looked at once more
            self._timer = None
        elsewhere = False
        for prefix, now in (found or {}).items():
            before = self._known.get(prefix)
            if before is None or before == now:
                continue
            self._known[prefix] = now
            elsewhere = elsewhere or before.directories != now.directories
            if before.names != now.names:
                self._changed(prefix)
        if elsewhere:
            self._watch()


def fingerprint(prefix: Path) -> str:
    """A digest of what is installed below ``prefix``; lists directories that have changed."""
    return _fingerprint(prefix, tuple(map(_changed_ns, package_directories(prefix))))


@lru_cache(maxsize=32)
def _fingerprint(prefix: Path, _changed: tuple[int, ...]) -> str:
    """Of many locations of one environment: installing something changes the directory's time."""
    names = "\0".join(sorted(_listing(prefix).names))
    return hashlib.sha256(names.encode("utf-8", "replace")).hexdigest()


def _changed_ns(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116  # of text, as it was listed
    except OSError:
        return 0


def _listing(prefix: Path) -> _Listing:
    names: set[str] = set()
    directories: set[str] = set()
    links: set[str] = set()
    now = Places()
    for folder in [str(prefix), *package_directories(prefix)]:
        place = now.follow(folder)
        links |= place.links
        if folder == str(prefix):
            names.add(place.path)
            continue
        directories.add(place.path)
        with contextlib.suppress(OSError), os.scandir(place.path) as entries:
            for entry in entries:
                if entry.name.endswith(_METADATA):
                    with contextlib.suppress(OSError):
                        # A package installed anew has the same name and another directory.
                        names.add(f"{place.path}/{entry.name}:{entry.stat().st_ino}")
    directories |= {os.path.dirname(link) for link in links}  # noqa: PTH120  # text only
    return _Listing(frozenset(names), frozenset(directories), frozenset(links))
