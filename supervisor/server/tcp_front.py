"""The TCP port: accepts connections and passes their bytes on to a ZeroMQ socket, within bounds.

Owns the port, how many connections there may be, and how long one may take to prove who it is. libzmq
accepts without bound and ends the process when it runs out of descriptors; here a connection reaches
it only after it has greeted as ZeroMQ does, and when there is room. Bytes are passed on as they are:
encryption and keys are between the two ends (``keys``). Reads nothing but the frame of the handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from functools import partial
from pathlib import Path

from supervisor.conditions import Tell
from supervisor.descriptors import descriptor_limit, room_for

__all__ = ["HANDSHAKE", "MOST", "Front"]

# Descriptors of one connection: its own, and both ends of the one that leads on.
_EACH = 3
# All of them have at most one of so many of the descriptors; the most there may be in any case, and
# the part of them that may be unproven.
_SHARE, MOST, _UNPROVEN = 4, 4096, 4
_BACKLOG = 128
# Accepted between two pauses, so that connections without end leave the event loop to others (s).
_AT_ONCE, _PAUSE = 16, 0.01
# Within this a client has to be known (seconds).
HANDSHAKE = 10.0
_AGAIN = 1.0
_LAST_WORDS = 1.0
_CHUNK = 64 * 1024
# ZMTP 3 (rfc.zeromq.org/spec/23): a greeting begins with a signature; commands follow it, and READY
# is what the supervisor's side says last when it knows the key.
_SIGNATURE, _GREETING = 10, 64
_COMMAND, _LONG = 0x04, 0x02
_LONGEST_HANDSHAKE = 8192
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


class Front:
    """Listens at ``host`` and ``port``, and passes on to the socket that is bound to ``inner``.

    Port 0 takes a free one; ``host`` is an address of this machine, a name of one, or ``*``. Raises
    ``OSError`` when it cannot be had. Nothing is accepted before ``start``.
    """

    def __init__(self, host: str, port: int) -> None:
        with contextlib.ExitStack() as undoing:
            found = socket.getaddrinfo(
                "0.0.0.0" if host == "*" else host.strip("[]"),  # noqa: S104 - it was asked for
                port,
                type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )
            family, kind, protocol, _, address = found[0]
            self._socket = undoing.enter_context(socket.socket(family, kind, protocol))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
            self._socket.listen(_BACKLOG)
            self._socket.setblocking(False)
            # Not in /tmp for long, and its name is short enough for a socket there.
            self._directory = Path(tempfile.mkdtemp(prefix="supervise-", dir="/tmp"))
            undoing.pop_all()
        bound = self._socket.getsockname()
        name = f"[{bound[0]}]" if family == socket.AF_INET6 else bound[0]
        self.address = f"tcp://{name}:{bound[1]}"
        self.inner = f"ipc://{self._directory}/inner.sock"
        self._path = str(self._directory / "inner.sock")
        self._handle: int | None = None
        self._unproven: dict[asyncio.Task[None], None] = {}  # the oldest first
        self._known: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def hide(self) -> None:
        """Take the name of ``inner``, which is bound by now, away: only this process gets there."""
        if not os.path.lexists("/proc/self/fd"):
            return
        self._handle = os.open(self._path, os.O_PATH)
        self._remove()
        self._path = f"/proc/self/fd/{self._handle}"

    def start(self, trouble: Tell) -> None:
        """Begin to accept; ``trouble`` gets a text while no more clients can connect, then None."""
        self._task = asyncio.create_task(self._accept(trouble), name="front")

    async def stop(self) -> None:
        """Accept nothing more and give the port up. What is connected stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._socket.close()

    async def close(self) -> None:
        """End the connections; after ``inner`` was closed, whose last words are passed on."""
        await self.stop()
        tasks = {*self._unproven, *self._known}
        for task in self._unproven:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WORDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.abandon()

    def abandon(self) -> None:
        """Give up what does not need the event loop."""
        self._socket.close()
        if self._handle is None:
            self._remove()
        else:
            os.close(self._handle)
            self._handle = None

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            (self._directory / "inner.sock").unlink(missing_ok=True)
            self._directory.rmdir()

    async def _accept(self, trouble: Tell) -> None:
        while True:
            for _ in range(_AT_ONCE):
                await self._asked()
                await self._room(trouble)
                try:
                    one, _address = self._socket.accept()
                except (BlockingIOError, ConnectionError):  # it is gone already
                    continue
                except OSError:  # the machine has none left
                    await asyncio.sleep(_AGAIN)
                    continue
                task = asyncio.create_task(self._connection(one))
                self._unproven[task] = None
                task.add_done_callback(partial(self._gone, one))
            await asyncio.sleep(_PAUSE)

    async def _asked(self) -> None:
        """Wait until a connection waits to be accepted."""
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[None] = loop.create_future()

        def come() -> None:
            if not asked.done():
                asked.set_result(None)

        loop.add_reader(self._socket, come)
        try:
            await asked
        finally:
            loop.remove_reader(self._socket)

    async def _room(self, trouble: Tell) -> None:
        """Wait until there is room for another connection; the unproven make some."""
        told = False
        while True:
            most = min(descriptor_limit() // _SHARE // _EACH, MOST)
            unproven, known = len(self._unproven), len(self._known)
            enough = unproven + known < most and room_for(_EACH)
            if enough and unproven < max(most // _UNPROVEN, 1):
                break
            self._ended.clear()
            if unproven:
                next(iter(self._unproven)).cancel()
            elif not told:
                told = True
                trouble(
                    f"clients are connected over TCP and {descriptor_limit()} open files allow no "
                    "more of them: who connects from elsewhere now has to wait"
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN):
                    await self._ended.wait()
        if told:
            trouble(None)

    def _gone(self, one: socket.socket, task: asyncio.Task[None]) -> None:
        one.close()  # also that of a task which was cancelled before it began
        self._unproven.pop(task, None)
        self._known.discard(task)
        self._ended.set()

    async def _connection(self, outer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with outer, contextlib.suppress(OSError, TimeoutError):
            outer.setblocking(False)
            _tune(outer)
            async with asyncio.timeout(HANDSHAKE) as limit:
                greeting = b""
                while len(greeting) < _SIGNATURE:
                    more = await loop.sock_recv(outer, _CHUNK)
                    if not more:
                        return
                    greeting += more
                if greeting[0] != 0xFF or not greeting[_SIGNATURE - 1] & 1:
                    return
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as inner:
                    await _connect(inner, self._path)
                    await loop.sock_sendall(inner, greeting)
                    await self._pass_on(outer, inner, limit)

    async def _pass_on(
        self, outer: socket.socket, inner: socket.socket, limit: asyncio.Timeout
    ) -> None:
        me = asyncio.current_task()
        assert me is not None

        def known() -> None:
            limit.reschedule(None)
            self._unproven.pop(me, None)
            self._known.add(me)

        ways = [
            asyncio.create_task(_copy(outer, inner)),
            asyncio.create_task(_copy(inner, outer, _Handshake(), known)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


class _Handshake:
    """What the supervisor's side says until it knows the client."""

    def __init__(self) -> None:
        self._seen = bytearray()

    def proven(self, data: bytes) -> bool:
        """True once ``data`` brought the command that welcomes the client."""
        self._seen += data
        at = _GREETING
        while at + 2 <= len(self._seen) < _LONGEST_HANDSHAKE:
            flags = self._seen[at]
            length = 8 if flags & _LONG else 1
            size = int.from_bytes(self._seen[at + 1 : at + 1 + length], "big")
            body = at + 1 + length
            if flags & _COMMAND and self._seen[body : body + 6] == b"\x05READY":
                return True
            at = body + size
        return False


async def _copy(
    source: socket.socket,
    target: socket.socket,
    handshake: _Handshake | None = None,
    known: object = None,
) -> None:
    """Until ``source`` ends. What ``target`` does not take holds ``source`` up."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, _CHUNK):
        if handshake is not None and handshake.proven(data):
            handshake = None
            assert callable(known)
            known()
        await loop.sock_sendall(target, data)


async def _connect(inner: socket.socket, path: str) -> None:
    inner.setblocking(False)
    while True:
        # Not loop.sock_connect: a local socket whose queue is full is not "in progress".
        try:
            inner.connect(path)
        except BlockingIOError:
            await asyncio.sleep(_PAUSE)
        else:
            return


def _tune(outer: socket.socket) -> None:
    outer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A client whose machine is gone does not say so.
    outer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        with contextlib.suppress(AttributeError, OSError):  # not everywhere
            outer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
