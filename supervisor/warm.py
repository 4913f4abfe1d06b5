"""Warm environments: a forkserver for each, and shims forked from it.

Owns which forkservers there are, and the decision that an environment, or one location in it,
cannot be forked safely; then a fresh process is started instead, and the reason stands in the
shim's ``reason``. What to preload is learned (``learned``); how one is talked to is ``forkserver``.
Decides nothing about locations.

A forkserver belongs to an interpreter, its overlay, its environment variables and what the operator
wants preloaded. It is replaced when it has died, and ended when no location uses it. When more has
been learned than it has preloaded, another one is warmed up beside it and takes its place: nobody
waits for that, and what was forked before is not concerned. Linux only; elsewhere every process is
fresh.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from supervisor.forkserver import Forkserver, ForkserverGoneError, Patience, UnfitError
from supervisor.launcher import LaunchRequest, Placed, SpawnLauncher
from supervisor.learned import Learned
from supervisor.process import Output, has_pidfds
from supervisor.slots import Slots
from supervisor.specs import StartMethod

__all__ = ["WarmLauncher"]

# Locations that start together learn one after the other: when none has for so long (seconds),
# what they learned is worth a new forkserver.
_CALM = 1.0
# A forkserver may be killed, or retired, between being chosen and being asked: then another is
# started. When that happens again and again it is no accident.
_TRIES = 3

Key = tuple[str, str, str, frozenset[tuple[str, str]], tuple[str, ...] | None]


class WarmLauncher:
    """Forks where that is safe, and starts fresh processes (``cold``) where it is not.

    ``log(name)`` gives the output of a forkserver somewhere to go.
    """

    patience = Patience()

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
        self._servers: dict[Key, Forkserver] = {}
        self._unfit: dict[Key, str] = {}
        self._outgrown: dict[Key, LaunchRequest] = {}
        self._calm: asyncio.TimerHandle | None = None
        self._warming: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    async def prepare(self, request: LaunchRequest) -> None:
        """Have the request's forkserver started and warm; concurrent callers wait for one start."""
        if self._why_cold(request) is None:
            server = self._server(request)
            try:
                await self._ready(request, server)
            except ForkserverGoneError:
                return  # whoever starts next tries another one
            except UnfitError as error:
                self._give_up(_key(request), str(error))

    async def start(self, request: LaunchRequest) -> Placed:
        """Place one shim; raises ``LaunchError``."""
        for _ in range(_TRIES):
            why = self._why_cold(request)
            if why is not None:
                break
            server = self._server(request)
            try:
                await self._ready(request, server)
                why = _shadowed(request, server.loaded)
                if why is not None:
                    break
                return await server.fork(request, self._cold)
            except ForkserverGoneError:
                why = f"the forkserver ended {_TRIES} times in a row"
                self._drop(_key(request), server)
            except UnfitError as error:
                why = str(error)
                self._give_up(_key(request), why)
            # It may have forked before it ended: that child must not be taken for the next one.
            if request.anew is not None:
                request = replace(request, instance=request.anew())
        placed = await self._cold.start(request)
        placed.reason = why or ""
        return placed

    def condemn(self, request: LaunchRequest, reason: str) -> None:
        """Fork no more for the environment of ``request``."""
        self._give_up(_key(request), reason)

    def learn(self, request: LaunchRequest, modules: Sequence[str]) -> None:
        """A location of this environment imported ``modules``, all of them installed."""
        self._learned.add(request.environment_key, modules)
        if request.preload is None:
            self._look_outgrown(request)

    def _look_outgrown(self, request: LaunchRequest) -> None:
        """Have the forkserver of ``request`` replaced soon when it lacks some of what is known."""
        key = _key(request)
        server = self._servers.get(key)
        known = self._learned.modules(request.environment_key, ())
        if server is None or server.knows(set(known)):
            return
        self._outgrown[key] = request
        if self._calm is not None:
            self._calm.cancel()
        self._calm = asyncio.get_running_loop().call_later(_CALM, self._grow)

    def warm(self, request: LaunchRequest) -> None:
        """Start the forkserver in the background if there is none: the next reload will want it."""
        server = self._servers.get(_key(request))
        if self._why_cold(request) is None and (server is None or not server.usable):
            _keep(self._warming, self.prepare(request))

    def keep_only(self, requests: list[LaunchRequest]) -> None:
        """End the forkservers that none of ``requests`` would use."""
        wanted = {_key(one) for one in requests}
        self._forget([key for key in {*self._servers, *self._unfit} if key not in wanted])

    def replace(self, executable: Path) -> None:
        """What is installed for ``executable`` has changed: whoever comes next starts afresh."""
        self._forget([key for key in {*self._servers, *self._unfit} if key[0] == str(executable)])

    async def close(self) -> None:
        """End every forkserver; their children have ended before."""
        if self._calm is not None:
            self._calm.cancel()
        for task in self._warming:
            task.cancel()
        if self._warming:
            await asyncio.wait(self._warming)
        self._forget(list(self._servers))
        if self._closing:
            await asyncio.wait(self._closing)

    def _server(self, request: LaunchRequest) -> Forkserver:
        key = _key(request)
        server = self._servers.get(key)
        if server is not None and not server.usable:
            self._drop(key, server)
            server = None
        if server is None:
            server = self._servers[key] = self._new(request)
        return server

    def _new(self, request: LaunchRequest) -> Forkserver:
        modules = (
            self._learned.modules(request.environment_key, request.imports)
            if request.preload is None
            else list(request.preload)
        )
        output = self._log(request.environment_name)
        return Forkserver(request, modules, self._slots, output, self._cold.warden, self.patience)

    async def _ready(self, request: LaunchRequest, server: Forkserver) -> None:
        await server.ready()
        if request.preload is None:
            # What was guessed and found: a shim forked from it does not report it as imported.
            self._learned.add(request.environment_key, server.preloaded)
            self._learned.forget(request.environment_key, server.gone)

    def _grow(self) -> None:
        self._calm = None
        for key, request in self._outgrown.items():
            server = self._servers.get(key)
            if server is not None and server.usable:
                _keep(self._warming, self._outgrow(key, request, server))
        self._outgrown.clear()

    async def _outgrow(self, key: Key, request: LaunchRequest, old: Forkserver) -> None:
        """Put one that has preloaded all that is known in the place of ``old``."""
        new = self._new(request)
        try:
            await self._ready(request, new)
            # Unless things went on meanwhile.
            if self._servers.get(key) is old:
                self._drop(key, old)
                self._servers[key] = new
            self._look_outgrown(request)  # more may have been learned while it was warmed up
        except ForkserverGoneError:
            return
        except UnfitError as error:
            if self._servers.get(key) is old:
                self._give_up(key, str(error))
        finally:
            if self._servers.get(key) is not new:
                self._retire(new)

    def _why_cold(self, request: LaunchRequest) -> str | None:
        if request.start_method is StartMethod.SPAWN:
            return request.start_method_reason or "start_method: spawn"
        if sys.platform != "linux":
            return "forkservers need Linux"
        if not has_pidfds():
            return "forkservers need pidfd_open(2), which is refused here"
        return self._unfit.get(_key(request))

    def _give_up(self, key: Key, reason: str) -> None:
        self._forget([key])
        self._unfit[key] = reason

    def _drop(self, key: Key, server: Forkserver) -> None:
        if self._servers.get(key) is server:
            del self._servers[key]
            self._retire(server)

    def _forget(self, keys: list[Key]) -> None:
        for key in keys:
            self._unfit.pop(key, None)
            self._outgrown.pop(key, None)
            server = self._servers.pop(key, None)
            if server is not None:
                self._retire(server)

    def _retire(self, server: Forkserver) -> None:
        _keep(self._closing, server.close())


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _key(request: LaunchRequest) -> Key:
    return (
        str(request.executable),
        request.place,
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
