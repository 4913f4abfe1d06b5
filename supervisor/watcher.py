"""Watching files: which of them changed, told once a burst.

Owns the kernel's watches (through ``watchfiles``) on the directories that hold what was asked for.
Directories are watched, not files, and not below themselves: editors replace a file by renaming
another over it, and a thousand locations of one repository share a few directories. Decides
nothing; whoever is told judges whether a change matters.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import awatch

__all__ = ["Watcher"]

# Quiet time that ends a burst, and the longest a burst is held back (ms).
_STEP = 10
_DEBOUNCE = 400
# Locations come ready in crowds: the kernel's watches are set up once for all of them (seconds).
_GATHER = 0.05
# How long to leave it alone when the system cannot watch (seconds).
_RETRY = 10.0


class Watcher:
    """Tells ``changed(paths)`` about changes in watched directories.

    ``watch`` sets the directories one owner is interested in; the kernel watches their union.
    ``armed(owner)`` is called once what the owner asked for is really watched, with None for all
    owners: what changed before that moment nobody will tell, so they must look for themselves.
    ``trouble(text)`` is told when the system cannot watch (its limit of watches is reached).
    """

    def __init__(
        self,
        changed: Callable[[set[str]], None],
        armed: Callable[[str | None], None],
        trouble: Callable[[str], None],
    ) -> None:
        self._changed = changed
        self._armed = armed
        self._trouble = trouble
        self._wanted: dict[str, frozenset[str]] = {}
        self._watched: frozenset[str] = frozenset()
        self._again = asyncio.Event()
        self._gathering: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._run(), name="watcher")

    def watch(self, owner: str, directories: Iterable[str]) -> None:
        """Replace what ``owner`` wants watched; directories that do not exist are left out."""
        wanted = _existing(directories)
        self._wanted[owner] = wanted
        loop = asyncio.get_running_loop()
        if wanted <= self._watched:
            loop.call_soon(self._armed, owner)
        elif self._gathering is None:
            self._gathering = loop.call_later(_GATHER, self._rearm)

    def forget(self, owner: str) -> None:
        """``owner`` is gone."""
        self._wanted.pop(owner, None)

    async def close(self) -> None:
        """Stop watching."""
        if self._gathering is not None:
            self._gathering.cancel()
        if self._task is not None:
            self._again.set()
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _rearm(self) -> None:
        self._gathering = None
        if self._union() <= self._watched:
            self._report_armed()  # it began to look while it was still being told where
        else:
            self._again.set()

    def _union(self) -> frozenset[str]:
        return _existing(frozenset[str]().union(*self._wanted.values()))

    def _report_armed(self) -> None:
        self._armed(None)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._again.clear()
            self._watched = self._union()
            if not self._watched:
                await self._again.wait()
                continue
            stream = awatch(
                *sorted(self._watched),
                watch_filter=None,
                debounce=_DEBOUNCE,
                step=_STEP,
                stop_event=self._again,
                recursive=False,
                ignore_permission_denied=True,
            )
            # The stream sets up the kernel's watches before it first waits: this runs right after.
            report = loop.call_soon(self._report_armed)
            try:
                async for changes in stream:
                    self._changed({path for _kind, path in changes})
            except OSError as error:
                report.cancel()
                self._watched = frozenset()
                if not isinstance(error, FileNotFoundError):  # else one vanished meanwhile: anew
                    self._trouble(f"files cannot be watched: {error}")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._again.wait(), _RETRY)


def _existing(paths: Iterable[str]) -> frozenset[str]:
    return frozenset(path for path in paths if Path(path).is_dir())
