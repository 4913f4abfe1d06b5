"""Installed packages: when those of an environment change, everybody who uses it must know.

Owns the list of installed distributions of each environment in use (by their metadata directories
and ``.pth`` files) and the waiting for an installation to be over. Watches through the watcher, and
leaves what follows from a change to whoever is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from supervisor.watcher import Watcher

__all__ = ["OWNER", "Packages", "fingerprint", "package_directories"]

OWNER = "\0packages"  # no location can have this name
_METADATA = (".dist-info", ".egg-info", ".egg-link", ".pth")
# An installation writes for a while: it is over when nothing has changed for so long (seconds).
_QUIET = 1.0

Listing = frozenset[str]


class Packages:
    """Tells ``changed(prefix)`` when other distributions are installed below ``prefix``."""

    def __init__(self, watcher: Watcher, changed: Callable[[Path], None]) -> None:
        self._watcher = watcher
        self._changed = changed
        self._known: dict[Path, Listing] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._unwatched = False

    def use(self, prefixes: Iterable[Path]) -> None:
        """Watch the environments at ``prefixes`` and no others."""
        wanted = set(prefixes)
        if wanted == self._known.keys():
            return
        self._known = {one: self._known.get(one) or _listing(one) for one in wanted}
        folders = [folder for prefix in wanted for folder in package_directories(prefix)]
        self._unwatched = True
        self._watcher.watch(OWNER, folders)

    def add(self, prefix: Path) -> None:
        """Watch this one too; for before anything of it is imported."""
        if prefix not in self._known:
            self.use([*self._known, prefix])

    def watched(self) -> None:
        """What was asked for is being watched now: what came just before would go unnoticed."""
        if self._unwatched:
            self._unwatched = False
            self._look_soon()

    def paths_changed(self, paths: set[str]) -> None:
        """Some files changed; looks closer when one of them may be a package's."""
        if any(path.endswith(_METADATA) for path in paths):
            self._look_soon()

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_soon(self) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_later(_QUIET, self._look)

    def _look(self) -> None:
        self._timer = None
        for prefix, before in list(self._known.items()):
            now = _listing(prefix)
            if now != before:
                self._known[prefix] = now
                self._changed(prefix)


def fingerprint(prefix: Path) -> str:
    """A digest of what is installed below ``prefix``; lists directories that have changed."""
    return _fingerprint(tuple((one, _changed_ns(one)) for one in package_directories(prefix)))


@lru_cache(maxsize=32)
def _fingerprint(folders: tuple[tuple[str, int], ...]) -> str:
    """Of many locations of one environment: installing something changes the directory's time."""
    names = sorted(_entries(folder for folder, _changed in folders))
    return hashlib.sha256("\0".join(names).encode("utf-8", "replace")).hexdigest()


def _changed_ns(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116  # of text, as it was listed
    except OSError:
        return 0


def package_directories(prefix: Path) -> list[str]:
    """Where the distributions of the environment at ``prefix`` are installed (POSIX schemes)."""
    patterns = ("lib*/python3*/site-packages", "lib*/python3*/dist-packages")
    local = ("local/lib/python3*/dist-packages",)
    found = {str(path) for pattern in (*patterns, *local) for path in prefix.glob(pattern)}
    return sorted(found)


def _listing(prefix: Path) -> Listing:
    return _entries(package_directories(prefix))


def _entries(folders: Iterable[str]) -> Listing:
    names: set[str] = set()
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(_METADATA):
                    with contextlib.suppress(OSError):
                        # A package installed anew has the same name and another directory.
                        names.add(f"{folder}/{entry.name}:{entry.stat().st_ino}")
    return frozenset(names)
