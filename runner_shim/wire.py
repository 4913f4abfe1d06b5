"""Messages and bytes: the one definition of the shim protocol, used by both sides.

Owns the version, the frame layout and the bounds. A message is a multipart of frames: frame 0 is
a msgpack map with string keys, at least ``{"v": VERSION, "type": str}``; further frames are bytes
that frame 0 speaks of (a snapshot's parts), opaque here. Refuses what is too big, too deep,
not a map, or not plain data as JSON has it, with ``WireError``. Knows no socket.

Python 3.6 syntax. Binds msgpack when imported: in a shim it is hidden from user code afterwards.
"""

import msgpack

__all__ = [
    "MAX_CONTAINERS",
    "MAX_DEPTH",
    "MAX_FRAMES",
    "MAX_HEADER_BYTES",
    "MAX_MESSAGE_BYTES",
    "STRICT",
    "VERSION",
    "WireError",
    "check",
    "decode",
    "encode",
    "not_msgpack",
    "pack",
    "unpack",
]

VERSION = 1

MAX_FRAMES = 4
MAX_HEADER_BYTES = 8 * 1024 * 1024  # reports name every imported file
MAX_MESSAGE_BYTES = 512 * 1024 * 1024  # 50,000 rich definitions take about 30 MiB
MAX_DEPTH = 64
MAX_CONTAINERS = 100000  # lists and maps of a header: what is read at once must not take long


class WireError(Exception):
    """Bytes that are not a message of this protocol; the text says what is wrong with them."""


def pack(value):
    """Plain data to msgpack bytes. Same data, same bytes, whatever the msgpack version."""
    try:
        return msgpack.packb(value, use_bin_type=True)
    except UnicodeEncodeError:
        # A file name that is not UTF-8: Python holds it with surrogates, which no reader takes.
        return msgpack.packb(value, use_bin_type=True, unicode_errors="replace")


def unpack(data, limit=MAX_MESSAGE_BYTES, containers=None):
    """msgpack bytes to plain data, bounded by ``limit`` bytes and ``MAX_DEPTH`` levels.

    ``containers`` bounds the number of lists and maps. Bytes, NaN, infinities, dates and other
    extensions are refused: JSON has none of them.
    """
    if len(data) > limit:
        raise WireError("%d bytes where at most %d are allowed" % (len(data), limit))
    rules = STRICT
    if containers is not None and len(data) > containers:  # each takes a byte
        counted = _counted(containers)
        rules = dict(STRICT, object_hook=counted, list_hook=counted)
    try:
        value = msgpack.unpackb(data, **rules)
    except WireError:
        raise
    except Exception as error:
        raise not_msgpack(error)
    check(value)
    return value


def encode(message, *payload):
    """A message (dict with ``type``) and payload frames to a list of frames."""
    header = dict(message)
    header["v"] = VERSION
    return [pack(header)] + list(payload)


def decode(frames):
    """Frames to ``(message, payload)``: a dict with str ``type`` and int ``v``, and a list of bytes.

    The version is not judged here: the receiver refuses another one with a reason.
    """
    if not frames or len(frames) > MAX_FRAMES:
        raise WireError("%d frames where 1 to %d are allowed" % (len(frames), MAX_FRAMES))
    message = unpack(frames[0], MAX_HEADER_BYTES, MAX_CONTAINERS)
    if not isinstance(message, dict):
        raise WireError("the header is no map")
    if not isinstance(message.get("type"), str):
        raise WireError("the header has no type")
    version = message.get("v")
    if not isinstance(version, int) or isinstance(version, bool):
        raise WireError("the header has no version")
    return message, list(frames[1:])


def not_msgpack(error):
    """What msgpack raised (it has many kinds) as a ``WireError``."""
    if isinstance(error, RecursionError):
        return WireError("nested too deeply")
    return WireError("not msgpack: %s" % (str(error) or type(error).__name__))


def check(value, depth=0):
    """Refuse what ``STRICT`` lets pass and JSON has not, and what is nested too deeply.

    ``depth`` is that of what ``value`` itself is in.
    """
    level = [[value]]
    for _ in range(MAX_DEPTH - depth + 1):
        below = []
        for item in level:
            if type(item) is dict:
                if b"" in item:
                    raise WireError("a key is bytes")
                item = item.values()
            kinds = set(map(type, item))
            if kinds <= _SCALARS:
                continue
            for child in item:
                kind = type(child)
                if kind is dict or kind is list:
                    below.append(child)
                elif kind is bytes:
                    raise WireError("bytes are no plain data")
                elif kind is float and child - child != 0.0:
                    raise WireError("%r is no number" % child)
        if not below:
            return
        level = below
    raise WireError("nested deeper than %d levels" % MAX_DEPTH)


def _counted(most):
    """A hook for lists and maps that raises for the one after ``most``."""
    left = [most]

    def hook(value):
        left[0] -= 1
        if left[0] < 0:
            raise WireError("more than %d lists and maps" % most)
        return value

    return hook


def _refuse_extension(code, data):
    raise ValueError("extension %d" % code)


# What msgpack itself can refuse. Empty bytes pass: they have no length to limit.
STRICT = {
    "raw": False,
    "strict_map_key": True,
    "max_bin_len": 0,
    "max_ext_len": 0,
    "ext_hook": _refuse_extension,
}
_SCALARS = frozenset([str, int, bool, type(None)])
