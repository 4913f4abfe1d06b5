"""Messages and bytes: what goes through unchanged, and what is refused."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner_shim import wire

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_data_goes_through_unchanged(value):
    assert wire.unpack(wire.pack(value)) == value


@given(st.dictionaries(st.text(), PLAIN, max_size=5), st.lists(st.binary(), max_size=3))
def test_messages_go_through_unchanged(fields, payload):
    message = {**fields, "type": "loaded"}
    frames = wire.encode(message, *payload)
    assert wire.decode(frames) == ({**message, "v": wire.VERSION}, payload)


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_anything_else_is_a_wire_error(frames):
    try:
        message, payload = wire.decode(frames)
    except wire.WireError as error:
        assert str(error)
    else:
        assert isinstance(message["type"], str)
        assert isinstance(message["v"], int)
        assert len(payload) == len(frames) - 1


@given(st.binary(max_size=200), st.integers(0, 200))
def test_a_message_that_was_cut_or_changed_is_refused_or_plain(garbage, at):
    frame = wire.pack({"v": 1, "type": "hello", "more": [1, 2.0, "x", None, {"a": True}]})
    try:
        wire.unpack(frame[:at] + garbage)
    except wire.WireError as error:
        assert str(error)


def test_encoding_changes_nothing_of_the_callers():
    message = {"type": "ping"}
    wire.encode(message)
    assert message == {"type": "ping"}


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


def test_depth_is_bounded():
    assert wire.unpack(nested(wire.MAX_DEPTH))
    with pytest.raises(wire.WireError, match="nested deeper than 64 levels"):
        wire.unpack(nested(wire.MAX_DEPTH + 1))
    with pytest.raises(wire.WireError):
        wire.unpack(nested(1_000_000))
    deep_maps = b"\x81\xa1a" * 65 + b"\xc0"
    with pytest.raises(wire.WireError, match="nested"):
        wire.unpack(deep_maps)


def test_size_is_bounded():
    with pytest.raises(wire.WireError, match="5 bytes where at most 4 are allowed"):
        wire.unpack(b"\xa4abcd", limit=4)


@pytest.mark.parametrize("one", [[], {}, [[]], {"a": []}])
def test_lists_and_maps_of_a_header_are_bounded(one):
    few = wire.encode({"type": "loaded", "report": [one] * 1000})
    assert wire.decode(few)[0]["report"] == [one] * 1000
    with pytest.raises(wire.WireError, match="more than 100000 lists and maps"):
        wire.decode(wire.encode({"type": "loaded", "report": [one] * 100_000}))
    # A snapshot is no header: it is read in steps.
    assert len(wire.unpack(wire.pack([one] * 100_000))) == 100_000


def test_a_length_that_lies_is_refused_at_once():
    # "an array of four thousand million": nobody may allocate what is only announced.
    for frame in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"):
        with pytest.raises(wire.WireError):
            wire.unpack(frame)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (b"bytes", "bytes"),
        (b"", "bytes"),
        ({b"": 1}, "bytes as a key"),
        ([float("nan")], "a number that is none"),
        (float("-inf"), "a number without end"),
        (msgpack.Timestamp(1), "a time"),
        (msgpack.ExtType(5, b""), "an extension"),
        (msgpack.ExtType(5, b"x"), "an extension"),
    ],
)
def test_what_json_does_not_have_is_refused(value, what):
    with pytest.raises(wire.WireError):
        wire.unpack(msgpack.packb({"a": value}, use_bin_type=True))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "0 frames where 1 to 4 are allowed"),
        ([b"\x80"] * 5, "5 frames where 1 to 4 are allowed"),
        ([b"\x93\x01\x02\x03"], "the header is no map"),
        ([b"\x80"], "the header has no type"),
        ([wire.pack({"type": 3, "v": 1})], "the header has no type"),
        ([wire.pack({"type": "hello"})], "the header has no version"),
        ([wire.pack({"type": "hello", "v": True})], "the header has no version"),
        ([wire.pack({"type": "hello", "v": "1"})], "the header has no version"),
        ([b"\x81\x01\x02"], "not msgpack"),
        ([b"\x80\x80"], "not msgpack"),
        ([b""], "not msgpack"),
        ([b"\xa2\xff\xff"], "not msgpack"),
    ],
)
def test_what_is_no_message_says_why(frames, message):
    with pytest.raises(wire.WireError, match=message):
        wire.decode(frames)


def test_another_version_is_left_to_the_receiver():
    message, _ = wire.decode([wire.pack({"type": "hello", "v": 99})])
    assert message["v"] == 99


def test_a_file_name_that_is_not_utf_8_can_be_sent():
    name = b"/srv/caf\xe9/defs.py".decode("utf-8", "surrogateescape")
    assert wire.unpack(wire.pack({"file": name})) == {"file": "/srv/caf?/defs.py"}
