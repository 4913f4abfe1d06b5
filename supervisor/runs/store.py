"""All runs of a workspace: started, watched, adopted from an earlier supervisor, and told of.

Owns the directory of journals and the set of runs made from it. A run's monitor is what ends it and
writes how; this learns of it by the monitor's end (pidfd_open(2)) and, in between, by datagrams on a
socket. Where a monitor is gone without a final record, what the run has left is killed by its token and
the record is written here: ``lost``. How a run's process comes to life is the argument ``place``.

Files are read and written in threads; everything about locks in one, because closing any descriptor
of a file gives back this process's locks on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from supervisor import procfs
from supervisor.errors import RequestError, UnknownRunError
from supervisor.fleet.change_signal import ChangeSignal
from supervisor.processes import orphans
from supervisor.processes.reaper import clear
from supervisor.processes.run_limits import RunLimits
from supervisor.running_time import RunningTime
from supervisor.runs.journal import FORMAT, Journal, boot_id
from supervisor.runs.run import Run, new_id
from supervisor.runs.untold import Report, Untold
from supervisor.states import RUN_ENDED, RunState

__all__ = ["CannotStartError", "Place", "Runs"]

_log = logging.getLogger(__name__)

Place = Callable[[Run], Awaitable[str]]
"""Has the run's monitor and process forked; why in a fresh process, or "". Raises
``CannotStartError``."""

_T = TypeVar("_T")

_KEEP = 500
# How long a monitor may take to take the run on (seconds of running time), and between two looks.
_BEGIN = 30.0
_LOOK_FOR_BEGIN = 0.02
# Of a monitor nobody tells where there is no pidfd, and datagrams can be lost (seconds).
_LOOK = 1.0
_TO_CANCEL = 30.0


class CannotStartError(Exception):
    """The run has no process; the text says why."""


class Runs:
    """The runs whose journals lie in ``directory``; ``notify`` is where their monitors send datagrams.

    ``changed`` is called after anything a client can see has changed.
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
        self._directory = directory
        self._notify = notify
        self._place = place
        self._limits = limits
        self._untold = Untold(report)
        self._changed = changed
        self._runs: dict[str, Run] = {}
        self._locks = ThreadPoolExecutor(1, "runs")
        self._tasks: set[asyncio.Task[None]] = set()
        self._watched: dict[str, int] = {}
        self._socket: socket.socket | None = None
        self._boot = ""
        self._here = ""
        self._pruning = False
        self._closing = False

    # Opening and closing.

    async def open(self) -> None:
        """Take on what earlier supervisors have left."""
        self._listen()
        self._boot = await self._in_thread(boot_id)
        self._here = _namespace()
        self._spawn(self._look_from_time_to_time())
        for run in await self._in_thread(self._read_all):
            self._runs[run.id] = run
            if not run.ended:
                await self._take_on(run)
        self._tell()

    async def close(self) -> None:
        """Let go of all runs: those that live go on."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        loop = asyncio.get_running_loop()
        for pidfd in self._watched.values():
            loop.remove_reader(pidfd)
            os.close(pidfd)
        self._watched.clear()
        if self._socket is not None:
            loop.remove_reader(self._socket)
            self._socket.close()
            self._notify.unlink(missing_ok=True)
        await asyncio.to_thread(self._locks.shutdown)

    async def end(self, grace: float, *, at_once: bool = False) -> None:
        """Have all runs end: those that do not by themselves within ``grace`` seconds are cancelled."""
        if not at_once and grace > 0:
            await self.news.wait(lambda: not self.living(), grace)
        for run in self.living():
            await self.cancel(run, "the supervisor, which was stopped", now=at_once)
        longest = max((float(one.order.get("grace") or 10.0) for one in self.living()), default=0.0)
        await self.news.wait(lambda: not self.living(), _TO_CANCEL + 2 * longest)

    # What clients ask.

    def get(self, name: str, sees: Callable[[str], bool] = lambda location: True) -> Run:
        """The run of that id, or of the one id that begins so; raises ``UnknownRunError``.

        There are those of locations that ``sees``.
        """
        runs = {key: one for key, one in self._runs.items() if sees(one.location)}
        run = runs.get(name)
        if run is not None:
            return run
        alike = [one for key, one in runs.items() if name and key.startswith(name)]
        alike = alike or [one for key, one in runs.items() if name and key.endswith(name)]
        if len(alike) == 1:
            return alike[0]
        if alike:
            raise RequestError(f"{len(alike)} runs have {name!r} in their ids: give more of it")
        raise UnknownRunError(name, hint="`supervise runs` lists those that are kept")

    def newest_first(self) -> list[Run]:
        """All that are kept."""
        return sorted(self._runs.values(), key=lambda one: (one.created, one.id), reverse=True)

    def living(self) -> list[Run]:
        """Those without a final record."""
        return [one for one in self._runs.values() if not one.ended]

    async def launch(
        self, order: Mapping[str, Any], *, name: str = "", place: Place | None = None
    ) -> Run:
        """Have ``order`` (docs/runs.md) on the disk, and then run; raises ``RequestError``.

        ``name`` is the id that it has already, ``place`` what has it forked where that differs.
        """
        if name in self._runs:
            raise RequestError(f"there is a run {name} already")
        full = {
            **order,
            "format": FORMAT,
            "run": name or new_id(),
            "created": time.time(),
            "boot": self._boot,
            "namespace": self._here,
            "notify": str(self._notify),
        }
        journal = Journal(self._directory / full["run"])
        try:
            await self._in_thread(partial(self._create, journal, full))
        except OSError as error:
            raise RequestError(
                f"the run's journal cannot be written: {(error.strerror or str(error)).lower()}"
            ) from None
        run = self._runs[full["run"]] = Run(full, journal)
        self._spawn(self._start(run, place or self._place))
        self._tell(run)
        return run

    async def cancel(self, run: Run, who: str, *, now: bool = False) -> None:
        """Have it end: asked first, or killed ``now``. Nothing happens to one that has ended."""
        if run.ended:
            return
        with contextlib.suppress(OSError):
            await self._in_thread(partial(run.journal.ask, who, "now" if now else "ask"))
        if run.state in RUN_ENDED:  # meanwhile
            return
        run.state, run.reason = RunState.CANCELLING, f"cancelled by {who}"
        pid = await self._in_thread(run.journal.monitor)
        if pid > 0:
            _wake(pid)
        self._tell(run)

    # Starting.

    def _create(self, journal: Journal, order: Mapping[str, Any]) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        if order.get("instance") and not order.get("shared_instance"):
            Path(order["instance"]).mkdir(mode=0o700, parents=True, exist_ok=True)
        journal.create(order)

    async def _start(self, run: Run, place: Place) -> None:
        """Have it forked, and wait until its monitor has it."""
        try:
            if await self._in_thread(run.journal.cancelled) is not None:
                await self._finish(run, "cancelled", run.reason or "cancelled before it began")
                return
            run.fresh_because = await place(run)
            if run.state is RunState.QUEUED:
                run.state = RunState.STARTING
                self._tell(run)
            time_left = RunningTime(_BEGIN)
            while not await self._has_begun(run):
                trouble = await asyncio.to_thread(run.journal.trouble)
                if trouble or time_left.step() <= 0:
                    text = trouble or f"its monitor did not begin within {_BEGIN:g} s"
                    if await self._finish(run, "failure", f"it cannot be started: {text}"):
                        return
                await asyncio.sleep(_LOOK_FOR_BEGIN)
        except CannotStartError as error:
            cancelled = run.state is RunState.CANCELLING
            state, reason = ("cancelled", run.reason) if cancelled else ("failure", str(error))
            await self._finish(run, state, reason)
        except OSError as error:
            _log.exception("run %s", run.id)
            run.reason = f"its journal cannot be used: {error.strerror}"
            self._tell(run)

    async def _has_begun(self, run: Run) -> bool:
        """True once a monitor has taken it on, which is watched from then on."""
        if await asyncio.to_thread(run.journal.begun) is None:
            return False
        await self._take_on(run)
        return True

    # Watching.

    async def _take_on(self, run: Run) -> None:
        """Find out how it stands with a run that has no final record yet, and go on from there."""
        begun, pid, asked, final = await self._in_thread(partial(_look, run.journal))
        if final is not None:
            self._ended(run, final)
        elif pid:
            run.monitor = max(pid, 0)
            run.adopted = run.state is RunState.QUEUED
            run.began = (begun or {}).get("time") or run.began
            run.limits = (begun or {}).get("limits") or {}
            if asked is not None or run.state is RunState.CANCELLING:
                run.state = RunState.CANCELLING
                _wake(pid)
            else:
                run.state = RunState.RUNNING
            self._tell(run)
            self._watch(run, pid)
        elif begun is None and self._same_machine(run):
            self._spawn(self._start(run, self._place))
        else:
            await self._lost(run, begun is not None)

    def _watch(self, run: Run, pid: int) -> None:
        if pid < 0 or run.id in self._watched:
            return
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return  # it has ended, or there are no pidfds: the look from time to time notices
        self._watched[run.id] = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._monitor_ended, run, pid)

    def _unwatch(self, run: Run) -> None:
        pidfd = self._watched.pop(run.id, None)
        if pidfd is not None:
            asyncio.get_running_loop().remove_reader(pidfd)
            os.close(pidfd)

    def _monitor_ended(self, run: Run, pid: int) -> None:
        self._unwatch(run)
        with contextlib.suppress(ChildProcessError):  # an earlier supervisor's
            os.waitpid(pid, os.WNOHANG)
        self._spawn(self._after_monitor(run))

    async def _after_monitor(self, run: Run) -> None:
        await self._look_for_final(run)
        if not run.ended:
            await self._lost(run, begun=True)

    async def _look_for_final(self, run: Run) -> None:
        final = await asyncio.to_thread(run.journal.final)
        if final is not None:
            self._ended(run, final)

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
            written = await self._in_thread(partial(_finish, run.journal, state, reason, run.began))
        except OSError as error:  # a full disk: tried again by the look from time to time
            run.reason = f"its final record cannot be written: {(error.strerror or '').lower()}"
            self._tell(run)
            return False
        final = await asyncio.to_thread(run.journal.final)
        if written and final is not None:
            self._ended(run, final)
        return written

    def _ended(self, run: Run, final: Mapping[str, Any]) -> None:
        if run.ended:
            return
        run.finished(final)
        run.monitor = 0
        self._unwatch(run)
        self._limits.remove(run.id, run.limits)
        _log.info("run %s of %s in %s: %s %s", run.id, run.order.get("job"), run.location,
                  run.state, run.reason)  # fmt: skip
        self._tell(run)
        if len(self._runs) > _KEEP and not self._pruning:
            self._pruning = True
            self._spawn(self._prune())

    async def _prune(self) -> None:
        """Remove the oldest that have ended."""
        try:
            under_way = {one.range_id for one in self.living()} - {None}
            found = [one for one in self.newest_first() if one.range_id not in under_way]
            ended = [one for one in found if one.ended]
            for run in ended[max(_KEEP - len(self.living()), 0) :]:
                del self._runs[run.id]
                await asyncio.to_thread(shutil.rmtree, run.journal.path, ignore_errors=True)
        finally:
            self._pruning = False

    async def _look_from_time_to_time(self) -> None:
        """For what nobody tells: monitors without a pidfd, lost datagrams, a socket taken away."""
        while True:
            await asyncio.sleep(_LOOK)
            if self._socket is not None and self._runs and not self._is_bound():
                self._listen()
            for run in self.living():
                run.news += 1
                begun = run.state in (RunState.RUNNING, RunState.CANCELLING)
                if begun and run.began is not None and run.id not in self._watched:
                    await self._take_on(run)
            if self.living():
                self.news.tell()
            self._spawn(self._untold.look(self._runs.values()))

    # Hearing and telling.

    def _listen(self) -> None:
        """Have a socket where monitors send their datagrams."""
        loop = asyncio.get_running_loop()
        if self._socket is not None:
            loop.remove_reader(self._socket)
            self._socket.close()
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        one.setblocking(False)
        with contextlib.suppress(OSError):
            self._notify.unlink(missing_ok=True)
            one.bind(str(self._notify))
        self._socket = one
        loop.add_reader(one, self._hear)

    def _is_bound(self) -> bool:
        return os.path.lexists(self._notify)

    def _hear(self) -> None:
        assert self._socket is not None
        for _ in range(100):
            try:
                data = self._socket.recv(500)
            except OSError:
                break
            name, _, said = data.decode("utf-8", "replace").partition(" ")
            run = self._runs.get(name)
            if run is not None:
                run.news += 1
                what, _, text = said.partition(" ")
                if what == "trouble" and not run.ended:
                    run.reason = text
                elif what == "ended":
                    self._spawn(self._look_for_final(run))
        self.news.tell()

    def _tell(self, run: Run | None = None) -> None:
        if run is not None:
            run.news += 1
        self.news.tell()
        self._changed()

    def _same_machine(self, run: Run) -> bool:
        return run.order.get("boot") == self._boot

    def _read_all(self) -> list[Run]:
        try:
            paths = sorted(self._directory.iterdir())
        except OSError:
            return []
        return [run for path in paths if (run := _read(path)) is not None]

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._locks, work)

    def _spawn(self, work: Any) -> None:
        if self._closing:
            work.close()
            return
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a run's task failed", exc_info=task.exception())


def _read(path: Path) -> Run | None:
    """The run of a journal; what was never finished being made is removed."""
    journal = Journal(path)
    if path.name.startswith("."):
        shutil.rmtree(path, ignore_errors=True)
        return None
    order = journal.order()
    run = Run(order or {"run": path.name, "location": "?", "job": None}, journal)
    if run.id != path.name:
        return None
    final = journal.final()
    if final is not None:
        run.finished(final)
    begun = journal.begun() or {}
    run.limits = begun.get("limits") or {}
    return run


def _look(
    journal: Journal,
) -> tuple[Mapping[str, Any] | None, int, Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """``begun``, the monitor's process id, ``cancelled`` and, read last, ``final``."""
    pid = journal.monitor()
    return journal.begun(), pid, journal.cancelled(), journal.final()


def _finish(journal: Journal, state: str, reason: str, began: float | None) -> bool:
    return journal.finish(state, reason, began=began)


def _namespace() -> str:
    """Which container this is, as far as processes go: the kernel gives numbers of namespaces away
    again, so it is also known by when its process 1 was started."""
    with contextlib.suppress(OSError, IndexError):
        number = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # below /proc
        started = procfs.read("/proc/1/stat").rpartition(b")")[2].split()[19].decode()
        return f"{number} {started}"
    return ""


def _wake(pid: int) -> None:
    """Have a monitor look at what is asked of it; it would within a second."""
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        finally:
            os.close(pidfd)
