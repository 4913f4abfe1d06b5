"""When to start a process again that died, and when to give up.

Owns the arithmetic of backoff and intensity, nothing else: no clock, no random generator, no
process. ``now`` and the times of death are monotonic seconds; randomness is an argument.

The rules. A first death is answered at once: a worker that was stable should be back without delay.
Each further death within ``window`` doubles the delay from ``initial_delay`` up to ``max_delay``,
plus up to a quarter of it as jitter, so that locations that died together do not return together.
More than ``max_restarts`` deaths within ``window`` and it is given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.specs import RestartPolicy, RestartSpec

__all__ = ["GiveUp", "LeaveStopped", "Restart", "Verdict", "judge", "recent"]

_JITTER = 0.25


@dataclass(frozen=True, slots=True)
class Restart:
    """Start again after ``delay`` seconds; this is restart ``number`` in the window."""

    delay: float
    number: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It died ``deaths`` times within ``window`` seconds: that is too often."""

    deaths: int
    window: float


@dataclass(frozen=True, slots=True)
class LeaveStopped:
    """The policy says that this end is not to be answered with a start."""


Verdict = Restart | GiveUp | LeaveStopped


def recent(deaths: Sequence[float], now: float, window: float) -> tuple[float, ...]:
    """The times of ``deaths`` that lie within ``window`` seconds before ``now``."""
    return tuple(moment for moment in deaths if now - moment <= window)


def judge(
    spec: RestartSpec, deaths: Sequence[float], now: float, *, clean: bool, chance: float
) -> Verdict:
    """What to do about the newest of ``deaths``.

    ``clean`` says that the process exited with status 0; ``chance`` is in [0, 1).
    """
    if spec.policy is RestartPolicy.NEVER:
        return LeaveStopped()
    if clean and spec.policy is RestartPolicy.ON_FAILURE:
        return LeaveStopped()
    count = len(recent(deaths, now, spec.window))
    if count > spec.max_restarts:
        return GiveUp(count, spec.window)
    if count <= 1:
        return Restart(0.0, count)
    delay = spec.max_delay
    if count - 2 < 64:  # beyond that the power is larger than any delay
        delay = min(spec.max_delay, spec.initial_delay * 2.0 ** (count - 2))
    return Restart(delay * (1.0 + _JITTER * chance), count)
