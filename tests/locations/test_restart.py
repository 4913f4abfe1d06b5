"""Backoff, intensity and policies: arithmetic, without a clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.locations.restart import GiveUp, LeaveStopped, Restart, judge, recent
from supervisor.specs import RestartPolicy, RestartSpec


def ask(deaths, *, now=1000.0, clean=False, chance=0.0, **spec):
    return judge(RestartSpec(**spec), deaths, now, clean=clean, chance=chance)


def test_the_first_death_is_answered_at_once():
    assert ask([1000.0]) == Restart(0.0, 1)
    assert ask([1000.0], chance=0.999) == Restart(0.0, 1)


def test_each_further_death_doubles_the_delay_up_to_the_longest():
    delays = [
        ask([1000.0] * count, max_restarts=99, initial_delay=0.5, max_delay=3.0).delay
        for count in range(1, 8)
    ]
    assert delays == [0.0, 0.5, 1.0, 2.0, 3.0, 3.0, 3.0]


def test_jitter_adds_up_to_a_quarter():
    assert ask([1000.0] * 3, initial_delay=1.0, chance=0.5) == Restart(2.25, 3)


def test_more_than_the_allowed_restarts_give_up():
    assert ask([1000.0] * 3, max_restarts=3) == Restart(0.2, 3)
    assert ask([1000.0] * 4, max_restarts=3) == GiveUp(4, 60.0)
    assert ask([1000.0], max_restarts=0) == GiveUp(1, 60.0)


def test_old_deaths_are_forgotten():
    deaths = [10.0, 20.0, 930.0, 940.0, 999.0, 1000.0]
    assert recent(deaths, 1000.0, 60.0) == (940.0, 999.0, 1000.0)
    assert ask(deaths, max_restarts=3) == Restart(0.2, 3)


@pytest.mark.parametrize(
    ("policy", "clean", "restarts"),
    [
        (RestartPolicy.ALWAYS, True, True),
        (RestartPolicy.ALWAYS, False, True),
        (RestartPolicy.ON_FAILURE, True, False),
        (RestartPolicy.ON_FAILURE, False, True),
        (RestartPolicy.NEVER, True, False),
        (RestartPolicy.NEVER, False, False),
    ],
)
def test_policies(policy, clean, restarts):
    verdict = ask([1000.0], policy=policy, clean=clean)
    assert verdict == (Restart(0.0, 1) if restarts else LeaveStopped())


def test_a_thousand_deaths_do_not_overflow():
    verdict = ask([1000.0] * 5000, max_restarts=1_000_000)
    assert verdict == Restart(30.0, 5000)


@given(
    st.lists(st.floats(0, 1000), min_size=1, max_size=100),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 100),
    st.floats(0, 100),
)
def test_a_delay_is_never_negative_nor_longer_than_the_longest_and_its_jitter(
    deaths, chance, initial, longest
):
    verdict = ask(
        deaths, chance=chance, max_restarts=1000, initial_delay=initial, max_delay=longest
    )
    assert isinstance(verdict, Restart)
    assert 0 <= verdict.delay <= longest * 1.25
