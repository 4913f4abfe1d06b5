"""Processes that user code started and that left their session: finding them, and ending them.

Owns the mark by which a descendant is known wherever it went: a variable in the environment of
every shim, which children inherit through fork and exec. It tells the location and the instance,
and is no secret: only a digest of either. A process that leaves its session and its parent (a
daemon) is adopted by the supervisor, which is a subreaper; so looking for strays is looking at the
supervisor's own children. Linux only; elsewhere nothing is found. Decides about none of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from supervisor import procfs

__all__ = [
    "UNMARKED",
    "VARIABLE",
    "Stray",
    "end_marked",
    "location_of",
    "look",
    "mark_of",
    "told_of",
]

VARIABLE = "SUPERVISE_PROCESS"
_HALF = 16
UNMARKED = "0" * 2 * _HALF
"""What a forkserver has until it becomes somebody; as long as a mark, to be overwritten in place."""

_LOOKS = 50
_BETWEEN_LOOKS = 0.02


def location_of(name: str) -> str:
    """The first half of the marks of the location ``name``."""
    return hashlib.sha256(name.encode()).hexdigest()[:_HALF]


def mark_of(name: str, instance: str) -> str:
    """The mark of one process of the location ``name``."""
    return location_of(name) + hashlib.sha256(instance.encode()).hexdigest()[:_HALF]


@dataclass(frozen=True, slots=True)
class Stray:
    """A process outside the session of its location; ``command`` as ps(1) shows it."""

    pid: int
    command: str


def look(sessions: Collection[int]) -> dict[str, list[Stray]]:
    """The strays among the children of this process, by the first half of their mark.

    ``sessions`` are those of our own processes: what is in one of them ends with it.
    """
    found: dict[str, list[Stray]] = {}
    for pid in procfs.children():
        with contextlib.suppress(OSError):
            if pid in sessions or os.getsid(pid) in sessions:
                continue
            mark = _mark(pid)
            if mark and mark != UNMARKED:
                found.setdefault(mark[:_HALF], []).append(Stray(pid, _command(pid)))
    return found


def told_of(found: Iterable[Stray], known: Iterable[Stray], *, tree: bool) -> Iterator[str]:
    """A sentence about each of ``found`` that is not among ``known``; ``tree``: they will be ended."""
    fate = (
        "it ends with the process"
        if tree
        else "it goes on when the process ends, unless kill is tree"
    )
    pids = {one.pid for one in known}
    for one in found:
        if one.pid not in pids:
            yield f"pid {one.pid} ({one.command}) left the session: {fate}"


def end_marked(mark: str) -> None:
    """SIGKILL whatever carries ``mark``, until two looks in a row find nothing; blocks meanwhile."""
    quiet = 0
    for _ in range(_LOOKS):
        found = False
        for pid in procfs.pids():
            with contextlib.suppress(OSError):
                # A zombie has no environment any more.
                if _mark(pid) == mark:
                    os.kill(pid, signal.SIGKILL)
                    found = True
        quiet = 0 if found else quiet + 1
        if quiet == 2:
            return
        time.sleep(_BETWEEN_LOOKS)


def _mark(pid: int) -> str:
    variables = b"\0" + procfs.read(f"/proc/{pid}/environ")
    _, found, rest = variables.partition(f"\0{VARIABLE}=".encode())
    return rest.partition(b"\0")[0].decode("ascii", "replace") if found else ""


def _command(pid: int) -> str:
    words = procfs.read(f"/proc/{pid}/cmdline").rstrip(b"\0").split(b"\0")
    return b" ".join(words).decode("utf-8", "replace").strip()[:200]
