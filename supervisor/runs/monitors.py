"""The ends of monitors, by pidfd_open(2), and waking one up.

Owns the descriptors. Where there are no pidfds nothing is told, and the owner has to look from time to
time. Signals a monitor, never a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

__all__ = ["Monitors", "wake"]


class Monitors:
    """``ended`` is called with the name under which a process was watched, once it has ended."""

    def __init__(self, ended: Callable[[str], None]) -> None:
        self._ended = ended
        self._watched: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._watched

    def watch(self, name: str, pid: int) -> None:
        """Tell of the end of ``pid``, where that can be told."""
        if pid < 0 or name in self._watched:
            return
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return  # it has ended, or there are no pidfds
        self._watched[name] = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._over, name, pid)

    def forget(self, name: str) -> None:
        """Watch no longer."""
        pidfd = self._watched.pop(name, None)
        if pidfd is not None:
            asyncio.get_running_loop().remove_reader(pidfd)
            os.close(pidfd)

    def close(self) -> None:
        """Forget all."""
        for name in list(self._watched):
            self.forget(name)

    def _over(self, name: str, pid: int) -> None:
        self.forget(name)
        with contextlib.suppress(ChildProcessError):  # an earlier supervisor's
            os.waitpid(pid, os.WNOHANG)
        self._ended(name)


def wake(pid: int) -> None:
    """Have a monitor look at what is asked of it; it would within a second."""
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        finally:
            os.close(pidfd)
