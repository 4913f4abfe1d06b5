"""The states of a location, of a run and of a tick: the lists that the supervisor, its clients and the pages share.

Owns names and the sets that they form. How a location goes from one to another is
``supervisor.locations.lifecycle``; what becomes of a run ``supervisor.runs``. Pure.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "ELSEWHERE",
    "RESTING",
    "RUN_ENDED",
    "RUN_STATES",
    "STATES",
    "TICK_STATES",
    "TROUBLED",
    "UNDER_WAY",
    "RunState",
    "State",
    "TickState",
]


class State(StrEnum):
    """Where the newest attempt stands."""

    STOPPED = "stopped"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    BACKOFF = "backoff"
    CRASHED = "crashed"
    STOPPING = "stopping"


ELSEWHERE = "elsewhere"
"""The state of a location that another program serves: it has no process here, and no lifecycle."""

STATES: tuple[str, ...] = (*(one.value for one in State), ELSEWHERE)
"""All that ``state`` can be in a document."""

RESTING = frozenset({State.STOPPED, State.READY, State.FAILED, State.CRASHED})
"""States that last until something from outside happens."""

UNDER_WAY = frozenset(State) - RESTING
"""States that end by themselves."""

TROUBLED = frozenset({State.FAILED, State.CRASHED, State.BACKOFF})
"""States of a location that did not load, or whose process died."""


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"


RUN_STATES: tuple[str, ...] = tuple(one.value for one in RunState)
"""All that the ``state`` of a run can be in a document."""

RUN_ENDED = frozenset(RunState) - {
    RunState.QUEUED,
    RunState.STARTING,
    RunState.RUNNING,
    RunState.CANCELLING,
}
"""States that a run does not leave."""


class TickState(StrEnum):
    """What has become of a tick of a schedule or sensor."""

    DUE = "due"
    LAUNCHING = "launching"
    LAUNCHED = "launched"
    SKIPPED = "skipped"
    FAILED = "failed"
    ASKED = "asked"
    """It was asked what it would launch, and nothing was."""


TICK_STATES: tuple[str, ...] = tuple(one.value for one in TickState)
"""All that the ``state`` of a tick can be in a document."""
