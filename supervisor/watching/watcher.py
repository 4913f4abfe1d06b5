"""Watching files: who wants to hear of which directories.

Owns the wishes of all owners, their union, which is what ``directories`` has the kernel watch, and
the way from a directory to its owners: a thousand locations of one repository share a few
directories. Touches no disk and decides nothing; the owner that is told judges whether a change
matters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from supervisor.conditions import Tell
from supervisor.watching.inotify import DirectoryWatch, Heard, directory_watch

__all__ = ["Watcher"]

# Locations come ready in crowds: the kernel's watches are set up once for all of them (seconds).
_GATHER = 0.05
_NONE: frozenset[str] = frozenset()


class Watcher:
    """Tells each owner of the changes in its directories: ``changed(owner, paths)``.

    ``watch`` sets the directories that one owner wants; the kernel watches their union.
    The set may be another owner's, too. ``armed(owner)`` is called once what the owner asked for is really watched, and again when
    something of it had been lost: what changed before that moment is not told of, so that the
    owner must look for itself. ``trouble`` is told while the system cannot watch (its limit of
    watches is reached). ``open_watch`` gives the means to watch.
    """

    def __init__(
        self,
        changed: Callable[[str, set[str]], None],
        armed: Callable[[str], None],
        trouble: Tell,
        open_watch: Callable[[Heard], Awaitable[DirectoryWatch]] = directory_watch,
    ) -> None:
        self._open = open_watch
        self._tell_changed = changed
        self._tell_armed = armed
        self._heard = Heard(self._changed, self._armed, self._lost, trouble)
        self._wanted: dict[str, frozenset[str]] = {}
        self._owners: dict[str, set[str]] = {}
        self._waiting: set[str] = set()
        self._asking: set[str] = set()
        self._watched: frozenset[str] = _NONE
        self._gathering: asyncio.TimerHandle | None = None
        self._watch: DirectoryWatch | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._begin(), name="watcher")

    def watch(self, owner: str, directories: Iterable[str]) -> None:
        """Replace what ``owner`` wants watched; directories that do not exist are left out."""
        before, wanted = self._wanted.get(owner, _NONE), frozenset(directories)
        self._wanted[owner] = wanted
        for directory in wanted - before:
            self._owners.setdefault(directory, set()).add(owner)
        self._leave(owner, before - wanted)
        if wanted <= self._watched:
            asyncio.get_running_loop().call_soon(self._tell_armed, owner)
        else:
            self._waiting.add(owner)
            self._gather()

    def forget(self, owner: str) -> None:
        """``owner`` is gone."""
        self._leave(owner, self._wanted.pop(owner, _NONE))
        self._waiting.discard(owner)

    async def close(self) -> None:
        """Stop watching."""
        if self._gathering is not None:
            self._gathering.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._watch is not None:
            await self._watch.close()

    async def _begin(self) -> None:
        # The first moments belong to the locations.
        await asyncio.sleep(_GATHER)
        self._watch = await self._open(self._heard)
        self._rearm()

    def _leave(self, owner: str, directories: frozenset[str]) -> None:
        for directory in directories:
            owners = self._owners[directory]
            owners.discard(owner)
            if not owners:
                del self._owners[directory]

    def _gather(self) -> None:
        if self._gathering is None:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(_GATHER, self._rearm)

    def _rearm(self) -> None:
        self._gathering = None
        if self._watch is not None:
            self._asking |= self._waiting
            self._waiting.clear()
            self._watch.watch(frozenset(self._owners))

    def _armed(self, watched: frozenset[str]) -> None:
        self._watched = watched
        asking, self._asking = self._asking, set()
        for owner in asking & self._wanted.keys():
            self._tell_armed(owner)

    def _changed(self, paths: set[str]) -> None:
        by_directory: dict[str, set[str]] = {}
        for path in paths:
            # Of a directory that is watched itself it is told by its own name.
            for directory in (path.rpartition("/")[0] or "/", path):
                if directory in self._owners:
                    by_directory.setdefault(directory, set()).add(path)
        heard: dict[str, list[set[str]]] = {}
        for directory, found in by_directory.items():
            for owner in self._owners[directory]:
                heard.setdefault(owner, []).append(found)
        for owner, mine in heard.items():
            # Very many owners may share one directory, and so one set.
            self._tell_changed(owner, mine[0] if len(mine) == 1 else set().union(*mine))

    def _lost(self, directories: frozenset[str] | None) -> None:
        # Perhaps something else stands there by now; its owners look once it is watched.
        if directories is None:
            self._waiting |= self._wanted.keys()
        else:
            self._watched -= directories
            for directory in directories:
                self._waiting |= self._owners.get(directory, set())
        self._gather()
