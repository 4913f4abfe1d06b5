"""Which of a run's limits was met: what its control groups say at its end, and their removal.

Part of the monitor's program (``monitor``). What the limits are is ``supervisor.processes.run_limits``'s,
whose data this reads. Imports the standard library alone.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["MetLimits"]

# cgroup v2, v1; see supervisor.processes.limits.
_OOM_FILES = ("memory.events", "memory.oom_control")


class MetLimits:
    """The limits that lie in the journal of the run; ``limits`` may be anything."""

    def __init__(self, limits: Any) -> None:
        self._limits = limits if isinstance(limits, dict) else {}
        self._groups: list[str] = list(self._limits.get("groups") or ())

    def fatal(self) -> str:
        """The limit at which the kernel killed a process of the run (``512 MiB memory limit``), or ""."""
        killed = any(self._count(name, "oom_kill") for name in _OOM_FILES)
        return self._words("memory") if killed else ""

    def told(self) -> list[str]:
        """A sentence for each limit that was met."""
        found = []
        if self.fatal():
            found.append(f"a process of it was killed at its {self.fatal()}")
        refused = self._count("pids.events", "max")
        if refused:
            found.append(f"its {self._words('processes')} refused it {refused} more")
        return found

    def close(self) -> None:
        """Remove the groups; what still lives in one keeps it, and the supervisor tries again."""
        for group in self._groups:
            try:
                os.rmdir(group)  # noqa: PTH106  # pathlib is large
            except OSError:
                continue

    def _words(self, name: str) -> str:
        return str((self._limits.get("told") or {}).get(name) or "")

    def _count(self, file: str, event: str) -> int:
        for group in self._groups:
            try:
                opened = os.open(f"{group}/{file}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            lines = os.read(opened, 4096).decode("ascii", "replace").splitlines()
            os.close(opened)
            for line in lines:
                name, _, count = line.partition(" ")
                if name == event and count.isdecimal():
                    return int(count)
        return 0
