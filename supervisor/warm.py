"""Warm environments: a forkserver for each, and shims forked from it.

Owns the forkservers' processes and the conversation with them (runner_shim/forkserver.py), and the
decision that an environment, or one location in it, cannot be forked safely; then a fresh process
is started instead, and the reason stands in the shim's ``reason``. What to preload is learned
(``learned``). Decides nothing about locations.

A forkserver belongs to an interpreter, its overlay and its environment variables. It is replaced
when it has died or when more has been learned than it has preloaded, and ended when no location
uses it. Linux only; elsewhere every process is fresh.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runner_shim import wire
from supervisor.launcher import (
    BOOT,
    LaunchError,
    LaunchRequest,
    Pipes,
    Placed,
    SpawnLauncher,
    open_pipes,
)
from supervisor.learned import Learned
from supervisor.process import Output, Process
from supervisor.slots import Slots
from supervisor.specs import StartMethod
from supervisor.warden import Warden

__all__ = ["WarmLauncher"]

# A library that takes longer to import than this keeps its environment from being warm (seconds).
_PRELOAD_TIMEOUT = 60.0
_ANSWER_TIMEOUT = 20.0
# ps shows a shim's own name where the forkserver's stood: this is the room there is for it.
_TITLE_WIDTH = 96

Key = tuple[str, str, frozenset[tuple[str, str]], tuple[str, ...] | None]


class _UnfitError(Exception):
    """This environment cannot be forked; the text says why."""


class WarmLauncher:
    """Forks where that is safe, and starts fresh processes (``cold``) where it is not.

    ``log(name)`` gives the output of a forkserver somewhere to go.
    """

    def __init__(
        self,
        cold: SpawnLauncher,
        learned: Learned,
        slots: Slots,
        log: Callable[[str], Output],
    ) -> None:
        self._slots = slots
        self._cold = cold
        self._learned = learned
        self._log = log
        self._servers: dict[Key, _Server] = {}
        self._unfit: dict[Key, str] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    async def prepare(self, request: LaunchRequest) -> None:
        """Have the request's forkserver started and warm; concurrent callers wait for one start."""
        if self._why_cold(request) is None:
            with contextlib.suppress(_UnfitError):
                await self._server(request).ready()

    async def start(self, request: LaunchRequest) -> Placed:
        """Place one shim; raises ``LaunchError``."""
        why = self._why_cold(request)
        if why is None:
            server = self._server(request)
            try:
                await server.ready()
                why = _shadowed(request, server.loaded)
                if why is None:
                    return await server.fork(request, self._cold)
            except _UnfitError as error:
                why = str(error)
                self._give_up(_key(request), why)
        placed = await self._cold.start(request)
        placed.reason = why
        return placed

    def condemn(self, request: LaunchRequest, reason: str) -> None:
        """Fork no more for the environment of ``request``."""
        self._give_up(_key(request), reason)

    def learn(self, request: LaunchRequest, modules: Sequence[str]) -> None:
        """A location of this environment imported ``modules``, all of them installed."""
        fresh = self._learned.add(request.environment_key, modules)
        key = _key(request)
        server = self._servers.get(key)
        learned = request.preload is None and bool(fresh)
        if learned and server is not None and not server.knows(fresh):
            # Those that come next find it warm; who was forked before is not concerned.
            del self._servers[key]
            self._retire(server)

    def warm(self, request: LaunchRequest) -> None:
        """Start the forkserver in the background if there is none: the next reload will want it."""
        if self._why_cold(request) is None and _key(request) not in self._servers:
            self._keep(asyncio.create_task(self.prepare(request)))

    def keep_only(self, requests: list[LaunchRequest]) -> None:
        """End the forkservers that none of ``requests`` would use."""
        wanted = {_key(one) for one in requests}
        for key in self._servers.keys() - wanted:
            self._retire(self._servers.pop(key))
        for key in self._unfit.keys() - wanted:
            del self._unfit[key]

    def replace(self, executable: Path) -> None:
        """What is installed for ``executable`` has changed: whoever comes next starts afresh."""
        for key in [one for one in self._servers if one[0] == str(executable)]:
            self._retire(self._servers.pop(key))
        for key in [one for one in self._unfit if one[0] == str(executable)]:
            del self._unfit[key]

    async def close(self) -> None:
        """End every forkserver; their children have ended before."""
        for server in self._servers.values():
            self._retire(server)
        self._servers.clear()
        while self._retiring:
            await asyncio.wait(self._retiring)

    def _server(self, request: LaunchRequest) -> _Server:
        key = _key(request)
        server = self._servers.get(key)
        if server is None or not server.usable:
            modules = (
                self._learned.modules(request.environment_key, request.imports)
                if request.preload is None
                else list(request.preload)
            )
            output = self._log(request.environment_name)
            server = _Server(request, modules, self._slots, output, self._cold.warden)
            self._servers[key] = server
        return server

    def _why_cold(self, request: LaunchRequest) -> str | None:
        if request.start_method is StartMethod.SPAWN:
            return request.start_method_reason or "start_method: spawn"
        if sys.platform != "linux":
            return "forkservers need Linux"
        return self._unfit.get(_key(request))

    def _give_up(self, key: Key, reason: str) -> None:
        self._unfit[key] = reason
        server = self._servers.pop(key, None)
        if server is not None:
            self._retire(server)

    def _retire(self, server: _Server) -> None:
        self._keep(asyncio.create_task(server.close()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


class _Server:
    """One forkserver: its process and the socket to it. Requests are answered one at a time."""

    def __init__(
        self,
        request: LaunchRequest,
        modules: list[str],
        slots: Slots,
        output: Output,
        warden: Warden,
    ) -> None:
        self._warden = warden
        self._waiting = 0
        self._modules = modules
        self._tried = set(modules)
        self._output = output
        self._process: Process | None = None
        self._control: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._closing = False
        self._unwanted: set[asyncio.Task[None]] = set()
        self.loaded: frozenset[str] = frozenset()
        self._starting = asyncio.create_task(self._warm_up(request, slots))
        self._starting.add_done_callback(_retrieve)

    @property
    def usable(self) -> bool:
        """False once its process is gone or it was told to close."""
        return not self._closing and (self._process is None or not self._process.exited.done())

    def knows(self, modules: set[str]) -> bool:
        """True when it has preloaded ``modules``, or tried to."""
        return modules <= self._tried

    async def ready(self) -> None:
        """Wait until it has preloaded; raises ``_UnfitError``."""
        self._waiting += 1
        try:
            await asyncio.shield(self._starting)
        finally:
            self._waiting -= 1

    async def fork(self, request: LaunchRequest, cold: SpawnLauncher) -> Placed:
        """Fork one shim; raises ``_UnfitError`` or ``LaunchError``."""
        forking = asyncio.create_task(self._fork(request, cold))
        try:
            return await asyncio.shield(forking)
        except asyncio.CancelledError:
            # Nobody wants it any more. Its answer must still be heard, or the next to ask would
            # take it for his own; and what was forked must go.
            discarding = asyncio.create_task(_discard(forking))
            self._unwanted.add(discarding)
            discarding.add_done_callback(self._unwanted.discard)
            raise

    async def _fork(self, request: LaunchRequest, cold: SpawnLauncher) -> Process:
        message = {
            "type": "fork",
            "name": request.name,
            "instance": request.instance,
            "address": request.address,
        }
        with open_pipes() as pipes:
            answer = await self._ask(message, pipes.theirs)
            if answer["type"] != "forked":
                raise LaunchError(f"the forkserver cannot fork: {answer.get('error')}")
            pid = answer["pid"]
        process = self._child(pid, pipes, request)
        process.limit(request.limits, cold.descriptors)
        return process

    def _child(self, pid: int, pipes: Pipes, request: LaunchRequest) -> Process:
        async def reap() -> int | None:
            os.close(pipes.lifeline)
            try:
                answer = await self._ask({"type": "reap", "pid": pid})
                status: int | None = answer["status"]
            except _UnfitError:
                status = await _reap_adopted(pid)
            return status

        return Process(
            pid,
            pipes={pipes.output: "out", pipes.errors: "err"},
            output=request.output,
            reap=reap,
            method="forkserver",
            warden=self._warden,
        )

    async def close(self) -> None:
        """End it. Its children go on: they are reaped as orphans."""
        self._closing = True
        with contextlib.suppress(_UnfitError, asyncio.CancelledError):
            await self._starting
        while self._unwanted:
            await asyncio.wait(self._unwanted)
        async with self._lock:
            if self._process is not None and not self._process.exited.done():
                self._process.kill_leader(signal.SIGKILL)
                await asyncio.shield(self._process.exited)
            if self._control is not None:
                self._control.close()

    async def _warm_up(self, request: LaunchRequest, slots: Slots) -> None:
        # The one that most locations wait for goes first.
        async with slots.take(lambda: float(self._waiting)):
            await self._start(request)

    async def _start(self, request: LaunchRequest) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._control = ours
        title = f"forkserver {request.environment_name}"
        command = [str(request.executable), "-u", str(BOOT), title.ljust(_TITLE_WIDTH)]
        with theirs, open_pipes() as pipes:
            line, output, errors = pipes.theirs
            try:
                # Blocking, in the main thread, as in SpawnLauncher.
                child = subprocess.Popen(  # noqa: ASYNC220
                    command,
                    stdin=line,
                    stdout=output,
                    stderr=errors,
                    env=dict(request.environ),
                    cwd="/",
                    start_new_session=True,
                    pass_fds=(theirs.fileno(),),
                )
            except (OSError, ValueError) as error:
                raise _UnfitError(f"the forkserver cannot be started: {error}") from None
            number = theirs.fileno()
        self._process = _own_process(child, pipes, self._output, self._warden)
        overlay = None if request.overlay is None else str(request.overlay)
        start = {"v": 1, "control": number, "overlay": overlay}
        with contextlib.suppress(OSError):
            os.write(pipes.lifeline, json.dumps(start).encode() + b"\n")
        await self._preload()

    async def _preload(self) -> None:
        module = "its libraries"
        async with self._lock:
            await self._send({"type": "preload", "modules": self._modules}, ())
            while True:
                try:
                    answer = await asyncio.wait_for(self._receive(), _PRELOAD_TIMEOUT)
                except TimeoutError:
                    self._abandon()
                    raise _UnfitError(
                        f"preloading {module} took longer than {_PRELOAD_TIMEOUT:g} s"
                    ) from None
                except _UnfitError:
                    raise _UnfitError(f"preloading {module} ended the forkserver") from None
                if answer["type"] == "preloaded":
                    break
                module = answer["module"]
        if answer["failed"]:
            name, error = next(iter(answer["failed"].items()))
            self._abandon()
            raise _UnfitError(f"preloading {name} failed: {error}")
        if answer["unfit"]:
            self._abandon()
            raise _UnfitError(answer["unfit"])
        self.loaded = frozenset(answer["loaded"])

    def _abandon(self) -> None:
        if self._process is not None:
            self._process.kill(signal.SIGKILL)

    async def _ask(
        self, message: dict[str, Any], descriptors: tuple[int, ...] = ()
    ) -> dict[str, Any]:
        async with self._lock:
            await self._send(message, descriptors)
            try:
                return await asyncio.wait_for(self._receive(), _ANSWER_TIMEOUT)
            except TimeoutError:
                self._abandon()
                raise _UnfitError("the forkserver does not answer") from None

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
                raise _UnfitError(f"the forkserver is gone ({error.strerror})") from None

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
                raise _UnfitError(f"the forkserver is gone ({error.strerror})") from None
            if not data:
                raise _UnfitError("the forkserver is gone")
            answer: dict[str, Any] = wire.unpack(data)
            return answer


async def _discard(forking: asyncio.Task[Process]) -> None:
    with contextlib.suppress(_UnfitError, LaunchError):
        process = await forking
        process.kill(signal.SIGKILL)
        await asyncio.shield(process.exited)


def _own_process(
    child: subprocess.Popen[bytes], pipes: Pipes, output: Output, warden: Warden
) -> Process:
    async def reap() -> int | None:
        _pid, status = os.waitpid(child.pid, 0)  # noqa: ASYNC222  # it has ended: a zombie
        child.returncode = os.waitstatus_to_exitcode(status)
        os.close(pipes.lifeline)
        return status

    return Process(
        child.pid,
        pipes={pipes.output: "out", pipes.errors: "err"},
        output=output,
        reap=reap,
        method="forkserver",
        warden=warden,
    )


async def _reap_adopted(pid: int) -> int | None:
    """The wait status of a child whose forkserver is gone; ours if we are its subreaper."""
    for delay in (0, 0.01, 0.05, 0.2):
        await asyncio.sleep(delay)
        try:
            found, status = os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222  # returns at once
        except ChildProcessError:
            continue
        if found:
            return status
    return None


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


def _key(request: LaunchRequest) -> Key:
    return (
        str(request.executable),
        str(request.overlay),
        frozenset(request.environ.items()),
        request.preload,
    )


def _shadowed(request: LaunchRequest, loaded: frozenset[str]) -> str | None:
    """Why ``request`` must not be forked: its own modules would lose against preloaded ones."""
    found = sorted(request.local_names & loaded)
    if found:
        return f"its own module {found[0]!r} has the name of one that is preloaded"
    return None


def _retrieve(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
