"""Records of a journal: whole ones are read, and nothing else is."""

from __future__ import annotations

import contextlib

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner_shim import records

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=40,
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(PLAIN)
def test_plain_data_is_packed_as_msgpack_packs_it(value):
    assert msgpack.unpackb(records.pack(value), strict_map_key=False) == value
    assert records.unpack(msgpack.packb(value)) == value


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_raise(data):
    with contextlib.suppress(records.RecordError):
        records.unpack(data)
    payloads, end, _ = records.split(data)
    assert end == sum(len(records.framed(one)) for one in payloads)


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**64])
def test_what_is_no_plain_data_is_refused(value):
    with pytest.raises((records.RecordError, Exception)):
        records.pack(value)


def test_what_is_cut_anywhere_is_read_up_to_there():
    whole = [records.framed(records.pack({"n": n, "text": "x" * n})) for n in range(12)]
    data = b"".join(whole)
    ends = [len(b"".join(whole[: n + 1])) for n in range(len(whole))]
    for cut in range(len(data) + 1):
        payloads, end, damaged = records.split(data[:cut])
        assert not damaged
        assert [records.unpack(one)["n"] for one in payloads] == [
            n for n, one in enumerate(ends) if one <= cut
        ]
        assert end == max([one for one in ends if one <= cut], default=0)


def test_nothing_is_read_behind_a_byte_that_is_wrong():
    whole = [records.framed(records.pack({"n": n})) for n in range(6)]
    data = b"".join(whole)
    begins = [len(b"".join(whole[:n])) for n in range(7)]
    for place in range(len(data)):
        wrong = bytearray(data)
        wrong[place] ^= 0x55
        payloads, _, _ = records.split(bytes(wrong))
        before = sum(1 for one in begins[1:] if one <= place)
        assert [records.unpack(one)["n"] for one in payloads] == list(range(before))
