"""What a run starts with of its location's settings, and whether it is run again once it has ended.

Owns the fields of an order that settings decide (``timeout``, ``retries``, ``attempt``) and the order of
a retry. What a client asked for is in ``asked`` and wins over settings, whenever they change. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from supervisor.run_settings import Backoff, Retries, RunSettings
from supervisor.states import RunState

__all__ = ["again", "with_settings"]

# Refusals (runner_shim/execution): the same order is refused again.
_REFUSED = frozenset({"run_config", "unknown_op", "unknown_asset", "partition"})
_LONGEST_DELAY = 86400.0
# Of one journal each, which another must not have.
_OWN = ("run", "created", "sequence", "boot", "namespace", "notify", "not_before", "retry_of")


def with_settings(order: Mapping[str, Any], settings: RunSettings) -> dict[str, Any]:
    """``order`` with what ``settings`` say, where the client has not asked for something else."""
    asked: Mapping[str, Any] = order.get("asked") or {}
    retries = settings.retries or Retries()
    timeout = asked.get("timeout", settings.timeout)
    return {
        **order,
        "timeout": None if timeout is None or math.isinf(timeout) else float(timeout),
        "retries": {
            "count": int(asked.get("retries", retries.count)),
            "delay": retries.delay,
            "backoff": retries.backoff.value,
            "lost": bool(settings.retry_lost),
        },
    }


def again(order: Mapping[str, Any], final: Mapping[str, Any], now: float) -> dict[str, Any] | None:
    """The order that repeats a run which ended with the record ``final``; None: it is not repeated.

    ``now`` is Unix seconds; the order's ``not_before`` is when it may start.
    """
    retries: Mapping[str, Any] = order.get("retries") or {}
    if order.get("handed"):  # who handed it over repeats it
        return None
    attempt, count = int(order.get("attempt") or 1), int(retries.get("count") or 0)
    state = final.get("state")
    if state == RunState.LOST and retries.get("lost"):
        count = max(count, 1)
    elif state not in (RunState.FAILURE, RunState.TIMED_OUT):
        return None
    failure = final.get("failure")
    if attempt > count or (isinstance(failure, Mapping) and failure.get("kind") in _REFUSED):
        return None
    delay = float(retries.get("delay") or 0.0)
    if retries.get("backoff") == Backoff.EXPONENTIAL:
        delay *= 2.0 ** min(attempt - 1, 64)
    same = {key: value for key, value in order.items() if key not in _OWN}
    return {
        **same,
        "attempt": attempt + 1,
        "retry_of": order["run"],
        "not_before": now + min(delay, _LONGEST_DELAY) if delay else 0.0,
    }
