"""When work in the background may use the processor: while the machine is calm, and within a budget.

Owns the judgement of the machine (``calm``) and the account of what was used. Starts nothing and
waits for nothing: the caller looks again after ``Pace.every`` seconds. The clock and the judgement
are arguments.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from supervisor import procfs

__all__ = ["Pace", "SpareTime", "calm"]

# Percent of the last ten seconds in which something waited for a processor.
_PRESSED = 10.0


def calm() -> bool:
    """True while the processors have time to spare.

    Nothing waits for one (pressure stall information, Documentation/accounting/psi.rst), or where
    the kernel does not tell that, the load is below half of them.
    """
    try:
        words = procfs.read("/proc/pressure/cpu").split()
        return float(words[1].partition(b"=")[2]) < _PRESSED  # some avg10=…
    except (OSError, IndexError, ValueError):
        pass
    try:
        return os.getloadavg()[0] < (os.cpu_count() or 1) / 2
    except OSError:
        return True


@dataclass(frozen=True, slots=True)
class Pace:
    """How much, and when: after ``patience`` seconds in which every look, one each ``every``
    seconds, found the machine ``calm``; ``allowance`` seconds of processor time in ``period``
    seconds. ``clock`` gives monotonic seconds."""

    patience: float = 10.0
    every: float = 1.0
    allowance: float = 60.0
    period: float = 3600.0
    calm: Callable[[], bool] = calm
    clock: Callable[[], float] = time.monotonic


class SpareTime:
    """The account of one ``pace``."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._calm_since: float | None = None
        self._spent: deque[tuple[float, float]] = deque()

    def look(self, *, busy: bool) -> bool:
        """True when the machine has been calm for long enough; ``busy``: by what the caller knows."""
        now = self._pace.clock()
        if busy or not self._pace.calm():
            self._calm_since = None
            return False
        if self._calm_since is None:
            self._calm_since = now
        return now - self._calm_since >= self._pace.patience

    def unknown(self) -> None:
        """There was no look for a while: how long it has been calm is not known."""
        self._calm_since = None

    @property
    def left(self) -> float:
        """Seconds of processor time that may be used now."""
        oldest = self._pace.clock() - self._pace.period
        while self._spent and self._spent[0][0] <= oldest:
            self._spent.popleft()
        return self._pace.allowance - sum(seconds for _when, seconds in self._spent)

    def spend(self, seconds: float) -> None:
        """Note that so much processor time was used."""
        if seconds > 0:
            self._spent.append((self._pace.clock(), seconds))
