"""A datagram socket beside the control socket, to which monitors write that their run has changed.

Owns the socket and its being there again when something has removed it. What is said is a hint alone;
datagrams may be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

__all__ = ["Notices"]

_AT_ONCE = 100


class Notices:
    """The socket at ``path``; ``heard`` is called with the text of each datagram."""

    def __init__(self, path: Path, heard: Callable[[str], None]) -> None:
        self._path = path
        self._heard = heard
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Listen, anew where it listens already."""
        loop = asyncio.get_running_loop()
        self._forget(loop)
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        one.setblocking(False)
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
            one.bind(str(self._path))
        self._socket = one
        loop.add_reader(one, self._hear, one)

    def look(self) -> None:
        """Listen anew where the socket was taken away."""
        if self._socket is not None and not os.path.lexists(self._path):
            self.open()

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            self._forget(asyncio.get_running_loop())
            self._path.unlink(missing_ok=True)

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._socket is not None:
            loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _hear(self, one: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = one.recv(500)
            except OSError:
                break
            self._heard(data.decode("utf-8", "replace"))
