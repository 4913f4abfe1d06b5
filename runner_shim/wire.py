"""Messages and bytes: the one definition of the shim protocol, used by both sides.

Owns the version, the frame layout and the bounds. A message is a multipart of frames: frame 0 is
a msgpack map with string keys, at least ``{"v": VERSION, "type": str}``; further frames are bytes
that frame 0 speaks of (a snapshot's parts), opaque here. Refuses what is too big, too deep,
not a map, or not plain data as JSON has it, with ``WireError``. Knows no socket.

Python 3.6 syntax. Binds msgpack when imported: in a shim it is hidden from user code afterwards.
"""

import msgpack

__all__ = [
    "MAX_DEPTH",
    "MAX_FRAMES",
    "MAX_HEADER_BYTES",
    "MAX_MESSAGE_BYTES",
    "VERSION",
    "WireError",
    "decode",
    "encode",
    "pack",
    "unpack",
]

VERSION = 1

MAX_FRAMES = 4
MAX_HEADER_BYTES = 16 * 1024 * 1024  # reports name every imported file
MAX_MESSAGE_BYTES = 512 * 1024 * 1024  # 50,000 rich definitions take about 30 MiB
MAX_DEPTH = 64


class WireError(Exception):
    """Bytes that are not a message of this protocol; the text says what is wrong with them."""


def pack(value):
    """Plain data to msgpack bytes. Same data, same bytes, whatever the msgpack version."""
    try:
        return msgpack.packb(value, use_bin_type=True)
    except UnicodeEncodeError:
        # A file name that is not UTF-8: Python holds it with surrogates, which no reader takes.
        return msgpack.packb(value, use_bin_type=True, unicode_errors="replace")


def unpack(data, limit=MAX_MESSAGE_BYTES):
    """msgpack bytes to plain data, bounded by ``limit`` bytes and ``MAX_DEPTH`` levels.

    Bytes, dates and other extensions are refused: JSON has none of them.
    """
    if len(data) > limit:
        raise WireError("%d bytes where at most %d are allowed" % (len(data), limit))
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_bin_len=0,
            max_ext_len=0,
            ext_hook=_refuse_extension,
        )
    except RecursionError:
        raise WireError("nested too deeply")
    except Exception as error:  # msgpack raises many kinds, ValueError and its own tree
        raise WireError("not msgpack: %s" % (error or type(error).__name__))
    _check_depth(value)
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
    message = unpack(frames[0], MAX_HEADER_BYTES)
    if not isinstance(message, dict):
        raise WireError("the header is no map")
    if not isinstance(message.get("type"), str):
        raise WireError("the header has no type")
    version = message.get("v")
    if not isinstance(version, int) or isinstance(version, bool):
        raise WireError("the header has no version")
    return message, list(frames[1:])


def _refuse_extension(code, data):
    raise ValueError("extension %d" % code)


def _check_depth(value):
    level = [value] if isinstance(value, (dict, list)) else []
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise WireError("nested deeper than %d levels" % MAX_DEPTH)
        below = []
        for item in level:
            children = item.values() if type(item) is dict else item
            below.extend(
                [child for child in children if type(child) is dict or type(child) is list]
            )
        level = below
