"""Orphans: processes that user code started and that left their session. How they are found.

Owns the process token by which a descendant is known wherever it went: a variable in the environment
of every shim, which children inherit through fork and exec. It tells the location and the instance,
and is no secret: only a digest of either. A process that leaves its session and its parent (a
daemon) is adopted by the supervisor, which is a subreaper; so looking for orphans is looking at the
supervisor's own children. What a run has started bears a mark besides, which also a program with an
environment of its own keeps. Linux only; elsewhere nothing is found. Decides about none of them; what
carries a token or bears a mark is ended by ``reaper.clear``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from supervisor import procfs
from supervisor.processes.reaper import carried

__all__ = [
    "NO_TOKEN",
    "VARIABLE",
    "Orphan",
    "location_of",
    "look",
    "mark_of",
    "token_of",
    "told_of",
]

VARIABLE = "SUPERVISE_PROCESS"
_HALF = 16
NO_TOKEN = "0" * 2 * _HALF
"""What a forkserver has until a child of it becomes a shim; as long as a token, to be overwritten in place."""


def location_of(name: str) -> str:
    """The first half of the tokens of the location ``name``."""
    return hashlib.sha256(name.encode()).hexdigest()[:_HALF]


def token_of(name: str, instance: str) -> str:
    """The token of one process of the location ``name``."""
    return location_of(name) + hashlib.sha256(instance.encode()).hexdigest()[:_HALF]


def mark_of(token: str) -> int:
    """The mark of what carries ``token``: a soft limit of realtime processor time (RLIMIT_RTTIME, in
    microseconds) of more than 140,000 years, which no process reaches and every child inherits."""
    return 1 << 62 | int(token[_HALF:], 16) >> 2


@dataclass(frozen=True, slots=True)
class Orphan:
    """A process outside the session of its location; ``command`` as ps(1) shows it."""

    pid: int
    command: str


def look(sessions: Collection[int]) -> dict[str, list[Orphan]]:
    """The orphans among the children of this process, by the first half of their token.

    ``sessions`` are those of our own processes: what is in one of them ends with it.
    """
    found: dict[str, list[Orphan]] = {}
    for pid in procfs.children():
        with contextlib.suppress(OSError):
            if pid in sessions or os.getsid(pid) in sessions:
                continue
            token = carried(pid)
            if token and token != NO_TOKEN:
                found.setdefault(token[:_HALF], []).append(Orphan(pid, _command(pid)))
    return found


def told_of(found: Iterable[Orphan], known: Iterable[Orphan], *, tree: bool) -> Iterator[str]:
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


def _command(pid: int) -> str:
    words = procfs.read(f"/proc/{pid}/cmdline").rstrip(b"\0").split(b"\0")
    return b" ".join(words).decode("utf-8", "replace").strip()[:200]
