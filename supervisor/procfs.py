"""What proc(5) tells of processes, read without ceremony: some of it is read at every status.

Linux; elsewhere there is nothing to be had. Decides nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

__all__ = ["children", "cpu_seconds", "parent", "pids", "read", "sessions", "state", "usage"]


def read(path: str) -> bytes:
    """The content of a file below /proc; raises OSError."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  # pathlib takes twice as long
        return file.read()


def children() -> list[int]:
    """The children of this process, those that ended and were not collected included."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/self/task"):  # noqa: PTH208  # names only
            with contextlib.suppress(OSError):
                found.extend(map(int, read(f"/proc/self/task/{task}/children").split()))
    return found


def _stat(pid: int) -> list[bytes]:
    """/proc/PID/stat from its third field on, which is the state; raises OSError.

    Source: proc(5). The second field is a name that may hold anything, spaces and brackets too.
    """
    return read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def parent(pid: int) -> int:
    """The parent of a process; raises OSError."""
    return int(_stat(pid)[1])


def state(pid: int) -> str:
    """The letter of a process's state, "" when there is none to be had."""
    try:
        return _stat(pid)[0].decode("ascii")
    except (OSError, IndexError, UnicodeDecodeError):
        return ""


def usage(pid: int) -> tuple[int, float, float]:
    """Resident memory (bytes), processor time and age (seconds) of a process; raises OSError.

    Source: fields 14, 15, 22 and 24 of /proc/PID/stat in proc(5).
    """
    fields = _stat(pid)
    ticks = os.sysconf("SC_CLK_TCK")
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / ticks
    seconds = (int(fields[11]) + int(fields[12])) / ticks
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), seconds, age


def pids() -> list[int]:
    """Every process."""
    try:
        names = os.listdir("/proc")  # noqa: PTH208  # hundreds of entries, names only
    except OSError:
        return []
    return [int(name) for name in names if name.isdecimal()]


def sessions() -> Iterator[tuple[int, int]]:
    """Every process and its session."""
    for pid in pids():
        with contextlib.suppress(OSError):
            yield pid, os.getsid(pid)


def cpu_seconds(session: int) -> float:
    """Processor time of the live processes of a session, and of the children they have collected."""
    ticks = 0
    for pid, its in sessions():
        if its == session:
            with contextlib.suppress(OSError, IndexError, ValueError):
                ticks += sum(map(int, _stat(pid)[11:15]))  # utime, stime, cutime, cstime
    return ticks / os.sysconf("SC_CLK_TCK")
