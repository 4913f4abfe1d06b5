"""Whose process is at the other end of a connection on this machine.

Owns the one question to the kernel: Linux tells by sock_diag(7), without a special right and for one
connection alone, which user made a socket. Elsewhere, and where that is not allowed, it is not known.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys

__all__ = ["user_of"]

_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20  # linux/netlink.h, linux/sock_diag.h
_REQUEST = 1
_ESTABLISHED = 1
_HEAD = struct.Struct("=IHHII")
_ASKED = struct.Struct("=BBBxI")
_PORTS = struct.Struct("!HH")
_NO_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
# Of the answer: its state behind the head, and the user behind what names the socket and three numbers.
_ID = 48
_STATE, _UID = _HEAD.size + 1, _HEAD.size + 4 + _ID + 12


def user_of(theirs: tuple[str, int], ours: tuple[str, int]) -> int | None:
    """The user id of the process that connected from ``theirs`` to ``ours``, both of this machine.

    None where it is not known.
    """
    if sys.platform != "linux":
        return None
    try:
        ends = [ipaddress.ip_address(host.partition("%")[0]) for host, _ in (theirs, ours)]
        if ends[0].version != ends[1].version or not all(one.is_loopback for one in ends):
            return None
        family = socket.AF_INET if ends[0].version == 4 else socket.AF_INET6
        addresses = b"".join(one.packed.ljust(16, b"\0") for one in ends)
        identity = _PORTS.pack(theirs[1], ours[1]) + addresses + _NO_COOKIE
        asked = _ASKED.pack(family, socket.IPPROTO_TCP, 0, 1 << _ESTABLISHED) + identity
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
            kernel.setblocking(False)  # it answers while it is asked
            size = _HEAD.size + len(asked)
            kernel.send(_HEAD.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST, 1, 0) + asked)
            answer = kernel.recv(4096)
        kind = _HEAD.unpack_from(answer)[1]
        named = answer[_HEAD.size + 4 :][: len(_PORTS.pack(0, 0)) + 32]
        if kind != _SOCK_DIAG_BY_FAMILY or answer[_STATE] != _ESTABLISHED:
            return None
        if named != identity[: len(named)]:
            return None
        (user,) = struct.unpack_from("=I", answer, _UID)
    except (OSError, ValueError, OverflowError, IndexError, struct.error):
        return None
    return int(user)
