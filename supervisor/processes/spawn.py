"""Fresh processes: a team's interpreter, started with the shim's boot file, for every shim.

Owns ``SpawnLauncher``, and the starting of a program in a session of its own with a lifeline and pipes,
which forkservers need, too. Its standard input carries one start message and then stays open as the
lifeline (runner_shim/boot.py); its output goes to the function that it was given. What a process is
to us from then on is ``process``.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import runner_shim
from supervisor.descriptors import no_room
from supervisor.processes import orphans
from supervisor.processes.launcher import SPAWNED, Launcher, LaunchError, LaunchSpec, Output
from supervisor.processes.limits import Cgroups
from supervisor.processes.process import Process
from supervisor.processes.reaper import Reaper

__all__ = ["BOOT", "Pipes", "SpawnLauncher", "open_pipes", "spawn", "tell_start"]

BOOT = Path(runner_shim.__file__).with_name("boot.py")


@dataclass(frozen=True, slots=True)
class Pipes:
    """The ends of a shim's pipes: ``theirs`` (lifeline, output, errors) and ours."""

    theirs: tuple[int, int, int]
    lifeline: int
    output: int
    errors: int


@contextmanager
def open_pipes() -> Iterator[Pipes]:
    """Make a shim's pipes; its own ends are closed afterwards, ours too when the body fails."""
    room = no_room()
    if room is not None:
        raise LaunchError(room)
    opened: list[int] = []
    try:
        for _ in range(3):
            opened.extend(os.pipe())
        line_read, line_write, out_read, out_write, err_read, err_write = opened
    except OSError as error:
        for descriptor in opened:
            os.close(descriptor)
        raise LaunchError(f"no pipe can be made: {(error.strerror or '').lower()}") from None
    theirs = (line_read, out_write, err_write)
    try:
        yield Pipes(theirs, line_write, out_read, err_read)
    except BaseException:
        for descriptor in (line_write, out_read, err_read):
            os.close(descriptor)
        raise
    finally:
        for descriptor in theirs:
            os.close(descriptor)


class SpawnLauncher(Launcher):
    """A fresh process of the team's interpreter for every shim.

    ``descriptors`` is the soft limit of open files that shims get where their location sets none.
    ``reaper`` clears up after us. ``cgroups`` are for limits; without any they are rlimits.
    """

    def __init__(
        self, reaper: Reaper, descriptors: int | None = None, cgroups: Cgroups | None = None
    ) -> None:
        self.reaper = reaper
        self.descriptors = descriptors
        self.cgroups = cgroups

    async def prepare(self, spec: LaunchSpec) -> None:
        """Nothing is shared."""

    def learn(self, spec: LaunchSpec, report: Mapping[str, Any]) -> None:
        """A fresh process starts from nothing each time."""

    def condemn(self, spec: LaunchSpec, reason: str) -> None:
        """They are all fresh."""

    def refuse(self, spec: LaunchSpec, reason: str) -> None:
        """They are all fresh."""

    async def start(self, spec: LaunchSpec) -> Process:
        """Start ``python boot.py NAME`` in a session of its own."""
        executable, environ = spec.prepared.executable, spec.environ
        command = [str(executable), "-u", str(BOOT), spec.name]
        seed = {"PYTHONHASHSEED": spec.hash_seed} if spec.hash_seed else {}
        if environ.get("PYTHONHASHSEED"):
            seed = {}  # the team's own, which its code may see
        try:
            process, lifeline = spawn(
                command,
                {**environ, **seed, orphans.VARIABLE: spec.token},
                output=spec.output,
                reaper=self.reaper,
                method=SPAWNED,
                tree=spec.tree,
            )
        except (OSError, ValueError) as error:
            text = error.strerror if isinstance(error, OSError) else str(error)
            raise LaunchError(
                f"{executable} cannot be started: {(text or str(error)).lower()}"
            ) from None
        process.limit(spec.limits, self.descriptors, self.cgroups)
        tell_start(
            lifeline,
            spec.prepared.overlay,
            address=spec.address,
            instance=spec.instance,
            seeded=bool(seed),
        )
        return process


def spawn(
    command: list[str],
    environ: Mapping[str, str],
    *,
    output: Output,
    reaper: Reaper,
    method: str,
    tree: str = "",
    pass_fds: tuple[int, ...] = (),
    directory: Path = Path("/"),
) -> tuple[Process, int]:
    """Start ``command`` in a session of its own; it and the writing end of its lifeline.

    Raises OSError or ValueError when it cannot be started, ``LaunchError`` when there are no pipes.
    """
    with open_pipes() as pipes:
        line, out, errors = pipes.theirs
        # In this, the main thread, and blocking: it returns once the child has called exec, and
        # the event loop's own subprocess support would take a thread for each.
        child = subprocess.Popen(
            command,
            stdin=line,
            stdout=out,
            stderr=errors,
            env=environ,
            cwd=directory,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        child.returncode = 0  # it is ours to reap

    process = Process(
        child.pid,
        pipes=(pipes.output, pipes.errors),
        lifeline=pipes.lifeline,
        output=output,
        reap=_reap,
        method=method,
        reaper=reaper,
        tree=tree,
    )
    return process, pipes.lifeline


async def _reap(pid: int) -> int | None:
    _pid, status = os.waitpid(pid, 0)  # noqa: ASYNC222  # it has ended: a zombie
    return status


def tell_start(lifeline: int, overlay: Path | None, **more: object) -> None:
    """Write the start message that runner_shim/boot.py waits for."""
    start = {"v": 1, "overlay": None if overlay is None else str(overlay), **more}
    with contextlib.suppress(OSError):  # it died already: its exit tells the story
        os.write(lifeline, json.dumps(start).encode() + b"\n")
