"""One attempt to run a location: a process from its placing to its end, and what is asked of it.

Owns one instance: environment, process, hello, load, requests, the stop ladder. It raises ``AttemptFailedError`` for
what cannot be loaded and ``AttemptDiedError`` for a process that ended by itself; what follows from
either is the location's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import envs
from runner_shim import wire
from supervisor.locations import failures
from supervisor.locations.environments import Environments, Prepared
from supervisor.locations.failures import Failure
from supervisor.locations.liveness import LivenessProbe
from supervisor.locations.location_log import LastWords, LocationLog, MarkedLog
from supervisor.locations.source_lines import quoted
from supervisor.locations.transport import Transport
from supervisor.processes.launcher import Launcher, LaunchError, LaunchRequest, Placed
from supervisor.processes.limits import UNENFORCED
from supervisor.processes.preload_guess import sources_of
from supervisor.processes.process import Exit, is_stopped
from supervisor.processes.start_limiter import FIRST, StartLimiter
from supervisor.running_time import RunningTime, limit
from supervisor.snapshots.snapshot import Snapshot, SnapshotError, accepting
from supervisor.specs import LocationSpec, StartMethod
from supervisor.time_slices import in_turns

__all__ = ["Attempt", "AttemptDiedError", "AttemptFailedError", "Services"]

_T = TypeVar("_T")

_STACK_SIGNAL = 62
_LAST_WORDS = 64 * 1024
_FEWER_WORDS = 16 * 1024
_STACK_LOOKS = 15
_MAX_REASON = 500
_REPLACED = "a fresh process takes its place"
_STACK_GRACE = 0.1
_TICK = 10_000_000


class AttemptFailedError(Exception):
    """The target cannot be loaded, or its process cannot be placed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class AttemptDiedError(Exception):
    """The process ended by itself."""

    def __init__(self, ended: Exit, doing: str) -> None:
        super().__init__(str(ended))
        self.ended = ended
        self.doing = doing


@dataclass(frozen=True, slots=True)
class Services:
    """What every location shares. ``uses(prefix)`` hears of each environment before it is used."""

    launcher: Launcher
    transport: Transport
    environments: Environments
    slots: StartLimiter
    liveness: LivenessProbe
    uses: Callable[[Path], Awaitable[None]]


