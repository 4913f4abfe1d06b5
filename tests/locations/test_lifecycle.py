"""The transition table: what it allows, what it refuses, and that every state can be left."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.locations.lifecycle import (
    Event,
    IllegalTransitionError,
    allowed,
    next_state,
)
from supervisor.states import RESTING, UNDER_WAY, State

PAIRS = list(itertools.product(State, Event))


def test_a_whole_life():
    state = State.STOPPED
    for event, expected in [
        (Event.BEGIN, "starting"),
        (Event.HELLO, "loading"),
        (Event.LOADED, "ready"),
        (Event.DIED, "backoff"),
        (Event.BEGIN, "starting"),
        (Event.HELLO, "loading"),
        (Event.FAILED, "failed"),
        (Event.BEGIN, "starting"),
        (Event.GAVE_UP, "crashed"),
        (Event.STOP, "stopping"),
        (Event.GONE, "stopped"),
    ]:
        state = next_state(state, event)
        assert state.value == expected


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_a_pair_is_allowed_or_raises_and_names_both(state, event):
    if allowed(state, event):
        assert isinstance(next_state(state, event), State)
    else:
        with pytest.raises(IllegalTransitionError) as caught:
            next_state(state, event)
        assert (caught.value.state, caught.value.event) == (state, event)
        assert state.value in str(caught.value)
        assert event.value in str(caught.value)


def test_states_rest_or_are_under_way():
    assert set(State) == RESTING | UNDER_WAY
    assert not RESTING & UNDER_WAY


@pytest.mark.parametrize(
    "state", [one for one in State if one not in (State.STOPPED, State.STOPPING)]
)
def test_everything_that_is_meant_to_run_can_be_stopped_and_tried_anew(state):
    assert next_state(state, Event.STOP) is State.STOPPING
    assert next_state(state, Event.BEGIN) is State.STARTING


def test_only_an_order_leaves_stopped():
    assert {event for event in Event if allowed(State.STOPPED, event)} == {Event.BEGIN}


def test_stopping_lasts_until_the_last_process_is_gone():
    assert {event for event in Event if allowed(State.STOPPING, event)} == {Event.GONE}


def test_nothing_is_ready_that_has_not_loaded():
    into_ready = {pair for pair in PAIRS if allowed(*pair) and next_state(*pair) is State.READY}
    # What has failed has another process that loads, where the fork may be to blame.
    assert into_ready == {(State.LOADING, Event.LOADED), (State.FAILED, Event.LOADED)}


@given(st.lists(st.sampled_from(Event), max_size=50))
def test_from_everywhere_there_is_a_way_to_ready_and_to_stopped(events):
    state = State.STOPPED
    for event in events:
        if allowed(state, event):
            state = next_state(state, event)
    if state is State.STOPPING:
        state = next_state(state, Event.GONE)
    for event in (Event.BEGIN, Event.HELLO, Event.LOADED, Event.STOP, Event.GONE):
        state = next_state(state, event)
    assert state is State.STOPPED
