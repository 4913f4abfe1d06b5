"""What one process takes: memory and processor time, for the status.

Owns the reading, from proc(5) on Linux and by psutil elsewhere, and the time of the last look, by which
a percentage is told. Linux tells most of it without a thread; what is dear is read in one.
"""

from __future__ import annotations

import asyncio
import sys
import time

from supervisor import procfs
from supervisor.processes.launcher import Usage

__all__ = ["UsageMeter"]

_LINUX = sys.platform == "linux"
# Two looks within this time count from the same one before (seconds).
_LEAST = 1.0


class UsageMeter:
    """Reads what the process ``pid`` takes."""

    __slots__ = ("_pid", "_seconds", "_then")

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._then: float | None = None  # the last look, monotonic seconds
        self._seconds = 0.0  # the processor time then

    async def read(self, *, detail: bool = False) -> Usage | None:
        """What it takes now, None when that is not to be had; ``uss`` only with ``detail``."""
        uss = None
        try:
            if _LINUX:
                # psutil takes seven times as long, for each location at each status.
                rss, seconds, age = procfs.usage(self._pid)
            else:
                rss, seconds, age = await asyncio.to_thread(_usage, self._pid)
        except (OSError, IndexError, ValueError, RuntimeError):  # gone; no thread can be started
            return None
        if detail:
            try:
                uss = await asyncio.to_thread(_unshared, self._pid)
            except (OSError, RuntimeError):
                uss = None
        now = time.monotonic()
        elapsed = age if self._then is None else now - self._then
        percent = round(100 * max(seconds - self._seconds, 0) / max(elapsed, 0.01), 1)
        if elapsed > _LEAST:
            self._then, self._seconds = now, seconds
        return Usage(rss, seconds, percent, uss)


def _usage(pid: int) -> tuple[int, float, float]:
    """What ``procfs.usage`` tells, where there is no /proc."""
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            age = time.time() - process.create_time()
            return process.memory_info().rss, times.user + times.system, age
    except psutil.Error as error:
        raise OSError(str(error)) from error


def _unshared(pid: int) -> int:
    """Its memory that no other process shares: the kernel walks its map for that (bytes)."""
    import psutil

    try:
        size: int = psutil.Process(pid).memory_full_info().uss
    except psutil.Error as error:
        raise OSError(str(error)) from error
    return size
