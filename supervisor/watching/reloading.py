"""Watches the files of each owner: changes are examined outside the event loop and reported in it.

Owns the threads in which files are looked at, shared by all owners, and for each owner the order of
what has to be looked at, the waiting for the end of a burst, and what to believe of a load whose
files were written meanwhile. Decides nothing about loads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from supervisor.watching.dependencies import Dependencies, Looked
from supervisor.watching.digests import Digests
from supervisor.watching.settling import NOTHING, Burst

__all__ = ["PATIENCE", "Disk", "FileWatch", "Watching"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

# A disk that hangs keeps as many threads as owners have files on it; the others' have the rest.
_THREADS = 4
# After a load whose files were written while it went on, the next begins so much later (seconds):
# at once for an edit that came too late, ever later for code that writes its own files whenever it
# is loaded, which in the end is believed. A change at another time has it begin anew.
PATIENCE = (0.0, 0.0, 0.0, 2.0, 8.0, 32.0)


class Disk:
    """Threads that look at files, and the cache of what they held."""

    def __init__(self) -> None:
        self.digests = Digests()
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        # Not an executor's: one that hangs in the kernel must not keep the process from ending.
        for number in range(_THREADS):
            thread = threading.Thread(target=self._work, name=f"files-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if not self._threads:
                    raise
                break  # fewer will do
            self._threads.append(thread)

    def close(self) -> None:
        """End the threads; what has not been begun is dropped."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()
        for _ in self._threads:
            self._jobs.put(None)

    def submit(self, job: Callable[[], _T], done: Callable[[_T | None], None]) -> None:
        """Run ``job`` in a thread, then ``done(result)`` in the event loop; None if it raised."""

        def run() -> None:
            result = None
            try:
                result = job()
            except Exception:
                # A defect of ours must not leave an owner waiting for ever.
                _log.exception("looking at files")
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(done, result)

        self._jobs.put(run)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


@dataclass(frozen=True, slots=True)
class Watching:
    """How a location looks at files, and has them watched: ``watch(name, directories)``."""

    disk: Disk
    watch: Callable[[str, frozenset[str]], None]


