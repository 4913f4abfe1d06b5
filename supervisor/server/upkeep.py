"""Restores what a supervisor needs on disk: state directory, runtime directory, store, names.

Owns the search for what was removed while the supervisor runs (by ``git clean``, a logout, a
cleaner of temporary files, the swap of a link), the order in which it is created again, and the conditions
for what cannot be. inotify(7) tells of removals at once; what it does not tell of is found by a look
every ``LOOK_SECONDS``. Files are touched in threads only. How each thing is made is its own affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import zmq

from supervisor.conditions import Conditions
from supervisor.errors import ConfigurationError
from supervisor.presence import Identity, Presence, believed
from supervisor.runtime_dir import RuntimeDirectory
from supervisor.server.state_directory import StateDirectory, TakenError
from supervisor.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from inotify_simple import INotify

__all__ = ["LOOK_SECONDS", "Kept", "Upkeep"]

LOOK_SECONDS = 3.0
# What removes one thing removes others with it: it is left in peace until it is done (seconds).
_QUIET, _PATIENCE = 0.1, 2.0
# How long the last look may go on when the supervisor ends (seconds).
_LAST_LOOK = 5.0

_HINTS = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "this user's disk quota is used up",
    errno.EROFS: "that file system is mounted read-only",
    errno.EACCES: "make that directory writable for this user",
    errno.EPERM: "make that directory writable for this user",
    errno.EEXIST: "remove what stands there instead",
    errno.ENOTDIR: "remove what stands there instead",
    errno.EISDIR: "remove what stands there instead",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept. ``name`` is the workspace as it was named; ``sockets`` bind those of
    ``runtime`` again, by file name."""

    name: Identity
    state: StateDirectory
    runtime: RuntimeDirectory
    presence: Presence
    store: SnapshotStore
    sockets: Mapping[str, Callable[[], None]]


class Used(Protocol):
    """The environments that are used, by their directories."""

    def used(self) -> set[Path]:
        """All of them."""

    def gone(self, prefixes: set[Path]) -> None:
        """These are not there, the others are."""


