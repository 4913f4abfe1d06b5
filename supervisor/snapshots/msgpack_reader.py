"""Snapshot documents read piece by piece, so that a large one neither fills memory nor holds others up.

Owns the reading of a msgpack map whose values may be long, under the rules of ``runner_shim.wire``:
one value of it, or one item of one of its lists, is decoded at a time. A document of any size then
costs its largest piece, and the reader can do other work between two of them. ``Places`` keeps
where pieces begin, so that one of very many is read without those before it. Raises
``WireError`` for whatever breaks the rules. Knows no meaning.
"""

from __future__ import annotations

import io
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

from runner_shim import wire

__all__ = ["NoMapError", "Part", "Places", "at", "entries", "entry_at", "items", "list_header"]

_READ = 64 * 1024
_FIRST_READ = 4096
# So many places are put in order in one step.
_PORTION = 2048

# A decoded value, and where its bytes begin and end.
Part = tuple[Any, int, int]


class NoMapError(wire.WireError):
    """The bytes are something, and no map."""


def entries(data: bytes) -> Iterator[tuple[str, Any, int]]:
    """Key, value and where the key begins, one after the other, of the map in ``data``."""
    reader = _Reader(data)
    for _ in range(reader.map_header()):
        start = reader.position
        yield reader.key(), reader.value(1), start
    reader.end()


def at(data: bytes, start: int) -> Any:
    """The value that begins at ``start`` in ``data``, which has been read as a whole before."""
    return _values(data, start, 1)[0]


def entry_at(data: bytes, start: int) -> tuple[str, Any]:
    """The key that begins at ``start`` in ``data`` and its value, as ``at``."""
    key, value = _values(data, start, 2)
    return key, value


def _values(data: bytes, start: int, number: int) -> list[Any]:
    size = _FIRST_READ
    while True:
        part = data[start : start + size]
        unpacker = msgpack.Unpacker(max_buffer_size=len(part), **wire.STRICT)
        unpacker.feed(part)
        try:
            return [unpacker.unpack() for _ in range(number)]
        except msgpack.OutOfData:
            if start + size >= len(data):
                raise wire.WireError("not msgpack: incomplete") from None
            size *= 8


def list_header(length: int) -> bytes:
    """What stands before the items of a list of that length."""
    header: bytes = msgpack.Packer().pack_array_header(length)
    return header


class Places:
    """Where values with names begin: 8 bytes for each. Several may have one name."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        # The name's CRC above the place; in portions, each in order, for sorting all takes long.
        self._all = array("Q")

    def __len__(self) -> int:
        return len(self._all)

    def add(self, name: str, start: int) -> None:
        """``name`` begins at ``start``, which is below 4 GiB."""
        self._all.append(_hash(name) | start)
        if len(self._all) % _PORTION == 0:
            self._sort(len(self._all) - _PORTION)

    def complete(self) -> None:
        """No more are added."""
        rest = len(self._all) % _PORTION
        self._sort(len(self._all) - rest)
        self._all = self._all[:]  # without the room for more

    def of(self, name: str) -> Iterator[int]:
        """The places at which ``name`` may begin, seldom another's among them."""
        low = _hash(name)
        for begin in range(0, len(self._all), _PORTION):
            end = min(begin + _PORTION, len(self._all))
            position = bisect_left(self._all, low, begin, end)
            while position < end and self._all[position] >> 32 == low >> 32:
                yield self._all[position] & 0xFFFFFFFF
                position += 1

    def _sort(self, begin: int) -> None:
        self._all[begin:] = array("Q", sorted(self._all[begin:]))


def _hash(name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "surrogatepass")) << 32


def items(data: bytes, of: str, others: dict[str, Any]) -> Iterator[Part]:
    """The items of the list under the key ``of`` of the map in ``data``, one after the other.

    The other values go into ``others``, which is complete once all items were taken; so does what
    is under ``of``, with nothing in it when it is a list.
    """
    reader = _Reader(data)
    for _ in range(reader.map_header()):
        key = reader.key()
        if key in others:
            raise wire.WireError(f"{key!r} is there twice")
        length = reader.list_header() if key == of else None
        if length is None:
            others[key] = reader.value(1)
            continue
        others[key] = []
        for _ in range(length):
            start = reader.position
            yield reader.value(2), start, reader.position
    reader.end()


class _Reader:
    """msgpack's reader, refusing what ``wire.unpack`` refuses and in the same words."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._size = len(data)
        if self._size > wire.MAX_MESSAGE_BYTES:
            raise wire.WireError(
                f"{self._size} bytes where at most {wire.MAX_MESSAGE_BYTES} are allowed"
            )
        self._unpacker = msgpack.Unpacker(
            io.BytesIO(data),
            read_size=min(_READ, self._size),
            max_buffer_size=self._size,  # no header may promise more than there is
            **wire.STRICT,
        )

    @property
    def position(self) -> int:
        """How many bytes were read."""
        position: int = self._unpacker.tell()
        return position

    def map_header(self) -> int:
        """The length of the map that comes next; raises ``NoMapError``."""
        first = self._data[0] if self._data else 0
        if not (0x80 <= first <= 0x8F or first in (0xDE, 0xDF)):
            wire.unpack(self._data)  # raises when it is nothing at all
            raise NoMapError("no map")
        length: int = self._said(self._unpacker.read_map_header)
        return length

    def list_header(self) -> int | None:
        """The length of the list that comes next; None when something else does."""
        position = self.position
        first = self._data[position] if position < self._size else 0
        if not (0x90 <= first <= 0x9F or first in (0xDC, 0xDD)):
            return None
        length: int = self._said(self._unpacker.read_array_header)
        return length

    def key(self) -> str:
        """The key that comes next."""
        key = self._said(self._unpacker.unpack)
        if not isinstance(key, str):
            raise wire.WireError(f"a key is {type(key).__name__}")
        return key

    def value(self, depth: int) -> Any:
        """The value that comes next, ``depth`` levels below the document."""
        value = self._said(self._unpacker.unpack)
        wire.check(value, depth)
        return value

    def end(self) -> None:
        """Nothing may come next."""
        if self.position != self._size:
            raise wire.WireError("not msgpack: more follows")

    def _said(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except Exception as error:
            raise wire.not_msgpack(error) from None