class FileWatch:
    """What ``owner`` depends on.

    ``watch(owner, directories)`` has directories watched; ``hear`` and ``look`` are what the watcher
    tells. ``changed(paths, late)`` is called when the owner has to be loaded anew: for changes of
    its files once their burst is over, or for those that came too ``late`` for the load that
    ``take`` told of. While a load is under way it is called at once, for each change that the load
    may have missed.
    """

    __slots__ = (
        "_armed",
        "_burst",
        "_busy",
        "_changed",
        "_closed",
        "_dependencies",
        "_directories",
        "_disk",
        "_folders",
        "_found",
        "_heard",
        "_late",
        "_load",
        "_looking",
        "_loop",
        "_not_before",
        "_noted",
        "_owner",
        "_points",
        "_row",
        "_since",
        "_taking",
        "_timer",
        "_watch",
    )  # fmt: skip

    def __init__(
        self,
        owner: str,
        disk: Disk,
        watch: Callable[[str, frozenset[str]], None],
        changed: Callable[[set[str], bool], None],
    ) -> None:
        self._owner = owner
        self._disk = disk
        self._watch = watch
        self._changed = changed
        self._dependencies = Dependencies(owner, disk.digests)
        self._burst = Burst()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        # What is to be looked at, one thing at a time.
        self._busy = False
        self._taking: tuple[Looked, int | None, frozenset[str], int] | None = None
        self._looking = False
        self._heard = NOTHING
        self._directories: frozenset[str] | None = None
        self._points = self._folders = NOTHING
        self._armed = True
        # What was found.
        self._since: Callable[[], int | None] | None = None
        self._load = 0
        self._noted = NOTHING
        self._found = NOTHING
        self._late = False
        self._row = 0
        self._not_before = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def watched(self) -> bool:
        """True when all is watched, and nothing that was heard of is still to be judged."""
        pending = self._busy or self._taking or self._looking or self._heard or self._found
        return self._armed and self._directories is not None and not pending

    async def other_than_served(self) -> set[str]:
        """The files that hold something else than what the last good load had read."""
        return await asyncio.to_thread(self._dependencies.other_than_served)

    def begun(self, since_ns: Callable[[], int | None]) -> None:
        """A load is under way: what changed until now, it will find.

        ``since_ns`` says since when it reads files; None: it does not yet.
        """
        self._load += 1
        self._since = since_ns
        self._noted = NOTHING
        self._drop()

    def ended(self) -> None:
        """It is over, and left nothing to take."""
        self._since = None
        self._drop()

    def take(self, looked: Looked, since_ns: int | None) -> None:
        """The load that was under way since ``since_ns`` is over; ``looked`` is what it looked at."""
        self._since = None
        self._taking = looked, since_ns, self._noted, self._load
        self._next()

    def hear(self, paths: set[str]) -> None:
        """``paths`` in watched directories changed."""
        self._burst.heard(len(paths), self._loop.time())
        if not self._busy and self._taking is None:  # else it may matter to what is taken
            # Sets alone: very many owners may hear of very many files of a checkout.
            mine = paths & self._points
            if self._folders:
                mine |= {one for one in paths if one.rpartition("/")[0] in self._folders}
            paths = mine
        if paths:
            self._heard |= paths
            self._next()

    def look(self) -> None:
        """What was asked for is watched now, or was lost: what changed before was not told of."""
        self._armed = True
        self._looking = True
        self._next()

    def close(self) -> None:
        """The owner is gone."""
        self._closed = True
        self._drop()
        if not self._busy:
            self._disk.submit(self._dependencies.forget, lambda _: None)

    def _next(self) -> None:
        if self._busy or self._closed:
            return
        if self._taking is not None:
            (looked, since_ns, noted, load), self._taking = self._taking, None
            took = partial(self._took, load)
            self._run(lambda dependencies: dependencies.take(looked, since_ns, noted), took)
        elif self._looking:
            self._looking = False
            self._judge(lambda dependencies, loading: dependencies.outdated(loading=loading))
        elif self._heard:
            paths, self._heard = self._heard, NOTHING
            self._judge(
                lambda dependencies, loading: dependencies.concerned(paths, loading=loading)
            )

    def _judge(self, look: Callable[[Dependencies, bool], set[str]]) -> None:
        since = self._since

        def job(dependencies: Dependencies) -> set[str]:
            found = look(dependencies, since is not None)
            return found if since is None else dependencies.missed(found, since())

        self._run(job, partial(self._judged, self._load, since is not None))

    def _run(
        self, job: Callable[[Dependencies], set[str]], told: Callable[[set[str]], None]
    ) -> None:
        def work() -> tuple[set[str], frozenset[str], frozenset[str], frozenset[str]]:
            dependencies = self._dependencies
            return (
                job(dependencies),
                dependencies.directories,
                dependencies.points,
                dependencies.folders,
            )

        def done(result: Any) -> None:
            self._busy = False
            if self._closed:
                self._disk.submit(self._dependencies.forget, lambda _: None)
            elif result is not None:
                found, directories, self._points, self._folders = result
                if directories != self._directories:
                    self._directories = directories
                    self._armed = False
                    self._watch(self._owner, directories)
                told(found)
            self._next()

        self._busy = True
        self._disk.submit(work, done)

    def _took(self, load: int, found: set[str]) -> None:
        if load != self._load:
            return  # another load is under way, which reads what is there now
        self._row = self._row + 1 if found else 0
        if found and self._row <= len(PATIENCE):
            self._not_before = self._loop.time() + PATIENCE[self._row - 1]
            self._late = True
            self._tell(found)

    def _judged(self, load: int, loading: bool, found: set[str]) -> None:
        if not found or load != self._load:
            return
        if loading:
            self._noted |= found
            if self._since is not None:  # else what it left behind is taken next
                self._changed(found, True)
            return
        self._row, self._not_before, self._late = 0, 0.0, False
        self._burst.concerned(found)
        self._tell(found)

    def _tell(self, found: set[str]) -> None:
        self._found |= found
        self._settle()

    def _settle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        wait = max(self._burst.wait(now), self._not_before - now)
        if wait > 0:
            self._timer = self._loop.call_later(wait, self._settle)
            return
        found, late = self._found, self._late
        self._drop()
        self._changed(set(found), late)

    def _drop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._found = NOTHING
        self._late, self._not_before = False, 0.0
