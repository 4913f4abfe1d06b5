"""The monitor of one run: holds its pipes, its time limit and its end, and needs no other process.

A program of its own (``monitor_program``). The shim that the run is forked from executes it in the process
that is the run's parent (runner_shim/process/birth.py), so it has the run as a child, the journal's lock and the
reading ends of the pipes. It writes the events and the output into the journal (``journal`` says what
lies there), ends the run when a file ``cancel`` says so or its time is over, kills all that the run
has left, and writes the one ``final`` record. It goes on without the supervisor and without the shim.

It runs with ``-I -S`` and imports the standard library and ``runner_shim.records``; what it holds in
memory is bounded. Each run starts one, so it imports little: ``_signal``, because ``signal`` makes enums.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import select
import sys
import time

from runner_shim import records
from supervisor.processes.reporting import report
from supervisor.runs.met_limits import MetLimits
from supervisor.runs.recording import Events, Output, read_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import Any
else:
    import _signal

__all__ = ["FINAL_ROOM", "PROGRAM", "main"]

FINAL_ROOM = 64 * 1024
"""Bytes of the final record at most: as many as its birth has taken on the disk."""
PROGRAM = __file__.rpartition("/")[0] + "/monitor_program.py"
"""The file that an interpreter is given to be a monitor."""

_BLOCK = 64 * 1024
_LOOK = 1.0
_STACK_SIGNAL, _STACK_SECONDS = 62, 0.5  # see runner_shim/process/request_loop.py
_EXIT_SECONDS, _SWEEP_SECONDS = (
    30.0,
    10.0,
)  # of exit functions once the outcome is known, of the rest


class Ladder:
    """How the run is ended: by what and when, one rung after the other."""

    def __init__(self, kill: Callable[[int], None], grace: float) -> None:
        self._kill = kill
        self._grace = grace
        self._rungs: list[tuple[float, int]] = []

    def begin(self, now: float, *, after: float = 0.0) -> None:
        """Send SIGINT; then, after the grace period, SIGTERM and SIGKILL."""
        if not self._rungs:
            first = now + after
            self._rungs = [
                (first, _signal.SIGINT),
                (first + self._grace, _signal.SIGTERM),
                (first + self._grace * 1.5, _signal.SIGKILL),
            ]

    def hurry(self, now: float) -> None:
        """Kill now."""
        self._rungs = [(now, _signal.SIGKILL)]

    def climb(self, now: float) -> float:
        """Do what is due; seconds until the next rung."""
        while self._rungs and self._rungs[0][0] <= now:
            _, number = self._rungs[0]
            # The last stays: what it does not end at once waits for a disk, and is killed again.
            self._rungs = self._rungs[1:] or [(now + _LOOK, _signal.SIGKILL)]
            self._kill(number)
        return self._rungs[0][0] - now if self._rungs else _LOOK


class Monitor:
    """The monitor of the run ``pid``, which ``began`` then (Unix microseconds); the rest are descriptors."""

    def __init__(
        self,
        pid: int,
        directory: int,
        lock: int,
        events: int,
        out: int,
        err: int,
        line: int,
        reporter: int,
        began: int = 0,  # a shim from before an upgrade does not say it
    ) -> None:
        self._pid = pid
        self._directory = directory
        self._began = time.monotonic()
        self._started = began / 1e6 or time.time()
        os.set_inheritable(directory, False)
        os.set_inheritable(lock, False)
        os.set_inheritable(line, False)
        os.set_inheritable(reporter, False)
        self._reporter = reporter
        self._order = read_map(directory, "order") or {}
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._room = os.open("final.room", flags, 0o600, dir_fd=directory)  # there since its birth
        self._events = Events(directory)
        self._streams = {out: Output(directory, "out"), err: Output(directory, "err")}
        self._limits = MetLimits((read_map(directory, "begun") or {}).get("limits"))
        self._pipe = events
        self._ladder = Ladder(self._kill, float(self._order.get("grace") or 10.0))
        self._cancel: dict[str, Any] | None = None
        self._hurried = self._over = self._timed_out = False
        self._notify = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        self._notify.setblocking(False)
        timeout = self._order.get("timeout")
        self._until = self._began + timeout if isinstance(timeout, int | float) else None
        self._poll = select.poll()
        for descriptor in (events, out, err):
            os.set_blocking(descriptor, False)
            os.set_inheritable(descriptor, False)
            self._poll.register(descriptor, select.POLLIN)
        self._open = {events, out, err}

    def watch(self, woken: int) -> None:
        """Until the run has ended, and then to the final record; ``woken`` is readable at a signal."""
        self._poll.register(woken, select.POLLIN)
        looked = 0.0
        while not self._has_ended():
            now = time.monotonic()
            if now - looked >= _LOOK:
                looked = now
                self._look(now)
            wait = min(self._ladder.climb(now), looked + _LOOK - now)
            if self._until is not None and not self._over:
                wait = min(wait, self._until - now)
            for descriptor, _ in self._poll.poll(max(0, int(wait * 1000) + 1)):
                if descriptor == woken:
                    os.read(woken, 4096)
                    self._look(time.monotonic())
                else:
                    self._read(descriptor)
        self._finish()

    def _read(self, descriptor: int) -> bool:
        """True when something came."""
        try:
            data = os.read(descriptor, _BLOCK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._poll.unregister(descriptor)
            self._open.discard(descriptor)
            return False
        if descriptor == self._pipe:
            self._events.feed(data)
            if self._events.outcome is not None:
                until = time.monotonic() + _EXIT_SECONDS
                self._until = until if self._until is None else min(until, self._until)
        else:
            self._streams[descriptor].write(data)
        self._tell()
        return True

    def _drain(self) -> None:
        """What is still in the pipes; at most what they hold, for others may write to them."""
        for descriptor in sorted(self._open):
            left = 32
            while left and self._read(descriptor):
                left -= 1

    def _look(self, now: float) -> None:
        """At what is asked of it, and at the clock."""
        self._events.flush()
        if self._until is not None and now >= self._until and not self._over:
            self._over = True
            self._timed_out = self._events.outcome is None
            if self._timed_out:
                self._events.say(
                    "ENGINE_EVENT", f"the {self._order['timeout']:g} s that it may take are over"
                )
                self._kill(_STACK_SIGNAL, alone=True)
            self._ladder.begin(now, after=_STACK_SECONDS)
        asked = read_map(self._directory, "cancel")
        if asked is None:
            return
        if self._cancel is None:
            self._events.say("RUN_CANCELING", f"cancelled by {asked.get('who') or 'a client'}")
            self._tell()
            self._ladder.begin(now)
        self._cancel = asked
        if asked.get("how") == "now" and not self._hurried:
            self._hurried = True
            self._ladder.hurry(now)

    def _kill(self, number: int, *, alone: bool = False) -> None:
        try:
            (os.kill if alone else os.killpg)(self._pid, number)
        except OSError:
            return
        if number == _signal.SIGKILL:
            self._kill_children()

    def _has_ended(self) -> bool:
        # What the run has left and has ended is ours, too.
        while True:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return False
            if found.si_pid == self._pid:
                return True
            os.waitpid(found.si_pid, os.WNOHANG)

    def _finish(self) -> None:
        # It is still a zombie: its process id belongs to no other process.
        try:  # noqa: SIM105  # contextlib is large
            os.killpg(self._pid, _signal.SIGKILL)
        except OSError:
            pass
        _, status = os.waitpid(self._pid, 0)
        self._drain()
        self._sweep()
        self._drain()
        self._events.feed(b"", last=True)
        final = self._final(status)
        for text in self._limits.told():
            self._events.say("ENGINE_EVENT", text)
        self._limits.close()
        if not self._events.ended:
            kind = {"success": "RUN_SUCCESS", "cancelled": "RUN_CANCELED"}.get(final["state"])
            self._events.say(kind or "RUN_FAILURE", final["reason"])
        self._events.close()
        final["events"], final["dropped"] = self._events.count, self._events.dropped
        self._write_final(records.framed(records.pack(final)))
        self._tell("ended")
        if final["untold"]:
            report(self._reporter, self._directory, final)
            self._sweep()

    def _sweep(self) -> None:
        """Kill what the run has left, wherever it went: we are its subreaper."""
        until = time.monotonic() + _SWEEP_SECONDS
        while time.monotonic() < until:
            self._kill_children()
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            self._drain()
            time.sleep(0.01)

    def _kill_children(self) -> None:
        with open("/proc/thread-self/children", "rb") as file:  # noqa: PTH123  # pathlib is large
            for pid in map(int, file.read().split()):
                if pid != self._pid:
                    try:
                        os.kill(pid, _signal.SIGKILL)
                    except OSError:
                        continue

    def _final(self, status: int) -> dict[str, Any]:
        outcome = self._events.outcome
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        step, failure = self._events.step, None
        in_step = f" in step {step!r}" if step else ""
        how = f"was killed by {_signal_name(number)}" if number else f"exited with status {code}"
        limit = self._limits.fatal() if number == _signal.SIGKILL and not self._hurried else ""
        if limit:
            how = f"was killed at its {limit}"
        if outcome is not None and outcome.get("state") == "success":
            state, reason = "success", ""
        elif outcome is None and code == 0 and self._events.damaged and self._events.succeeded:
            state, reason = "success", ""  # the record of its outcome is what was damaged
        elif self._cancel is not None:
            state, reason = "cancelled", f"cancelled by {self._cancel.get('who') or 'a client'}"
        elif self._timed_out:
            state, reason = (
                "timed_out",
                f"it took longer than {self._order['timeout']:g} s{in_step}",
            )
        else:
            state, reason = "failure", f"its process {how}{in_step}"
        if outcome is not None and state == "failure":
            failure = outcome.get("failure")
            text = failure.get("message") if isinstance(failure, dict) else None
            reason = str(text or reason)[:2000]
        return {
            "state": state,
            "reason": reason,
            "step": step or None,
            "status": code,
            "signal": number,
            "limit": limit or None,
            # It had no time to tell its framework.
            "untold": None if outcome is not None else self._recorded(),
            "failure": _bounded(failure),
            "began": self._started,
            "ended": time.time(),
            "lost_output": sum(one.lost for one in self._streams.values()),
        }

    def _recorded(self) -> str | None:
        """The framework whose own records know of the run; of some before it begins."""
        return self._events.recorded or self._order.get("recorded") or None

    def _write_final(self, record: bytes) -> None:
        while True:
            try:
                os.pwrite(self._room, record, 0)
                os.ftruncate(self._room, len(record))
                os.fsync(self._room)
                os.link(
                    "final.room", "final", src_dir_fd=self._directory, dst_dir_fd=self._directory
                )
                os.unlink("final.room", dir_fd=self._directory)
                os.fsync(self._directory)
                return
            except FileExistsError:
                return
            except OSError as error:
                if error.errno == errno.ENOENT:  # the journal was removed: nothing to keep it for
                    raise
                # A disk that is full or fails: for as long as it does the run has no end.
                reason = f"its end cannot be written: {(error.strerror or '').lower()}"
                self._tell(f"trouble {reason}")
                time.sleep(_LOOK)

    def _tell(self, what: str = "news") -> None:
        """Have the supervisor hear of ``news`` to read, of ``trouble`` and which, or that it has
        ``ended``; it need not listen."""
        try:
            said = f"{self._order['run']} {what}".encode()
            self._notify.sendto(said, str(self._order["notify"]))
        except OSError:
            return  # there is no supervisor, or it looks by itself


def _bounded(failure: Any) -> Any:
    """A failure that fits into the room of the final record."""
    if not isinstance(failure, dict):
        return None
    for left_out in ((), ("traceback",), ("traceback", "causes", "frames")):
        kept = {name: value for name, value in failure.items() if name not in left_out}
        if len(records.pack(kept)) < FINAL_ROOM - 8192:
            return kept
    return {"kind": "exception", "message": str(failure.get("message"))[:2000]}


def _signal_name(number: int | None) -> str:
    for name in dir(_signal):
        if name.startswith("SIG") and "_" not in name and getattr(_signal, name) == number:
            return name
    return f"signal {number}"


def main() -> None:
    """Be the monitor whose run, descriptors and time the last argument names; does not return when all went well."""
    os.chdir("/")
    numbers = [int(one) for one in sys.argv[-1].split(":")]
    lock = numbers[2]
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held since before the exec
    woken, wakes = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wakes, False)
    _signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    for number in (_signal.SIGTERM, _signal.SIGCHLD):
        _signal.signal(number, lambda *_: None)
    for number in (_signal.SIGINT, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGPIPE):
        _signal.signal(number, _signal.SIG_IGN)
    monitor = Monitor(*numbers)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    monitor.watch(woken)
    os._exit(0)  # all is on the disk: nothing is left that an interpreter's end would do
