"""Documents read piece by piece: what comes of them is what reading them at once gives."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner_shim import wire
from supervisor.snapshots import msgpack_reader

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(st.sampled_from(["list", "a", "b"]) | st.text(max_size=5), PLAIN)


def at_once(data):
    """The document by pieces, or what is wrong with it."""
    rest = {}
    try:
        found = list(msgpack_reader.items(data, "list", rest))
    except wire.WireError as error:
        assert str(error)
        return None
    for value, start, end in found:
        assert wire.unpack(data[start:end]) == value
    values = [value for value, _start, _end in found]
    return {**rest, "list": values} if values else rest


@pytest.mark.slow
@given(DOCUMENTS)
def test_pieces_are_the_whole(document):
    data = wire.pack(document)
    assert at_once(data) == document
    found = list(msgpack_reader.entries(data))
    assert {key: value for key, value, _start in found} == document
    assert [msgpack_reader.entry_at(data, start) for _key, _value, start in found] == [
        (key, value) for key, value, _start in found
    ]


def test_a_document_larger_than_what_is_read_at_a_time():
    document = {"list": [{"name": f"one {n}", "text": "x" * n} for n in range(3000)], "z": "y" * 99}
    data = wire.pack(document)
    assert len(data) > 4_000_000
    assert at_once(data) == document


@given(st.binary(max_size=40) | DOCUMENTS.map(wire.pack), st.integers(0, 40), st.binary(max_size=2))
@example(b"", 0, b"")
@example(b"\xdf\xff\xff\xff\xff", 40, b"")
@example(b"\x81\xa4list\xdd\xff\xff\xff\xff", 40, b"")
@example(b"\x81\xa4list\x91\xdd\x00\x00\x00\xff", 40, b"")
@example(b"\x81\xa4list\x91\xdb\xff\xff\xff\xff", 40, b"")
@example(b"\x81\xc4\x00\xa1a", 40, b"")
@example(wire.pack({"list": [1]}), 40, b"\xc0")
def test_what_is_refused_at_once_is_refused_by_pieces(data, length, more):
    data = data[:length] + more
    try:
        whole = wire.unpack(data)
    except wire.WireError:
        whole = None
    assert at_once(data) in ((whole,) if isinstance(whole, dict) else (None,)) or twice(data)


def twice(data):
    """Whether ``data`` is a map with a key that is there twice."""
    pairs = msgpack.unpackb(data, object_pairs_hook=list, strict_map_key=False, raw=True)
    keys = [key for key, _value in pairs]
    return len(keys) != len(set(keys))


def test_a_key_that_is_there_twice_is_refused():
    data = b"\x82" + 2 * (wire.pack("list") + wire.pack([1]))
    with pytest.raises(wire.WireError, match="'list' is there twice"):
        list(msgpack_reader.items(data, "list", {}))


@pytest.mark.parametrize("value", [[], "text", 7, None])
def test_what_is_no_map_says_so(value):
    with pytest.raises(msgpack_reader.NoMapError):
        list(msgpack_reader.entries(wire.pack(value)))
    with pytest.raises(msgpack_reader.NoMapError):
        list(msgpack_reader.items(wire.pack(value), "list", {}))


@pytest.mark.parametrize("value", [{}, "text", 7, None, []])
def test_what_is_no_list_is_among_the_others(value):
    rest = {}
    assert list(msgpack_reader.items(wire.pack({"list": value}), "list", rest)) == []
    assert rest == {"list": value}


def test_depth_counts_from_the_document():
    def document(levels):
        return b"\x81\xa4list\x91" + b"\x91" * levels + b"\xc0"

    assert at_once(document(wire.MAX_DEPTH - 2)) is not None
    with pytest.raises(wire.WireError, match="nested deeper than 64 levels"):
        list(msgpack_reader.items(document(wire.MAX_DEPTH - 1), "list", {}))
