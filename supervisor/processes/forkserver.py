"""One forkserver: its process, the conversation with it, and the shims that it forks.

Owns the supervisor's side of runner_shim/process/forkserver.py: starts the process, has it preload, asks it
to fork, and collects through it the exit status of what it forked; also of a child that outlives
it, which the kernel gives to the supervisor then. Decides neither when there is one nor what it
preloads (``warm`` does). Linux only.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import secrets
import signal
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runner_shim import wire
from supervisor.processes import orphans
from supervisor.processes.launcher import FORKED, LaunchError, LaunchSpec, Output
from supervisor.processes.process import Process
from supervisor.processes.reaper import Reaper
from supervisor.processes.spawn import BOOT, Pipes, SpawnLauncher, open_pipes, spawn, tell_start
from supervisor.processes.start_limiter import StartLimiter
from supervisor.running_time import RunningTime, limit

__all__ = ["Forkserver", "ForkserverGoneError", "Patience", "UnfitError", "UnfitLibrariesError"]

# ps shows a shim's own name where the forkserver's stood: this is the room there is for it.
_TITLE_WIDTH = 96
# One message holds at most what a socket's buffer takes; the kernel's default is 208 KiB.
_MAX_NAMES = 48 * 1024
# What there may be enough of in a moment.
_SHORTAGES = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
# How long a process that was killed may take to be gone before we stop waiting for its children.
_GONE_TIMEOUT = 5.0


class UnfitError(Exception):
    """This environment cannot be forked; the text says why."""


class UnfitLibrariesError(Exception):
    """Another forkserver may do, without these libraries: ``left_out`` maps each to the reason."""

    def __init__(self, left_out: Mapping[str, str]) -> None:
        super().__init__(", ".join(f"{name} {reason}" for name, reason in left_out.items()))
        self.left_out = left_out


class ForkserverGoneError(Exception):
    """The forkserver ended, by itself or because it was told to; another one may do."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a forkserver, in seconds of running time: for one import, and for any
    other answer."""

    preload: float = 60.0
    answer: float = 20.0


class Forkserver:
    """A forkserver that preloads ``modules``; it is started in a slot of its own.

    ``spec`` is the first of those that it is for: its interpreter, overlay and variables count.
    ``left_out`` maps libraries that cannot be preloaded to the reasons; what imports them is not
    preloaded either. ``output`` gets what the process prints. ``preloaded`` and ``gone`` (modules
    that the libraries do not have any more) are complete once ``ready`` has returned.
    ``hash_seed`` is what PYTHONHASHSEED was for it and what it forks; user code does not see it
    among the variables unless it was there before.
    """

    def __init__(
        self,
        spec: LaunchSpec,
        modules: list[str],
        slots: StartLimiter,
        output: Output,
        reaper: Reaper,
        patience: Patience,
        left_out: Mapping[str, str] | None = None,
    ) -> None:
        self.preloaded: list[str] = []
        self.gone: list[str] = []
        self.left_out = dict(left_out or {})
        self._seeded = "PYTHONHASHSEED" not in spec.environ
        self.hash_seed = spec.environ.get("PYTHONHASHSEED") or _any_seed()
        self.waiting = 0
        self._warmed = False
        self._modules = modules
        self._tried = set(modules)
        self._output = output
        self._reaper = reaper
        self._patience = patience
        self._process: Process | None = None
        self._control: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._closing = False
        self._reaping = (
            self._reap
        )  # one object for all its children, of which there may be very many
        self._unwanted: set[asyncio.Task[None]] = set()
        self._starting = asyncio.create_task(self._warm_up(spec, slots))
        self._starting.add_done_callback(_retrieve)

    @property
    def usable(self) -> bool:
        """False once its process is gone, it could not be started or it was told to close."""
        if self._closing or (self._starting.done() and not self._warmed):
            return False
        return self._process is None or not self._process.exited.done()

    @property
    def pid(self) -> int | None:
        """The process id, once there is one."""
        return None if self._process is None else self._process.pid

    def knows(self, modules: set[str]) -> bool:
        """True when it has preloaded ``modules``, or tried to."""
        return modules <= self._tried.union(self.preloaded)

    def has(self, modules: Iterable[str]) -> None:
        """``modules`` were preloaded with others."""
        self._tried.update(modules)

    async def ready(self) -> None:
        """Wait until it has preloaded.

        Raises ``UnfitError``, ``UnfitLibrariesError`` or ``ForkserverGoneError``.
        """
        self.waiting += 1
        try:
            await asyncio.shield(self._starting)
        except asyncio.CancelledError:
            if self._starting.cancelled() and not _cancelled():
                raise ForkserverGoneError("the forkserver was told to end") from None
            raise
        finally:
            self.waiting -= 1

    async def fork(self, spec: LaunchSpec, cold: SpawnLauncher) -> Process:
        """Fork one shim; raises ``UnfitError``, ``ForkserverGoneError`` or ``LaunchError``."""
        forking = asyncio.create_task(self._fork(spec, cold))
        try:
            return await asyncio.shield(forking)
        except asyncio.CancelledError:
            # The caller is gone. The answer must still be read, or the next request would take it
            # for its own; and what was forked must end.
            discarding = asyncio.create_task(_discard(forking))
            self._unwanted.add(discarding)
            discarding.add_done_callback(self._unwanted.discard)
            raise

    async def close(self) -> None:
        """End it. Its children go on: they are reaped as orphans."""
        self._closing = True
        self._starting.cancel()  # no more than a slot or a preload is waited for
        await asyncio.wait([self._starting])
        while self._unwanted:
            await asyncio.wait(self._unwanted)
        async with self._lock:
            if self._process is not None and not self._process.exited.done():
                self._process.kill_leader()
                await asyncio.shield(self._process.exited)
            if self._control is not None:
                self._control.close()

    # Starting.

    async def _warm_up(self, spec: LaunchSpec, slots: StartLimiter) -> None:
        # The one that most locations wait for goes first.
        async with slots.take(lambda: float(self.waiting)):
            self._start(spec)
            await self._preload()
            self._warmed = True

    def _start(self, spec: LaunchSpec) -> None:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:  # a shortage that passes
            raise ForkserverGoneError(f"it cannot be started: {error}") from None
        ours.setblocking(False)
        self._control = ours
        title = f"forkserver {spec.prepared.environment.name}"
        command = [str(spec.prepared.executable), "-u", str(BOOT), title.ljust(_TITLE_WIDTH)]
        with theirs:
            try:
                self._process, lifeline = spawn(
                    command,
                    {
                        **spec.environ,
                        orphans.VARIABLE: orphans.NO_TOKEN,
                        "PYTHONHASHSEED": self.hash_seed,
                    },
                    output=self._output,
                    reaper=self._reaper,
                    method=FORKED,
                    pass_fds=(theirs.fileno(),),
                )
            except LaunchError as error:
                raise ForkserverGoneError(f"it cannot be started: {error}") from None
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno in _SHORTAGES:
                    raise ForkserverGoneError(f"it cannot be started: {error}") from None
                raise UnfitError(f"the forkserver cannot be started: {error}") from None
            tell_start(
                lifeline, spec.prepared.overlay, control=theirs.fileno(), seeded=self._seeded
            )

    async def _preload(self) -> None:
        module = ""
        try:
            async with self._lock:
                for modules in _portions(self._modules):
                    message = {"type": "preload", "modules": modules, "left_out": self.left_out}
                    await self._send(message, ())
                    while True:
                        answer = await self._patiently(self._patience.preload)
                        if answer["type"] == "preloaded":
                            break
                        module = str(answer.get("module"))
                        await asyncio.sleep(0)  # very many may lie there already
                    self.preloaded.extend(answer.get("modules", ()))
                    self.gone.extend(answer.get("gone", ()))
                    module = ""
                await self._send({"type": "judge"}, ())
                while True:
                    answer = await self._patiently(self._patience.preload)
                    if answer["type"] == "judged":
                        break
        except TimeoutError:
            self._abandon()
            raise _unfit(module, f"took longer than {self._patience.preload:g} s") from None
        except ForkserverGoneError:
            how = await self._how_it_ended()
            # Killed from elsewhere, it may have been, for all that a library can do.
            raise _unfit("" if self._was_killed() else module, how) from None
        except (KeyError, TypeError, ValueError) as error:
            self._abandon()
            raise UnfitError(f"the forkserver said what makes no sense: {error}") from None
        if answer.get("unfit"):
            self._abandon()
            raise UnfitError(str(answer["unfit"]))
        if answer.get("left_out"):
            self._abandon()
            raise UnfitLibrariesError(
                {str(name): str(reason) for name, reason in answer["left_out"].items()}
            )

    async def _how_it_ended(self) -> str:
        assert self._process is not None
        await RunningTime(_GONE_TIMEOUT).wait([self._process.exited])
        if not self._process.exited.done():
            return "closed the forkserver's socket"
        return f"ended the forkserver (it {self._process.exited.result()})"

    def _was_killed(self) -> bool:
        assert self._process is not None
        exited = self._process.exited
        return exited.done() and exited.result().signal in (signal.SIGKILL, signal.SIGTERM)

    # Forking.

    async def _fork(self, spec: LaunchSpec, cold: SpawnLauncher) -> Process:
        message = {
            "type": "fork",
            "name": spec.name,
            "instance": spec.instance,
            "address": spec.address,
            "token": spec.token,
        }
        with open_pipes() as pipes:
            answer = await self._ask(message, pipes.theirs)
            pid = answer.get("pid")
            if answer["type"] != "forked" or not isinstance(pid, int):
                raise LaunchError(f"the forkserver cannot fork: {answer.get('error')}")
        process = self._child(pid, pipes, spec)
        process.hash_seed = self.hash_seed
        process.profile = self._profile()
        process.limit(spec.limits, cold.descriptors, cold.cgroups)
        return process

    def _profile(self) -> str:
        """A digest of what it has preloaded, in that order."""
        return hashlib.sha256("\0".join(self.preloaded).encode()).hexdigest()

    def _child(self, pid: int, pipes: Pipes, spec: LaunchSpec) -> Process:
        return Process(
            pid,
            pipes=(pipes.output, pipes.errors),
            lifeline=pipes.lifeline,
            output=spec.output,
            reap=self._reaping,
            method=FORKED,
            reaper=self._reaper,
            tree=spec.tree,
        )

    async def _reap(self, pid: int) -> int | None:
        """The wait status of a child of it that has ended."""
        try:
            status = (await self._ask({"type": "reap", "pid": pid})).get("status")
        except (UnfitError, ForkserverGoneError):
            return await self._reap_adopted(pid)
        return status if isinstance(status, int) else None

    async def _reap_adopted(self, pid: int) -> int | None:
        """The wait status of a child that outlived the forkserver; ours if we are its subreaper."""
        assert self._process is not None
        # Until then it is still the forkserver's.
        await RunningTime(_GONE_TIMEOUT).wait([self._process.exited])
        try:
            found, status = os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222  # returns at once
        except ChildProcessError:
            return None  # no subreaper: it went to init
        return status if found else None

    # Asking.

    def _abandon(self) -> None:
        if self._process is not None:
            self._process.kill()

    async def _ask(
        self, message: dict[str, Any], descriptors: tuple[int, ...] = ()
    ) -> dict[str, Any]:
        async with self._lock:
            try:
                async with limit(self._patience.answer):
                    await self._send(message, descriptors)
                return await self._patiently(self._patience.answer)
            except TimeoutError:
                self._abandon()
                raise UnfitError("the forkserver does not answer") from None

    async def _send(self, message: dict[str, Any], descriptors: tuple[int, ...]) -> None:
        assert self._control is not None
        data = wire.pack(message)
        loop = asyncio.get_running_loop()
        while True:
            try:
                socket.send_fds(self._control, [data], descriptors)
                return
            except BlockingIOError:
                await _until(loop.add_writer, loop.remove_writer, self._control)
            except OSError as error:
                raise ForkserverGoneError(str(error)) from None

    async def _patiently(self, timeout: float) -> dict[str, Any]:
        async with limit(timeout):
            return await self._receive()

    async def _receive(self) -> dict[str, Any]:
        assert self._control is not None
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = self._control.recv(1024 * 1024)
            except BlockingIOError:
                await _until(loop.add_reader, loop.remove_reader, self._control)
                continue
            except OSError as error:
                raise ForkserverGoneError(str(error)) from None
            if not data:
                raise ForkserverGoneError("it closed its socket")
            try:
                answer = wire.unpack(data)
            except wire.WireError as error:
                answer = error
            if not isinstance(answer, dict) or not isinstance(answer.get("type"), str):
                self._abandon()
                raise UnfitError(f"the forkserver said what makes no sense: {answer!r:.100}")
            return answer


async def _discard(forking: asyncio.Task[Process]) -> None:
    with contextlib.suppress(UnfitError, ForkserverGoneError, LaunchError):
        process = await forking
        process.kill()
        await asyncio.shield(process.exited)


def _unfit(module: str, what: str) -> UnfitError | UnfitLibrariesError:
    """What to raise when the process came to an end while importing ``module``, or "" for none."""
    if not module:
        return UnfitError(f"preloading its libraries {what}")
    return UnfitLibrariesError({module.partition(".")[0]: f"{what} when it was imported"})


def _any_seed() -> str:
    return str(1 + secrets.randbelow(2**32 - 1))


def _portions(modules: list[str]) -> Iterator[list[str]]:
    """The names in their order, in lists that fit into a message each; at least one list."""
    portion: list[str] = []
    size = 0
    for name in modules:
        if size + len(name) > _MAX_NAMES:
            yield portion
            portion, size = [], 0
        portion.append(name)
        size += len(name) + 8
    yield portion


async def _until(add: Any, remove: Any, descriptor: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    possible: asyncio.Future[None] = loop.create_future()

    def come() -> None:
        if not possible.done():
            possible.set_result(None)

    add(descriptor, come)
    try:
        await possible
    finally:
        remove(descriptor)


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _retrieve(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
