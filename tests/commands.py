"""Runs the real ``supervise`` command for tests, in the foreground and once."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from supervised import environ, poll_now

COMMAND = [sys.executable, str(Path(__file__).parent / "programs" / "supervise.py")]
DEADLINE = 60.0

TEAM = """\
from runner_shim import Definitions, job, op, schedule

@op
def clean():
    "Cleans."

@job(tags={"team": "risk"})
def nightly():
    "Runs at night."
    clean()

@job
def hourly():
    clean()

@schedule(cron_schedule="0 1 * * *", job=nightly)
def every_night():
    return {}

print("team was loaded")
defs = Definitions(jobs=[nightly, hourly], schedules=[every_night])
"""

BROKEN = """\
def load():
    import no_such_library_here

load()
"""


def variables(runtime: Path, **extra: str) -> dict[str, str]:
    """The environment of a command: no colours asked for, none forbidden, no CI."""
    found = environ(runtime, **extra)
    for name in ("NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS", "SUPERVISE_DEBUG"):
        if name not in extra:
            found.pop(name, None)
    return found


def supervise(
    *arguments: str | Path, cwd: Path, runtime: Path, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=variables(runtime, **extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def supervise_json(*arguments: str | Path, cwd: Path, runtime: Path) -> Any:
    """What a command with ``--json`` prints."""
    done = supervise(*arguments, "--json", cwd=cwd, runtime=runtime)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


class Foreground:
    """``supervise`` in the foreground with its output in a pipe."""

    def __init__(
        self, cwd: Path, runtime: Path, arguments: tuple[str, ...] = (), **extra: str
    ) -> None:
        self.cwd = cwd
        self.runtime = runtime
        self.seen: list[str] = []
        self._known = 0
        self._reading: threading.Thread | None = None
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=cwd,
            env=variables(runtime, **extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def until(self, true: Callable[[str], Any]) -> str:
        """Read on to the first line for which ``true(line)``."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(line.rstrip("\n"))
            if true(self.seen[-1]):
                return self.seen[-1]
        raise AssertionError("\n".join(["it ended; it said:", *self.seen]))

    def read_on(self) -> None:
        """Have its output read in a thread from now on: a full pipe must not hold it up."""
        self._reading = threading.Thread(target=self._read, name="reading", daemon=True)
        self._reading.start()

    def rest(self) -> list[str]:
        """Read to the end of its output; the lines since ``until`` returned."""
        if self._reading is None:
            self._read()
        else:
            self._reading.join()
        return self.seen[self._known :]

    def _read(self) -> None:
        assert self.process.stdout is not None
        self._known = len(self.seen)
        for line in self.process.stdout:
            self.seen.append(line.rstrip("\n"))

    def run(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """One command beside it."""
        return supervise(*arguments, cwd=self.cwd, runtime=self.runtime, **extra)

    def json(self, *arguments: str) -> Any:
        """What one command with ``--json`` prints."""
        return supervise_json(*arguments, cwd=self.cwd, runtime=self.runtime)

    def end(self) -> int:
        """Stop it and everything it runs; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return ended(self.process, self.rest)


def ended(process: subprocess.Popen[str], read: Callable[[], Any]) -> int:
    """The exit status of a command that was asked to end, which is gone then in any case.

    ``read`` reads its output to the end: a full pipe must not hold it up.
    """
    assert process.stdout is not None
    deadline = time.monotonic() + DEADLINE
    late = threading.Timer(DEADLINE, process.kill)
    late.start()
    try:
        with contextlib.suppress(ValueError):  # it was closed already
            read()
        status = process.wait()
        assert time.monotonic() < deadline, f"it did not end within {DEADLINE:g} s"
        return status
    finally:
        late.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def foreground(cwd: Path, runtime: Path, *arguments: str, **extra: str) -> Iterator[Foreground]:
    """A ``Foreground`` that has ended at the end."""
    running = Foreground(cwd, runtime, arguments, **extra)
    try:
        yield running
    finally:
        running.end()


class Terminal:
    """A command in a pseudo-terminal, and our end of it; ``text`` is what it wrote so far."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self.text = ""
        self._descriptor = descriptor
        self._status: int | None = None

    def until(self, wanted: str, seconds: float = DEADLINE) -> None:
        """Read until ``wanted`` was written since the last call."""
        deadline = time.monotonic() + seconds
        start = len(self.text)
        while wanted not in self.text[start:]:
            assert time.monotonic() < deadline, (wanted, self.text[start:])
            if select.select([self._descriptor], [], [], 0.5)[0]:
                try:
                    self.text += os.read(self._descriptor, 65536).decode("utf-8", "replace")
                except OSError:  # the other end is closed
                    assert wanted in self.text[start:], self.text[start:]
                    return

    def press(self, keys: bytes) -> None:
        """What somebody types."""
        os.write(self._descriptor, keys)

    def hang_up(self) -> None:
        """Close our end."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def wait(self) -> int:
        """Its exit status, as ``subprocess`` has it."""
        poll_now(self._collected, "the command has ended", DEADLINE)
        assert self._status is not None
        return self._status

    def end(self) -> None:
        """Kill it if it still runs, and close our end."""
        if not self._collected():
            os.kill(self.pid, signal.SIGKILL)
        self.hang_up()
        self.wait()

    def _collected(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status is not None


@contextlib.contextmanager
def in_terminal(
    arguments: list[str], *, cwd: Path, env: Mapping[str, str], columns: int, rows: int = 24
) -> Iterator[Terminal]:
    """A command in a pseudo-terminal of that size; it is gone at the end."""
    import fcntl
    import pty
    import struct
    import termios

    pid, descriptor = pty.fork()
    if pid == 0:
        try:
            os.chdir(cwd)
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            os.execvpe(arguments[0], arguments, dict(env))
        finally:
            os._exit(127)
    terminal = Terminal(pid, descriptor)
    try:
        yield terminal
    finally:
        terminal.end()
