"""The launcher interface: how a shim is started and ended, on any host and by any means.

Owns the contract: what a launcher is asked (``LaunchSpec``), what it gives back (``ShimProcess``) and
what both promise. Starts nothing. Fresh processes are ``spawn``'s, forked ones ``forkserver_pool``'s;
tests/processes/test_launchers.py holds each of them to this contract.

What the contract does not assume: that the process is a child of the supervisor, that it shares a
disk or a clock with it, or that its process id means anything here. So orders (``terminate``, ``kill``,
``dump``) return at once and need no answer, questions (``usage``, ``spent``, ``stopped``) are awaited,
durations come as durations, and the paths of a ``PreparedEnvironment`` are those of the host where it
was made: they are shown to people and handed back to that host, never opened here.
"""

from __future__ import annotations

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import envs
from supervisor.processes import orphans
from supervisor.specs import KillScope, Limits, StartMethod, Target

__all__ = [
    "FORKED",
    "SPAWNED",
    "Exit",
    "LaunchError",
    "LaunchSpec",
    "Launcher",
    "Output",
    "PreparedEnvironment",
    "ShimProcess",
    "Usage",
]

Output = Callable[[str, bytes], None]
"""Gets what a process prints: the stream, ``out`` or ``err``, and the bytes."""

SPAWNED = "spawn"
FORKED = "forkserver"
"""Values of ``ShimProcess.method``."""


class LaunchError(Exception):
    """The process could not be started; the text says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: ``status`` for an exit, or the ``signal`` that killed it.

    Both are None when it is not known. ``limit`` names the limit at which it was killed.
    """

    status: int | None
    signal: int | None
    limit: str = ""

    @classmethod
    def from_wait(cls, status: int | None) -> Exit:
        """From what waitpid(2) says; None where it could not be asked."""
        if status is None:
            return cls(None, None)
        if os.WIFSIGNALED(status):
            return cls(None, os.WTERMSIG(status))
        return cls(os.WEXITSTATUS(status), None)

    @property
    def clean(self) -> bool:
        """True for exit status 0."""
        return self.status == 0

    def __str__(self) -> str:
        if self.limit:
            return f"was killed at its {self.limit}"
        if self.signal is not None:
            try:
                name = signal.Signals(self.signal).name
            except ValueError:
                name = f"signal {self.signal}"
            return f"was killed by {name}"
        if self.status is None:
            return "ended, and how is not known"
        return f"exited with status {self.status}"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process takes: ``rss`` and ``uss`` in bytes, processor seconds since it began, and per
    cent of one core since the last look; ``uss`` is None where it was not asked for or is not told."""

    rss: int
    cpu_seconds: float
    cpu_percent: float
    uss: int | None = None


@dataclass(frozen=True, slots=True, weakref_slot=True)
class PreparedEnvironment:
    """An environment that exists where processes are started.

    ``environment.key`` is its fingerprint. ``overlay`` is the directory with pyzmq and msgpack, or
    None when the environment has them itself; ``environ`` are the variables that processes get in
    it. ``place`` is where its interpreter really is: it may be reached through links that lead
    elsewhere one day. ``adding`` is the command that adds a package to one that is not managed, or that makes
    the virtualenv for which it stands in.
    """

    environment: envs.Environment
    overlay: Path | None
    environ: Mapping[str, str] = field(repr=False)
    place: str = ""
    adding: str = ""

    @property
    def executable(self) -> Path:
        """Its interpreter."""
        return self.environment.interpreter.executable


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything a launcher needs to bring one shim to life.

    ``name`` is the location's, shown in ``ps``. ``address`` and ``instance`` are for its hello.
    ``variables`` are the location's own, beside those of the ``prepared`` environment.
    ``output(stream, data)`` gets what it prints. ``kill`` says what ends with it.

    ``start_method`` is what was asked for, and ``start_method_reason`` why, when it was not the
    operator. The rest is for launchers that keep environments warm: ``target`` is what is going to
    be loaded, whose source names libraries, ``preload`` what the operator wants preloaded (None: what
    is learned). ``anew()`` gives another ``instance``, for a second try after one of which it is
    not known whether it came to life. ``hash_seed`` is what a fresh process has for PYTHONHASHSEED while
    it starts, and not in the variables that user code sees; one of ``environ`` wins ("": none).
    """

    name: str
    instance: str
    address: str
    prepared: PreparedEnvironment
    limits: Limits
    output: Output
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    kill: KillScope = KillScope.SESSION
    start_method: StartMethod = StartMethod.AUTO
    start_method_reason: str = ""
    target: Target | None = None
    preload: tuple[str, ...] | None = None
    anew: Callable[[], str] | None = None
    hash_seed: str = ""

    @property
    def environ(self) -> Mapping[str, str]:
        """All its variables, but for the token."""
        if not self.variables:
            return self.prepared.environ
        return {**self.prepared.environ, **self.variables}

    @property
    def token(self) -> str:
        """By which its descendants are known (``supervisor.processes.orphans``)."""
        return orphans.token_of(self.name, self.instance)

    @property
    def tree(self) -> str:
        """The token of what is to end with it wherever that is, or ""."""
        return self.token if self.kill is KillScope.TREE else ""


