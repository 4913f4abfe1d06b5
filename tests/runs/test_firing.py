"""Which ticks fire: after a time away, with clocks that are set, beside runs that go on, through a year."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from supervisor.runs.firing import (
    LONGEST_STEP,
    MOST_AT_ONCE,
    MOST_COUNTED,
    CatchUp,
    Memory,
    Overlap,
    Schedule,
    decide,
    next_look,
    sensor_due,
)
from supervisor.runs.timetable import Timetable

HOUR = 3600.0
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC).timestamp()


def schedule(cron: str = "0 * * * *", **options) -> Schedule:
    return Schedule(Timetable([cron]), "one", **options)


def since(moment: float) -> Memory:
    return Memory(moment, "one")


def fired(decisions) -> list[float]:
    return [one.ticks[0] for one in decisions if not one.skipped]


def test_a_tick_fires_once_when_it_is_due():
    hourly = schedule()
    memory = since(NOON)
    assert next_look(hourly, memory) == NOON + HOUR
    memory, decisions = decide(hourly, memory, NOON + HOUR - 0.001, running=False)
    assert decisions == []
    memory, decisions = decide(hourly, memory, NOON + HOUR, running=False)
    assert fired(decisions) == [NOON + HOUR]
    memory, decisions = decide(hourly, memory, NOON + HOUR + 1, running=False)
    assert decisions == []
    assert next_look(hourly, memory) == NOON + 2 * HOUR


@pytest.mark.parametrize(
    ("catch_up", "expected", "missed"),
    [(CatchUp.LAST, [5], [1, 2, 3, 4]), (CatchUp.NONE, [], [1, 2, 3, 4, 5]),
     (CatchUp.ALL, [1, 2, 3, 4, 5], [])],
)  # fmt: skip
def test_ticks_of_a_time_away_are_caught_up_as_the_schedule_says(catch_up, expected, missed):
    hourly = schedule(catch_up=catch_up, overlap=Overlap.ALLOW)
    memory, decisions = decide(hourly, since(NOON), NOON + 5.5 * HOUR, running=False, was_away=True)
    assert fired(decisions) == [NOON + HOUR * number for number in expected]
    skipped = [one for one in decisions if one.skipped]
    assert [tick for one in skipped for tick in one.ticks] == [NOON + HOUR * n for n in missed]
    assert all(one.skipped == "no supervisor was there" for one in skipped)
    assert memory.until == NOON + 5.5 * HOUR


def test_a_tick_that_is_due_this_moment_was_not_missed():
    hourly = schedule(catch_up=CatchUp.NONE)
    _, decisions = decide(hourly, since(NOON), NOON + 3 * HOUR, running=False, was_away=True)
    assert fired(decisions) == [NOON + 3 * HOUR]
    assert [list(one.ticks) for one in decisions if one.skipped] == [[NOON + HOUR, NOON + 2 * HOUR]]


def test_a_machine_that_slept_is_like_a_supervisor_that_was_away():
    hourly = schedule(catch_up=CatchUp.LAST)
    _, decisions = decide(hourly, since(NOON), NOON + 72.5 * HOUR, running=False)
    assert fired(decisions) == [NOON + 72 * HOUR]


@pytest.mark.parametrize("catch_up", list(CatchUp))
def test_a_tick_of_once_a_day_is_not_missed_because_the_one_before_is_long_ago(catch_up):
    daily = schedule("0 12 * * *", catch_up=catch_up)
    memory, decisions = decide(daily, since(NOON + 1), NOON + 24 * HOUR + 0.01, running=False,
                               looked=NOON + 24 * HOUR - 1)  # fmt: skip
    assert fired(decisions) == [NOON + 24 * HOUR]
    assert not [one for one in decisions if one.skipped]
    assert memory.until == NOON + 24 * HOUR + 0.01


def test_a_machine_that_slept_longer_than_since_the_look_before_was_away():
    daily = schedule("0 12 * * *", catch_up=CatchUp.NONE)
    _, decisions = decide(daily, since(NOON + 1), NOON + 27 * HOUR, running=False,
                          looked=NOON + 23 * HOUR)  # fmt: skip
    assert fired(decisions) == []
    assert [list(one.ticks) for one in decisions] == [[NOON + 24 * HOUR]]


def test_catching_up_with_all_is_bounded():
    minutely = schedule("* * * * *", catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    _, decisions = decide(minutely, since(NOON), NOON + 48 * HOUR, running=False, was_away=True)
    assert len(fired(decisions)) == MOST_AT_ONCE
    assert len(decisions[0].ticks) == 48 * 60 - MOST_AT_ONCE


def test_a_year_of_minutes_is_not_counted_to_its_end():
    minutely = schedule("* * * * *", catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    now = NOON + 365 * 24 * HOUR + 30
    memory, decisions = decide(minutely, since(NOON), now, running=False, was_away=True)
    missed = decisions[0]
    assert missed.at_least
    assert len(missed.ticks) == MOST_COUNTED - MOST_AT_ONCE
    assert missed.ticks[0] == NOON + 60
    assert missed.ticks[-1] == now - 30 - 60 * MOST_AT_ONCE
    wanted = [now - 30 - 60 * number for number in reversed(range(MOST_AT_ONCE))]
    assert fired(decisions) == wanted
    assert memory.until == now


@pytest.mark.slow
def test_the_last_ticks_are_found_where_they_are_long_ago():
    january = schedule("* * * 1-2 *", catch_up=CatchUp.LAST)
    begin = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    _, decisions = decide(january, since(begin), NOON, running=False, was_away=True)
    assert fired(decisions) == [datetime(2026, 2, 28, 23, 59, tzinfo=UTC).timestamp()]
    assert decisions[0].at_least


def test_what_is_caught_up_with_wholly_waits_for_its_turn_and_what_comes_meanwhile_behind_it():
    hourly = schedule(catch_up=CatchUp.ALL, overlap=Overlap.SKIP)
    now = NOON + 2.5 * HOUR
    memory, decisions = decide(hourly, since(NOON), now, running=True, was_away=True)
    assert decisions == []  # a run of before goes on
    assert memory.waiting == (NOON + HOUR, NOON + 2 * HOUR)
    found = []
    for running, moment in (
        (False, now + 1),
        (True, NOON + 3 * HOUR),  # it is due while they wait
        (False, NOON + 3 * HOUR + 1),
        (False, NOON + 3 * HOUR + 2),
    ):
        memory, decisions = decide(hourly, memory, moment, running=running)
        assert not [one for one in decisions if one.skipped]
        found += fired(decisions)
    assert found == [NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR]
    memory, decisions = decide(hourly, memory, NOON + 4 * HOUR, running=True)  # as ever
    assert [one.skipped for one in decisions] == ["the run of the tick before has not ended"]


@pytest.mark.slow
@pytest.mark.parametrize("step", [-HOUR, HOUR])
@pytest.mark.parametrize("at", range(0, 120, 7))
def test_a_clock_that_is_set_by_an_hour_fires_nothing_twice_and_leaves_nothing_out(step, at):
    quarterly = schedule("*/15 * * * *", overlap=Overlap.ALLOW)
    memory, found, clock = since(NOON), [], NOON
    for minute in range(360):
        clock += 60 + (step if minute == at else 0)
        memory, decisions = decide(quarterly, memory, clock, running=False)
        found += fired(decisions)
        assert not [one for one in decisions if one.skipped]
    assert found == [NOON + 900 * number for number in range(1, int((clock - NOON) // 900) + 1)]


def test_a_clock_that_was_wrong_by_a_year_stops_nothing():
    hourly = schedule()
    memory = since(NOON + 365 * 24 * HOUR)
    memory, decisions = decide(hourly, memory, NOON, running=False)
    assert decisions == []
    _, decisions = decide(hourly, memory, NOON + HOUR, running=False)
    assert fired(decisions) == [NOON + HOUR]


def test_one_that_is_set_back_by_less_waits_until_it_is_there_again():
    memory = since(NOON + LONGEST_STEP)
    memory, decisions = decide(schedule(), memory, NOON + 1, running=False)
    assert (decisions, memory.until) == ([], NOON + LONGEST_STEP)


def test_a_schedule_that_becomes_another_counts_from_then_on():
    other = Schedule(Timetable(["* * * * *"]), "two", catch_up=CatchUp.ALL)
    memory, decisions = decide(other, since(NOON), NOON + 30 * HOUR, running=False, was_away=True)
    assert (memory, decisions) == (Memory(NOON + 30 * HOUR, "two"), [])


def test_a_tick_beside_a_run_is_skipped():
    hourly = schedule(overlap=Overlap.SKIP)
    memory, decisions = decide(hourly, since(NOON), NOON + HOUR, running=True)
    assert [(list(one.ticks), one.skipped) for one in decisions] == [
        ([NOON + HOUR], "the run of the tick before has not ended")
    ]
    assert memory.waiting == ()


def test_a_tick_beside_a_run_waits_for_its_end():
    hourly = schedule(overlap=Overlap.QUEUE)
    memory, found = since(NOON), []
    for number in (1, 2):
        memory, decisions = decide(hourly, memory, NOON + number * HOUR, running=True)
        assert decisions == []
    assert memory.waiting == (NOON + HOUR, NOON + 2 * HOUR)
    for second in (1, 2, 3):
        memory, decisions = decide(hourly, memory, NOON + 2 * HOUR + second, running=False)
        found.append(fired(decisions))
    assert found == [[NOON + HOUR], [NOON + 2 * HOUR], []]


def test_what_waits_is_bounded():
    minutely = schedule("* * * * *", overlap=Overlap.QUEUE)
    memory = since(NOON)
    for hour in range(1, 20):
        memory, decisions = decide(minutely, memory, NOON + hour * HOUR, running=True)
    assert len(memory.waiting) == MOST_AT_ONCE
    assert memory.waiting[-1] == NOON + 19 * HOUR
    assert decisions[0].skipped == f"{MOST_AT_ONCE} ticks wait already"


def test_a_tick_beside_a_run_fires_where_that_is_allowed():
    hourly = schedule(overlap=Overlap.ALLOW)
    memory = Memory(NOON, "one", (NOON - HOUR,))  # it was another kind before
    memory, decisions = decide(hourly, memory, NOON + HOUR, running=True)
    assert fired(decisions) == [NOON - HOUR, NOON + HOUR]


def test_sensors_are_asked_at_their_interval_and_after_a_clock_was_set_back():
    assert sensor_due(30, None, NOON) == NOON
    assert sensor_due(30, NOON, NOON + 10) == NOON + 30
    assert sensor_due(30, NOON, NOON - HOUR) == NOON - HOUR


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_whenever_it_is_killed_nothing_fires_twice_and_all_is_caught_up(seed):
    # The memory is on the disk before anything is launched; a kill loses what came after it.
    chance = random.Random(seed)
    hourly = schedule("*/10 * * * *", catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    stored, found, clock, away = since(NOON), [], NOON, False
    for _ in range(500):
        clock += chance.choice([1, 30, 60, 600, 1500])
        memory, decisions = decide(hourly, stored, clock, running=False, was_away=away)
        away = chance.random() < 0.1
        if away and chance.random() < 0.5:
            continue  # killed before the memory was stored: nothing was launched
        stored = memory
        found += fired(decisions)
    assert found == sorted(set(found))
    last = stored.until
    assert found == list(hourly.timetable.between(NOON, last))
