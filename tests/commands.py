"""Runs the real ``supervise`` command for tests, in the foreground and once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from supervised import environ

COMMAND = [sys.executable, "-m", "supervisor.cli"]
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

    def rest(self) -> list[str]:
        """Read to the end of its output."""
        assert self.process.stdout is not None
        lines = [line.rstrip("\n") for line in self.process.stdout]
        self.seen += lines
        return lines

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
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError):
            self.rest()
        status = self.process.wait(DEADLINE)
        self.process.stdout.close()
        return status


@contextlib.contextmanager
def foreground(cwd: Path, runtime: Path, *arguments: str, **extra: str) -> Iterator[Foreground]:
    """A ``Foreground`` that has ended at the end."""
    running = Foreground(cwd, runtime, arguments, **extra)
    try:
        yield running
    finally:
        running.end()


def in_terminal(
    arguments: list[str], *, cwd: Path, env: Mapping[str, str], columns: int, rows: int = 24
) -> tuple[int, int]:
    """Start a command with a pseudo-terminal of that size; returns its pid and our end."""
    import fcntl
    import pty
    import struct
    import termios

    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.chdir(cwd)
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            os.execvpe(arguments[0], arguments, dict(env))
        finally:
            os._exit(127)
    return pid, terminal
