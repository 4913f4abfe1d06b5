"""How a shim comes to life, and how it ends: processes, sessions, signals.

Owns the ``Launcher`` seam and its first maker, fresh processes. A started shim is a ``Placed``:
its ``exited`` future tells how it ended, and ``kill`` reaches its whole session, so what user code
spawned goes with it. Decides nothing: when to start or kill is the location's business.

The shim leads a session of its own. Its standard input carries one start message and then stays
open as the lifeline (runner_shim/boot.py); its output goes to the capture that it was given.
Exits are learned from pidfd(2), before the process is reaped, so that its session can be killed
while its id cannot have been given to anybody else; where there is no pidfd a thread waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import runner_shim
from supervisor.specs import Limits

__all__ = [
    "Exit",
    "LaunchError",
    "LaunchRequest",
    "Launcher",
    "Placed",
    "SpawnLauncher",
    "raise_descriptor_limit",
    "session_members",
]

# Some programs walk all descriptors they could have.
_MOST_DESCRIPTORS = 262_144

_BOOT = Path(runner_shim.__file__).with_name("boot.py")


class LaunchError(Exception):
    """The process could not be started; the text says why in one sentence."""


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """Everything a launcher needs to bring one shim to life.

    ``name`` is the location's, shown in ``ps``. ``address`` and ``instance`` are for its hello.
    ``overlay`` is the directory with pyzmq and msgpack, or None. ``environ`` is the whole
    environment. ``output(stream, data)`` gets what it prints, ``stream`` being ``out`` or ``err``.
    """

    name: str
    instance: str
    address: str
    executable: Path
    overlay: Path | None
    environ: Mapping[str, str] = field(repr=False)
    limits: Limits
    output: Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: ``status`` for an exit, or the ``signal`` that killed it."""

    status: int | None
    signal: int | None

    @property
    def clean(self) -> bool:
        """True for exit status 0."""
        return self.status == 0

    def __str__(self) -> str:
        if self.signal is not None:
            try:
                name = signal.Signals(self.signal).name
            except ValueError:
                name = f"signal {self.signal}"
            return f"was killed by {name}"
        return f"exited with status {self.status}"


class Placed(Protocol):
    """A shim's process as the supervisor sees it."""

    pid: int
    method: str
    exited: asyncio.Future[Exit]

    def kill(self, number: int) -> None:
        """Send a signal to the whole session; no error when it is gone."""

    def kill_leader(self, number: int) -> None:
        """Send a signal to the shim alone; no error when it is gone."""


class Launcher(Protocol):
    """Brings shims to life."""

    async def start(self, request: LaunchRequest) -> Placed:
        """Place one shim; raises ``LaunchError``."""


def raise_descriptor_limit() -> int:
    """Let this process have as many descriptors as it may; a location takes about six.

    Returns the limit as it was, which shims get back: user code must not see ours.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses what it calls unlimited
        wanted = (
            _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
        )
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return soft


class SpawnLauncher:
    """A fresh process of the team's interpreter for every shim.

    ``descriptors`` is the soft limit of open files that shims get where their location sets none.
    """

    def __init__(self, descriptors: int | None = None) -> None:
        self._descriptors = descriptors

    async def start(self, request: LaunchRequest) -> Placed:
        """Start ``python boot.py NAME`` in a session of its own."""
        command = [str(request.executable), "-u", str(_BOOT), request.name]
        try:
            # In this, the main thread, and blocking: it returns once the child has called exec, and
            # the event loop's own subprocess support would wait for it with a thread a child.
            child = subprocess.Popen(  # noqa: ASYNC220
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(request.environ),
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise LaunchError(f"{request.executable} cannot be started: {text.lower()}") from None
        placed = _Spawned(child, request.output)
        placed.limit(request.limits, self._descriptors)
        start = {
            "v": 1,
            "address": request.address,
            "instance": request.instance,
            "overlay": None if request.overlay is None else str(request.overlay),
        }
        assert child.stdin is not None
        with contextlib.suppress(OSError):  # it died already: its exit tells the story
            os.write(child.stdin.fileno(), json.dumps(start).encode() + b"\n")
        return placed


class _Spawned:
    """A child of ours, its pipes and its end."""

    method = "spawn"

    def __init__(
        self, child: subprocess.Popen[bytes], output: Callable[[str, bytes], None]
    ) -> None:
        self._child = child
        self._output = output
        self._loop = asyncio.get_running_loop()
        self.pid = child.pid
        self.exited: asyncio.Future[Exit] = self._loop.create_future()
        self._pipes: dict[int, str] = {}
        for pipe, stream in ((child.stdout, "out"), (child.stderr, "err")):
            assert pipe is not None
            descriptor = pipe.fileno()
            os.set_blocking(descriptor, False)
            self._pipes[descriptor] = stream
            self._loop.add_reader(descriptor, self._read, descriptor)
        self._pidfd = -1
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(self.pid)
        if self._pidfd >= 0:
            self._loop.add_reader(self._pidfd, self._ended)
        else:
            self._loop.run_in_executor(None, self._wait)

    def kill(self, number: int) -> None:
        if self.exited.done():
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
        if number == signal.SIGKILL:
            _kill_session(self.pid)

    def kill_leader(self, number: int) -> None:
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    def limit(self, limits: Limits, descriptors: int | None) -> None:
        """Apply resource limits from outside, so that nothing of ours runs between fork and exec."""
        if not hasattr(resource, "prlimit"):
            return
        wanted = {
            resource.RLIMIT_AS: limits.memory,
            resource.RLIMIT_NOFILE: limits.open_files,
            resource.RLIMIT_NPROC: limits.processes,
        }
        with contextlib.suppress(ProcessLookupError):
            for which, value in wanted.items():
                if value is not None:
                    hard = resource.prlimit(self.pid, which)[1]
                    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
                    resource.prlimit(self.pid, which, (ceiling, ceiling))
            if limits.open_files is None and descriptors is not None:
                hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)[1]
                resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (descriptors, hard))
            if limits.nice is not None:
                with contextlib.suppress(PermissionError):
                    os.setpriority(os.PRIO_PROCESS, self.pid, limits.nice)

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._output(self._pipes[descriptor], data)
        else:
            self._loop.remove_reader(descriptor)

    def _wait(self) -> None:
        # Without pidfd: wait, leaving the zombie in place, then end it in the loop's thread.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
            self._loop.call_soon_threadsafe(self._ended)

    def _ended(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        # The zombie still holds the process id: nobody else's group can be hit.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        _kill_session(self.pid)
        code = self._child.wait()
        for descriptor, stream in self._pipes.items():
            self._loop.remove_reader(descriptor)
            self._drain(descriptor, stream)
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if not self.exited.done():
            self.exited.set_result(Exit(code, None) if code >= 0 else Exit(None, -code))

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


def session_members(session: int) -> list[int]:
    """The live processes of a session, the leader included (Linux; elsewhere empty)."""
    members: list[int] = []
    try:
        names = os.listdir("/proc")  # noqa: PTH208  # hundreds of entries, names only
    except OSError:
        return members
    for name in names:
        if name.isdecimal():
            with contextlib.suppress(OSError):
                if os.getsid(int(name)) == session:
                    members.append(int(name))
    return members


def _kill_session(session: int) -> None:
    """SIGKILL whatever left its group but not its session."""
    for pid in session_members(session):
        if pid != session:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
