"""A shim's process: its output, its session, its signals and its end.

Owns everything that is the same however a process came to life: reading its pipes, reaching its
whole session with a signal, and learning of its exit. Exits are learned from pidfd(2),
before the process is reaped, so that its session can be killed while its id cannot have been given
to another process; where there is no pidfd a thread waits for a child. Starts nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
import sys
from collections.abc import Awaitable, Callable, Container
from dataclasses import replace
from functools import cache
from threading import Thread
from weakref import WeakKeyDictionary

from supervisor import procfs
from supervisor.processes.launcher import Exit, Output, ShimProcess, Usage
from supervisor.processes.limits import Cgroups, Confinement, confine
from supervisor.processes.reaper import Reaper, clear
from supervisor.processes.usage import UsageMeter
from supervisor.specs import Limits

__all__ = [
    "Process",
    "adopt_orphans",
    "has_pidfds",
    "reap_orphans",
    "session_members",
]

# The shim's, see runner_shim/process/request_loop.py: dumps the Python stack to its standard error.
_STACK_SIGNAL = 62
# Looking at all processes takes at most a quarter of our time.
_REST = 3.0


class Process(ShimProcess):
    """The process ``pid`` of this host, leader of a session of its own.

    ``pipes`` are the read ends of its output and errors, ``lifeline`` is the write end of its input;
    all are closed at its end. ``output`` gets what it prints. ``reap(pid)`` collects the zombie and
    tells its wait status. ``reaper`` gets its session. ``tree`` is the token of what is to end with
    it wherever that went, or "".
    """

    __slots__ = (
        "_confinement", "_ending", "_lifeline", "_loop", "_meter", "_output", "_pidfd", "_pipes",
        "_reap", "_reaper", "_tree",
    )  # fmt: skip

    def __init__(
        self,
        pid: int,
        *,
        pipes: tuple[int, int],
        lifeline: int,
        output: Output,
        reap: Callable[[int], Awaitable[int | None]],
        method: str,
        reaper: Reaper,
        tree: str = "",
    ) -> None:
        super().__init__(pid, method)
        self._reaper = reaper
        self._tree = tree
        reaper.add(pid, tree)
        self._output = output
        self._reap = reap
        self._pipes = pipes
        self._lifeline = lifeline
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Task[None] | None = None
        self._confinement: Confinement | None = None
        self._meter: UsageMeter | None = None
        for descriptor in pipes:
            os.set_blocking(descriptor, False)
            self._loop.add_reader(descriptor, self._read, descriptor)
        self._pidfd = -1
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(pid)
        if self._pidfd >= 0:
            self._loop.add_reader(self._pidfd, self._ended)
        else:  # a thread of its own: there may be more processes than a pool has threads
            Thread(target=self._wait, name=f"wait for {pid}", daemon=True).start()

    def terminate(self) -> None:
        """Ask it and its session to end (SIGTERM)."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and its session (SIGKILL)."""
        if self._signal(signal.SIGKILL):
            _kill_sessions({self.pid})

    def kill_leader(self) -> None:
        """SIGKILL it, and nothing else of its session at once."""
        self._signal_leader(signal.SIGKILL)

    def send(self, number: int) -> None:
        """Send a signal to it, and to nothing else of its session."""
        self._signal_leader(number)

    def dump(self) -> None:
        """Have it write the stacks of its threads to its standard error."""
        self._signal_leader(_STACK_SIGNAL)

    async def usage(self, *, detail: bool = False) -> Usage | None:
        """What it takes, None when it has ended."""
        if self._meter is None:
            self._meter = UsageMeter(self.pid)
        return None if self._is_over else await self._meter.read(detail=detail)

    async def spent(self) -> float:
        """Processor seconds of its session so far."""
        return procfs.cpu_seconds(self.pid)

    async def stopped(self) -> bool:
        """True while a signal (SIGSTOP) or a debugger holds it (Linux; elsewhere False)."""
        return not self._is_over and procfs.state(self.pid) in ("T", "t")

    @property
    def _is_over(self) -> bool:
        # From then on the process id may be another's.
        return self.exited.done() or self._ending is not None

    def _signal(self, number: int) -> bool:
        if self._is_over:
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
        return True

    def _signal_leader(self, number: int) -> None:
        if not self._is_over:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    def limit(
        self, limits: Limits, descriptors: int | None, cgroups: Cgroups | None = None
    ) -> None:
        """Apply resource limits from outside, so that nothing of ours runs between fork and exec."""
        try:
            self._confinement = confine(self.pid, limits, cgroups, descriptors)
        except BaseException:  # the caller gets no handle of it
            self.kill()
            raise
        self.limits = self._confinement.how

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._output("out" if descriptor == self._pipes[0] else "err", data)
        else:
            self._loop.remove_reader(descriptor)

    def _wait(self) -> None:
        # Without pidfd: wait, leaving the zombie in place, then end it in the loop's thread.
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            if sys.platform == "darwin":  # has no waitid before Python 3.13
                event = select.kevent(
                    self.pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT
                )
                with contextlib.closing(select.kqueue()) as queue:
                    queue.control([event], 1, None)
            else:
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._ended)

    def _ended(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        # The zombie still holds the process id: no other group can be hit.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        status = None
        try:
            await _SWEEPS.setdefault(self._loop, _Sweep()).session(self.pid)
            if self._tree:
                await self._end_tree()
            self._reaper.discard(self.pid)
            with contextlib.suppress(ChildProcessError):
                status = await self._reap(self.pid)
        finally:
            # Whatever becomes of the status: it has ended, and ``exited`` is awaited.
            os.close(self._lifeline)
            for descriptor, stream in zip(self._pipes, ("out", "err"), strict=True):
                self._loop.remove_reader(descriptor)
                self._drain(descriptor, stream)
                os.close(descriptor)
            self.exited.set_result(self._exit(status))

    async def _end_tree(self) -> None:
        try:
            await asyncio.to_thread(clear, (), {self._tree})
        except RuntimeError:  # no thread can be started: that is how a bomb of processes ends
            clear((), {self._tree})

    def _exit(self, status: int | None) -> Exit:
        ended = Exit.from_wait(status)
        if self._confinement is not None:
            if ended.signal == signal.SIGKILL:
                ended = replace(ended, limit=self._confinement.fatal())
            self._confinement.release()
        return ended

    def _drain(self, descriptor: int, stream: str) -> None:
        # At most what the pipe can hold: one that escaped the session may write for ever.
        for _ in range(32):
            try:
                data = os.read(descriptor, 65536)
            except OSError:
                return
            if not data:
                return
            self._output(stream, data)


@cache
def has_pidfds() -> bool:
    """True where the kernel, or the sandbox around us, has pidfd_open(2) (Linux 5.3)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except AttributeError:
        return False
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)  # a shortage, and no refusal
    return True


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies (Linux): they must be reaped.

    Source: PR_SET_CHILD_SUBREAPER, prctl(2).
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


async def reap_orphans(
    ours: Container[int] = (), every: float = 5.0, look: Callable[[], None] = lambda: None
) -> None:
    """Collect adopted processes that have ended, for as long as it is not cancelled.

    ``ours`` are collected by others, however late. ``look`` is called each time, to look at those
    that live.

    Children of our own are collected at once by the code that started them. So one that is still a zombie
    at the next look, ``every`` seconds later, was adopted.
    """
    seen: set[int] = set()
    while True:
        await asyncio.sleep(every)
        zombies = _zombies()
        for pid in zombies & seen:
            if pid in ours:
                continue
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222  # returns at once
        seen = zombies - seen
        look()


def _zombies() -> set[int]:
    """Children of this process that have ended and were not collected (Linux; elsewhere empty)."""
    found: set[int] = set()
    with contextlib.suppress(OSError, AttributeError):
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return found
        found.update(pid for pid in procfs.children() if procfs.state(pid) == "Z")
    return found


def session_members(session: int) -> list[int]:
    """The live processes of a session, the leader included (Linux; elsewhere empty)."""
    return [pid for pid, its in procfs.sessions() if its == session]


def _kill_sessions(sessions: set[int]) -> None:
    """SIGKILL whatever left its group but not its session."""
    for pid, session in procfs.sessions():
        if session in sessions and pid != session:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


class _Sweep:
    """Ends what is left of the sessions whose leaders have ended, for many by one look at all
    processes: a thousand that end together cost a few looks, not a thousand."""

    def __init__(self) -> None:
        self._ended: set[int] = set()
        self._done: asyncio.Future[None] | None = None
        self._next = 0.0

    async def session(self, leader: int) -> None:
        """Return when nothing of the session of ``leader``, still a zombie, is left."""
        self._ended.add(leader)
        if self._done is None:
            loop = asyncio.get_running_loop()
            self._done = loop.create_future()
            loop.call_at(self._next, self._look)
        await asyncio.shield(self._done)

    def _look(self) -> None:
        done, self._done = self._done, None
        ended, self._ended = self._ended, set()
        assert done is not None
        begun = done.get_loop().time()
        _kill_sessions(ended)
        now = done.get_loop().time()
        self._next = now + (now - begun) * _REST  # one death by itself is looked after at once
        done.set_result(None)


_SWEEPS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Sweep] = WeakKeyDictionary()
