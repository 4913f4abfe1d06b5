"""The client's half of the protocol, without a socket."""

from __future__ import annotations

from typing import Any

import pytest

from runner_shim import wire
from supervisor.client import operations, requests
from supervisor.client.requests import Call, Conversation
from supervisor.errors import (
    ConfigurationError,
    NotRunningError,
    ProtocolError,
    RequestError,
    RequestTimeoutError,
    UnknownDefinitionError,
    UnknownLocationError,
)
from supervisor.protocol.methods import LONGEST_HOLD


def first(plan: operations.Plan[Any]) -> Call[Any]:
    """The first call that an operation makes."""
    return next(plan)


def test_requests_are_numbered_and_carry_what_was_given() -> None:
    conversation = Conversation("w.yaml")
    number, frames = conversation.request(first(operations.definitions("job")))
    second, _ = conversation.request(first(operations.shutdown()))
    assert second == number + 1
    assert wire.unpack(frames[0]) == {
        "v": 2,
        "id": number,
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
    call = first(operations.show("risk", "nightly"))
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
        (first(operations.status()), {"format": 2}, []),
        (first(operations.status()), [], []),
        (first(operations.snapshot("a")), {"location": "a"}, [b"", b""]),
        (first(operations.snapshot("a")), {}, []),
        (first(operations.shutdown()), {"pid": None}, []),
    ],
)
def test_an_answer_of_another_shape_is_a_protocol_error(
    call: requests.Call[object], result: object, payload: list[bytes]
) -> None:
    with pytest.raises(ProtocolError):
        Conversation("w").result(call, {"result": result}, payload)


def test_a_wait_is_held_back_for_a_bounded_time_only() -> None:
    assert first(operations.wait(timeout=3600)).hold == LONGEST_HOLD
    assert first(operations.wait(timeout=0)).hold == 0
    assert first(operations.status(timeout=30)).hold == 0
    assert first(operations.status(since=1, timeout=3600)).hold == LONGEST_HOLD
