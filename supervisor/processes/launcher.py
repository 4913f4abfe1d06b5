"""How a shim comes to life: the seam, and its first maker, fresh processes.

Owns the ``Launcher`` protocol and ``SpawnLauncher``. A started shim is a ``Placed``: its ``exited``
future tells how it ended, and ``kill`` reaches its whole session, so what user code spawned goes
with it (``process``). Decides nothing: when to start or kill is the location's business.

The shim leads a session of its own. Its standard input carries one start message and then stays
open as the lifeline (runner_shim/boot.py); its output goes to the capture that it was given.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import runner_shim
from supervisor.descriptors import no_room
from supervisor.processes import orphans
from supervisor.processes.limits import Cgroups
from supervisor.processes.process import Exit, Output, Process
from supervisor.processes.reaper import Reaper
from supervisor.specs import KillScope, Limits, StartMethod, Target

__all__ = [
    "BOOT",
    "LaunchError",
    "LaunchRequest",
    "Launcher",
    "Pipes",
    "Placed",
    "SpawnLauncher",
    "open_pipes",
    "spawn",
    "tell_start",
]

BOOT = Path(runner_shim.__file__).with_name("boot.py")


class LaunchError(Exception):
    """The process could not be started; the text says why in one sentence."""


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """Everything a launcher needs to bring one shim to life.

    ``name`` is the location's, shown in ``ps``. ``address`` and ``instance`` are for its hello.
    ``overlay`` is the directory with pyzmq and msgpack, or None. ``environ`` is the whole
    environment. ``output(stream, data)`` gets what it prints, ``stream`` being ``out`` or ``err``.
    ``kill`` says what ends with it.

    The rest is for launchers that keep environments warm: ``environment_key`` is the fingerprint of
    the environment, ``place`` where the executable really is: it may be reached through links that
    lead elsewhere one day, ``start_method`` what was asked for (and why, when it was not the operator),
    ``target`` what is going to be loaded, whose source names libraries, ``preload`` what the operator
    wants preloaded (None: what is learned). ``anew()`` gives another ``instance``, for a second try after
    one of which nobody knows whether it came to life. ``hash_seed`` is what a fresh process has for
    PYTHONHASHSEED while it starts, and not in the variables that user code sees; one of ``environ``
    wins ("": none).
    """

    name: str
    instance: str
    address: str
    executable: Path
    overlay: Path | None
    environ: Mapping[str, str] = field(repr=False)
    limits: Limits
    output: Output
    kill: KillScope = KillScope.SESSION
    environment_name: str = ""
    environment_key: str = ""
    place: str = ""
    start_method: StartMethod = StartMethod.AUTO
    start_method_reason: str = ""
    target: Target | None = None
    preload: tuple[str, ...] | None = None
    anew: Callable[[], str] | None = None
    hash_seed: str = ""

    @property
    def mark(self) -> str:
        """By which its descendants are known (``supervisor.processes.orphans``)."""
        return orphans.mark_of(self.name, self.instance)

    @property
    def tree(self) -> str:
        """The mark of what is to end with it wherever that is, or ""."""
        return self.mark if self.kill is KillScope.TREE else ""


class Placed(Protocol):
    """A shim's process as the supervisor sees it.

    ``limits`` maps each limit that it has to what enforces it (``supervisor.processes.limits``). Of a forked
    one, ``profile`` is a digest of what was preloaded, and ``hash_seed`` the PYTHONHASHSEED that its
    forkserver was given; "" where there is none.
    """

    pid: int
    method: str
    reason: str
    profile: str
    hash_seed: str
    limits: Mapping[str, str]
    exited: asyncio.Future[Exit]

    def kill(self, number: int) -> None:
        """Send a signal to the whole session; no error when it is gone."""

    def kill_leader(self, number: int) -> None:
        """Send a signal to the shim alone; no error when it is gone."""


class Launcher(Protocol):
    """Brings shims to life."""

    async def prepare(self, request: LaunchRequest) -> None:
        """Do what takes long and is shared by many requests; never fails."""

    async def start(self, request: LaunchRequest) -> Placed:
        """Place one shim; raises ``LaunchError``."""

    def learn(self, request: LaunchRequest, report: Mapping[str, Any]) -> None:
        """The shim of ``request`` loaded, and reports what it imported (docs/snapshot.md)."""

    def condemn(self, request: LaunchRequest, reason: str) -> None:
        """Shims of this environment must be fresh processes from now on."""

    def refuse(self, request: LaunchRequest, reason: str) -> None:
        """Shims of this location must be fresh processes from now on."""


@dataclass(frozen=True, slots=True)
class Pipes:
    """The ends of a shim's pipes: ``theirs`` (lifeline, output, errors) and ours."""

    theirs: tuple[int, int, int]
    lifeline: int
    output: int
    errors: int