class Attempt:
    """Generation ``generation`` of ``spec``.

    ``fresh_because`` says why it must be a fresh process, whatever the spec would have; it may be
    set until ``load``. ``hash_seed`` is a fresh one's PYTHONHASHSEED ("": its own).
    ``refused`` is set once we killed its process, and says why.
    """

    def __init__(
        self,
        spec: LocationSpec,
        generation: int,
        services: Services,
        log: LocationLog | MarkedLog,
        fresh_because: str = "",
        hash_seed: str = "",
    ) -> None:
        self.fresh_because = fresh_because
        self._hash_seed = hash_seed
        self.request: LaunchRequest | None = None
        self.spec = spec
        self.generation = generation
        self.instance = f"{generation}-{secrets.token_hex(8)}"
        self.started_at = time.time()
        self.created_ns = time.time_ns()
        self.reading_since_ns: int | None = None
        self.reading_since = time.monotonic()
        self.sources: tuple[str, ...] = ()
        self.prepared: Prepared | None = None
        self.placed: Placed | None = None
        self._greeted = False
        self._ended_because = ""
        self._deaf = False
        self.snapshot: Snapshot | None = None
        self.refused: Failure | None = None
        self.start_seconds = 0.0
        self._services = services
        self._log = log
        self._words = LastWords(_LAST_WORDS)
        self._doing, self._next_request = "starting", 1
        self._hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hello.add_done_callback(_retrieve)
        self._answers: dict[int, asyncio.Future[tuple[dict[str, Any], list[bytes]]]] = {}
        self._pings: frozenset[int] = frozenset()
        self._turn = asyncio.Lock()
        self.ping_interval = spec.ping_interval
        self.ping_timeout = spec.ping_timeout

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self.placed is not None and not self.placed.exited.done()

    @property
    def forked(self) -> bool:
        """True when its process came out of a forkserver."""
        return self.placed is not None and self.placed.method == "forkserver"

    @property
    def idle(self) -> bool:
        """True while it serves and nothing was asked of it that is not answered."""
        return self._doing == "serving" and not self._answers and self.refused is None

    async def ping(self) -> asyncio.Future[Any]:
        """Ask for a sign of life; the future is done when it came, or the process has ended."""
        number = self._next_request
        self._pings |= {number}
        answer = await self._ask({"type": "ping"})
        answer.add_done_callback(lambda _: self._ponged(number))
        return answer

    def _ponged(self, number: int) -> None:
        self._pings -= {number}

    async def unresponsive(self, doing: str, seconds: float) -> None:
        """It does not answer: have its stacks written, then kill it; ``refused`` says so."""
        if self.refused is not None or not self.alive:
            return
        stopped = self.placed is not None and is_stopped(self.placed.pid)
        dumped = [] if stopped else await self.dump_stack()
        if self.refused is None and self.alive:
            self._refuse(failures.unresponsive(doing, seconds, dumped, stopped=stopped))

    async def prepare(self, told: Callable[[str], None]) -> None:
        """Have the environment made; raises ``AttemptFailedError``."""
        try:
            self.prepared = await self._services.environments.prepare(self.spec.environment, told)
        except envs.EnvError as error:
            raise AttemptFailedError(failures.from_environment(error)) from error
        await self._services.uses(self.prepared.environment.prefix)

    async def load(self, heard: Callable[[], None]) -> Snapshot:
        """Place the process and load the target; ``heard`` is called at the hello.

        Raises ``AttemptFailedError`` or ``AttemptDiedError``.
        """
        self.request = await self._make_request()
        await self._services.launcher.prepare(self.request)
        async with self._services.slots.take(lambda: FIRST):
            message, payload = await self._start_and_load(self.request, heard)
            if message["type"] == "unfit":  # forked, and a fresh process has to do it
                self.request = await self._start_over(self.request)
                message, payload = await self._start_and_load(self.request, lambda: None)
        if message["type"] == "failed":
            raise AttemptFailedError(self._why(message))
        self.snapshot = await self._accept(message, payload)
        assert self.placed is not None
        if self.refused is not None:  # meanwhile: what it answered is not believed either
            raise AttemptDiedError(await asyncio.shield(self.placed.exited), self._doing)
        self._doing = "serving"
        self._words.limit = _FEWER_WORDS
        return self.snapshot

    async def _start_and_load(
        self, request: LaunchRequest, heard: Callable[[], None]
    ) -> tuple[dict[str, Any], list[bytes]]:
        time_left = RunningTime(self.spec.load_timeout)
        begun = time.monotonic()
        await self._place(request)
        await self._within(self._hello, time_left, "starting the interpreter")
        self.start_seconds = time.monotonic() - begun
        heard()
        self._doing = "loading"
        assert self.spec.target is not None
        asked = await self._ask({"type": "load", "target": self.spec.target.as_data()})
        return await self._within(asked, time_left, "loading")

    async def _start_over(self, request: LaunchRequest) -> LaunchRequest:
        """End the process; the request of the next, which is another instance."""
        assert self.placed is not None
        before, self._ended_because = self._ended_because, _REPLACED
        self.placed.kill(signal.SIGKILL)
        await asyncio.shield(self.placed.exited)
        self._ended_because, self._doing = before, "starting"
        return replace(request, instance=self._anew())

    async def describe(
        self, kind: str, name: str, repository: str | None, timeout: float
    ) -> dict[str, Any]:
        """Have the shim construct one definition; ``{"definition", "source"}``.

        ``timeout`` counts from when it is this one's turn. After it the process is not believed to
        answer any more: it is killed. Raises ``AttemptFailedError`` (what it raised, or that it was
        killed) or ``AttemptDiedError``.
        """
        async with self._turn:
            asked = await self._ask(
                {"type": "describe", "kind": kind, "name": name, "repository": repository}
            )
            if not await RunningTime(timeout).wait([asked]):
                await self.unresponsive(f"constructing {name!r}", timeout)
            message, _ = await asked
        if message["type"] == "failed":
            raise AttemptFailedError(self._why(message))
        return {"definition": message.get("definition"), "source": message.get("source")}

    async def quickly(self, message: dict[str, Any], patience: float) -> dict[str, Any] | str:
        """The answer to ``message``, or why there is none within ``patience`` seconds: what was asked
        may still be done later."""
        asked = await self._ask(message)
        if not await RunningTime(patience).wait([asked]):
            return f"the process that serves did not answer within {patience:g} s"
        try:
            return (await asked)[0]
        except (AttemptFailedError, AttemptDiedError) as error:
            return f"the process that serves has ended: {error}"

    async def finish_requests(self, timeout: float) -> None:
        """Wait until what was asked is answered, what waits for its turn included."""
        with contextlib.suppress(TimeoutError):
            async with limit(timeout):
                while self._answers or self._turn.locked():
                    if self._answers:
                        await asyncio.wait(list(self._answers.values()))
                    await asyncio.sleep(0)  # the next may be about to ask

    async def stop(self, because: str, *, at_once: bool = False) -> None:
        """The stop ladder: ask, SIGTERM, SIGKILL, on the whole session. Returns when it is gone.

        ``because`` is told in the log; the first of several reasons counts.
        """
        placed = self.placed
        if placed is None or placed.exited.done():
            self._forget()
            return
        self._ended_because = self._ended_because or because
        grace = self.spec.stop_timeout / 2
        if not at_once:
            if self._doing == "serving" and not self._answers.keys() - self._pings:
                await self._services.transport.send(self.instance, {"type": "stop"})
                await RunningTime(grace).wait([placed.exited])
            if not placed.exited.done():
                placed.kill(signal.SIGTERM)
                await RunningTime(grace).wait([placed.exited])
            self._deaf = not placed.exited.done()
        placed.kill(signal.SIGKILL)
        await asyncio.shield(placed.exited)
        self._forget()

    def cause(self, ended: Exit, doing: str) -> Failure:
        """Why its process, which ended by itself or was refused, is no more."""
        return self.refused or failures.died(ended, doing, self._words.lines(), self.spec.limits)

    def _output(self, stream: str, data: bytes) -> None:
        if stream == "err":
            self._words.add(data)
        self._log.output(stream, data)

    async def looked_into(self, failure: Failure) -> Failure:
        """``failure`` with the lines that it names; ``sources`` are then what the target imports."""
        assert self.spec.target is not None
        with contextlib.suppress(RuntimeError):  # no thread can be started
            self.sources = (await asyncio.to_thread(sources_of, self.spec.target)).files
        return await quoted(failure)

    async def dump_stack(self) -> list[str]:
        """Have the shim write its Python stack to its log, whatever it is doing; the lines of it."""
        if self.placed is None or not self._greeted:
            return []
        before = self._words.total
        self.placed.kill_leader(_STACK_SIGNAL)
        lines: list[str] = []
        for _ in range(_STACK_LOOKS):
            await asyncio.wait([self.placed.exited], timeout=_STACK_GRACE)
            texts = self._words.lines(before)
            if texts and texts == lines:
                break
            lines = texts
        return lines

    def _why(self, message: dict[str, Any]) -> Failure:
        return failures.at_a_limit(failures.from_shim(message.get("failure")), self.spec.limits)

    async def _make_request(self) -> LaunchRequest:
        assert self.prepared is not None
        assert self.spec.target is not None
        environment = self.prepared.environment
        place = await asyncio.to_thread(_place, environment.interpreter.executable)
        return LaunchRequest(
            name=self.spec.name,
            instance=self.instance,
            address=self._services.transport.address,
            executable=environment.interpreter.executable,
            place=place,
            overlay=self.prepared.overlay,
            environ={**self.prepared.environ, **self.spec.env}
            if self.spec.env
            else self.prepared.environ,
            limits=self.spec.limits,
            output=self._output,
            kill=self.spec.kill,
            environment_name=environment.name,
            environment_key=environment.key,
            start_method=StartMethod.SPAWN if self.fresh_because else self.spec.start_method,
            start_method_reason=self.fresh_because,
            target=self.spec.target,
            preload=self.spec.preload,
            anew=self._anew,
            hash_seed=self._hash_seed,
        )

    def _anew(self) -> str:
        """Another instance: whatever is still said under the name of the one before is dropped."""
        self._services.transport.forget(self.instance)
        self.instance = f"{self.generation}-{secrets.token_hex(8)}"
        if self._hello.done():
            self._hello = asyncio.get_running_loop().create_future()
            self._hello.add_done_callback(_retrieve)
        self._greeted = False
        self._services.transport.expect(self.instance, self._received)
        return self.instance

    async def _place(self, request: LaunchRequest) -> None:
        self._services.transport.expect(self.instance, self._received)
        self.reading_since_ns = time.time_ns() - _TICK
        self.reading_since = time.monotonic()
        try:
            self.placed = await self._services.launcher.start(request)
        except LaunchError as error:
            self._forget()
            raise AttemptFailedError(Failure("interpreter", str(error))) from None
        self.started_at = time.time()
        self._log.remark(f"generation {self.generation} started as pid {self.placed.pid}")
        for name, how in self.placed.limits.items():
            if how == UNENFORCED:
                self._log.remark(f"limits.{name} is not enforced here: see docs/workspace.md")
        self.placed.exited.add_done_callback(self._exited)

    async def _ask(
        self, message: dict[str, Any]
    ) -> asyncio.Future[tuple[dict[str, Any], list[bytes]]]:
        number = self._next_request
        self._next_request += 1
        future: asyncio.Future[tuple[dict[str, Any], list[bytes]]]
        future = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        future.add_done_callback(lambda _: self._answers.pop(number, None))
        future.add_done_callback(_retrieve)
        if self.refused is not None:
            future.set_exception(AttemptFailedError(self.refused))
        elif self.placed is not None and self.placed.exited.done():
            future.set_exception(AttemptDiedError(self.placed.exited.result(), self._doing))
        else:
            await self._services.transport.send(self.instance, {**message, "request": number})
        return future

    async def _within(self, future: asyncio.Future[_T], time_left: RunningTime, doing: str) -> _T:
        if await time_left.wait([future]):
            return await future
        dumped = await self.dump_stack()
        what = f"{doing} {self.spec.name}" if doing == "loading" else doing
        raise AttemptFailedError(failures.timed_out(self.spec.load_timeout, what, dumped))

    async def _accept(self, message: dict[str, Any], payload: list[bytes]) -> Snapshot:
        if len(payload) != 2:
            failure = Failure("protocol", f"a snapshot came in {len(payload)} parts instead of 2")
            raise AttemptFailedError(failure)
        definitions, sources = payload

        steps = accepting(
            self.spec.name,
            self.generation,
            report=message.get("report"),
            definitions=definitions,
            sources=sources,
            loaded_at=time.time(),
        )
        try:
            return await in_turns(steps)
        except SnapshotError as error:
            text = f"the snapshot is not valid: {error}"
            raise AttemptFailedError(Failure("snapshot", text)) from None

    def _received(self, message: dict[str, Any] | wire.WireError, payload: list[bytes]) -> None:
        if isinstance(message, wire.WireError):
            self._violation(f"the shim sent {message}")
        elif message["type"] == "hello":
            if message["v"] != wire.VERSION:
                self._refuse(failures.protocol_mismatch(message["v"], wire.VERSION))
            elif self._greeted:
                self._violation("the shim said hello twice")
            elif not self._hello.done():
                self._greeted = True
                self._hello.set_result(None)
        elif message["v"] != wire.VERSION:
            self._refuse(failures.protocol_mismatch(message["v"], wire.VERSION))
        elif message["type"] == "unfit" and self.forked and self.request is not None:
            self._unfit(self.request, message)
        else:
            number = message.get("request")
            future = self._answers.get(number) if isinstance(number, int) else None
            if future is None:
                self._violation(f"the shim answered a request that nobody made ({message['type']})")
            elif not future.done():
                future.set_result((message, payload))

    def _unfit(self, request: LaunchRequest, message: dict[str, Any]) -> None:
        """It cannot go on, since it was forked. What was asked of it last is answered by that."""
        reason = str(message.get("reason"))[:_MAX_REASON]
        self._log.remark(f"the forked process cannot go on: {reason}; a fresh one starts")
        self._services.launcher.refuse(request, reason)
        if self._doing == "serving" and self.placed is not None:
            self._ended_because = _REPLACED
            self.placed.kill(signal.SIGKILL)
            return
        for future in list(self._answers.values()):
            if not future.done():
                future.set_result((message, []))

    def _violation(self, text: str) -> None:
        self._refuse(Failure("protocol", text, "something in the process writes to our socket"))

    def _refuse(self, failure: Failure) -> None:
        """It does not keep to the protocol: it fails what waits for it and costs it its process."""
        self.refused = failure
        self._log.remark(failure.message)
        self._fail_waiters(AttemptFailedError(failure))
        self._services.transport.forget(self.instance)
        if self.placed is not None:
            self.placed.kill(signal.SIGKILL)

    def _exited(self, exited: asyncio.Future[Exit]) -> None:
        ended = exited.result()
        self._log.flush()
        grace = self.spec.stop_timeout / 2 if self._deaf else None
        how = failures.how_it_ended(ended, self._ended_because, self.refused, unheeded=grace)
        self._log.remark(f"generation {self.generation} (pid {self._pid}) {how}")
        self._fail_waiters(AttemptDiedError(ended, self._doing))
        self._forget()

    def _fail_waiters(self, error: Exception) -> None:
        waiters: list[asyncio.Future[Any]] = [self._hello, *self._answers.values()]
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)

    @property
    def _pid(self) -> int:
        return self.placed.pid if self.placed is not None else 0

    def _forget(self) -> None:
        self._services.transport.forget(self.instance)

    @property
    def executable(self) -> Path | None:
        """The interpreter, once it is known."""
        return self.prepared.environment.interpreter.executable if self.prepared else None


def _place(executable: Path) -> str:
    return f"{os.path.realpath(executable.parent)}:{os.path.realpath(executable)}"


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
