"""A program beside the supervisor, kept alive: Dagster's webserver, its daemon, or our relay.

Owns the process from start to end: when it dies it is started again, at once the first time and then with
a growing delay, without giving up. It hangs on a lifeline and is known to the reaper, so neither it nor
what it started outlives the supervisor. What the program is for is the owner's to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runner_shim import lifeline
from supervisor.locations.location_log import LastWords
from supervisor.locations.restart import Restart, judge, recent
from supervisor.processes.launcher import LaunchError, Output
from supervisor.processes.process import Process
from supervisor.processes.reaper import Reaper
from supervisor.processes.spawn import spawn
from supervisor.specs import RestartPolicy, RestartSpec

if TYPE_CHECKING:
    from supervisor.protocol.face_documents import ProgramStatus

__all__ = ["Program", "State", "Tool"]

State = Literal["stopped", "running", "backoff"]

# Never given up: a database or a file that it needs may be there again tomorrow.
_RESTART = RestartSpec(RestartPolicy.ALWAYS, max_restarts=sys.maxsize, initial_delay=0.5)
_KEPT_BYTES = 16 * 1024
# The last line of a traceback, of whatever class.
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b.*")
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: ``command``, in ``directory``."""

    command: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    directory: Path


class Tool:
    """Keeps ``program()`` running under ``name``; ``output`` gets what it prints.

    ``state`` is ``stopped``, ``running`` or ``backoff``, and ``trouble`` why its last process ended, ""
    once ``well`` was called for the next. ``changed()`` is called when one of them is another.
    """

    def __init__(
        self,
        name: str,
        program: Callable[[], Program],
        *,
        reaper: Reaper,
        output: Output,
        changed: Callable[[], None],
        grace: float = 10.0,
    ) -> None:
        self.name = name
        self.state: State = "stopped"
        self.trouble = ""
        self.restarts = 0
        self.since = time.time()
        self.process: Process | None = None
        self._program = program
        self._reaper = reaper
        self._output = output
        self._changed = changed
        self._grace = grace
        self._deaths: list[float] = []
        self._words = LastWords(_KEPT_BYTES)
        self._task: asyncio.Task[None] | None = None

    def as_data(self) -> ProgramStatus:
        """As the status document has it."""
        return {
            "name": self.name,
            "state": self.state,
            "pid": None if self.process is None else self.process.pid,
            "since": self.since,
            "restarts": self.restarts,
            "trouble": self.trouble,
        }

    def start(self) -> None:
        """Start it, and again whenever it has ended, until ``stop``."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"dagster {self.name}")

    async def stop(self, *, at_once: bool = False) -> None:
        """End it: SIGTERM, and SIGKILL after its grace or ``at_once``; returns when it has ended."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        process = self.process
        if process is not None:
            if not at_once:
                process.terminate()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._grace):
                        await process.wait()
            process.kill()
            await process.wait()
            self.process = None
        self._become("stopped")

    def replace(self, reason: str) -> None:
        """Kill its process, for ``reason``; another one is started."""
        if self.process is not None:
            self.trouble = reason
            self.process.kill()

    def read_again(self) -> None:
        """Have the program look for changes; one that has just begun will by itself."""
        if self.process is not None:
            self.process.send(signal.SIGURG)

    def well(self) -> None:
        """It does what it is for."""
        if self.trouble:
            self.trouble = ""
            self._changed()

    async def _run(self) -> None:
        while True:
            why = self._start()
            if self.process is not None:
                process = self.process
                ended = await process.wait()
                self.process = None
                why = self.trouble or f"it {ended}{self._last_error()}"
            now = time.monotonic()
            self.restarts += 1
            self._deaths = [*recent(self._deaths, now, _RESTART.window), now]
            verdict = judge(_RESTART, self._deaths, now, clean=False, chance=random.random())  # noqa: S311
            self.trouble = why
            self._become("backoff")
            await asyncio.sleep(verdict.delay if isinstance(verdict, Restart) else 0)

    def _start(self) -> str:
        """Start a process; returns why there is none."""
        program = self._program()
        self._words = words = LastWords(_KEPT_BYTES)

        def heard(stream: str, data: bytes) -> None:
            words.add(data)
            self._output(stream, data)

        command = [
            *(sys.executable, "-I", "-S", str(Path(lifeline.__file__)), "0"),
            *program.command,
        ]
        try:
            self.process, _lifeline = spawn(
                command,
                program.environ,
                output=heard,
                reaper=self._reaper,
                method="tool",
                directory=program.directory,
            )
        except (OSError, ValueError, LaunchError) as error:
            text = error.strerror if isinstance(error, OSError) else None
            return f"it cannot be started: {(text or str(error)).lower()}"
        self._become("running")
        return ""

    def _become(self, state: State) -> None:
        self.state, self.since = state, time.time()
        self._changed()

    def _last_error(self) -> str:
        """`: ` and the last error that it printed, or ""."""
        raised = [line for line in self._words.lines() if _RAISED.match(line)]
        return f": {raised[-1][:_LONGEST]}" if raised else ""