class Upkeep:
    """Looks after ``kept``, and for the environments that are ``used``.

    ``back()`` is called when the workspace's directory is there again.
    """

    def __init__(
        self,
        kept: Kept,
        conditions: Conditions,
        back: Callable[[], None],
        used: Used,
    ) -> None:
        self._kept = kept
        self._conditions = conditions
        self._back = back
        self._used = used
        self._real = ""
        self._removals: _Removals | None = None
        self._poked = asyncio.Event()
        self._ending = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look; for when the sockets are bound and announced."""
        self._task = asyncio.create_task(self._run(), name="upkeep")

    async def close(self) -> None:
        """Look no more: what is made from now on stays removed."""
        self._ending = True
        self._poked.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_LAST_LOOK)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._removals is not None:
            self._removals.close()

    async def _run(self) -> None:
        with contextlib.suppress(OSError, ImportError, RuntimeError):
            if sys.platform == "linux":
                self._removals = await asyncio.to_thread(_removals)
                self._removals.listen(self._poked.set)
        while not self._ending:
            self._poked.clear()
            try:
                await self._look()
            except Exception:  # a defect of ours must not be the end of looking
                _log.exception("what is kept on disk could not be looked after")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._poked.wait()
                    await self._until_quiet()

    async def _until_quiet(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while self._poked.is_set() and not self._ending:
                    self._poked.clear()
                    await asyncio.sleep(_QUIET)

    async def _look(self) -> None:
        real, gone = await asyncio.to_thread(self._glance, self._used.used())
        await self._meeting()
        await self._state()
        await self._kept.store.check()
        if real != self._real:
            await self._hold(real)
        if "workspace_directory" not in self._conditions:
            self._used.gone(gone)

    def _glance(self, prefixes: set[Path]) -> tuple[str, set[Path]]:
        """In a thread: where the workspace really is, and which of ``prefixes`` are gone."""
        if self._removals is not None:  # before anything is looked at: what goes then is told
            self._removals.watch(self._places())
        gone = {one for one in prefixes if not one.is_dir()}
        return os.path.realpath(self._kept.name[0]), gone

    def _places(self) -> dict[Path, set[str]]:
        """What must not go from which directory."""
        kept = self._kept
        directory, state, runtime = kept.name[0], kept.state, kept.runtime.path
        return {
            directory.parent: {directory.name},
            directory: {state.root.name},
            state.root: {state.path.name},
            state.path: {"lock", "logs", *(f"snapshots.db{suffix}" for suffix in ("", "-wal"))},
            runtime.parent.parent: {runtime.parent.name},
            runtime.parent: {runtime.name},
            runtime: {*kept.sockets, "supervisor.json"},
        }

    async def _meeting(self) -> None:
        runtime, key = self._kept.runtime, "runtime_directory"
        try:
            lost = await asyncio.to_thread(runtime.mend)
            for name in lost:
                bind = self._kept.sockets.get(name)
                if bind is not None:
                    bind()
                    await asyncio.to_thread(runtime.note, name)
        except ConfigurationError as error:
            self._conditions.set(key, f"clients cannot connect: {error}", error.hint or "")
        except (OSError, zmq.ZMQError) as error:
            self._conditions.set(
                key,
                f"clients cannot connect: {runtime.path} was removed and cannot be "
                f"created again: {_words(error)}",
                f"log in again (see `loginctl enable-linger`), or `kill {os.getpid()}` and start it "
                "again with XDG_RUNTIME_DIR set to a directory that lasts",
            )
        else:
            self._conditions.clear(key)
            if lost:
                what = ", ".join(lost)
                _log.warning("%s: %s created again", runtime.path, _were(what, len(lost)))

    async def _state(self) -> None:
        state, directory = self._kept.state, self._kept.name[0]
        gone, broken, taken = "workspace_directory", "state_directory", "lock"
        told = {key for key in (gone, broken, taken) if key in self._conditions}
        now: str | None = None
        try:
            made = await asyncio.to_thread(state.check)
        except TakenError as error:
            now = taken
            self._conditions.set(
                taken,
                f"another supervisor (pid {error.pid}) holds the lock of this workspace: both run",
                f"end one of them: `kill {error.pid}`",
            )
        except OSError as error:
            if not await asyncio.to_thread(directory.is_dir):
                now = gone
                self._conditions.set(
                    gone,
                    f"the workspace's directory {directory} is gone: what is loaded is served, "
                    "nothing new is kept, and no environment is built meanwhile",
                    f"move it back, or end this supervisor with `kill {os.getpid()}`",
                )
            else:
                now = broken
                self._conditions.set(
                    broken,
                    f"the state directory {state.path} was removed and cannot be created again: "
                    f"{_words(error)}",
                    _HINTS.get(error.errno or 0, ""),
                )
        else:
            made = [name for name in made if name != ".gitignore"]
            if made:
                what = ", ".join(made)
                _log.warning("%s: %s created again", state.path, _were(what, len(made)))
        for key in told - {now}:
            self._conditions.clear(key)
        if gone in told and now != gone:
            self._back()

    async def _hold(self, real: str) -> None:
        """Hold the name that the workspace has by where links lead now, too."""
        names = [self._kept.name, (Path(real), self._kept.name[1])]
        refused = await self._kept.presence.hold(names)
        others: list[str] = []
        for name, holder in refused.items():
            mine = await asyncio.to_thread(believed, holder, name[0]) is not None
            who = f"pid {holder.pid}" if mine else f"pid {holder.pid} of user {holder.uid}"
            if holder.pid <= 0:
                who = "a process that does not tell its pid"
            others.append(f"{name[0] / name[1]} is held by {who}")
        if others:
            self._conditions.set(
                "name",
                f"the name by which this supervisor is known to live is taken: {'; '.join(others)}",
                "end that process: until then `supervisor.json` and the lock alone keep a second one out",
            )
        else:
            self._conditions.clear("name")
        if not others:
            self._real = real


class _Removals:
    """Tells when one of certain names comes into a directory or goes from it."""

    def __init__(self, inotify: INotify) -> None:
        from inotify_simple import flags

        self._mask = (
            flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO | flags.DELETE_SELF
            | flags.MOVE_SELF | flags.ONLYDIR
        )  # fmt: skip
        self._itself = flags.DELETE_SELF | flags.MOVE_SELF
        self._inotify = inotify
        self._names: set[str] = set()
        self._tell: Callable[[], None] = lambda: None

    def listen(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called in the running event loop."""
        self._tell = tell
        asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._read)

    def watch(self, places: Mapping[Path, set[str]]) -> None:
        """Watch these, those that exist; blocks."""
        self._names = set().union(*places.values())
        for directory in places:
            with contextlib.suppress(
                OSError
            ):  # not there, or the limit is reached: it is looked for
                self._inotify.add_watch(directory, self._mask)

    def close(self) -> None:
        """Watch nothing any more."""
        asyncio.get_running_loop().remove_reader(self._inotify.fileno())
        self._inotify.close()

    def _read(self) -> None:
        events = self._inotify.read(timeout=0)
        if any(mask & self._itself or name in self._names for _, mask, _, name in events):
            self._tell()


def _removals() -> _Removals:
    from inotify_simple import INotify

    return _Removals(INotify(nonblocking=True))


def _were(what: str, count: int) -> str:
    return f"{what} {'was' if count == 1 else 'were'} removed and {'is' if count == 1 else 'are'}"


def _words(error: OSError | zmq.ZMQError) -> str:
    return (error.strerror or str(error)).lower()
