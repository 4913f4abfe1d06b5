"""Process 1 of a container: collects what is orphaned, and keeps the supervisor running.

A container ends with its process 1, and its runs with it. So where ``supervise run`` is process 1, that
becomes this program, which starts the command again as a child, passes signals on to it, collects
processes that nothing else collects, and starts the supervisor again when it was killed, with
a growing delay, or has ended to be replaced. Its own exit status is otherwise the supervisor's.

Run as a script (``python -I -S pid1.py COMMAND [ARGUMENT ...]``); imports the standard library alone.
"""

from __future__ import annotations

import os
import signal
import sys
import time

__all__ = ["REPLACED", "become"]

REPLACED = 75
"""Exit status of a supervisor that has left its runs to the next one (EX_TEMPFAIL of sysexits.h)."""

_PASSED_ON = (
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGWINCH,
)  # fmt: skip
_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 30.0
# A supervisor that has lived so long has started (seconds): its delay is the first again, and an
# exit with status 1 is a crash.
_STABLE = 60.0
_CRASHED = 1


def become() -> None:
    """Have this process, process 1, be that program, which runs this process's command."""
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, *command])  # noqa: S606


class _Init:
    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._signals = {signal.SIGCHLD, *_PASSED_ON}
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        self._child = 0
        self._began = 0.0
        self._delay = _FIRST_DELAY
        self._stopping = False

    def run(self) -> int:
        """Until the supervisor ends and is not started again; its exit status."""
        due = 0.0  # when it is started, while there is none
        while True:
            if not self._child and time.monotonic() >= due:
                self._start()
            wait = 3600.0 if self._child else max(due - time.monotonic(), 0.0)
            found = signal.sigtimedwait(self._signals, wait)
            if found is not None and found.si_signo != signal.SIGCHLD:
                self._stopping |= found.si_signo in _TO_STOP
                if self._child:
                    os.kill(self._child, found.si_signo)
                elif self._stopping:
                    return 0
            status = self._collect()
            if status is None:
                continue
            self._child = 0
            code = os.waitstatus_to_exitcode(status)
            if not self._starts_again(code):
                return code if code >= 0 else 128 - code
            due = time.monotonic() + self._pause(code)

    def _start(self) -> None:
        self._began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            try:
                # A group of its own: what a terminal sends it does not come twice.
                os.setpgid(0, 0)
                signal.signal(signal.SIGTTOU, signal.SIG_IGN)
                if os.isatty(0):
                    os.tcsetpgrp(0, os.getpgrp())
                signal.signal(signal.SIGTTOU, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)
                os.execv(self._command[0], self._command)  # noqa: S606
            except OSError as error:
                _say(f"{self._command[0]} cannot be started: {error.strerror}")
            finally:
                os._exit(127)
        self._child = pid

    def _collect(self) -> int | None:
        """Collect all that has ended; the wait status of the supervisor when that is among it."""
        found = None
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return found
            if pid == 0:
                return found
            if pid == self._child:
                found = status

    def _starts_again(self, code: int) -> bool:
        if self._stopping:
            return False
        lived = time.monotonic() - self._began
        return code < 0 or code == REPLACED or (code == _CRASHED and lived >= _STABLE)

    def _pause(self, code: int) -> float:
        if code == REPLACED:
            self._delay = _FIRST_DELAY
            return 0.0
        if time.monotonic() - self._began >= _STABLE:
            self._delay = _FIRST_DELAY
        delay, self._delay = self._delay, min(self._delay * 2, _LONGEST_DELAY)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else "crashed"
        _say(f"the supervisor {how}: it is started again in {delay:g} s")
        return delay


def _say(text: str) -> None:
    os.write(2, f"supervise: {text}\n".encode())


if __name__ == "__main__":
    sys.exit(_Init(sys.argv[1:]).run())