class ShimProcess(ABC):
    """A shim's process, from when it was started until long after it has ended.

    ``pid`` is its process id on its host, to be shown and compared, never signalled. ``method`` says
    how it was started and ``reason`` why so, "" when that is as it should be. ``limits`` maps each
    limit in force to what enforces it (``supervisor.processes.limits``). Of a forked one, ``profile``
    is a digest of what was preloaded, and ``hash_seed`` the PYTHONHASHSEED that its forkserver was
    given; "" where there is none.

    ``exited`` is done with an ``Exit`` once the process has ended and nothing is left of it that is
    to end with it: its session, under ``kill: tree`` all its descendants. All that it printed has
    been given to ``output`` by then. It is never cancelled and never fails.

    A handle of runs will add to this, in its own class, ``start_run(order)``, ``read(offset)``,
    ``cancel`` and ``lock_held``: a run outlives its shim and the supervisor, so it is known by its
    journal and its lock, not by this handle.
    """

    __slots__ = ("exited", "hash_seed", "limits", "method", "pid", "profile", "reason")

    def __init__(self, pid: int, method: str, reason: str = "") -> None:
        self.pid = pid
        self.method = method
        self.reason = reason
        self.profile = self.hash_seed = ""
        self.limits: Mapping[str, str] = {}
        self.exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    @property
    def forked(self) -> bool:
        """True when it came out of a forkserver."""
        return self.method == FORKED

    async def wait(self) -> Exit:
        """How it ended, once it has; to cancel this does nothing to the process."""
        return await asyncio.shield(self.exited)

    # Orders. None raises, and none does anything to a process that has ended.

    @abstractmethod
    def terminate(self) -> None:
        """Ask it and its session to end (SIGTERM)."""

    @abstractmethod
    def kill(self) -> None:
        """End it and its session (SIGKILL)."""

    @abstractmethod
    def dump(self) -> None:
        """Have it write the stacks of its threads to its standard error, even if it hangs."""

    # Questions. None raises; one about a process that has ended has an answer, too.

    @abstractmethod
    async def usage(self, *, detail: bool = False) -> Usage | None:
        """What it takes, None when that is not to be had; ``uss`` only with ``detail``: it is dear."""

    @abstractmethod
    async def spent(self) -> float:
        """Processor seconds of its session so far, children that were collected included."""

    @abstractmethod
    async def stopped(self) -> bool:
        """True while a signal (SIGSTOP) or a debugger holds it."""


class Launcher(ABC):
    """Brings shims to life.

    A launcher decides how; when to start or to end one is the caller's business. All of it is used
    from the event loop's thread, and nothing of it blocks.
    """

    @abstractmethod
    async def prepare(self, spec: LaunchSpec) -> None:
        """Do what takes long and is shared by many shims; never fails."""

    @abstractmethod
    async def start(self, spec: LaunchSpec) -> ShimProcess:
        """Start one shim; raises ``LaunchError``.

        When the caller is cancelled meanwhile, nothing of the process remains. Its limits are in
        force before user code runs.
        """

    @abstractmethod
    def learn(self, spec: LaunchSpec, report: Mapping[str, Any]) -> None:
        """The shim of ``spec`` loaded, and reports what it imported (docs/snapshot.md)."""

    @abstractmethod
    def condemn(self, spec: LaunchSpec, reason: str) -> None:
        """Shims of this environment must be fresh processes from now on."""

    @abstractmethod
    def refuse(self, spec: LaunchSpec, reason: str) -> None:
        """Shims of this location must be fresh processes from now on."""
