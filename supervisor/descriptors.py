"""The descriptors (open files) of this process: how many there may be, and what becomes scarce first.

Owns the limit, the reserve that stays free, and the doors of the sockets that others connect to.
libzmq ends the whole process when it accepts a connection and has no descriptor for it
(``errno_assert`` in its ipc_listener.cpp): so no process is placed that would touch the reserve, and
a socket is hidden from new connections while there is less than that. What is connected stays. More
that come at once than the reserve holds are not to be helped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from pathlib import Path

import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from supervisor.conditions import Tell

__all__ = [
    "Door",
    "descriptor_limit",
    "no_room",
    "raise_descriptor_limit",
    "room_for",
    "shortage",
]

# Its lifeline, two pipes, a pidfd and a connection; twice while it reloads.
_OF_A_LOCATION = 5 * 2
_OF_OUR_OWN = 64
_REMEDY = "raise the hard limit (ulimit -Hn, or LimitNOFILE in a systemd unit)"
# Some programs walk all descriptors they could have.
_MOST = 262_144
_LEAST_RESERVE, _MOST_RESERVE = 8, 1024
# How many connections may come before it is looked again; how often while it is closed (seconds).
_UNSEEN = 4
_AGAIN = 1.0
# The limit, and what may be taken before it is looked again: that takes a millisecond at thousands.
_spare = (0, 0)


def raise_descriptor_limit() -> int:
    """Let this process have as many descriptors as it may.

    Returns the limit as it was, which shims get back: user code must not see ours.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses what it calls unlimited
        wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return soft


def shortage(locations: int) -> str | None:
    """What to tell the operator when ``locations`` need more descriptors than there may be."""
    limit = descriptor_limit()
    needed = locations * _OF_A_LOCATION + _OF_OUR_OWN
    if needed <= limit:
        return None
    return (
        f"{locations} locations may need {needed} open files and this process may have {limit}: "
        f"{_REMEDY}"
    )


def no_room() -> str | None:
    """Why no other process can be placed, None when one can."""
    if room_for(_OF_A_LOCATION // 2, _OF_A_LOCATION):
        return None
    return (
        f"{_used()} of the supervisor's {descriptor_limit()} open files are in use and some must "
        f"stay free: {_REMEDY}"
    )


def room_for(count: int, expected: int | None = None) -> bool:
    """Whether so many more may be had and the reserve stays free.

    ``expected`` is what is taken into account until it is looked again, by default ``count``.
    """
    global _spare
    limit = descriptor_limit()
    seen, left = _spare
    taken = count if expected is None else expected
    if seen == limit and left >= taken:
        _spare = (limit, left - taken)
        return True
    room = limit - _used() - _reserve(limit)
    _spare = (limit, room // 2)  # the other half is for what others take meanwhile
    return room >= count


class Door:
    """Keeps new connections out of ``socket``, bound to the ipc ``address``, while there is no room.

    ``closed`` is told a text when it closes and None when it opens again. Made in a running event
    loop; connections may come from when it is made.
    """

    def __init__(self, socket: zmq.asyncio.Socket, address: str, closed: Tell) -> None:
        self._socket = socket
        self._address = address
        self._closed = closed
        self._unseen = 0
        self._monitor = socket.get_monitor_socket(zmq.EVENT_ACCEPTED)
        self._task = asyncio.create_task(self._watch(), name="door")

    async def close(self) -> None:
        """Watch no more; for before the socket is closed."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._socket.disable_monitor()
        self._monitor.close(0)

    async def _watch(self) -> None:
        path = Path(self._address.removeprefix("ipc://"))
        while True:
            await recv_monitor_message(self._monitor)
            self._unseen += 1
            if self._unseen < _UNSEEN or _free() > _reserve(descriptor_limit()) // 2:
                self._unseen %= _UNSEEN
                continue
            with contextlib.suppress(OSError):  # it was removed meanwhile
                await self._hide(path)

    async def _hide(self, path: Path) -> None:
        # Not unbound: that would end the connections that there are.
        hidden = path.with_name(f".{path.name}")
        path.rename(hidden)  # noqa: ASYNC240  # of a moment
        try:
            self._closed(
                f"nearly all of the supervisor's {descriptor_limit()} open files are in use: who "
                "connects now has to wait until some are closed"
            )
            while _free() <= _reserve(descriptor_limit()):  # noqa: ASYNC110 - nothing tells of a file closed
                await asyncio.sleep(_AGAIN)
        finally:
            self._closed(None)
            if not path.exists():  # noqa: ASYNC240  # else it was lost and bound again
                hidden.rename(path)


def descriptor_limit() -> int:
    """How many descriptors this process may have now."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _reserve(limit: int) -> int:
    return min(max(limit // 8, _LEAST_RESERVE), _MOST_RESERVE)


def _used() -> int:
    for directory in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return len(os.listdir(directory))  # noqa: PTH208  # names only
    return descriptor_limit()  # none is left to look with


def _free() -> int:
    return descriptor_limit() - _used()
