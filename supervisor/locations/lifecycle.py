"""The life of a location: its states, what may happen in each, and what follows.

A location is always in the state of its *newest generation*. What clients are served is another
matter and lives elsewhere: an older generation may serve while a newer one starts, loads or has
failed.

The rules:

* Nothing runs in ``stopped``, and only an operator leaves it.
* A generation goes ``starting`` (environment prepared, process placed) to ``loading`` (the process
  has said hello and imports the target) to ``ready``.
* What cannot be loaded is ``failed`` and waits for a change or an order; it is not tried again by
  itself, for code that cannot be imported will not import better in a second. Only what failed in
  a forked process is tried in a fresh one meanwhile, beside the failure.
* A process that died is started again after ``backoff``; one that died too often is ``crashed`` and
  waits like a failed one. An end that the restart policy accepts leaves ``stopped``.
* A newer generation may supersede any state in which the location is meant to run.
* ``stopping`` lasts until the last process is gone.

A pair of state and event that is not in the table raises ``IllegalTransitionError`` and changes
nothing. Pure: no clock, no process, no I/O.
"""

from __future__ import annotations

from enum import StrEnum

from supervisor.states import State

__all__ = [
    "Event",
    "IllegalTransitionError",
    "State",
    "allowed",
    "next_state",
]


class Event(StrEnum):
    """What can happen to a generation or be asked of a location."""

    BEGIN = "begin"  # a new generation begins: by order, by a change, or after a delay
    HELLO = "hello"  # the process speaks our protocol
    LOADED = "loaded"  # a valid snapshot arrived
    FAILED = "failed"  # it could not be placed or loaded
    DIED = "died"  # the process died and will be started again
    GAVE_UP = "gave_up"  # the process died too often
    ENDED = "ended"  # the process ended and the policy leaves it so
    STOP = "stop"  # an operator wants it stopped
    GONE = "gone"  # the last process of the location is gone


_TABLE: dict[tuple[State, Event], State] = {
    (State.STOPPED, Event.BEGIN): State.STARTING,
    (State.STARTING, Event.BEGIN): State.STARTING,
    (State.STARTING, Event.HELLO): State.LOADING,
    (State.STARTING, Event.FAILED): State.FAILED,
    (State.STARTING, Event.DIED): State.BACKOFF,
    (State.STARTING, Event.GAVE_UP): State.CRASHED,
    (State.STARTING, Event.ENDED): State.STOPPED,
    (State.STARTING, Event.STOP): State.STOPPING,
    (State.LOADING, Event.BEGIN): State.STARTING,
    (State.LOADING, Event.LOADED): State.READY,
    (State.LOADING, Event.FAILED): State.FAILED,
    (State.LOADING, Event.DIED): State.BACKOFF,
    (State.LOADING, Event.GAVE_UP): State.CRASHED,
    (State.LOADING, Event.ENDED): State.STOPPED,
    (State.LOADING, Event.STOP): State.STOPPING,
    (State.READY, Event.BEGIN): State.STARTING,
    (State.READY, Event.DIED): State.BACKOFF,
    (State.READY, Event.GAVE_UP): State.CRASHED,
    (State.READY, Event.ENDED): State.STOPPED,
    (State.READY, Event.STOP): State.STOPPING,
    (State.FAILED, Event.BEGIN): State.STARTING,
    (State.FAILED, Event.LOADED): State.READY,  # by the fresh process beside the failure
    (State.FAILED, Event.FAILED): State.FAILED,  # so did that one, with another error
    (State.FAILED, Event.STOP): State.STOPPING,
    (State.BACKOFF, Event.BEGIN): State.STARTING,
    (State.BACKOFF, Event.STOP): State.STOPPING,
    (State.CRASHED, Event.BEGIN): State.STARTING,
    (State.CRASHED, Event.STOP): State.STOPPING,
    (State.STOPPING, Event.GONE): State.STOPPED,
}


class IllegalTransitionError(Exception):
    """``event`` may not happen in ``state``: a defect of the caller."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(state, event)
        self.state = state
        self.event = event

    def __str__(self) -> str:
        return f"{self.event.value!r} cannot happen to a location that is {self.state.value!r}"


def allowed(state: State, event: Event) -> bool:
    """True when ``event`` may happen in ``state``."""
    return (state, event) in _TABLE


def next_state(state: State, event: Event) -> State:
    """The state after ``event``; raises ``IllegalTransitionError`` for a pair not in the table."""
    try:
        return _TABLE[state, event]
    except KeyError:
        raise IllegalTransitionError(state, event) from None
