"""Records of a run's journal: bytes in a frame with a checksum, and plain data in msgpack.

Owns the format that three processes share: the run's, its monitor's and the supervisor's. A record is
its length and CRC-32 (two little-endian 32-bit numbers) and a payload, which is one msgpack value.
Packing and unpacking are here in plain Python, because the monitor has nothing but the standard
library; who has msgpack packs the same. Knows no file.

Python 3.6 syntax; imports little, because a monitor's memory counts.
"""

import binascii
import struct

__all__ = ["LONGEST", "RecordError", "framed", "pack", "split", "unpack"]

LONGEST = 512 * 1024
"""Bytes of the longest payload."""

_HEAD = struct.Struct("<II")
_DEPTH = 64


class RecordError(ValueError):
    """Bytes that are no record."""


def framed(payload):
    """``payload`` (bytes) as a record."""
    return _HEAD.pack(len(payload), binascii.crc32(payload) & 0xFFFFFFFF) + payload


def split(data, at=0):
    """The payloads of the whole records in ``data`` from ``at`` on, and where they end.

    ``(payloads, end, damaged)``: ``damaged`` is True when what follows at ``end`` can never become a
    record; else it is the beginning of one, or nothing.
    """
    payloads = []
    while len(data) - at >= _HEAD.size:
        length, checksum = _HEAD.unpack_from(data, at)
        if length > LONGEST:
            return payloads, at, True
        begin = at + _HEAD.size
        if len(data) - begin < length:
            break
        payload = bytes(data[begin : begin + length])
        if binascii.crc32(payload) & 0xFFFFFFFF != checksum:
            return payloads, at, True
        payloads.append(payload)
        at = begin + length
    return payloads, at, False


def pack(value):
    """Plain data (None, bool, int of 64 bits, float, str, bytes, list, dict) as msgpack."""
    out = []
    _pack(value, out.append)
    return b"".join(out)


def _pack(value, put):
    kind = type(value)
    if value is None:
        put(b"\xc0")
    elif kind is bool:
        put(b"\xc3" if value else b"\xc2")
    elif kind is int:
        if 0 <= value < 128:
            put(struct.pack("B", value))
        elif value >= 0:
            put(struct.pack(">BQ", 0xCF, value))
        else:
            put(struct.pack(">Bq", 0xD3, value))
    elif kind is float:
        put(struct.pack(">Bd", 0xCB, value))
    elif kind is str:
        data = value.encode("utf-8", "replace")
        put(struct.pack(">BI", 0xDB, len(data)) if len(data) > 31 else _byte(0xA0 | len(data)))
        put(data)
    elif kind is bytes:
        put(struct.pack(">BI", 0xC6, len(value)))
        put(value)
    elif kind in (list, tuple):
        put(struct.pack(">BI", 0xDD, len(value)) if len(value) > 15 else _byte(0x90 | len(value)))
        for one in value:
            _pack(one, put)
    elif kind is dict:
        put(struct.pack(">BI", 0xDF, len(value)) if len(value) > 15 else _byte(0x80 | len(value)))
        for key, one in value.items():
            _pack(key, put)
            _pack(one, put)
    else:
        raise RecordError("%s is no plain data" % kind.__name__)


def _byte(number):
    return struct.pack("B", number)


def unpack(data):
    """What ``pack``, or any msgpack without extensions, made. Raises ``RecordError``."""
    try:
        value, end = _unpack(data, 0, 0)
    except (struct.error, IndexError, UnicodeDecodeError, TypeError) as error:
        raise RecordError(str(error))
    if end != len(data):
        raise RecordError("%d bytes after the value" % (len(data) - end))
    return value


# First byte -> the format of a number that follows.
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
# First byte -> the format of the length that follows, and what is that long.
_LENGTHS = {
    0xC4: (">B", "bytes"), 0xC5: (">H", "bytes"), 0xC6: (">I", "bytes"),
    0xD9: (">B", "str"), 0xDA: (">H", "str"), 0xDB: (">I", "str"),
    0xDC: (">H", "list"), 0xDD: (">I", "list"), 0xDE: (">H", "dict"), 0xDF: (">I", "dict"),
}  # fmt: skip


def _unpack(data, at, depth):
    if depth > _DEPTH:
        raise RecordError("nested too deeply")
    first = data[at]
    at += 1
    if first < 0x80:
        return first, at
    if first >= 0xE0:
        return first - 0x100, at
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if first in _NUMBERS:
        form = _NUMBERS[first]
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if first in _LENGTHS:
        form, kind = _LENGTHS[first]
        length = struct.unpack_from(form, data, at)[0]
        at += struct.calcsize(form)
    elif first < 0x90:
        kind, length = "dict", first & 0x0F
    elif first < 0xA0:
        kind, length = "list", first & 0x0F
    elif first < 0xC0:
        kind, length = "str", first & 0x1F
    else:
        raise RecordError("no plain data begins with byte 0x%02x" % first)
    if length > len(data) - at:
        raise RecordError("%d are said to follow, %d bytes do" % (length, len(data) - at))
    if kind in ("bytes", "str"):
        piece = bytes(data[at : at + length])
        return (piece.decode("utf-8") if kind == "str" else piece), at + length
    if kind == "list":
        items = []
        for _ in range(length):
            one, at = _unpack(data, at, depth + 1)
            items.append(one)
        return items, at
    found = {}
    for _ in range(length):
        key, at = _unpack(data, at, depth + 1)
        found[key], at = _unpack(data, at, depth + 1)
    return found, at
