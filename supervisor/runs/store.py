"""All runs of a workspace: queued, started, watched, adopted from an earlier supervisor, and reported.

Owns the directory of journals and the set of runs made from it. ``queue`` decides which queued run starts,
``retries`` which is repeated, ``retention`` which is kept. The monitor of a run ends it and
writes the result; this module learns of it by the monitor's end (pidfd_open(2)) and, in between, by datagrams on a
socket. Where a monitor is gone without a final record, what the run has left is killed by its token and
the record is written here: ``lost``. The argument ``place`` starts the process of a run.

Files are read and written in threads; everything about locks in one, because closing any descriptor
of a file gives back this process's locks on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from supervisor.errors import RequestError
from supervisor.fleet.change_signal import ChangeSignal
from supervisor.processes import orphans
from supervisor.processes.reaper import clear
from supervisor.processes.run_limits import RunLimits
from supervisor.run_settings import OnStop, RunSettings
from supervisor.running_time import RunningTime
from supervisor.runs.dispatch import CannotStartError, Dispatch, Place, Start
from supervisor.runs.figures import Figures
from supervisor.runs.journal import FORMAT, Journal, boot_id
from supervisor.runs.keeping import Keeper
from supervisor.runs.left import namespace, read_runs, standing
from supervisor.runs.monitors import Monitors, wake
from supervisor.runs.notices import Notices
from supervisor.runs.order_writer import OrderWriter
from supervisor.runs.queue import Limits
from supervisor.runs.retries import again, with_settings
from supervisor.runs.run import Run, named, new_id
from supervisor.runs.tasks import Tasks
from supervisor.runs.untold import Report, Untold
from supervisor.states import RUN_ENDED, RunState
from supervisor.time_slices import turns

__all__ = ["Runs"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
# How long a monitor may take to take the run on (seconds of running time), and between two looks.
_BEGIN = 30.0
_LOOK_FOR_BEGIN = 0.02
# Without a pidfd the end of a monitor is not reported, and datagrams can be lost (seconds).
_LOOK = 1.0
_TO_CANCEL = 30.0
_GRACE = 10.0


class Runs:
    """The runs whose journals lie in ``directory``; ``notify`` is where their monitors send datagrams.

    ``changed`` is called after anything a client can see has changed, ``when_ended`` with each run that ends.
    """

    def __init__(
        self,
        directory: Path,
        notify: Path,
        place: Place,
        limits: RunLimits,
        report: Report,
        changed: Callable[[], None],
    ) -> None:
        self.news = ChangeSignal()
        self.figures = Figures()
        self.when_ended: Callable[[Run], None] = lambda run: None
        self._directory = directory
        self._place = place
        self._run_limits = limits
        self._untold = Untold(report)
        self._changed = changed
        self._runs: dict[str, Run] = {}
        self._living: dict[str, Run] = {}
        self._newest: list[Run] = []
        self._limits = Limits()
        self._dispatch = Dispatch(place.can_start, self._admitted, self._cannot_start)
        self.together = self._dispatch.together
        self._notices = Notices(notify, self._hear)
        self._notify = notify
        self._orders = OrderWriter(directory)
        self._locks = ThreadPoolExecutor(1, "runs")
        self._tasks = Tasks()
        self._spawn = self._tasks.spawn
        self._monitors = Monitors(self._monitor_ended)
        self.keeper = Keeper(self._runs, lambda: self._limits, self._spawn)
        self._finals: dict[str, Mapping[str, Any]] = {}
        self._unwritten: dict[str, tuple[str, str]] = {}
        self._untaken: set[str] = set()
        self._sequence = 0
        self._boot = ""
        self._here = ""
        self._ending = False

    # Opening and closing.

    async def open(self) -> None:
        """Take on what earlier supervisors have left; ``keeper`` has yet to begin."""
        self._notices.open()
        self._boot = await self._in_thread(boot_id)
        self._here = namespace()
        found = await self._in_thread(partial(read_runs, self._directory))
        with turns() as step:
            for run in found:
                self._add(run)
                await step()
            for run in found:
                if not run.ended:
                    await self._take_on(run, adopted=True)
                elif run.final is not None and not run.retried_by:
                    await self._retry(run, run.final)
                await step()
        self._spawn(self._look_from_time_to_time())
        self._dispatch.resume()
        self._tell()

    async def close(self) -> None:
        """Let go of all runs: those that live go on."""
        self._dispatch.close()
        await self._tasks.close()
        self._monitors.close()
        self._notices.close()
        await asyncio.to_thread(self._locks.shutdown)

    async def end(self, grace: float, *, at_once: bool = False) -> None:
        """Start nothing more, and have all runs end whose location does not say ``on_stop: keep``.

        Those that wait are cancelled at once, those that go on after their ``run_grace``, by default
        ``grace`` (seconds), or are killed ``at_once``.
        """
        self._ending = True
        self._dispatch.suspend()
        await asyncio.gather(*(self._end(one, grace, at_once) for one in self.to_end()))

    def to_end(self) -> list[Run]:
        """Those that end with the supervisor."""
        return [one for one in self.living() if self._settings(one).on_stop is not OnStop.KEEP]

    async def _end(self, run: Run, grace: float, at_once: bool) -> None:
        said = self._settings(run).run_grace
        if not at_once and run not in self._dispatch:
            await run.changed.wait(lambda: run.ended, grace if said is None else said)
        await self.cancel(run, "the supervisor, which was stopped", now=at_once)
        own = float(run.order.get("grace") or _GRACE)
        await run.changed.wait(lambda: run.ended, _TO_CANCEL + 2 * own)

    def configure(self, limits: Limits) -> None:
        """Heed these settings from now on: for what is queued, and what is launched later."""
        self._limits = limits
        for run in self._dispatch.queued:
            order = with_settings(run.order, self._settings(run))
            if order != run.order:
                run.order = order
                self._spawn(self._reorder(run))
        self._dispatch.configure(limits)
        self.keeper.look()

    def look(self) -> None:
        """Locations have changed: see which runs can start."""
        if len(self._dispatch):
            self._dispatch.look()

    # What clients ask.

    def get(self, name: str, sees: Callable[[str], bool] = lambda location: True) -> Run:
        """The run of that id, or of the one id that begins so; raises ``UnknownRunError``.

        There are those of locations that ``sees``.
        """
        return named({key: one for key, one in self._runs.items() if sees(one.location)}, name)

    def newest_first(self) -> Sequence[Run]:
        """All that are kept."""
        if len(self._newest) != len(self._runs):  # one was added, or some are kept no more
            newest = sorted(self._runs.values(), key=lambda one: (one.created, one.id))
            self._newest = newest[::-1]
        return self._newest

    def living(self) -> list[Run]:
        """Those without a final record."""
        return list(self._living.values())

    async def launch(
        self, order: Mapping[str, Any], *, name: str = "", handed: Start | None = None
    ) -> Run:
        """Have ``order`` (docs/runs.md) on the disk, and then run; raises ``RequestError``.

        ``name`` is the id that it has already. With ``handed`` it is started by that and at once: its
        framework has queued it, and it counts.
        """
        if name in self._runs:
            raise RequestError(f"there is a run {name} already")
        asked = {key: order[key] for key in ("timeout", "retries") if order.get(key) is not None}
        full = self._made({**order, "asked": asked, "attempt": 1}, name)
        journal = Journal(self._directory / full["run"])
        try:
            await self._orders.create(journal, full)
        except OSError as error:
            raise RequestError(
                f"the run's journal cannot be written: {(error.strerror or str(error)).lower()}"
            ) from None
        run = self._add(Run(full, journal))
        if handed is None:
            self._dispatch.add(run)
        else:
            self._dispatch.started(run)
            self._admitted(run, handed)
        self._tell(run)
        return run

    async def cancel(self, run: Run, who: str, *, now: bool = False) -> None:
        """Have it end: asked first, or killed ``now``. Nothing happens to one that has ended, and one
        that waits ends at once."""
        if run.ended:
            return
        reason = f"cancelled by {who}"
        if run in self._dispatch:
            self._dispatch.remove(run)
            run.state, run.reason = RunState.CANCELLING, reason
            if await self._finish(run, "cancelled", reason):
                return
        with contextlib.suppress(OSError):
            await self._in_thread(partial(run.journal.ask, who, "now" if now else "ask"))
        if run.state in RUN_ENDED:  # meanwhile
            return
        run.state, run.reason = RunState.CANCELLING, reason
        pid = await self._in_thread(run.journal.monitor)
        if pid > 0:
            wake(pid)
        self._tell(run)

    def _settings(self, run: Run) -> RunSettings:
        own = self._limits.locations.get(run.location, RunSettings())
        return own.over(self._limits.workspace)

    def _made(self, order: Mapping[str, Any], name: str = "") -> dict[str, Any]:
        """``order`` as it is written; the later it is made, the later it starts."""
        self._sequence += 1
        own = self._limits.locations.get(str(order["location"]), RunSettings())
        return with_settings(
            {
                **order,
                "format": FORMAT,
                "run": name or new_id(),
                "created": time.time(),
                "sequence": self._sequence,
                "boot": self._boot,
                "namespace": self._here,
                "notify": str(self._notify),
            },
            own.over(self._limits.workspace),
        )

    async def _reorder(self, run: Run) -> None:
        """Have the order of a run that waits on the disk as it is now."""
        with contextlib.suppress(OSError):  # a next supervisor knows the settings, too
            await self._in_thread(partial(run.journal.reorder, run.order))

    def _add(self, run: Run) -> Run:
        self._runs[run.id], self._newest = run, []
        run.waits = self._dispatch.standing
        self._sequence = max(self._sequence, int(run.key[0]))
        if not run.ended:
            self._living[run.id] = run
        return run

    # Starting.

    def _admitted(self, run: Run, start: Start | None = None) -> None:
        """Its turn has come."""
        run.state, run.started = RunState.STARTING, time.time()
        if start is None:  # else it was in another's queue
            self.figures.admitted(run)
        self._spawn(self._start(run, start or self._place))

    def _cannot_start(self, run: Run, reason: str) -> None:
        self._spawn(self._finish_alone(run, "failure", reason))

    async def _start(self, run: Run, start: Start) -> None:
        """Have it forked, and wait until its monitor has it."""
        self._tell(run)
        try:
            if await self._in_thread(run.journal.cancelled) is not None:
                await self._finish(run, "cancelled", run.reason or "cancelled before it began")
                return
            run.fresh_because = await start(run)
            time_left = RunningTime(_BEGIN)
            while not await self._has_begun(run):
                trouble = await asyncio.to_thread(run.journal.trouble)
                if trouble or time_left.step() <= 0:
                    text = trouble or f"its monitor did not begin within {_BEGIN:g} s"
                    await self._finish(run, "failure", f"it cannot be started: {text}")
                    if run.ended or run.id in self._unwritten:
                        return
                await asyncio.sleep(_LOOK_FOR_BEGIN)
        except CannotStartError as error:
            cancelled = run.state is RunState.CANCELLING
            state, reason = ("cancelled", run.reason) if cancelled else ("failure", str(error))
            await self._finish(run, state, reason)
        except OSError as error:  # as without descriptors
            why = (error.strerror or str(error)).lower()
            await self._finish_alone(run, "failure", f"it cannot be started: {why}")

    async def _has_begun(self, run: Run) -> bool:
        """True once a monitor has taken it on, which is watched from then on."""
        if begun := await asyncio.to_thread(run.journal.begun) is not None:
            await self._take_on(run)
        return begun

    async def _take_on(self, run: Run, *, adopted: bool = False) -> None:
        """Find out how it stands with a run that has no final record yet, and go on from there."""
        if (
            found := await self._in_thread(partial(standing, run.journal))
        ) is None:  # tried again by the look from time to time
            self._untaken.add(run.id)
            return
        begun, pid, asked, final = found
        if begun is not None:
            run.began, run.limits = begun.get("time") or run.began, begun.get("limits") or {}
        if final is not None:
            await self._conclude(run, final)
        elif pid:
            self._dispatch.started(run)
            run.monitor = max(pid, 0)
            run.adopted = run.adopted or adopted
            if asked is not None or run.state is RunState.CANCELLING:
                run.state = RunState.CANCELLING
                wake(pid)
            else:
                run.state = RunState.RUNNING
            self._tell(run)
            self._monitors.watch(run.id, pid)
        elif begun is None and self._same_machine(run):
            self._wait(run, asked)
        else:
            await self._lost(run, begun is not None)

    def _wait(self, run: Run, asked: Mapping[str, Any] | None) -> None:
        """It has not begun: queue it, or end it where its end was asked for already."""
        if asked is not None:
            reason = f"cancelled by {asked.get('who') or 'a client'}"
            self._spawn(self._finish_alone(run, "cancelled", reason))
        elif run.state is RunState.QUEUED and run not in self._dispatch:
            run.order = with_settings(run.order, self._settings(run))
            self._dispatch.add(run)

    def _monitor_ended(self, name: str) -> None:
        if (run := self._runs.get(name)) is not None:
            self._spawn(self._after_monitor(run))

    async def _after_monitor(self, run: Run) -> None:
        await self._look_for_final(run)
        if not run.ended and run.id not in self._finals:
            await self._lost(run, begun=True)

    async def _look_for_final(self, run: Run) -> None:
        if (final := await asyncio.to_thread(run.journal.final)) is not None:
            await self._conclude(run, final)

    async def _lost(self, run: Run, begun: bool) -> None:
        """Nothing watches over it, and nothing says how it ended: kill what is left, and say so."""
        token = orphans.token_of(run.location, run.id)
        await self._in_thread(partial(clear, (), (token,), (orphans.mark_of(token),)))
        if not self._same_machine(run):
            reason = "ended with its machine"
        elif str(run.order.get("namespace")) != self._here:
            reason = "ended with its container"
        else:
            trouble = await asyncio.to_thread(run.journal.trouble)
            reason = "its monitor was killed" + (f" ({trouble})" if trouble else "")
        if not begun:
            reason += " before it began"
        await self._finish(run, "lost", reason)

    async def _finish(self, run: Run, state: str, reason: str) -> bool:
        """Write the final record of a run without a monitor; False when one has it meanwhile."""
        try:
            written = await self._in_thread(
                partial(run.journal.finish, state, reason, began=run.began)
            )
        except OSError as error:  # a full disk: tried again by the look from time to time
            run.reason = f"its final record cannot be written: {(error.strerror or '').lower()}"
            self._unwritten[run.id] = state, reason
            self._tell(run)
            return False
        final = await asyncio.to_thread(run.journal.final)
        if written and final is not None:
            await self._conclude(run, final)
        return written

    async def _finish_alone(self, run: Run, state: str, reason: str) -> None:
        if not await self._finish(run, state, reason) and run.id not in self._unwritten:
            await self._take_on(run)  # a monitor has it

    async def _conclude(self, run: Run, final: Mapping[str, Any]) -> None:
        """It has its final record: have it repeated where that is due, and then tell."""
        if run.id not in self._finals and not run.ended:
            self._finals[run.id] = final
            await self._retry(run, final)
            self._ended(run, final)

    async def _retry(self, run: Run, final: Mapping[str, Any]) -> None:
        """Order the run that repeats it, where one is due: once, whatever is killed when."""
        ended = final.get("ended")
        order = again(run.order, final, ended if isinstance(ended, float) else time.time())
        if order is None or self._ending:  # a next supervisor orders it
            return
        made = self._made(order)
        try:
            name = await self._in_thread(partial(run.journal.order_again, made))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            _log.warning("run %s is not repeated: its journal cannot be written: %s", run.id, why)
            return
        run.retried_by = name
        if name in self._runs:
            return
        if name != made["run"]:  # planned by an earlier supervisor
            known = await self._in_thread(Journal(self._directory / name).order)
            made = known or {**made, "run": name}
        other = self._add(Run(made, Journal(self._directory / name)))
        await self._take_on(other)

    def _ended(self, run: Run, final: Mapping[str, Any]) -> None:
        if run.ended:
            return
        run.finished(final)
        self.figures.ended(run)
        run.monitor = 0
        self._living.pop(run.id, None)
        self._finals.pop(run.id, None)
        self._unwritten.pop(run.id, None)
        self._untaken.discard(run.id)
        self._monitors.forget(run.id)
        self._run_limits.remove(run.id, run.limits)
        _log.info("run %s of %s in %s: %s %s", run.id, run.order.get("job"), run.location,
                  run.state, run.reason)  # fmt: skip
        self._dispatch.remove(run)
        self._tell(run)
        self.keeper.look()
        self.when_ended(run)

    async def _look_from_time_to_time(self) -> None:
        """Find what is not reported: monitors without a pidfd, lost datagrams, a removed socket."""
        while True:
            await asyncio.sleep(_LOOK)
            if self._runs:
                self._notices.look()
            for run in self.living():
                if run.id in self._unwritten:
                    await self._finish_alone(run, *self._unwritten.pop(run.id))
                elif run.began is not None or run.id in self._untaken:
                    run.tell()
                    if run.id not in self._monitors:
                        await self._take_on(run)
            self.keeper.look_from_time_to_time()
            self._spawn(self._untold.look(list(self._runs.values())))

    # Hearing and telling.

    def _hear(self, text: str) -> None:
        """A monitor said that there is news of its run."""
        name, _, said = text.partition(" ")
        if (run := self._runs.get(name)) is None:
            return
        if run in self._dispatch:  # one that an earlier supervisor had forked
            self._spawn(self._take_on(run, adopted=True))
        what, _, trouble = said.partition(" ")
        if what == "trouble" and not run.ended:
            run.reason = trouble
        elif what == "ended":
            self._spawn(self._look_for_final(run))
        run.tell()

    def _tell(self, run: Run | None = None) -> None:
        if run is not None:
            run.tell()
        self.news.tell()
        self._changed()

    def _same_machine(self, run: Run) -> bool:
        return run.order.get("boot") == self._boot

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._locks, work)
