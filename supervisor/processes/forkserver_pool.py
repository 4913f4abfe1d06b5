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
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from supervisor.processes.forkserver import (
    Forkserver,
    ForkserverGoneError,
    Patience,
    UnfitError,
    UnfitLibrariesError,
)
from supervisor.processes.launcher import LaunchRequest, Placed, SpawnLauncher
from supervisor.processes.preload_guess import sources_of
from supervisor.processes.preload_profile import PreloadProfile
from supervisor.processes.process import Output, has_pidfds
from supervisor.processes.start_limiter import StartLimiter
from supervisor.specs import StartMethod

__all__ = ["ForkserverPool"]

# Locations that start together learn one after the other: when none has for so long (seconds),
# what they learned is worth a new forkserver.
_CALM = 1.0
# A forkserver may be killed, or retired, between being chosen and being asked: then another is
# started. When that happens again and again it is no accident.
_TRIES = 3
# So often another forkserver is tried without the libraries that were found to be unfit.
_ROUNDS = 20
# How many of these libraries a status names.
_SHOWN = 3

Key = tuple[str, str, frozenset[tuple[str, str]], tuple[str, ...] | None, str]


class ForkserverPool:
    """Forks where that is safe, and starts fresh processes (``cold``) where it is not.

    ``log(name)`` gives the output of a forkserver somewhere to go. ``installed(prefix)`` is a
    fingerprint of what is installed there; it is called in a thread.
    """

    patience = Patience()

    def __init__(
        self,
        cold: SpawnLauncher,
        learned: PreloadProfile,
        slots: StartLimiter,
        log: Callable[[str], Output],
        installed: Callable[[Path], str],
    ) -> None:
        self._installed = installed
        self._slots = slots
        self._cold = cold
        self._learned = learned
        self._log = log
        self.servers: dict[Key, Forkserver] = {}
        self._unfit: dict[Key, str] = {}
        self._refused: dict[Key, dict[str, str]] = {}
        self._packages: dict[Path, str] = {}
        self._guesses: dict[str, tuple[str, ...]] = {}
        self._looking = asyncio.Lock()
        self._outgrown: dict[Key, LaunchRequest] = {}
        self._calm: asyncio.TimerHandle | None = None
        self._warming: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    async def prepare(self, request: LaunchRequest) -> None:
        """Have the request's forkserver started and warm; concurrent callers wait for one start."""
        if self._why_cold(request) is None:
            try:
                await self._ready(request)
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
            try:
                server = await self._ready(request)
                try:
                    forked = await server.fork(request, self._cold)
                except ForkserverGoneError:  # it may not know so itself yet
                    self._drop(_key(request), server)
                    raise
                forked.reason = _without(server.left_out)
                return forked
            except ForkserverGoneError:
                why = f"the forkserver ended {_TRIES} times in a row"
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

    def refuse(self, request: LaunchRequest, reason: str) -> None:
        """Fork no more for the location of ``request``, until the environment changes."""
        self._refused.setdefault(_key(request), {})[request.name] = reason

    def learn(self, request: LaunchRequest, report: Mapping[str, Any]) -> None:
        """A location of this environment imported the modules that its report names."""
        installed, preloaded = report.get("installed", ()), report.get("preloaded", ())
        self._learned.add(request.environment_key, request.name, [*preloaded, *installed])
        server = self.servers.get(_key(request))
        if server is not None:
            server.has(preloaded)
        if request.preload is None:
            self._look_outgrown(request)

    def _look_outgrown(self, request: LaunchRequest) -> None:
        """Have the forkserver of ``request`` replaced soon when it lacks some of what is known."""
        key = _key(request)
        server = self.servers.get(key)
        known = self._learned.modules(request.environment_key, ())
        if server is None or server.knows(set(known)):
            return
        self._outgrown[key] = request
        if self._calm is not None:
            self._calm.cancel()
        self._calm = asyncio.get_running_loop().call_later(_CALM, self._grow)

    def warm(self, request: LaunchRequest) -> None:
        """Start the forkserver in the background if there is none: the next reload will want it."""
        server = self.servers.get(_key(request))
        if self._why_cold(request) is None and (server is None or not server.usable):
            _keep(self._warming, self.prepare(request))

    def keep_only(self, requests: list[LaunchRequest]) -> None:
        """End the forkservers that none of ``requests`` would use."""
        wanted = {_key(one) for one in requests}
        self._forget([key for key in self._keys() if key not in wanted])

    def replace(self, executable: Path) -> None:
        """What is installed for ``executable`` has changed: whoever comes next starts afresh."""
        self._packages.pop(executable, None)  # and the guess is made again with it
        self._forget([key for key in self._keys() if key[0] == str(executable)])

    async def close(self) -> None:
        """End every forkserver; their children have ended before."""
        if self._calm is not None:
            self._calm.cancel()
        for task in self._warming:
            task.cancel()
        if self._warming:
            await asyncio.wait(self._warming)
        self._forget(list(self.servers))
        if self._closing:
            await asyncio.wait(self._closing)
        await self._learned.close()

    def _keys(self) -> set[Key]:
        return {*self.servers, *self._unfit, *self._refused}

    def _server(self, request: LaunchRequest) -> Forkserver:
        key = _key(request)
        server = self.servers.get(key)
        if server is not None and not server.usable:
            self._drop(key, server)
            server = None
        if server is None:
            server = self.servers[key] = self._new(request)
        return server

    def _new(self, request: LaunchRequest) -> Forkserver:
        key = request.environment_key
        modules = (
            self._learned.modules(key, self._guesses.get(key, ()))
            if request.preload is None
            else list(request.preload)
        )
        output = self._log(request.environment_name)
        left_out = self._learned.left_out(key, self._packages.get(request.executable, ""))
        return Forkserver(
            request, modules, self._slots, output, self._cold.reaper, self.patience, left_out
        )

    async def _ready(self, request: LaunchRequest) -> Forkserver:
        """The forkserver of ``request`` once it is warm: the first that needs to leave nothing out.

        Raises ``UnfitError`` or ``ForkserverGoneError``.
        """
        for _ in range(_ROUNDS):
            await self._look(request)
            server = self._server(request)
            try:
                if await self._warm(request, server):
                    return server
            except ForkserverGoneError:
                self._drop(_key(request), server)
                raise
            self._drop(_key(request), server)
        raise UnfitError(f"libraries were found to be unfit {_ROUNDS} times in a row")

    async def _warm(self, request: LaunchRequest, server: Forkserver) -> bool:
        """False when some of its libraries are unfit, which is known then."""
        key = request.environment_key
        try:
            await server.ready()
        except UnfitLibrariesError as error:
            if error.left_out.keys() <= server.left_out.keys():
                raise UnfitError(str(error)) from None  # that was of no use
            packages = self._packages.get(request.executable, "")
            self._learned.leave_out(key, packages, error.left_out)
            return False
        if request.preload is None:
            self._learned.forget(key, server.gone)
        return True

    async def _look(self, request: LaunchRequest) -> None:
        """Have what a forkserver for ``request`` is made from looked at."""
        if self._looked(request):
            return
        async with self._looking:  # many that begin together look once
            await self._learned.opened()
            if self._looked(request):
                return
            guess, packages = await asyncio.to_thread(self._found, request)
            self._packages[request.executable] = packages
            self._guesses[request.environment_key] = guess

    def _found(self, request: LaunchRequest) -> tuple[tuple[str, ...], str]:
        """What the source of ``request`` imports, and the fingerprint of the packages."""
        guess = () if request.target is None else sources_of(request.target).imports
        return guess, self._installed(request.executable.parent.parent)

    def _looked(self, request: LaunchRequest) -> bool:
        return request.executable in self._packages and request.environment_key in self._guesses

    def _grow(self) -> None:
        self._calm = None
        for key, request in self._outgrown.items():
            server = self.servers.get(key)
            if server is not None and server.usable:
                _keep(self._warming, self._outgrow(key, request, server))
        self._outgrown.clear()

    async def _outgrow(self, key: Key, request: LaunchRequest, old: Forkserver) -> None:
        """Put one that has preloaded all that is known in the place of ``old``."""
        await self._look(request)
        new = self._new(request)
        try:
            while not await self._warm(request, new):
                self._retire(new)
                await self._look(request)
                new = self._new(request)
            # Unless things went on meanwhile.
            if self.servers.get(key) is old:
                self._drop(key, old)
                self.servers[key] = new
            self._look_outgrown(request)  # more may have been learned while it was warmed up
        except ForkserverGoneError:
            return
        except UnfitError as error:
            if self.servers.get(key) is old:
                self._give_up(key, str(error))
        finally:
            if self.servers.get(key) is not new:
                self._retire(new)

    def _why_cold(self, request: LaunchRequest) -> str | None:
        if request.start_method is StartMethod.SPAWN:
            return request.start_method_reason or "start_method: spawn"
        if sys.platform != "linux":
            return "forkservers need Linux"
        if not has_pidfds():
            return "forkservers need pidfd_open(2), which is refused here"
        key = _key(request)
        return self._unfit.get(key) or self._refused.get(key, {}).get(request.name)

    def _give_up(self, key: Key, reason: str) -> None:
        self._forget([key])
        self._unfit[key] = reason

    def _drop(self, key: Key, server: Forkserver) -> None:
        if self.servers.get(key) is server:
            del self.servers[key]
            self._retire(server)

    def _forget(self, keys: list[Key]) -> None:
        for key in keys:
            self._unfit.pop(key, None)
            self._refused.pop(key, None)
            self._outgrown.pop(key, None)
            server = self.servers.pop(key, None)
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
        str(request.overlay),
        frozenset(request.environ.items()),
        request.preload,
        request.place,
    )


def _without(left_out: Mapping[str, str]) -> str:
    """What a forked process has to import itself, in one line; "" when that is nothing."""
    if not left_out:
        return ""
    # First those that are the cause, then those that import one.
    names = sorted(left_out, key=lambda name: (left_out[name].startswith("imports "), name))
    shown = "; ".join(f"{name}, which {left_out[name]}" for name in names[:_SHOWN])
    more = f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"not preloaded: {shown}{more}"
