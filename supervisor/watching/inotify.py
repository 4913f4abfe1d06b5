"""The kernel's watches on directories: which paths in them changed, told once a burst.

Owns two ways to watch behind one protocol: inotify(7) on Linux, which costs nothing while nothing
happens, and ``watchfiles`` elsewhere. Directories are watched, not files, and not below themselves.
Knows no owners and judges no change.

Both are told what to watch as a whole and compare it with what they have; a directory that is not
there is left out. What they cannot tell of, because a directory went away or the kernel dropped
events, they report as ``lost``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from supervisor.conditions import Tell

if TYPE_CHECKING:
    from inotify_simple import INotify

__all__ = [
    "RETRY",
    "DirectoryWatch",
    "Heard",
    "InotifyWatch",
    "WatchfilesWatch",
    "directory_watch",
    "existing",
    "find_inotify",
]

# What comes within a step is told together, and held back for no longer than this (seconds).
_STEP = 0.010
_BURST = 0.05
# So many bytes are taken at a time: a full queue, 16,384 events, would hold the event loop up.
_MOST_READ = 16 * 1024
# How long to leave it alone when the system cannot watch (seconds).
RETRY = 10.0


@dataclass(frozen=True, slots=True)
class Heard:
    """The receiver of what a watch reports, in the event loop's thread.

    ``changed(paths)`` once a burst, ``armed(directories)`` once what was asked for last is watched,
    and which of it, ``lost(directories)`` when these are gone, ``lost(None)`` when changes may have
    gone unseen anywhere, ``trouble(text)`` when the system cannot watch, ``trouble(None)`` once it
    can again.
    """

    changed: Callable[[set[str]], None]
    armed: Callable[[frozenset[str]], None]
    lost: Callable[[frozenset[str] | None], None]
    trouble: Tell


class DirectoryWatch(Protocol):
    """Watches one set of directories at a time."""

    def watch(self, directories: frozenset[str]) -> None:
        """Watch those of these that exist, and no others."""

    async def close(self) -> None:
        """Watch nothing any more."""


async def directory_watch(heard: Heard, platform: str = sys.platform) -> DirectoryWatch:
    """What ``platform`` has; while it has none to give, that is told and tried again."""
    if platform != "linux":
        return WatchfilesWatch(heard)
    while True:
        try:
            await asyncio.to_thread(find_inotify)
            watch = InotifyWatch(_inotify(), heard)
            heard.trouble(None)
            return watch
        except (OSError, RuntimeError) as error:  # no thread can be started
            heard.trouble(f"files cannot be watched: {_why(error)}")
            await asyncio.sleep(RETRY)


class InotifyWatch:
    """Linux: watches are added and removed one by one, events read when there are some.

    To add one is to look a path up, on whatever disk: that is done in a thread.
    """

    def __init__(self, inotify: INotify, heard: Heard) -> None:
        from inotify_simple import flags

        self._flags = flags
        self._mask = (
            flags.CREATE | flags.DELETE | flags.MODIFY | flags.CLOSE_WRITE | flags.ATTRIB
            | flags.MOVED_FROM | flags.MOVED_TO | flags.DELETE_SELF | flags.MOVE_SELF
            | flags.ONLYDIR
        )  # fmt: skip
        self._gone = flags.DELETE_SELF | flags.MOVE_SELF | flags.IGNORED | flags.UNMOUNT
        self._inotify = inotify
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        # One directory may have several names (links), and then has one watch.
        self._names: dict[int, set[str]] = {}
        self._watches: dict[str, int] = {}
        self._wanted: frozenset[str] = frozenset()
        self._again = asyncio.Event()
        # Watches that ended before the thread that adds them has told of them.
        self._ended: set[int] = set()
        self._burst: set[str] = set()
        self._overflown = False
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._listen()
        self._task = asyncio.create_task(self._arm(), name="inotify")

    def watch(self, directories: frozenset[str]) -> None:
        """Watch these and no others; tried again later when the kernel has no room for more."""
        self._wanted = directories
        self._again.set()

    async def close(self) -> None:
        """Give the kernel's watches back."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._inotify.fileno())
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._inotify.close()

    async def _arm(self) -> None:
        while True:
            await self._again.wait()
            self._again.clear()
            for path in self._watches.keys() - self._wanted:
                self._remove(path)
            new = sorted(self._wanted - self._watches.keys())
            try:
                if new:
                    await self._add(new)
            except (OSError, RuntimeError) as error:
                self._heard.trouble(f"files cannot be watched: {_why(error)}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY):
                        await self._again.wait()
                self._again.set()
                continue
            self._heard.trouble(None)
            if not self._again.is_set():
                self._heard.armed(frozenset(self._watches))

    async def _add(self, paths: list[str]) -> None:
        numbers: list[tuple[str, int]] = []

        def add() -> None:
            for path in paths:
                # It was removed meanwhile, or cannot be read.
                with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                    numbers.append((path, self._inotify.add_watch(path, self._mask)))

        adding = asyncio.ensure_future(asyncio.to_thread(add))
        try:
            await asyncio.shield(adding)
        except asyncio.CancelledError:
            await asyncio.wait([adding])  # its descriptor is closed next
            raise
        finally:
            for path, number in numbers:
                self._watches[path] = number
                self._names.setdefault(number, set()).add(path)
            for number in self._ended & self._names.keys():
                self._lose(number)
            self._ended.clear()

    def _lose(self, number: int) -> None:
        """Under its names another directory may stand one day: this watch is not its."""
        names = list(self._names[number])
        for path in names:
            self._remove(path)
        self._loop.call_soon(self._heard.lost, frozenset(names))

    def _remove(self, path: str) -> None:
        number = self._watches.pop(path)
        names = self._names[number]
        names.discard(path)
        if not names:
            del self._names[number]
            with contextlib.suppress(OSError):  # the directory is gone, and its watch with it
                self._inotify.rm_watch(number)

    # Reading. Between two looks at a burst the descriptor is left alone: a program that writes without
    # end costs a look every step.

    def _listen(self) -> None:
        self._loop.add_reader(self._inotify.fileno(), self._begin)

    def _begin(self) -> None:
        self._loop.remove_reader(self._inotify.fileno())
        self._deadline = self._loop.time() + _BURST
        self._look()

    def _look(self) -> None:
        more = self._read()
        if more and self._loop.time() < self._deadline:
            self._timer = self._loop.call_later(_STEP, self._look)
            return
        self._timer = None
        paths, self._burst = self._burst, set()
        overflown, self._overflown = self._overflown, False
        self._listen()
        if paths:
            self._heard.changed(paths)
        if overflown:
            self._heard.lost(None)

    def _read(self) -> bool:
        """Take some of what there is into the burst; False when there was nothing."""
        from inotify_simple import parse_events  # Linux only; imported before, in a thread

        try:
            data = os.read(self._inotify.fileno(), _MOST_READ)
        except BlockingIOError:
            return False
        for number, mask, _cookie, name in parse_events(data):
            if mask & self._flags.Q_OVERFLOW:
                self._overflown = True
                continue
            known = self._names.get(number, set())
            self._burst.update(f"{path}{os.sep}{name}" if name else path for path in known)
            if mask & self._gone and known:
                self._lose(number)
            elif mask & self._gone:
                self._ended.add(number)
        return True


class WatchfilesWatch:
    """Elsewhere: what ``watchfiles`` makes of the system's means, set up anew for each change."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._wanted: frozenset[str] = frozenset()
        self._again = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="watchfiles")

    def watch(self, directories: frozenset[str]) -> None:
        """Watch these and no others."""
        self._wanted = directories
        self._again.set()

    async def close(self) -> None:
        """Stop."""
        self._again.set()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _is_armed(self, directories: frozenset[str]) -> None:
        self._heard.trouble(None)
        self._heard.armed(directories)

    async def _run(self) -> None:
        # A package of files to open: not in the event loop.
        awatch = (await asyncio.to_thread(importlib.import_module, "watchfiles")).awatch
        loop = asyncio.get_running_loop()
        while True:
            self._again.clear()
            directories = await asyncio.to_thread(existing, self._wanted)
            if not directories:
                self._heard.armed(directories)
                await self._again.wait()
                continue
            stream = awatch(
                *sorted(directories),
                watch_filter=None,
                debounce=int(_BURST * 1000),
                step=int(_STEP * 1000),
                stop_event=self._again,
                recursive=False,
                ignore_permission_denied=True,
            )
            # The stream sets up the watches before it first waits: this runs right after.
            report = loop.call_soon(self._is_armed, directories)
            try:
                async for changes in stream:
                    self._heard.changed({path for _kind, path in changes})
            except OSError as error:
                report.cancel()
                if isinstance(error, FileNotFoundError):  # one vanished meanwhile
                    continue
                self._heard.trouble(f"files cannot be watched: {_why(error)}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY):
                        await self._again.wait()


def existing(paths: frozenset[str]) -> frozenset[str]:
    return frozenset(path for path in paths if os.path.isdir(path))  # noqa: PTH112  # False, too, where we may not look


def find_inotify() -> None:
    """What takes as long as a reload, for a thread: the import, and the search for libc."""
    with _inotify():
        pass  # nothing is handed over: the waiter may have been cancelled


def _inotify() -> INotify:
    from inotify_simple import INotify

    return INotify(nonblocking=True)


# What inotify(7) means by its errors.
_LIMITS = {
    errno.ENOSPC: "the limit of watches is reached (sysctl fs.inotify.max_user_watches)",
    errno.EMFILE: "the limit of watchers is reached (sysctl fs.inotify.max_user_instances)",
}


def _why(error: OSError | RuntimeError) -> str:
    if isinstance(error, RuntimeError):
        return str(error)
    return _LIMITS.get(error.errno or 0) or (error.strerror or str(error)).lower()
