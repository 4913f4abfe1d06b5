"""Dagster's own servers, one beside each generation that has loaded Dagster.

Owns each server from the order to the shim to its end: when another one replaces it, which of
them the stable path of a location points to, and their status. ``questions`` answers the requests of a
server. A server that cannot be started fails no load: the location is ready, and its status says
why it has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner_shim.frameworks.dagster import served
from supervisor.dagster.questions import Questions
from supervisor.dagster.sockets import generation_socket, stable_socket
from supervisor.locations import phases
from supervisor.locations.failures import from_shim
from supervisor.locations.generation import Generation
from supervisor.locations.restart import GiveUp, LeaveStopped, Restart, judge, recent
from supervisor.locations.shim_connection import Answer, Asks, ServerEnded
from supervisor.processes.fresh_run import fresh_of
from supervisor.processes.launcher import Exit, LaunchSpec

if TYPE_CHECKING:
    from supervisor.protocol import documents

__all__ = ["FRAMEWORK", "Server", "Servers"]

_log = logging.getLogger(__name__)

FRAMEWORK = "dagster"
# How long a server may take until it serves: a fresh one imports everything (seconds of running time).
_PATIENCE = 180.0
# How long the calls under way of one that is retired may take: as long as Dagster's client waits.
_TO_RETIRE = 600.0
_TO_KILL = 10.0
_LOOK = 5.0


@dataclass(eq=False)
class Server:
    """The server of ``generation``. ``state`` is ``starting``, ``serving``, ``backoff``, ``crashed``,
    ``failed`` or ``retiring``; ``since`` are Unix seconds. The stable path is to lead
    to a ``current`` one."""

    generation: Generation
    socket: Path
    state: str = "starting"
    reason: str = ""
    since: float = field(default_factory=time.time)
    pid: int = 0
    fresh_because: str = ""
    restarts: int = 0
    deaths: tuple[float, ...] = ()
    current: bool = False
    linked: asyncio.Event = field(default_factory=asyncio.Event)

    def as_data(self) -> documents.CodeServer:
        """For the status document."""
        return {
            "generation": self.generation.number,
            "state": self.state,
            "reason": self.reason,
            "since": self.since,
            "pid": self.pid or None,
            "fresh_because": self.fresh_because or None,
            "restarts": self.restarts,
        }


class Servers:
    """The servers of a workspace: see ``CodeServers``.

    ``state`` gives the workspace's state directory, ``runtime`` is that of its sockets. ``changed()`` is
    called after anything a client can see has changed; ``learn(launch, report)`` hears what is imported
    for servers and their runs. ``linked()`` is called when a stable path leads to another server.
    """

    def __init__(
        self,
        state: Callable[[], Path],
        runtime: Path,
        questions: Questions,
        changed: Callable[[], None],
        learn: Callable[[LaunchSpec, Mapping[str, Any]], None],
        linked: Callable[[], None],
    ) -> None:
        self._state = state
        self._runtime = runtime
        self._questions = questions
        self._changed = changed
        self._learn = learn
        self._linked = linked
        self._servers: dict[Generation, Server] = {}
        # Locations of which Dagster's client has found a server each time since runs were looked after.
        self._heard: set[str] = set()
        self._linking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Clear away the sockets of a supervisor that was killed."""
        await asyncio.to_thread(self._clear)
        self._spawn(self._look())

    async def close(self) -> None:
        """End what is under way here, once all locations have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._clear)

    @property
    def preloaded(self) -> Mapping[str, Sequence[str]]:
        """What is imported for servers and their runs where a library is."""
        return {FRAMEWORK: (*served.OF_THE_SERVER, *served.OF_INSTANCES)}

    def socket(self, location: str) -> Path:
        """The stable path of ``location``."""
        return stable_socket(self._state(), self._runtime, location)

    def status(self, location: str) -> documents.CodeServers | None:
        """See ``CodeServers``."""
        found = [one for one in self._servers.values() if one.generation.spec.name == location]
        runs = self._questions.in_flight(location)
        if not found and not runs:
            return None
        found.sort(key=lambda one: one.generation.number, reverse=True)
        return {
            "socket": str(self.socket(location)),
            "servers": [one.as_data() for one in found],
            "runs": {str(one): runs[one] for one in sorted(runs)},
        }

    # What a location asks (``CodeServers``).

    async def serve(self, generation: Generation) -> None:
        """See ``CodeServers``."""
        serving = generation.phase
        if not isinstance(serving, phases.Serving):
            return
        names = {one.get("name") for one in serving.snapshot.report.get("frameworks") or ()}
        if FRAMEWORK not in names:
            return
        server = Server(generation, generation_socket(self._runtime, generation.instance))
        self._servers[generation] = server
        await self._start(server)

    def took_over(self, generation: Generation) -> None:
        """See ``CodeServers``."""
        server = self._servers.get(generation)
        if server is not None:
            self._spawn(self._link(server))
            if not server.fresh_because:
                self._spawn(self._warm(generation))

    async def retire(self, generation: Generation) -> None:
        """See ``CodeServers``."""
        server = self._servers.get(generation)
        if server is None or not server.pid:
            return
        async with self._linking:
            pass  # clients are led elsewhere by now
        self._move(server, "retiring", "a newer one serves")
        answer = await generation.quickly("retire_server", _TO_RETIRE, at_once=False)
        if isinstance(answer, str) and generation.alive:
            generation.remark("calls of its server are given up")
            await generation.quickly("retire_server", _TO_KILL, at_once=True)

    def heard(self, generation: Generation, news: ServerEnded | Asks) -> None:
        """See ``CodeServers``."""
        server = self._servers.get(generation)
        if server is None:
            return
        if isinstance(news, Asks):
            self._spawn(self._answer(server, news))
            return
        server.pid = 0
        ended = Exit(news.status, news.signal)
        self._died(
            server,
            f"its server {news.reason}, and was killed" if news.reason else f"its server {ended}",
        )

    def ended(self, generation: Generation) -> None:
        """See ``CodeServers``."""
        server = self._servers.pop(generation, None)
        if server is not None:
            server.linked.set()
            self._missed(server)
            self._spawn(asyncio.to_thread(_remove, server.socket))
            self._changed()

    async def _answer(self, server: Server, asks: Asks) -> None:
        name = server.generation.spec.name
        if asks.what == "unheard":  # of the runs of the location, once clients find this server
            await server.linked.wait()
            if self._servers.get(server.generation) is not server:
                return
            if name in self._heard:
                await server.generation.conversation.answer(asks.number, runs=[])
                return
            self._heard.add(name)
        await self._questions.answer(server.generation, asks)

    def _missed(self, server: Server) -> None:
        """``server`` has ended: unless there is another one, clients may ask for what is not heard."""
        name = server.generation.spec.name
        if not any(
            one is not server and one.current and one.state == "serving"
            for one in self._servers.values()
            if one.generation.spec.name == name
        ):
            self._heard.discard(name)

    # The life of one.

    async def _start(self, server: Server, fresh_because: str = "") -> None:
        generation = server.generation
        launch = phases.launched(generation.phase)
        if launch is None or not generation.alive:
            return
        self._move(server, "starting", "")
        answer = await generation.quickly(
            "serve",
            _PATIENCE,
            order=self._order(server),
            fresh=fresh_of(launch),
            fresh_because=fresh_because,
        )
        if isinstance(answer, str):
            if generation.alive:
                await generation.quickly("retire_server", _TO_KILL, at_once=True)
            self._move(server, "failed", f"its server does not serve within {_PATIENCE:g} s")
        elif answer.type == "server_up":
            server.pid = int(answer.message.get("pid") or 0)
            server.fresh_because = str(answer.message.get("fresh_because") or "")
            self._move(server, "serving", "")
        else:
            failure = from_shim(answer.message.get("failure"))
            if failure.kind == "server":
                status, signal = (answer.message.get(name) for name in ("status", "signal"))
                self._died(server, f"its server {Exit(status, signal)} before it served")
            elif fresh_because or failure.kind == "unsupported":
                self._move(server, "failed", failure.message)
            else:  # what fails forked is tried fresh before it counts
                await self._start(server, failure.message)

    def _died(self, server: Server, reason: str) -> None:
        server.generation.remark(reason)
        if server.state == "retiring":
            return
        self._missed(server)
        now = time.monotonic()
        rules = server.generation.spec.restart
        server.deaths = (*recent(server.deaths, now, rules.window), now)
        verdict = judge(rules, server.deaths, now, clean=False, chance=random.random())  # noqa: S311
        match verdict:
            case LeaveStopped():
                self._move(server, "crashed", f"{reason}; restart policy {rules.policy}")
            case GiveUp(deaths, window):
                self._move(
                    server,
                    "crashed",
                    f"died {deaths} times within {window:g} s; the last time {reason}",
                )
            case Restart(delay, number):
                server.restarts += 1
                self._move(server, "backoff", f"{reason}; restart {number} in {delay:.1f} s")
                self._spawn(self._again(server, delay))

    async def _again(self, server: Server, delay: float) -> None:
        await asyncio.sleep(delay)
        if server.state == "backoff" and self._servers.get(server.generation) is server:
            await self._start(server)

    def _move(self, server: Server, state: str, reason: str) -> None:
        if server.state == "retiring" and state != "retiring":
            return
        if (server.state, server.reason) != (state, reason):
            server.since = time.time()
        server.state, server.reason = state, reason
        if reason:
            _log.info("%s: server: %s: %s", server.generation.spec.name, state, reason)
        self._changed()

    def _order(self, server: Server) -> dict[str, Any]:
        """What runner_shim/frameworks/adapter.py says of ``serve``."""
        spec = server.generation.spec
        assert spec.target is not None
        return {
            "framework": FRAMEWORK,
            "socket": str(server.socket),
            "server_id": server.generation.instance,
            "location": spec.name,
            "target": spec.target.as_data(),
            "ping_timeout": spec.ping_timeout,
        }

    # Paths.

    async def _warm(self, generation: Generation) -> None:
        """Have the process that runs are forked from do once what they all do first."""
        launch = phases.launched(generation.phase)
        answer = await generation.quickly("warm", _PATIENCE, framework=FRAMEWORK)
        if launch is not None and isinstance(answer, Answer):
            self._learn(launch, answer.message)

    async def _link(self, server: Server) -> None:
        """Have the stable path lead to ``server``, in one step."""
        server.current = True
        stable = self.socket(server.generation.spec.name)
        async with self._linking:
            try:
                await asyncio.to_thread(_link, stable, server.socket)
            except OSError as error:  # tried again by the look from time to time
                text = (error.strerror or str(error)).lower()
                self._move(server, server.state, f"{stable} cannot be made: {text}")
                return
        if server.state == "serving":
            self._move(server, "serving", "")
        server.linked.set()
        self._linked()

    async def _look(self) -> None:
        """From time to time, for paths that were taken away."""
        while True:
            await asyncio.sleep(_LOOK)
            for server in list(self._servers.values()):
                generation, link = server.generation, self.socket(server.generation.spec.name)
                if server.state != "serving" or not server.current:
                    continue
                leads, there = await asyncio.to_thread(_paths, link, server.socket)
                if server.state != "serving":  # meanwhile
                    continue
                if not there:
                    await generation.quickly("retire_server", _TO_KILL, at_once=True)
                    self._died(server, f"its socket {server.socket} was taken away")
                elif not leads:
                    await self._link(server)

    def _clear(self) -> None:
        for path in self._runtime.glob("*.sock"):
            if len(path.stem) == len(generation_socket(self._runtime, "").stem):
                _remove(path)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a server's task failed", exc_info=task.exception())


def _paths(link: Path, socket: Path) -> tuple[bool, bool]:
    """Whether ``link`` leads to ``socket``, and whether that is there."""
    try:
        leads = link.readlink() == socket
    except OSError:
        leads = False
    return leads, os.path.lexists(socket)


def _link(stable: Path, socket: Path) -> None:
    stable.parent.mkdir(mode=0o700, exist_ok=True)
    made = stable.with_name(f".{stable.name}.{os.getpid()}")
    _remove(made)
    made.symlink_to(socket)
    made.replace(stable)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
