"""One generation of a location: a process from its placing to its end, and what is asked of it.

Owns one instance: environment prepared, process placed, hello, load, requests, their deadlines, the stop
ladder. What a shim may say is ``shim_connection``'s rule, who waits for it is ``conversation``'s. A
generation raises ``LoadFailedError`` for what cannot be loaded and
``ProcessDiedError`` for a process that ended by itself; what follows from either is the location's
business.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import envs
from runner_shim import wire
from supervisor.locations import failures, phases
from supervisor.locations.conversation import Conversation, News, retrieve
from supervisor.locations.dumped_stacks import DumpedStacks
from supervisor.locations.failures import Failure, LoadFailedError, ProcessDiedError
from supervisor.locations.location_log import LastWords, LocationLog, MarkedLog
from supervisor.locations.phases import (
    Ended,
    Greeting,
    Loading,
    Phase,
    Placing,
    Preparing,
    Running,
    Serving,
)
from supervisor.locations.shim_connection import (
    Answer,
    Asks,
    OtherVersion,
    Part,
    RunBegun,
    RunEnded,
    ServerEnded,
    Unfit,
    Violation,
)
from supervisor.locations.source_lines import quoted
from supervisor.processes.launcher import (
    Exit,
    LaunchError,
    LaunchSpec,
    PreparedEnvironment,
    ShimProcess,
)
from supervisor.processes.limits import UNENFORCED
from supervisor.processes.preload_guess import sources_of
from supervisor.processes.start_limiter import FIRST
from supervisor.running_time import RunningTime, limit
from supervisor.snapshots.snapshot import Snapshot, SnapshotError, accepting
from supervisor.specs import LocationSpec, StartMethod
from supervisor.time_slices import in_turns

if TYPE_CHECKING:
    from supervisor.locations.services import Services

__all__ = ["Generation", "LoadFailedError", "ProcessDiedError"]

_T = TypeVar("_T")
_Running = TypeVar("_Running", bound=Greeting | Loading | Serving)

# How much of what it wrote is kept to look through for why it died (bytes): while it loads, and once
# it serves, as very many do.
_LAST_WORDS = 64 * 1024
_FEWER_WORDS = 16 * 1024
# A stack dump is waited for until it has come: so many looks, so many seconds apart.
_STACK_LOOKS, _STACK_GRACE = 15, 0.1
# How long a process may be busy before what can be done without it is (seconds).
_BUSY = 1.0
_REPLACED = "a fresh process takes its place"
# The longest time between two ticks of the kernel's clock: 100 Hz (ns).
_TICK = 10_000_000


class Generation:
    """Generation ``number`` of ``spec``, which has a target; what there is of it is in its ``phase``.

    ``refused`` is set once we killed its process (it broke the protocol, or does not answer any
    more), and says why. ``reading_since`` (monotonic seconds) and ``reading_since_ns`` (Unix
    nanoseconds, None until then) say when its process was started, and could read files. ``importing``: what it
    imports now.
    """

    __slots__ = (
        "_asked", "_deaf", "_log", "_services", "_target", "_turn", "_words", "because", "conversation",
        "created_ns", "importing", "number", "phase", "ping_interval", "ping_timeout", "reading_since",
        "reading_since_ns", "refused", "sources", "spec", "start_seconds", "started_at",
    )  # fmt: skip

    def __init__(
        self, spec: LocationSpec, number: int, services: Services, log: LocationLog | MarkedLog
    ) -> None:
        if spec.target is None:
            raise ValueError(f"{spec.name} is served elsewhere")
        self.spec = spec
        self.number = number
        self.phase: Phase = Preparing()
        self.started_at = time.time()
        self.created_ns = time.time_ns()
        self.reading_since_ns: int | None = None
        self.reading_since = time.monotonic()
        self.sources: tuple[str, ...] = ()
        self.refused: Failure | None = None
        self.importing = ""
        self.start_seconds = 0.0
        self.ping_interval = spec.ping_interval
        self.ping_timeout = spec.ping_timeout
        self._target = spec.target
        self._services = services
        self._log = log
        self._words = LastWords(_LAST_WORDS)
        self._asked: DumpedStacks | None = None
        self.because = ""
        self._deaf = False  # it did not end after SIGTERM
        self._turn: asyncio.Lock | None = None  # of those that have user code run
        self.conversation = self._new_conversation()

    @property
    def process(self) -> ShimProcess | None:
        """Its process, once there is one; also one that has ended."""
        return phases.process_of(self.phase)

    @property
    def instance(self) -> str:
        """The id of its process, which is what it says hello with."""
        return self.conversation.instance

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return isinstance(self.phase, Running) and not self.phase.process.exited.done()

    @property
    def idle(self) -> bool:
        """True while it serves and nothing was asked of it that is not answered."""
        return isinstance(self.phase, Serving) and self.conversation.idle

    async def ping(self) -> asyncio.Future[Answer]:
        """Ask for a sign of life; the future is done when it came, or the process has ended."""
        return await self.conversation.ask("ping")

    async def unresponsive(self, doing: str, seconds: float) -> None:
        """It does not answer: have its stacks written, then kill it; ``refused`` says so."""
        running = self.phase
        if self.refused is not None or not isinstance(running, Running):
            return
        stopped = await running.process.stopped()
        dumped = [] if stopped else await self._dumped(running)
        if self.refused is None and self.alive:
            self._refuse(failures.unresponsive(doing, seconds, dumped, stopped=stopped))

    async def prepare(self, told: Callable[[str], None]) -> PreparedEnvironment:
        """Have the environment made; raises ``LoadFailedError``."""
        try:
            prepared = await self._services.environments.prepare(self.spec.environment, told)
        except envs.EnvError as error:
            raise LoadFailedError(failures.from_environment(error)) from error
        await self._services.uses(prepared.environment.prefix)
        return prepared

    async def load(
        self,
        prepared: PreparedEnvironment,
        heard: Callable[[], None] = lambda: None,
        *,
        fresh_because: str = "",
        hash_seed: str = "",
    ) -> Serving:
        """Place the process in its environment and load the target; ``heard`` is called at the hello.

        ``fresh_because`` says why it must be a fresh process, whatever the spec would have.
        ``hash_seed`` is a fresh one's PYTHONHASHSEED ("": its own). Raises ``LoadFailedError``
        or ``ProcessDiedError``.
        """
        launch = self._launch(prepared, fresh_because, hash_seed)
        self.phase = Placing(launch)
        await self._services.launcher.prepare(launch)
        async with self._services.slots.take(lambda: FIRST):
            loading, reply = await self._start_and_load(launch, heard)
            while isinstance(reply, Unfit):  # forked, and a fresh process has to do it
                launch = await self._start_over(loading)
                loading, reply = await self._start_and_load(launch, lambda: None)
        if reply.type == "failed":
            raise LoadFailedError(self._why(reply))
        snapshot = await self._accept(reply)
        if self.refused is not None:  # meanwhile: what it answered is not believed either
            raise ProcessDiedError(await loading.process.wait(), phases.doing(self.phase))
        self._words.limit = _FEWER_WORDS
        return self._enter(Serving(launch, loading.process, snapshot))

    async def _start_and_load(
        self, launch: LaunchSpec, heard: Callable[[], None]
    ) -> tuple[Loading, Answer | Unfit]:
        # Waiting for others to start is not this one's time.
        time_left = RunningTime(self.spec.load_timeout)
        begun = time.monotonic()
        greeting = await self._place(launch)
        await self._within(self.conversation.hello(), time_left, "starting the interpreter")
        self.start_seconds = time.monotonic() - begun
        heard()
        loading = self._enter(Loading(launch, greeting.process))
        self.conversation.connection.forked = loading.process.forked
        asked = await self.conversation.ask("load", target=self._target.as_data())
        return loading, await self._within(asked, time_left, "loading")

    def _enter(self, phase: _Running) -> _Running:
        """Go on to ``phase``, unless its process has ended meanwhile."""
        self.phase = Ended(phase, self.phase.exit) if isinstance(self.phase, Ended) else phase
        return phase

    async def _start_over(self, loading: Loading) -> LaunchSpec:
        """End the process; how the next is to be launched, which is another instance."""
        before, self.because = self.because, _REPLACED
        loading.process.kill()
        await loading.process.wait()
        self.because = before
        launch = replace(loading.launch, instance=self._anew())
        self.phase = Placing(launch)
        return launch

    async def describe(
        self, kind: str, name: str, repository: str | None, timeout: float
    ) -> dict[str, Any]:
        """Have the shim construct one definition; ``{"definition", "source"}``.

        ``timeout`` counts from when it is this one's turn. After it the process is not believed to
        answer any more: it is killed. User code is not interrupted when the caller is cancelled: the
        next has its turn when it has returned. Raises ``LoadFailedError`` (what it raised, or
        that it was killed) or ``ProcessDiedError``.
        """
        describing = asyncio.create_task(self._describe(kind, name, repository, timeout))
        describing.add_done_callback(retrieve)
        return await asyncio.shield(describing)

    async def _describe(
        self, kind: str, name: str, repository: str | None, timeout: float
    ) -> dict[str, Any]:
        turn = self._turn = self._turn or asyncio.Lock()
        async with turn:
            asked = await self.conversation.ask(
                "describe", kind=kind, name=name, repository=repository
            )
            if not await RunningTime(timeout).wait([asked]):
                await self.unresponsive(f"constructing {name!r}", timeout)
            answer: Answer = await asked
        if answer.type == "failed":
            raise LoadFailedError(self._why(answer))
        message = answer.message
        return {"definition": message.get("definition"), "source": message.get("source")}

    async def quickly(self, kind: str, patience: float, **fields: Any) -> Answer | str:
        """The answer to a request, or why there is none within ``patience`` seconds.

        What was asked may still be done later, when the process gets to it.
        """
        asked = await self.conversation.ask(kind, **fields)
        if not await RunningTime(patience).wait([asked]):
            return f"the process that serves did not answer within {patience:g} s"
        try:
            answer: Answer | Unfit = await asked
        except (LoadFailedError, ProcessDiedError) as error:
            return f"the process that serves has ended: {error}"
        return answer.reason if isinstance(answer, Unfit) else answer

    async def busy(self) -> str:
        """Why it takes no request now, "" where it does: it may be busy with another for a second."""
        if self.conversation.answers and not (self._turn and self._turn.locked()):
            return ""
        answer = await self.quickly("ping", _BUSY)
        return answer if isinstance(answer, str) else ""

    async def finish_requests(self, timeout: float) -> None:
        """Wait until what was asked is answered, what waits for its turn included."""
        with contextlib.suppress(TimeoutError):
            async with limit(timeout):
                while (waiting := self.conversation.waiting) or (
                    self._turn is not None and self._turn.locked()
                ):
                    if waiting:
                        await asyncio.wait(waiting)
                    await asyncio.sleep(0)  # the next may be about to ask

    async def stop(self, because: str, *, at_once: bool = False) -> None:
        """The stop ladder: ask, SIGTERM, SIGKILL, on the whole session. Returns when it is gone.

        ``because`` is told in the log; the first of several reasons counts.
        """
        match self.phase:
            case Running(process=process) if not process.exited.done():
                await self._descend(process, because, at_once=at_once)
            case Preparing() | Placing() as last:
                self.phase = Ended(last, None)
        self.conversation.close()

    async def _descend(self, process: ShimProcess, because: str, *, at_once: bool) -> None:
        self.because = self.because or because
        if not at_once:
            grace = self.spec.stop_timeout / 2
            if isinstance(self.phase, Serving) and await self.conversation.stop():
                await RunningTime(grace).wait([process.exited])
            if not process.exited.done():
                process.terminate()
                await RunningTime(grace).wait([process.exited])
            self._deaf = not process.exited.done()
        process.kill()
        await process.wait()

    def cause(self, ended: Exit, doing: str) -> Failure:
        """Why its process, which ended by itself or was refused, is no more."""
        return self.refused or failures.died(ended, doing, self._words.lines(), self.spec.limits)

    def remark(self, text: str) -> None:
        """Say something of it in the location's log."""
        self._log.remark(text)

    def _output(self, stream: str, data: bytes) -> None:
        if stream == "err":
            if self._asked is not None:
                data = self._asked.without(data)
            self._words.add(data)
        self._log.output(stream, data)

    async def looked_into(self, failure: Failure) -> Failure:
        """``failure`` with the lines that it names; ``sources`` are then what the target imports."""
        with contextlib.suppress(RuntimeError):  # no thread can be started
            self.sources = (await asyncio.to_thread(sources_of, self._target)).files
        return await quoted(failure)

    async def stacks(self) -> list[str]:
        """The Python stacks of its threads as they are now, as lines; none where it does not tell."""
        running = self.phase
        if not isinstance(running, Running) or await running.process.stopped():
            return []
        while self._asked is not None:  # another client does
            await asyncio.wait([running.process.exited], timeout=_STACK_GRACE)
        self._asked = asked = DumpedStacks()
        try:
            return await self._dumped(running, asked)
        finally:
            self._asked = None
            self._output("err", asked.left())

    async def _dumped(self, running: Running, asked: DumpedStacks | None = None) -> list[str]:
        """Have the shim write its stacks, whatever it is doing, to its log or to what ``asked``; the lines of it."""
        if not self.conversation.greeted:  # it may not know how to yet
            return []
        self._asked, before = asked, self._words.total
        running.process.dump()
        lines: list[str] = []
        for _ in range(_STACK_LOOKS):
            await asyncio.wait([running.process.exited], timeout=_STACK_GRACE)
            texts = self._words.lines(before) if asked is None else list(asked.lines)
            if texts and texts == lines:
                break  # nothing more came since the last look
            lines = texts
        return lines

    def _why(self, answer: Answer) -> Failure:
        failure = failures.from_shim(answer.message.get("failure"))
        return failures.at_a_limit(failure, self.spec.limits)

    def _launch(
        self, prepared: PreparedEnvironment, fresh_because: str, hash_seed: str
    ) -> LaunchSpec:
        return LaunchSpec(
            name=self.spec.name,
            instance=self.conversation.instance,
            address=self._services.transport.address,
            prepared=prepared,
            limits=self.spec.limits,
            output=self._output,
            variables=self.spec.env,
            kill=self.spec.kill,
            start_method=StartMethod.SPAWN if fresh_because else self.spec.start_method,
            start_method_reason=fresh_because,
            target=self._target,
            preload=self.spec.preload,
            anew=self._anew,
            hash_seed=hash_seed,
        )

    def _anew(self) -> str:
        """Another instance: whatever is still said under the name of the one before is dropped."""
        self.conversation.close()
        self.conversation = self._new_conversation()
        self.conversation.open()
        return self.conversation.instance

    def _new_conversation(self) -> Conversation:
        instance = f"{self.number}-{secrets.token_hex(8)}"
        return Conversation(instance, self._services.transport, self._heard)

    async def _place(self, launch: LaunchSpec) -> Greeting:
        self.conversation.open()
        # A file's times are those of the kernel's clock, which may be a tick behind.
        self.reading_since_ns = time.time_ns() - _TICK
        self.reading_since = time.monotonic()
        try:
            process = await self._services.launcher.start(launch)
        except LaunchError as error:
            self.conversation.close()
            raise LoadFailedError(Failure("interpreter", str(error))) from None
        stopped = isinstance(self.phase, Ended)
        self.started_at = time.time()
        self._log.remark(f"generation {self.number} started as pid {process.pid}")
        for name, how in process.limits.items():
            if how == UNENFORCED:
                self._log.remark(f"limits.{name} is not enforced here: see docs/workspace.md")
        greeting = self.phase = Greeting(launch, process)
        process.exited.add_done_callback(self._exited)
        if stopped:  # meanwhile
            process.kill()
            raise ProcessDiedError(await process.wait(), "starting")
        return greeting

    async def _within(self, future: asyncio.Future[_T], time_left: RunningTime, doing: str) -> _T:
        if await time_left.wait([future]):
            return await future
        dumped = await self._dumped(self.phase) if isinstance(self.phase, Running) else []
        what = f"{doing} {self.spec.name}" if doing == "loading" else doing
        raise LoadFailedError(failures.timed_out(self.spec.load_timeout, what, dumped))

    async def _accept(self, answer: Answer) -> Snapshot:
        definitions, sources = answer.payload
        steps = accepting(
            self.spec.name,
            self.number,
            report=answer.message.get("report"),
            definitions=definitions,
            sources=sources,
            loaded_at=time.time(),
        )
        try:
            return await in_turns(steps)
        except SnapshotError as error:
            text = f"the snapshot is not valid: {error}"
            raise LoadFailedError(Failure("snapshot", text)) from None

    def _heard(self, news: News) -> None:
        match news:
            case Part(_, message):  # of a load: nothing else comes in parts
                self.importing = str(message.get("importing") or "")[:200]
            case Unfit():
                self._unfit(news)
            case RunBegun(run):
                self._log.remark(f"run {run} began")
            case RunEnded(run):
                self._log.remark(f"run {run} ended")
            case ServerEnded() | Asks():
                self._services.code_servers.heard(self, news)
            case Violation(text):
                hint = "something in the process writes to our socket"
                self._refuse(Failure("protocol", text, hint))
            case OtherVersion(version):
                self._refuse(failures.protocol_mismatch(version, wire.VERSION))

    def _unfit(self, unfit: Unfit) -> None:
        """It cannot go on, since it was forked. What was asked of it last is answered by that."""
        self._log.remark(f"the forked process cannot go on: {unfit.reason}; a fresh one starts")
        match self.phase:
            case Serving(launch, process):
                self._services.launcher.refuse(launch, unfit.reason)
                self.because = _REPLACED
                process.kill()
            case Running(launch):
                self._services.launcher.refuse(launch, unfit.reason)
                self.conversation.answered(unfit)

    def _refuse(self, failure: Failure) -> None:
        """It does not keep to the protocol: it fails what waits for it and costs it its process."""
        self.refused = failure
        self._log.remark(failure.message)
        self.conversation.fail(LoadFailedError(failure))
        if isinstance(self.phase, Running):
            self.phase.process.kill()

    def _exited(self, exited: asyncio.Future[Exit]) -> None:
        ended = exited.result()
        self._log.flush()
        grace = self.spec.stop_timeout / 2 if self._deaf else None
        how = failures.how_it_ended(ended, self.because, self.refused, unheeded=grace)
        match self.phase:
            case Running(process=process) as last:
                self._log.remark(f"generation {self.number} (pid {process.pid}) {how}")
                self.conversation.fail(ProcessDiedError(ended, phases.doing(last)))
                self.phase = Ended(last, ended)
        self._services.code_servers.ended(self)
