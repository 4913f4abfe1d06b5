"""Which ticks of a schedule are due, and what becomes of each: fired, skipped, or kept waiting.

Pure: the time and what runs are arguments, and what is to be remembered is handed back. The caller has
that on the disk before it launches what is fired: then nothing fires twice, whenever it is killed. A clock
that is set back fires nothing again, one that is set on leaves nothing out; what fell into a time in which
no supervisor ran is a matter of ``catch_up``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from supervisor.runs.timetable import Timetable
from supervisor.time_slices import Steps, at_once

__all__ = [
    "LONGEST_STEP",
    "MOST_AT_ONCE",
    "MOST_COUNTED",
    "NOT_THERE",
    "CatchUp",
    "Decision",
    "Memory",
    "Overlap",
    "Schedule",
    "decide",
    "deciding",
    "next_look",
    "sensor_due",
]

LONGEST_STEP = 2 * 3600.0
"""Seconds: by so much a clock may be set on while the supervisor runs. More is a sleep of the machine."""
MOST_AT_ONCE = 1000
"""Ticks that are caught up with, or wait, at most; those before them are skipped."""
MOST_COUNTED = 10_000
"""Ticks that are counted where more were missed: a year has half a million minutes."""
# The last ticks are looked for in a span of time that grows: its first size in seconds, and by how much.
_HOUR, _GROWTH = 3600.0, 1.5


NOT_THERE = "no supervisor was there"
"""Why a tick was missed, as a rule."""


class CatchUp(StrEnum):
    """What is done about ticks that no supervisor was there for."""

    LAST = "last"
    NONE = "none"
    ALL = "all"


class Overlap(StrEnum):
    """What is done about a tick while a run of the one before goes on."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is to be known of a schedule. ``fingerprint`` differs when its times do."""

    timetable: Timetable
    fingerprint: str
    catch_up: CatchUp = CatchUp.LAST
    overlap: Overlap = Overlap.SKIP


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered between two looks, on the disk. Times are Unix seconds.

    ``until`` is the time up to which all ticks have been decided, ``waiting`` those that wait for the end
    of a run. The memory of a schedule that was switched on at a moment is ``Memory(moment, …)``.
    """

    until: float
    fingerprint: str
    waiting: tuple[float, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Decision:
    """``ticks`` are times, the oldest first; ``skipped`` says why they are not fired, "" for the one that is.

    ``at_least``: there were more in between, which are not counted.
    """

    ticks: Sequence[float]
    skipped: str = ""
    at_least: bool = False


def decide(
    schedule: Schedule,
    memory: Memory,
    now: float,
    *,
    running: bool,
    looked: float | None = None,
    was_away: bool = False,
    absent: str = "",
) -> tuple[Memory, list[Decision]]:
    """What is due at ``now``, and the memory from then on.

    ``running`` is True while a run of the schedule has not ended. ``looked`` is when the clock was looked at
    last, without it when the schedule was last decided. ``was_away`` is True at the first look of
    a supervisor: then ``catch_up`` decides, as after a sleep. ``absent`` says why nothing was fired.
    """
    return at_once(
        deciding(
            schedule, memory, now, running=running, looked=looked, was_away=was_away, absent=absent
        )
    )


def deciding(
    schedule: Schedule,
    memory: Memory,
    now: float,
    *,
    running: bool,
    looked: float | None = None,
    was_away: bool = False,
    absent: str = "",
) -> Steps[tuple[Memory, list[Decision]]]:
    """``decide``, a tick in each step: there may be very many."""
    if memory.fingerprint != schedule.fingerprint:  # its times are others: they count from now on
        return Memory(now, schedule.fingerprint), []
    if memory.until > now + LONGEST_STEP:  # the clock was wrong then, and by much
        memory = replace(memory, until=now)
    # A schedule of once a day was decided a day ago: that is no time away.
    seen = memory.until if looked is None else max(memory.until, looked)
    away = was_away or now - seen > LONGEST_STEP
    due, at_least = yield from _due(schedule.timetable, memory.until, now)
    decisions: list[Decision] = []
    if away and due:
        kept = {CatchUp.LAST: due[-1:], CatchUp.NONE: [], CatchUp.ALL: due[-MOST_AT_ONCE:]}
        missed = due[: len(due) - len(kept[schedule.catch_up])]
        # One that is just due was not missed.
        due = kept[schedule.catch_up] or [one for one in due[-1:] if one == now]
        missed = [one for one in missed if one not in due]
        if missed:
            decisions.append(Decision(missed, absent or NOT_THERE, at_least))
    memory = replace(memory, until=max(memory.until, now))
    caught_up = away and schedule.catch_up is CatchUp.ALL and bool(due)
    fired, memory = _overlapping(schedule, memory, due, running, decisions, caught_up=caught_up)
    decisions += [Decision((one,)) for one in fired]
    return memory, decisions


def _due(timetable: Timetable, until: float, now: float) -> Steps[tuple[list[float], bool]]:
    """The ticks after ``until`` up to ``now``, the oldest first; of too many the first and the last ones, and True."""
    due: list[float] = []
    for one in timetable.between(until, now):
        due.append(one)
        yield
        if len(due) > MOST_COUNTED:
            break
    else:
        return due, False
    span, begin = _HOUR, now
    last: list[float] = []
    while len(last) <= MOST_AT_ONCE and begin > due[-1]:
        begin, span = max(now - span, due[-1]), span * _GROWTH
        last = []
        for one in timetable.between(begin, now):
            last.append(one)
            yield
    last = last[-MOST_AT_ONCE - 1 :]
    between = [one for one in last if one > due[-1]]
    return [*due[: MOST_COUNTED - len(between)], *between], bool(between)


def _overlapping(
    schedule: Schedule,
    memory: Memory,
    due: list[float],
    running: bool,
    decisions: list[Decision],
    *,
    caught_up: bool,
) -> tuple[list[float], Memory]:
    """Those of ``due`` that fire now, as ``overlap`` has it; skips are added to ``decisions``.

    Where all are caught up with, none of them is skipped for the run of another: they wait for each other, and
    what comes due until the last of them has begun waits behind them.
    """
    if schedule.overlap is Overlap.ALLOW:
        return [*memory.waiting, *due], replace(memory, waiting=())
    free = 0 if running else 1
    waits = caught_up or (memory.waiting and schedule.catch_up is CatchUp.ALL)
    if schedule.overlap is Overlap.SKIP and not waits:
        due = [*memory.waiting, *due]
        if due[free:]:
            decisions.append(Decision(due[free:], "the run of the tick before has not ended"))
        return due[:free], replace(memory, waiting=())
    waiting = [*memory.waiting, *due]
    fired, waiting = waiting[:free], waiting[free:]
    if len(waiting) > MOST_AT_ONCE:
        decisions.append(Decision(waiting[:-MOST_AT_ONCE], f"{MOST_AT_ONCE} ticks wait already"))
        waiting = waiting[-MOST_AT_ONCE:]
    return fired, replace(memory, waiting=tuple(waiting))


def next_look(schedule: Schedule, memory: Memory) -> float | None:
    """When the next tick is due, or None; what waits for the end of a run is due when that ends."""
    return schedule.timetable.after(memory.until)


def sensor_due(interval: float, last: float | None, now: float) -> float:
    """When a sensor that was asked at ``last`` is to be asked next; at ``now`` after a clock was set back."""
    if last is None or last > now:
        return now
    return last + interval
