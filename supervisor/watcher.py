"""Watching files: who wants to hear of which directories.

Owns the wishes of all owners and their union, which is what ``directories`` has the kernel watch; a
thousand locations of one repository share a few directories. Decides nothing; whoever is told
judges whether a change matters.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable

from supervisor.conditions import Tell
from supervisor.directories import DirectoryWatch, Heard, directory_watch

__all__ = ["Watcher"]

# Locations come ready in crowds: the kernel's watches are set up once for all of them (seconds).
_GATHER = 0.05


class Watcher:
    """Tells ``changed(paths)`` about changes in watched directories.

    ``watch`` sets the directories one owner is interested in; the kernel watches their union.
    ``armed(owner)`` is called once what the owner asked for is really watched, with None for all
    owners: what changed before that moment nobody will tell, so they must look for themselves.
    ``trouble`` is told while the system cannot watch (its limit of watches is reached).
    ``open_watch`` gives the means to watch.
    """

    def __init__(
        self,
        changed: Callable[[set[str]], None],
        armed: Callable[[str | None], None],
        trouble: Tell,
        open_watch: Callable[[Heard], Awaitable[DirectoryWatch]] = directory_watch,
    ) -> None:
        self._open = open_watch
        self._armed = armed
        self._heard = Heard(changed, self._is_armed, self._lost, trouble)
        self._wanted: dict[str, frozenset[str]] = {}
        self._asked: frozenset[str] = frozenset()
        self._watched: frozenset[str] = frozenset()
        self._gathering: asyncio.TimerHandle | None = None
        self._watch: DirectoryWatch | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._begin(), name="watcher")

    def watch(self, owner: str, directories: Iterable[str]) -> None:
        """Replace what ``owner`` wants watched; directories that do not exist are left out."""
        self._wanted[owner] = frozenset(directories)
        if _existing(self._wanted[owner]) <= self._watched:
            asyncio.get_running_loop().call_soon(self._armed, owner)
        else:
            self._gather()

    def forget(self, owner: str) -> None:
        """``owner`` is gone."""
        self._wanted.pop(owner, None)

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

    def _gather(self) -> None:
        if self._gathering is None:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(_GATHER, self._rearm)

    def _rearm(self) -> None:
        self._gathering = None
        if self._watch is not None:
            self._asked = _existing(frozenset[str]().union(*self._wanted.values()))
            self._watch.watch(self._asked)

    def _is_armed(self) -> None:
        self._watched = self._asked
        self._armed(None)

    def _lost(self) -> None:
        # Perhaps something else stands there by now; everybody looks once it is watched.
        self._watched = frozenset()
        self._gather()


def _existing(paths: Iterable[str]) -> frozenset[str]:
    return frozenset(path for path in paths if os.path.isdir(path))  # noqa: PTH112  # False, too, where we may not look
