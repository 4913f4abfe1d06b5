"""An operator's day, shortened: everything at once, and each kind of it by itself."""

from __future__ import annotations

import itertools

import pytest
from day import KINDS, Day, DayFigures, Judge, Round, draw, play
from schedule import seeds

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

ROUNDS = 15
LONGEST_PAUSE = 4.0


@pytest.mark.parametrize("seed", seeds((1, 2)))
def test_everything_at_once(tmp_path, runtime, seed):
    print(f"seed {seed}: WS_FAULT_SEED={seed} replays this day")
    figures = DayFigures()
    day = Day(tmp_path, runtime)
    rounds = itertools.islice(draw(seed, day.locations, LONGEST_PAUSE), ROUNDS)
    _spend(day, rounds, figures)
    assert figures.rounds == ROUNDS
    assert min(figures.counts.values()) >= 3, figures.counts
    assert figures.refused == figures.counts["state"]


def _spend(day: Day, rounds: itertools.islice[Round] | list[Round], figures: DayFigures) -> None:
    judge = Judge(day)
    try:
        day.start()
        day.expect_ready()
        judge.start()
        for what in rounds:
            print(what)
            play(day, what, figures)
    finally:
        if judge.is_alive():
            judge.close()
        day.close()
    assert judge.wrong == []
    assert judge.answers > 0


def test_a_day_has_every_kind():
    kinds = set().union(*(one.kinds for one in itertools.islice(draw(1, ("a",), 2.0), 20)))
    assert kinds == set(KINDS)
