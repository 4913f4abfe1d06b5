"""One location: drives its life cycle by starting generations and hearing how they end.

Owns the state of the newest generation, the one that serves, the last good snapshot and the failure
beside it. Every event is handled in the event loop's thread, one at a time, and goes through the
table in ``lifecycle``; a generation that is not the newest any more cannot move it. Starts no process.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any

from supervisor.conditions import Conditions
from supervisor.locations import failures
from supervisor.locations.constructed import constructed
from supervisor.locations.failures import Failure
from supervisor.locations.fork_fallback import ForkFallback, Verdict
from supervisor.locations.generation import Generation, LoadFailedError, ProcessDiedError
from supervisor.locations.lifecycle import Event, allowed, next_state
from supervisor.locations.location_log import LocationLog
from supervisor.locations.phases import Serving
from supervisor.locations.restart import GiveUp, LeaveStopped, Restart, judge, recent
from supervisor.locations.services import Services
from supervisor.locations.source_lines import lacks_code, quoted
from supervisor.locations.verification import Verification
from supervisor.locations.verifier import Verifier
from supervisor.processes.launcher import Exit
from supervisor.processes.orphans import Orphan, told_of
from supervisor.running_time import RunningTime
from supervisor.snapshots.snapshot import Snapshot, comparing
from supervisor.specs import KillScope, LocationSpec
from supervisor.states import UNDER_WAY, State
from supervisor.time_slices import in_turns
from supervisor.watching.dependencies import Looked, after_death, after_failure, after_load
from supervisor.watching.reloading import FileWatch, Watching
from supervisor.watching.settling import Floor

__all__ = ["Location"]

_log = logging.getLogger(__name__)

_DRAIN_TIMEOUT = 10.0
_KILL_TIMEOUT = 5.0
# A disk that hangs does not keep a location from being served (seconds).
_KEEP_TIMEOUT = 5.0


class Location:
    """The location ``spec``. ``changed()`` is called after anything a client can see has changed.

    ``restarts`` False makes every death final (for one-off checks). ``earlier`` is the last good
    snapshot of an earlier supervisor, served until there is a newer one; ``keep`` is given each
    new one and how many are to be kept, and done when it is on disk. ``verifier`` verifies what was
    loaded forked; without one nothing is verified. ``files`` is None without ``watching``: then no
    change of a file reloads anything.
    """

    __slots__ = (
        "_changed", "_deaths", "_ending", "_floor", "_fork_fallback", "_keep", "_numbered", "_quoting",
        "_restarts_allowed", "_services", "_start_again", "_task", "_timer", "conditions",
        "failure", "files", "generation", "log", "newest", "next_restart", "orphans", "reason",
        "restart_reason", "restarts", "serving", "since", "snapshot", "spec", "state", "verification",
    )  # fmt: skip

    def __init__(
        self,
        spec: LocationSpec,
        services: Services,
        log: LocationLog,
        changed: Callable[[], None],
        *,
        watching: Watching | None = None,
        restarts: bool = True,
        earlier: Snapshot | None = None,
        keep: Callable[[Snapshot, int], Future[None]] | None = None,
        verifier: Verifier | None = None,
    ) -> None:
        self.spec = spec
        self.log = log
        self.state = State.STOPPED
        self.reason = "not started yet"
        self.since = time.time()
        self.generation = self._numbered = 0 if earlier is None else earlier.generation
        self.restarts = 0
        self.restart_reason = ""
        self.next_restart: float | None = None
        self.snapshot = earlier
        self.failure: Failure | None = None
        self.orphans: list[Orphan] = []
        self.conditions = Conditions(changed, time.time)
        self.serving: Generation | None = None
        self.newest: Generation | None = None
        self._services = services
        self._changed = changed
        self._restarts_allowed = restarts
        self._keep = keep
        self._floor = Floor()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: dict[asyncio.Task[None], Generation] = {}
        self._deaths: tuple[float, ...] = ()
        self._fork_fallback = ForkFallback()
        self.verification = Verification(self, verifier, changed)
        self._quoting: asyncio.Task[None] | None = None  # of a failure whose code is being read
        self._start_again: str | None = None
        self.files: FileWatch | None = None
        if watching is not None:
            self.files = FileWatch(spec.name, watching.disk, watching.watch, self._files_changed)

    # Orders. Each returns at once with a word.

    def start(self, reason: str = "started by the operator") -> str:
        """Run, unless it runs already."""
        if self.state is State.STOPPING:
            self._start_again = reason
            return "starting"
        if self.state in (State.READY, State.STARTING, State.LOADING):
            return f"already {self.state}"
        self._forget_deaths()
        self._begin(reason)
        return "starting"

    def reload(self, reason: str = "reloaded by the operator") -> str:
        """Load anew beside what serves; a stopped location stays stopped."""
        if self.state in (State.STOPPED, State.STOPPING):
            return f"is {self.state}: use start"
        self._forget_deaths()
        self._begin(reason)
        return "reloading"

    def restart(self, reason: str = "restarted by the operator") -> str:
        """Stop the process and start a new one."""
        if self.state is State.STOPPED:
            return self.start(reason)
        self._forget_deaths()
        self._stop(reason, then=reason)
        return "restarting"

    def stop(self, reason: str = "stopped by the operator", *, at_once: bool = False) -> str:
        """End every process of it."""
        if self.state is State.STOPPED:
            return "already stopped"
        word = "already stopping" if self.state is State.STOPPING else "stopping"
        self._stop(reason, at_once=at_once)
        return word

    async def stopped(self) -> None:
        """Wait until everything that was told to end has ended."""
        while self._ending:
            await asyncio.wait(self._ending)

    def update(self, spec: LocationSpec, reason: str) -> None:
        """Take a changed spec; what it needs of the process decides whether it is loaded anew."""
        old, self.spec = self.spec, spec
        too_slow = self.failure is not None and self.failure.kind == "timeout"
        if old.process_differs(spec) or (too_slow and old.load_timeout != spec.load_timeout):
            self.reload(reason)
        elif self.serving is not None and self.serving.alive:
            self._ask_after(self.serving)
        if old.verify != spec.verify:
            self.verification.configured()
        self._changed()

    # Questions.

    async def describe(self, kind: str, name: str, repository: str | None) -> dict[str, Any]:
        """A definition that the snapshot only names, constructed by the shim."""
        return await constructed(self.spec.name, self.serving, kind, name, repository)

    def orphans_seen(self, found: list[Orphan]) -> None:
        """``found`` are what lives of its processes outside any session of ours."""
        if found == self.orphans:
            return
        for text in told_of(found, self.orphans, tree=self.spec.kill is KillScope.TREE):
            self.log.remark(text)
        self.orphans = found
        self._changed()

    @property
    def under_way(self) -> bool:
        """True while the state will change by itself, or a start is due after a stop."""
        return (
            self.state in UNDER_WAY
            or self._start_again is not None
            or self._task is not None  # a fresh process beside a failure
        )

    # Files.

    def _files_changed(self, paths: set[str], late: bool) -> None:
        """Files that it was made from changed; ``late``: while it was being loaded."""
        if self.state in (State.STOPPED, State.STOPPING):
            return
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        reason = f"{min(paths).rpartition('/')[2]}{more} changed"
        if self.state in (State.STARTING, State.LOADING):
            if self.newest is not None and self._timer is None:
                since = self.newest.reading_since
                left = since + self._floor.seconds - time.monotonic()
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(max(0.0, left), self._supersede, since, reason)
            return
        if not late:
            self._forget_deaths()
        self.verification.disturbed(paths)
        self._begin(reason)

    def _supersede(self, since: float, reason: str) -> None:
        """The load under way has had its time: it may be hanging on what was mended meanwhile."""
        self._floor.cut(time.monotonic() - since)
        self._begin(reason)

    def _take(self, generation: Generation, looked: Looked) -> None:
        if self.files is not None:
            self.files.take(looked, generation.reading_since_ns or generation.created_ns)

    # The life of generations.

    def _forget_deaths(self) -> None:
        """It was ordered, or its own files changed: it has all its chances again."""
        self._deaths = ()
        self._fork_fallback.drop()

    def _stop(self, reason: str, *, then: str | None = None, at_once: bool = False) -> None:
        self._start_again = then
        self._fork_fallback.drop()
        self.verification.drop(stopped=True)
        if self.state is not State.STOPPING:
            self._move(Event.STOP, reason)
        self._cancel_timer()
        if self.files is not None:
            self.files.ended()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        for generation in self._generations():
            self._end(generation, reason, at_once=at_once)
        self.newest = self.serving = self.failure = None
        self._check_gone()

    def load_again(self, reason: str) -> None:
        """Load anew beside what serves: verification found that something else should serve."""
        self._begin(reason)

    def end_beside(self, generation: Generation, *, at_once: bool) -> None:
        """End a process of verification; ``stopped`` waits for it, too."""
        self._track(generation, generation.stop("its verification is over", at_once=at_once))

    def _begin(self, reason: str) -> None:
        self._cancel_timer()
        self.verification.drop(stopped=False)
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self.newest is not None and self.newest is not self.serving:
            self._end(self.newest, f"a newer one begins ({reason})", at_once=True)
        since = self._run_new()
        self.generation = self._numbered
        if self.files is not None:
            self.files.begun(since)
        self._move(Event.BEGIN, reason)

    def _try_fresh(self, trying: str) -> None:
        """Load in a fresh process beside the failure, which is told until that has loaded."""
        self.log.remark(trying)
        self._run_new()

    def _run_new(self) -> Callable[[], int | None]:
        """Begin a generation; gives since when it reads files (ns), None before that."""
        self._numbered += 1  # also of one beside a failure: no two have the same number
        new = self.newest = Generation(self.spec, self._numbered, self._services, self.log)
        self._task = asyncio.create_task(
            self._run(new, self._fork_fallback.because),
            name=f"{self.spec.name} generation {new.number}",
        )
        return lambda: new.reading_since_ns

    async def _run(self, generation: Generation, fresh_because: str) -> None:
        why = self.reason
        outcome: Callable[[], None]
        try:
            prepared = await generation.prepare(self._tell)
            self._tell(why)
            fresh_because = fresh_because or await self.verification.given_up(prepared)
            serving = await generation.load(
                prepared, partial(self._move, Event.HELLO, why), fresh_because=fresh_because
            )
            before, after = self.snapshot, serving.snapshot
            diff = f"; {await in_turns(comparing(before, after))}" if before else ""
            await self._on_disk(serving.snapshot)
            await self._services.code_servers.serve(generation)
            files = serving.snapshot.report.get("files", ())
            convicted = await self._fork_fallback.loaded(files)
        except LoadFailedError as error:
            outcome = partial(self._failed, generation, await generation.looked_into(error.failure))
        except ProcessDiedError as error:
            failure = await generation.looked_into(generation.cause(error.ended, error.doing))
            outcome = partial(self._died, generation, error.ended, error.doing, failure)
        except Exception as error:  # a defect of ours must not leave a location waiting for ever
            _log.exception("generation %d of %s", generation.number, self.spec.name)
            outcome = partial(self._failed, generation, failures.internal(error))
        else:
            outcome = partial(self._loaded, generation, serving, diff, convicted)
        # It may have come to an end in the very moment in which it was cancelled.
        if generation is self.newest:
            outcome()

    async def _on_disk(self, snapshot: Snapshot) -> None:
        """Have it written first: a supervisor that is killed must not forget what it has announced."""
        if self._keep is not None:
            written = asyncio.wrap_future(self._keep(snapshot, self.spec.history))
            await RunningTime(_KEEP_TIMEOUT).wait([written])

    def _loaded(
        self, generation: Generation, loaded: Serving, difference: str, convicted: Verdict
    ) -> None:
        self._over()
        self._floor.loaded(time.monotonic() - generation.reading_since)
        retired, self.serving = self.serving, generation
        self.generation = generation.number
        self.snapshot = loaded.snapshot
        self.failure = None
        loaded.process.exited.add_done_callback(self._serving_exited)
        self._ask_after(generation)
        report = loaded.snapshot.report
        seconds = float(report.get("load_seconds", 0.0))
        self._move(Event.LOADED, f"loaded in {seconds:.2f} s{difference}")
        self._services.code_servers.took_over(generation)
        if retired is not None:
            self._retire(retired, generation)
        self._take(generation, after_load(self.spec, report))
        if convicted.environment:
            self._services.launcher.condemn(loaded.launch, convicted.environment)
        self.verification.loaded(generation, loaded, give_up=convicted.location)
        self._services.launcher.learn(loaded.launch, report)

    def _over(self) -> None:
        """The load under way is."""
        self._task = None
        self._cancel_timer()

    def _failed(self, generation: Generation, failure: Failure) -> None:
        self._over()
        told, self.failure = self.failure, failure
        self._end(generation, "its load failed")
        if self.state is not State.FAILED or told is None or not failure.says_what(told):
            self.generation = generation.number
            self._move(Event.FAILED, failure.message.partition("\n")[0])
        self.log.remark(f"generation {generation.number} failed: {failure.in_full}")
        self._take(
            generation, after_failure(self.spec, failure.details, generation.sources, failure.kind)
        )
        trying = self._fork_fallback.failed(generation, failure)
        if trying:
            self._try_fresh(trying)
        self._changed()

    def _died_serving(self, generation: Generation, ended: Exit) -> None:
        failure = generation.cause(ended, "serving")
        self._died(generation, ended, "serving", failure)
        if lacks_code(failure):  # another process need not wait for it
            self._quoting = asyncio.create_task(self._quote(failure))

    async def _quote(self, failure: Failure) -> None:
        found = await quoted(failure)
        if self.failure is failure:
            self.failure = found
            self._changed()

    def _ask_after(self, generation: Generation) -> None:
        """Have it asked from time to time whether it answers, as the spec now says."""
        generation.ping_interval = self.spec.ping_interval
        generation.ping_timeout = self.spec.ping_timeout
        self._services.liveness.forget(generation)
        self._services.liveness.watch(generation, self._unresponsive)

    async def _unresponsive(self, generation: Generation) -> None:
        process = generation.process
        await generation.unresponsive("idle", generation.ping_timeout)
        if process is not None:
            await RunningTime(_KILL_TIMEOUT).wait([process.exited])
        if generation.alive and generation is self.serving:
            # A killed process that waits for a disk runs no code any more: another one may take its place.
            self._end(generation, "it did not answer", at_once=True)
            if generation is self.newest and self.state is State.READY:
                self._died_serving(generation, Exit(None, signal.SIGKILL))

    def _serving_exited(self, exited: asyncio.Future[Exit]) -> None:
        generation = self.serving
        process = None if generation is None else generation.process
        if generation is None or process is None or process.exited is not exited:
            return
        self.serving = None
        if generation is self.newest and self.state is State.READY:
            self._died_serving(generation, exited.result())
        else:
            self._changed()

    def _died(self, generation: Generation, ended: Exit, doing: str, failure: Failure) -> None:
        self._over()
        self.verification.disturbed()
        if self.state is State.FAILED:  # beside a failure, which stays told
            self._fork_fallback.drop()
            self._changed()
            return
        trying = self._fork_fallback.died(generation, ended, doing)
        if trying:
            self._begin(trying)
            return
        now = time.monotonic()
        rules = self.spec.restart
        self._deaths = (*recent(self._deaths, now, rules.window), now)
        self.failure = failure
        if doing != "serving":  # else what its load left behind stays true
            self._take(generation, after_death(self.spec, failure.details, generation.sources))
        clean = ended.clean and doing == "serving"
        if not self._restarts_allowed:
            self._move(Event.GAVE_UP, failure.message)
            return
        verdict = judge(rules, self._deaths, now, clean=clean, chance=random.random())  # noqa: S311
        match verdict:
            case LeaveStopped():
                # Nothing runs in what is stopped: not where an older generation still serves.
                event = Event.ENDED if self.serving is None else Event.GAVE_UP
                self._move(event, f"{failure.message}; restart policy {rules.policy}")
            case GiveUp(deaths, window):
                self._move(
                    Event.GAVE_UP,
                    f"died {deaths} times within {window:g} s; the last time {failure.message}",
                )
            case Restart(delay, number):
                self._move(Event.DIED, f"{failure.message}; restart {number} in {delay:.1f} s")
                self.restarts += 1
                self.restart_reason = failure.message
                self.next_restart = time.time() + delay
                again = f"restart {number} after the process {ended}"
                self._timer = asyncio.get_running_loop().call_later(delay, self._begin, again)

    def _retire(self, generation: Generation, successor: Generation) -> None:
        async def drain_and_end() -> None:
            await generation.finish_requests(_DRAIN_TIMEOUT)
            await self._services.code_servers.retire(generation)
            await generation.stop(f"generation {successor.number} took its place")

        self._track(generation, drain_and_end())

    def _end(self, generation: Generation, because: str, *, at_once: bool = False) -> None:
        if generation is self.serving:
            self.serving = None
        self._track(generation, generation.stop(because, at_once=at_once))

    def _track(self, generation: Generation, ending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(ending)
        self._ending[task] = generation
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._ending[task]
        self._check_gone()
        if not task.cancelled():
            task.result()

    def _check_gone(self) -> None:
        if self.state is State.STOPPING and not self._ending:
            self._move(Event.GONE, self.reason)
            if self._start_again is not None:
                reason, self._start_again = self._start_again, None
                self._begin(reason)

    def _generations(self) -> set[Generation]:
        """All that may have a process, those that are ending included: they may have to hurry."""
        found = {self.newest, self.serving, *self._ending.values()}
        return {one for one in found if one is not None}

    def _move(self, event: Event, reason: str) -> None:
        if event is Event.HELLO and not allowed(self.state, event):
            return
        self.state = next_state(self.state, event)
        self.reason = reason
        self.since = time.time()
        _log.info("%s: %s: %s", self.spec.name, self.state, reason)
        self._changed()

    def _tell(self, reason: str) -> None:
        if self.state is State.STARTING and reason != self.reason:
            self.reason = reason
            self._changed()

    def _cancel_timer(self) -> None:
        self.next_restart = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
