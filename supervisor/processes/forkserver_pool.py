"""Warm environments: a forkserver for each, and shims forked from it.

Owns which forkservers there are, and the decision that an environment, or one location in it,
cannot be forked safely; then a fresh process is started instead, and the reason stands in the
shim's ``reason``. What to preload is learned (``learned``); how one is talked to is ``forkserver``.
Decides nothing about locations.

A forkserver belongs to an interpreter, its overlay, its environment variables and what the operator
wants preloaded. It is replaced when it has died, and ended when no location uses it. When more has
been learned than it has preloaded, another one is warmed up beside it and takes its place: no
location waits for that, and what was forked before is not concerned. Linux only; elsewhere every process is
fresh.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Container, Coroutine, Mapping, Sequence
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
from supervisor.processes.launcher import (
    Launcher,
    LaunchSpec,
    Output,
)
from supervisor.processes.preload_guess import sources_of
from supervisor.processes.preload_profile import PreloadProfile
from supervisor.processes.process import Process, has_pidfds
from supervisor.processes.spawn import SpawnLauncher
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


class ForkserverPool(Launcher):
    """Forks where that is safe, and starts fresh processes (``cold``) where it is not.

    ``log(name)`` gives the output of a forkserver somewhere to go. ``installed(prefix)`` is a
    fingerprint of what is installed there; it is called in a thread. ``beside`` names, for a library, what
    is imported sooner or later where it is: preloaded with it as long as nothing has been learned.
    """

    patience = Patience()

    def __init__(
        self,
        cold: SpawnLauncher,
        learned: PreloadProfile,
        slots: StartLimiter,
        log: Callable[[str], Output],
        installed: Callable[[Path], str],
        beside: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._beside = beside or {}
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
        self._outgrown: dict[Key, LaunchSpec] = {}
        self._calm: asyncio.TimerHandle | None = None
        self._warming: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    async def prepare(self, spec: LaunchSpec) -> None:
        """Have the spec's forkserver started and warm; concurrent callers wait for one start."""
        if self._why_cold(spec) is None:
            try:
                await self._ready(spec)
            except ForkserverGoneError:
                return  # the next start tries another one
            except UnfitError as error:
                self._give_up(_key(spec), str(error))

    async def start(self, spec: LaunchSpec) -> Process:
        """Place one shim; raises ``LaunchError``."""
        for _ in range(_TRIES):
            why = self._why_cold(spec)
            if why is not None:
                break
            try:
                server = await self._ready(spec)
                try:
                    forked = await server.fork(spec, self._cold)
                except ForkserverGoneError:  # it may not know so itself yet
                    self._drop(_key(spec), server)
                    raise
                forked.reason = _without(server.left_out)
                return forked
            except ForkserverGoneError:
                why = f"the forkserver ended {_TRIES} times in a row"
            except UnfitError as error:
                why = str(error)
                self._give_up(_key(spec), why)
            # It may have forked before it ended: that child must not be taken for the next one.
            if spec.anew is not None:
                spec = replace(spec, instance=spec.anew())
        process = await self._cold.start(spec)
        process.reason = why or ""
        return process

    def condemn(self, spec: LaunchSpec, reason: str) -> None:
        """Fork no more for the environment of ``spec``."""
        self._give_up(_key(spec), reason)

    def refuse(self, spec: LaunchSpec, reason: str) -> None:
        """Fork no more for the location of ``spec``, until the environment changes."""
        self._refused.setdefault(_key(spec), {})[spec.name] = reason

    def learn(self, spec: LaunchSpec, report: Mapping[str, Any]) -> None:
        """A location of this environment imported the modules that its report names."""
        installed, preloaded = report.get("installed", ()), report.get("preloaded", ())
        self._learned.add(spec.prepared.environment.key, spec.name, [*preloaded, *installed])
        server = self.servers.get(_key(spec))
        if server is not None:
            server.has(preloaded)
        if spec.preload is None:
            self._look_outgrown(spec)

    def _look_outgrown(self, spec: LaunchSpec) -> None:
        """Have the forkserver of ``spec`` replaced soon when it lacks some of what is known."""
        key = _key(spec)
        server = self.servers.get(key)
        known = self._learned.modules(spec.prepared.environment.key, ())
        if server is None or server.knows(set(known)):
            return
        self._outgrown[key] = spec
        if self._calm is not None:
            self._calm.cancel()
        self._calm = asyncio.get_running_loop().call_later(_CALM, self._grow)

    def warm(self, spec: LaunchSpec) -> None:
        """Start the forkserver in the background if there is none: the next reload will want it."""
        server = self.servers.get(_key(spec))
        if self._why_cold(spec) is None and (server is None or not server.usable):
            _keep(self._warming, self.prepare(spec))

    def keep_only(self, specs: list[LaunchSpec]) -> None:
        """End the forkservers that none of ``specs`` would use, and forget what was known of others."""
        wanted = {_key(one) for one in specs}
        self._forget([key for key in self._keys() if key not in wanted])
        names = {(_key(one), one.name) for one in specs}
        for key, refused in self._refused.items():
            for name in [one for one in refused if (key, one) not in names]:
                del refused[name]
        executables = {one.prepared.executable for one in specs}
        environments = {one.prepared.environment.key for one in specs}
        self._packages = {one: each for one, each in self._packages.items() if one in executables}
        self._guesses = {one: each for one, each in self._guesses.items() if one in environments}

    def keep_locations(self, names: Container[str]) -> None:
        """Forget what locations of other names have imported, but of the last that left."""
        self._learned.keep_only(names)

    def replace(self, executable: Path) -> None:
        """What is installed for ``executable`` has changed: the next start makes a new forkserver."""
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

    def _server(self, spec: LaunchSpec) -> Forkserver:
        key = _key(spec)
        server = self.servers.get(key)
        if server is not None and not server.usable:
            self._drop(key, server)
            server = None
        if server is None:
            server = self.servers[key] = self._new(spec)
        return server

    def _new(self, spec: LaunchSpec) -> Forkserver:
        key = spec.prepared.environment.key
        modules = (
            self._learned.modules(key, self._guesses.get(key, ()))
            if spec.preload is None
            else list(spec.preload)
        )
        output = self._log(spec.prepared.environment.name)
        left_out = self._learned.left_out(key, self._packages.get(spec.prepared.executable, ""))
        return Forkserver(
            spec, modules, self._slots, output, self._cold.reaper, self.patience, left_out
        )

    async def _ready(self, spec: LaunchSpec) -> Forkserver:
        """The forkserver of ``spec`` once it is warm: the first that needs to leave nothing out.

        Raises ``UnfitError`` or ``ForkserverGoneError``.
        """
        for _ in range(_ROUNDS):
            await self._look(spec)
            server = self._server(spec)
            try:
                if await self._warm(spec, server):
                    return server
            except ForkserverGoneError:
                self._drop(_key(spec), server)
                raise
            self._drop(_key(spec), server)
        raise UnfitError(f"libraries were found to be unfit {_ROUNDS} times in a row")

    async def _warm(self, spec: LaunchSpec, server: Forkserver) -> bool:
        """False when some of its libraries are unfit, which is known then."""
        key = spec.prepared.environment.key
        try:
            await server.ready()
        except UnfitLibrariesError as error:
            if error.left_out.keys() <= server.left_out.keys():
                raise UnfitError(str(error)) from None  # that was of no use
            packages = self._packages.get(spec.prepared.executable, "")
            self._learned.leave_out(key, packages, error.left_out)
            return False
        if spec.preload is None:
            self._learned.forget(key, server.gone)
        return True

    async def _look(self, spec: LaunchSpec) -> None:
        """Have what a forkserver for ``spec`` is made from looked at."""
        if self._looked(spec):
            return
        async with self._looking:  # many that begin together look once
            await self._learned.opened()
            if self._looked(spec):
                return
            guess, packages = await asyncio.to_thread(self._found, spec)
            self._packages[spec.prepared.executable] = packages
            self._guesses[spec.prepared.environment.key] = guess

    def _found(self, spec: LaunchSpec) -> tuple[tuple[str, ...], str]:
        """What the source of ``spec`` imports, and the fingerprint of the packages."""
        imports = () if spec.target is None else sources_of(spec.target).imports
        more = [name for one in imports for name in self._beside.get(one, ())]
        guess = tuple(dict.fromkeys([*imports, *more]))
        return guess, self._installed(spec.prepared.executable.parent.parent)

    def _looked(self, spec: LaunchSpec) -> bool:
        return (
            spec.prepared.executable in self._packages
            and spec.prepared.environment.key in self._guesses
        )

    def _grow(self) -> None:
        self._calm = None
        for key, spec in self._outgrown.items():
            server = self.servers.get(key)
            if server is not None and server.usable:
                _keep(self._warming, self._outgrow(key, spec, server))
        self._outgrown.clear()

    async def _outgrow(self, key: Key, spec: LaunchSpec, old: Forkserver) -> None:
        """Put one that has preloaded all that is known in the place of ``old``."""
        await self._look(spec)
        new = self._new(spec)
        try:
            while not await self._warm(spec, new):
                self._retire(new)
                await self._look(spec)
                new = self._new(spec)
            # Unless things went on meanwhile.
            if self.servers.get(key) is old:
                self._drop(key, old)
                self.servers[key] = new
            self._look_outgrown(spec)  # more may have been learned while it was warmed up
        except ForkserverGoneError:
            return
        except UnfitError as error:
            if self.servers.get(key) is old:
                self._give_up(key, str(error))
        finally:
            if self.servers.get(key) is not new:
                self._retire(new)

    def _why_cold(self, spec: LaunchSpec) -> str | None:
        if spec.start_method is StartMethod.SPAWN:
            return spec.start_method_reason or "start_method: spawn"
        if sys.platform != "linux":
            return "forkservers need Linux"
        if not has_pidfds():
            return "forkservers need pidfd_open(2), which is refused here"
        key = _key(spec)
        return self._unfit.get(key) or self._refused.get(key, {}).get(spec.name)

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


def _key(spec: LaunchSpec) -> Key:
    return (
        str(spec.prepared.executable),
        str(spec.prepared.overlay),
        frozenset(spec.environ.items()),
        spec.preload,
        spec.prepared.place,
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
