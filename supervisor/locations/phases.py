"""The phases of a generation, each with exactly what exists in it.

A generation goes from ``Preparing`` to ``Placing``, ``Greeting``, ``Loading`` and ``Serving``, one after
the other, and from any of them to ``Ended``. Once it may go from ``Ended`` back to ``Placing``: when its
forked process said that a fresh one has to do its work.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.processes.launcher import Exit, LaunchSpec, PreparedEnvironment, ShimProcess
from supervisor.snapshots.snapshot import Snapshot

__all__ = [
    "Ended",
    "Greeting",
    "Living",
    "Loading",
    "Phase",
    "Placing",
    "Preparing",
    "Running",
    "Serving",
    "doing",
    "launched",
    "prepared",
    "process_of",
]


@dataclass(frozen=True, slots=True)
class Preparing:
    """Its environment is being made."""


@dataclass(frozen=True, slots=True)
class Placing:
    """Its process is about to be started, or waits for others to start."""

    launch: LaunchSpec


@dataclass(frozen=True, slots=True)
class Running:
    """Its process was started: what the phases from then on have in common."""

    launch: LaunchSpec
    process: ShimProcess


@dataclass(frozen=True, slots=True)
class Greeting(Running):
    """Its process has yet to say hello."""


@dataclass(frozen=True, slots=True)
class Loading(Running):
    """Its process imports the target."""


@dataclass(frozen=True, slots=True)
class Serving(Running):
    """Its process has loaded, and answers."""

    snapshot: Snapshot


Living = Preparing | Placing | Greeting | Loading | Serving


@dataclass(frozen=True, slots=True)
class Ended:
    """It is over; ``last`` is the phase it was in. ``exit`` is None when it had no process."""

    last: Living
    exit: Exit | None


Phase = Living | Ended


def launched(phase: Phase) -> LaunchSpec | None:
    """How its process was or will be started, once that is known; also of one that has ended."""
    match phase:
        case Placing(launch) | Running(launch) | Ended(Placing(launch) | Running(launch)):
            return launch
        case _:
            return None


def prepared(phase: Phase) -> PreparedEnvironment | None:
    """Its environment, once there is one; also of one that has ended."""
    launch = launched(phase)
    return None if launch is None else launch.prepared


def process_of(phase: Phase) -> ShimProcess | None:
    """Its process, once there is one; also of one that has ended."""
    match phase:
        case Running(process=process) | Ended(Running(process=process)):
            return process
        case _:
            return None


def doing(phase: Phase) -> str:
    """What its process does, or did when it ended: ``starting``, ``loading`` or ``serving``."""
    match phase:
        case Serving() | Ended(Serving()):
            return "serving"
        case Loading() | Ended(Loading()):
            return "loading"
        case _:
            return "starting"
