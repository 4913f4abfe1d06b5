"""The client's half of the protocol, without a socket."""

from __future__ import annotations

import pytest

from runner_shim import wire
from supervisor.client import requests
from supervisor.client.requests import Conversation
from supervisor.errors import (
    ConfigurationError,
    NotRunningError,
    ProtocolError,
    RequestError,
    RequestTimeoutError,
    UnknownDefinitionError,
    UnknownLocationError,
)
from supervisor.states import UNDER_WAY


def test_requests_are_numbered_and_carry_what_was_given() -> None:
    conversation = Conversation("w.yaml")
    first, frames = conversation.request(requests.listing("job", None))
    second, _ = conversation.request(requests.shutdown(False))
    assert second == first + 1
    assert wire.unpack(frames[0]) == {
        "v": 1,
        "id": first,
        "method": "list",
        "params": {"kind": "job"},
    }


@pytest.mark.parametrize(
    "frames",
    [[], [b"\xc1"], [wire.pack([1])], [wire.pack({"v": 1})], [wire.pack({"v": 9, "id": 1})]],
)
def test_what_is_no_reply_is_a_protocol_error(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        Conversation("w").number_of(frames)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("not_running", NotRunningError),
        ("unknown_location", UnknownLocationError),
        ("unknown_definition", UnknownDefinitionError),
        ("refused", RequestError),
        ("timeout", RequestTimeoutError),
        ("protocol", ProtocolError),
        ("configuration", ConfigurationError),
        ("of_a_later_version", RequestError),
    ],
)
def test_each_code_becomes_its_error(code: str, kind: type[Exception]) -> None:
    conversation = Conversation("w.yaml")
    call = requests.show("risk", "nightly", None, None)
    header = {"error": {"code": code, "message": "it went wrong", "hint": "do this"}}
    with pytest.raises(kind) as caught:
        conversation.result(call, header, [])
    assert type(caught.value) is kind
    assert caught.value.hint == "do this"  # type: ignore[attr-defined]


def test_configuration_problems_come_back_whole() -> None:
    row = {
        "file": "/w.yaml",
        "line": 3,
        "column": 5,
        "path": "load_from[0]",
        "message": "is unknown",
        "expected": "python_file",
        "suggestion": "python_file",
    }
    error = requests.error_from({"code": "configuration", "problems": [row]}, {}, "w")
    assert str(error) == (
        "/w.yaml:3:5: load_from[0]: is unknown; expected python_file; did you mean python_file?"
    )


@pytest.mark.parametrize(
    ("call", "result", "payload"),
    [
        (requests.status(None, None, 1), {"format": 2}, []),
        (requests.status(None, None, 1), [], []),
        (requests.snapshot("a", None), {"location": "a"}, [b"", b""]),
        (requests.snapshot("a", None), {}, []),
        (requests.shutdown(False), {"pid": None}, []),
    ],
)
def test_an_answer_of_another_shape_is_a_protocol_error(
    call: requests.Call[object], result: object, payload: list[bytes]
) -> None:
    with pytest.raises(ProtocolError):
        Conversation("w").result(call, {"result": result}, payload)


def test_a_wait_is_held_back_for_a_bounded_time_only() -> None:
    assert requests.wait([], 3600).hold == requests.LONGEST_HOLD
    assert requests.wait([], -1).hold == 0
    assert requests.status(None, None, 30).hold == 0


def test_the_states_under_way_are_those_of_the_life_cycle() -> None:
    assert set(UNDER_WAY) == requests.UNDER_WAY