@contextmanager
def open_pipes() -> Iterator[Pipes]:
    """Make a shim's pipes; its own ends are closed afterwards, ours too when the body fails."""
    room = no_room()
    if room is not None:
        raise LaunchError(room)
    opened: list[int] = []
    try:
        for _ in range(3):
            opened.extend(os.pipe())
        line_read, line_write, out_read, out_write, err_read, err_write = opened
    except OSError as error:
        for descriptor in opened:
            os.close(descriptor)
        raise LaunchError(f"no pipe can be made: {(error.strerror or '').lower()}") from None
    theirs = (line_read, out_write, err_write)
    try:
        yield Pipes(theirs, line_write, out_read, err_read)
    except BaseException:
        for descriptor in (line_write, out_read, err_read):
            os.close(descriptor)
        raise
    finally:
        for descriptor in theirs:
            os.close(descriptor)


class SpawnLauncher:
    """A fresh process of the team's interpreter for every shim.

    ``descriptors`` is the soft limit of open files that shims get where their location sets none.
    ``reaper`` clears up after us. ``cgroups`` are for limits; without any they are rlimits.
    """

    def __init__(
        self, reaper: Reaper, descriptors: int | None = None, cgroups: Cgroups | None = None
    ) -> None:
        self.reaper = reaper
        self.descriptors = descriptors
        self.cgroups = cgroups

    async def prepare(self, request: LaunchRequest) -> None:
        """Nothing is shared."""

    def learn(self, request: LaunchRequest, report: Mapping[str, Any]) -> None:
        """A fresh process starts from nothing each time."""

    def condemn(self, request: LaunchRequest, reason: str) -> None:
        """They are all fresh."""

    def refuse(self, request: LaunchRequest, reason: str) -> None:
        """They are all fresh."""

    async def start(self, request: LaunchRequest) -> Placed:
        """Start ``python boot.py NAME`` in a session of its own."""
        command = [str(request.executable), "-u", str(BOOT), request.name]
        seed = {"PYTHONHASHSEED": request.hash_seed} if request.hash_seed else {}
        if request.environ.get("PYTHONHASHSEED"):
            seed = {}  # the team's own, which its code may see
        try:
            placed, lifeline = spawn(
                command,
                {**request.environ, **seed, orphans.VARIABLE: request.mark},
                output=request.output,
                reaper=self.reaper,
                method="spawn",
                tree=request.tree,
            )
        except (OSError, ValueError) as error:
            text = error.strerror if isinstance(error, OSError) else str(error)
            raise LaunchError(
                f"{request.executable} cannot be started: {(text or str(error)).lower()}"
            ) from None
        placed.limit(request.limits, self.descriptors, self.cgroups)
        tell_start(
            lifeline,
            request.overlay,
            address=request.address,
            instance=request.instance,
            seeded=bool(seed),
        )
        return placed


def spawn(
    command: list[str],
    environ: Mapping[str, str],
    *,
    output: Output,
    reaper: Reaper,
    method: str,
    tree: str = "",
    pass_fds: tuple[int, ...] = (),
) -> tuple[Process, int]:
    """Start ``command`` in a session of its own; it and the writing end of its lifeline.

    Raises OSError or ValueError when it cannot be started, ``LaunchError`` when there are no pipes.
    """
    with open_pipes() as pipes:
        line, out, errors = pipes.theirs
        # In this, the main thread, and blocking: it returns once the child has called exec, and
        # the event loop's own subprocess support would take a thread for each.
        child = subprocess.Popen(
            command,
            stdin=line,
            stdout=out,
            stderr=errors,
            env=environ,
            cwd="/",
            start_new_session=True,
            pass_fds=pass_fds,
        )
        child.returncode = 0  # it is ours to reap

    async def reap() -> int | None:
        _pid, status = os.waitpid(child.pid, 0)  # noqa: ASYNC222  # it has ended: a zombie
        return status

    process = Process(
        child.pid,
        pipes={pipes.output: "out", pipes.errors: "err"},
        lifeline=pipes.lifeline,
        output=output,
        reap=reap,
        method=method,
        reaper=reaper,
        tree=tree,
    )
    return process, pipes.lifeline


def tell_start(lifeline: int, overlay: Path | None, **more: object) -> None:
    """Write the start message that runner_shim/boot.py waits for."""
    start = {"v": 1, "overlay": None if overlay is None else str(overlay), **more}
    with contextlib.suppress(OSError):  # it died already: its exit tells the story
        os.write(lifeline, json.dumps(start).encode() + b"\n")
