"""The shim protocol without processes: every message in every phase, and sequences of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner_shim import wire
from supervisor.locations.shim_connection import (
    MAX_ASKS,
    MAX_RUNS,
    REQUESTS,
    Answer,
    Asks,
    Hello,
    IllegalRequestError,
    Kind,
    OtherVersion,
    Part,
    Phase,
    RunBegun,
    RunEnded,
    ServerEnded,
    ShimConnection,
    Unfit,
    Violation,
)

STREAMS = {
    **REQUESTS,
    "tail": Kind({"tailed": 1}, frozenset({Phase.LOADED}), stream=True),
}
TARGET = {"kind": "python_file", "name": "/x.py"}


def said(kind, **fields):
    return {"v": wire.VERSION, "type": kind, **fields}


def hear(connection, kind, *payload, **fields):
    return connection.receive(said(kind, **fields), payload)


def reach(phase, *, forked=False):
    """A connection in ``phase``; in LOADING, request 1 is the load."""
    connection = ShimConnection(STREAMS)
    connection.forked = forked
    if phase is Phase.GREETING:
        return connection
    hear(connection, "hello")
    if phase is Phase.CLOSED:
        connection.close()
    elif phase is not Phase.GREETED:
        connection.request("load", target=TARGET)
        if phase is Phase.LOADED:
            hear(connection, "loaded", b"", b"", request=1)
        elif phase is Phase.FAILED:
            hear(connection, "failed", request=1)
        elif phase is Phase.LEAVING:
            connection.forked = True
            hear(connection, "unfit", reason="a thread")
    assert connection.phase is phase
    return connection


# What every kind of message comes to in every phase when nothing but a load was asked: the event's
# type, or the words of the violation.
NOBODY = "answered a request that was not made"
EARLY, LATE = "before its hello", "after it was unfit"
EXPECTED = {
    "hello": dict.fromkeys(Phase, "the shim said hello twice") | {Phase.GREETING: Hello},
    "loaded": dict.fromkeys(Phase, NOBODY) | {Phase.LOADING: Answer},
    "failed": dict.fromkeys(Phase, NOBODY) | {Phase.LOADING: "in 2 parts instead of 0"},
    "described": dict.fromkeys(Phase, NOBODY) | {Phase.LOADING: "answered 'load' with 'described'"},
    "pong": dict.fromkeys(Phase, NOBODY) | {Phase.LOADING: "answered 'load' with 'pong'"},
    "part": dict.fromkeys(Phase, NOBODY) | {Phase.LOADING: Part},
    "dance": dict.fromkeys(Phase, NOBODY) | {Phase.LOADING: "answered 'load' with 'dance'"},
    "unfit": dict.fromkeys(Phase, Unfit),
    "run_begun": dict.fromkeys(Phase, RunBegun),
    "run_ended": dict.fromkeys(Phase, "the shim said run_ended twice of the run 'r1'"),
    "server_ended": dict.fromkeys(Phase, "before it had loaded") | {Phase.LOADED: ServerEnded},
    "asks": dict.fromkeys(Phase, "before it had loaded") | {Phase.LOADED: Asks},
    "stop": dict.fromkeys(Phase, NOBODY) | {Phase.LOADING: "answered 'load' with 'stop'"},
}


@pytest.mark.parametrize(("kind", "phase"), list(itertools.product(EXPECTED, Phase)))
def test_every_message_in_every_phase(kind, phase):
    connection = reach(phase, forked=True)
    event = hear(
        connection, kind, b"", b"", request=1, reason="a thread", run="r1", ask=1, what="run"
    )
    expected = EXPECTED[kind][phase]
    if phase is Phase.CLOSED:
        expected = None
    elif phase is Phase.GREETING and kind != "hello":
        expected = EARLY
    elif phase is Phase.LEAVING and kind != "hello":
        expected = LATE
    if expected is None:
        assert event is None
    elif isinstance(expected, str):
        assert isinstance(event, Violation)
        assert expected in event.text
        assert connection.phase is Phase.CLOSED
        assert hear(connection, "hello") is None
    else:
        assert type(event) is expected


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("kind", ["hello", "loaded", "unfit", "dance"])
def test_another_version_is_refused_in_every_phase(kind, phase):
    connection = reach(phase)
    event = connection.receive({"v": 99, "type": kind, "request": 1}, ())
    assert event == (None if phase is Phase.CLOSED else OtherVersion(99))
    assert connection.phase is Phase.CLOSED


@pytest.mark.parametrize("phase", Phase)
def test_what_is_no_message_is_a_violation_in_every_phase(phase):
    event = reach(phase).receive(wire.WireError("the header is no map"), ())
    wrong = Violation("the shim sent the header is no map")
    assert event == (None if phase is Phase.CLOSED else wrong)


@pytest.mark.parametrize(("kind", "phase"), list(itertools.product(STREAMS, Phase)))
def test_what_may_be_asked_in_every_phase(kind, phase):
    connection = reach(phase)
    if phase in STREAMS[kind].phases:
        asked = connection.request(kind, name="n")
        assert asked.message == {"type": kind, "request": asked.number, "name": "n"}
        assert connection.busy is (STREAMS[kind].turn or phase is Phase.LOADING)
        return
    idle = connection.idle
    with pytest.raises(IllegalRequestError, match=f"'{kind}' cannot be asked of .* {phase.value}"):
        connection.request(kind)
    assert (connection.phase, connection.idle) == (phase, idle)


def test_user_code_runs_one_request_at_a_time():
    connection = reach(Phase.LOADED)
    first = connection.request("describe", name="a")
    with pytest.raises(
        IllegalRequestError, match="'describe' cannot be asked while 'describe' is not answered"
    ):
        connection.request("describe", name="b")
    ping = connection.request("ping")
    assert hear(connection, "described", request=first.number).number == first.number
    assert not connection.busy
    second = connection.request("describe", name="b")
    assert isinstance(hear(connection, "pong", request=ping.number), Answer)
    assert isinstance(hear(connection, "failed", request=second.number), Answer)
    assert connection.idle


@pytest.mark.parametrize("number", [0, 2, -1, 2**64, True, 1.0, None, "1", [1], {}])
def test_an_answer_names_its_request(number):
    event = hear(reach(Phase.LOADING), "loaded", b"", b"", request=number)
    assert event == Violation("the shim answered a request that was not made (loaded)")


def test_an_answer_comes_once():
    connection = reach(Phase.LOADED)
    event = hear(connection, "loaded", b"", b"", request=1)
    assert event == Violation("the shim answered a request that was not made (loaded)")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_snapshot_has_two_parts(count):
    event = hear(reach(Phase.LOADING), "loaded", *[b""] * count, request=1)
    assert event == Violation(f"a snapshot came in {count} parts instead of 2")


def test_only_a_forked_process_may_be_unfit():
    event = hear(reach(Phase.LOADING), "unfit", reason="a thread", request=1)
    assert event == Violation("the shim answered 'load' with 'unfit'")


@pytest.mark.parametrize(("phase", "number"), [(Phase.LOADING, 1), (Phase.LOADED, 0)])
def test_what_is_unfit_ends_its_turn(phase, number):
    connection = reach(phase, forked=True)
    assert hear(connection, "unfit", reason="x" * 1000) == Unfit(number, "x" * 500)
    assert (connection.busy, connection.idle) == (False, True)
    assert hear(connection, "unfit") == Violation("the shim said 'unfit' after it was unfit")


def test_parts_come_before_the_answer_of_what_is_a_stream():
    connection = reach(Phase.LOADED)
    asked = connection.request("tail")
    for number in range(3):
        event = hear(connection, "part", b"%d" % number, request=asked.number)
        assert isinstance(event, Part)
        assert (event.number, event.payload) == (asked.number, (b"%d" % number,))
    assert isinstance(hear(connection, "tailed", b"", request=asked.number), Answer)
    event = hear(connection, "part", request=asked.number)
    assert event == Violation("the shim answered a request that was not made (part)")


def test_runs_begin_and_end_once():
    connection = reach(Phase.LOADED)
    assert hear(connection, "run_begun", run="a") == RunBegun("a")
    assert hear(connection, "run_begun", run="b") == RunBegun("b")
    assert connection.runs == {"a", "b"}
    assert hear(connection, "run_ended", run="a") == RunEnded("a")
    assert connection.runs == {"b"}
    assert hear(connection, "run_begun", run="a") == RunBegun("a")
    assert hear(connection, "run_begun", run="b") == Violation(
        "the shim said run_begun twice of the run 'b'"
    )
    assert connection.runs == frozenset()


@pytest.mark.parametrize("run", [None, 1, "", "x" * 201, ["a"], b"a"])
def test_a_run_has_a_name(run):
    event = hear(reach(Phase.LOADED), "run_begun", run=run)
    assert event == Violation("the shim said run_begun of a run without a name")


def test_the_number_of_runs_is_bounded():
    connection = reach(Phase.LOADED)
    connection.runs = frozenset(str(number) for number in range(MAX_RUNS - 1))
    assert hear(connection, "run_begun", run="last") == RunBegun("last")
    event = hear(connection, "run_begun", run="one more")
    assert event == Violation(f"the shim has more than {MAX_RUNS} runs")


def test_a_question_is_answered_once():
    connection = reach(Phase.LOADED)
    asked = hear(connection, "asks", ask=7, what="run", job="nightly")
    assert (asked.number, asked.what, asked.message["job"]) == (7, "run", "nightly")
    assert connection.answer(7, started=True) == {"type": "answer", "ask": 7, "started": True}
    assert connection.answer(7, started=True) is None
    assert isinstance(hear(connection, "asks", ask=7, what="run"), Asks)
    assert connection.idle  # a question of the shim is nothing that it was asked


@pytest.mark.parametrize("ask", [None, "1", True, 1.0, 3])
def test_a_question_has_a_number_of_its_own(ask):
    connection = reach(Phase.LOADED)
    hear(connection, "asks", ask=3, what="run")
    event = hear(connection, "asks", ask=ask, what="run")
    assert event == Violation("the shim asked without a number of its own")
    assert connection.answer(3) is None


def test_the_number_of_questions_is_bounded():
    connection = reach(Phase.LOADED)
    for number in range(MAX_ASKS):
        assert isinstance(hear(connection, "asks", ask=number, what="run"), Asks)
    event = hear(connection, "asks", ask=MAX_ASKS, what="run")
    assert event == Violation(f"the shim has more than {MAX_ASKS} questions")


@pytest.mark.parametrize("status", [None, "1", True, 3])
def test_how_a_server_ended(status):
    event = hear(reach(Phase.LOADED), "server_ended", status=status, signal=9, reason=None)
    assert event == ServerEnded(3 if status == 3 else None, 9, "")


@pytest.mark.parametrize("phase", Phase)
def test_it_is_told_to_stop_when_it_can_hear_it(phase):
    told = phase in (Phase.GREETED, Phase.LOADED, Phase.FAILED)
    assert reach(phase).stop() == ({"type": "stop"} if told else None)


def test_it_is_not_told_to_stop_while_user_code_runs():
    connection = reach(Phase.LOADED)
    connection.request("ping")
    assert connection.stop() is not None
    connection.request("describe")
    assert connection.stop() is None


# Sequences.

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**63), st.text(max_size=5), st.floats(), st.binary()
)
FIELDS = st.dictionaries(
    st.sampled_from(["request", "run", "reason", "report", "ask", "what", "status"]),
    st.one_of(SCALARS, st.integers(0, 5), st.sampled_from(["a", "b"]), st.lists(SCALARS)),
)
HEARD = st.tuples(
    st.sampled_from([*EXPECTED, "tailed", ""]) | st.text(max_size=5),
    st.just(wire.VERSION) | st.integers(0, 3),
    FIELDS,
    st.lists(st.binary(max_size=3), max_size=3),
)
DONE = st.one_of(HEARD, st.sampled_from([*STREAMS, "stop", "close"]))


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.booleans(), st.booleans(), st.lists(DONE, max_size=30))
def test_nothing_that_a_shim_sends_raises_and_every_answer_was_asked_for(forked, greeted, steps):
    connection = ShimConnection(STREAMS)
    connection.forked = forked
    if greeted:
        hear(connection, "hello")
    asked: dict[int, str] = {}
    for step in steps:
        before = connection.phase
        if step == "stop":
            connection.stop()
        elif step == "close":
            connection.close()
            asked.clear()
        elif isinstance(step, str):
            try:
                one = connection.request(step)
            except IllegalRequestError:
                assert connection.phase is before
            else:
                assert one.number == max([0, *asked]) + 1 or one.number not in asked
                asked[one.number] = step
        else:
            kind, version, fields, payload = step
            message = {**fields, "type": kind, "v": version}
            event = connection.receive(message, payload)
            assert (event is None) is (before is Phase.CLOSED)
            match event:
                case Answer(number, type, _, payload):
                    assert STREAMS[asked.pop(number)].answers[type] == len(payload)
                case Part(number):
                    assert STREAMS[asked[number]].stream
                case Unfit(number):
                    assert forked
                    asked.pop(number, None)
                case Violation() | OtherVersion():
                    assert connection.phase is Phase.CLOSED
                    asked.clear()
                case Hello():
                    assert before is Phase.GREETING
        assert connection.idle is (not asked)
        assert connection.busy is any(STREAMS[kind].turn for kind in asked.values())
