"""The supervisor's socket towards shims: routes messages by instance, drops what is not expected.

Owns the ROUTER and the table of instances that may speak. Frames are decoded here and handed to
the instance's receiver as data; a message that breaks the protocol is handed over as a
``WireError``, and what that costs is the receiver's decision. Judges no content.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import zmq
import zmq.asyncio

from runner_shim import wire
from supervisor.conditions import Tell
from supervisor.descriptors import Door
from supervisor.time_slices import TURN

__all__ = ["Received", "Transport", "thrifty_context"]

Received = Callable[[dict[str, Any] | wire.WireError, list[bytes]], None]

# Messages of one peer that wait to be read here; more wait in that peer.
_UNREAD = 16
# zmq.h; pyzmq has no name for it. 0: a connection has a buffer of 8 KiB instead of 18, in which
# messages are not left where they arrived but copied; those that do not fit never were in it.
_ZERO_COPY_RECV = 10


def thrifty_context() -> zmq.asyncio.Context:
    """A context for very many connections that say little."""
    context = zmq.asyncio.Context()
    with contextlib.suppress(zmq.ZMQError):  # a libzmq without it
        context.set(_ZERO_COPY_RECV, 0)
    return context


class Transport:
    """A ROUTER bound to ``address`` (ipc)."""

    def __init__(self, context: zmq.asyncio.Context, address: str) -> None:
        self._socket: zmq.asyncio.Socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_MESSAGE_BYTES)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, _UNREAD)
        try:
            self._socket.bind(address)
        except zmq.ZMQError:
            self._socket.close(0)
            raise
        self.address = address
        self.receivers: dict[bytes, Received] = {}
        self._task: asyncio.Task[None] | None = None
        self._door: Door | None = None

    def rebind(self) -> None:
        """Bind the address again: its file was removed. Raises ZMQError.

        Connections stay. So does the old listener, a descriptor: to end it would end them.
        """
        self._socket.bind(self.address)

    def start(self, trouble: Tell = lambda text: None) -> None:
        """Begin to receive; ``trouble`` gets a text while no more shims can connect, then None."""
        self._door = Door(self._socket, self.address, trouble)
        self._task = asyncio.create_task(self._receive(), name="transport")

    def expect(self, instance: str, receiver: Received) -> None:
        """Let ``instance`` speak; each message is given to ``receiver`` in order."""
        self.receivers[instance.encode()] = receiver

    def forget(self, instance: str) -> None:
        """Drop whatever ``instance`` still sends."""
        self.receivers.pop(instance.encode(), None)

    async def send(self, instance: str, message: dict[str, Any]) -> None:
        """Queue ``message`` for ``instance``; dropped when it is not connected."""
        await self._socket.send_multipart([instance.encode(), *wire.encode(message)])

    async def close(self) -> None:
        """Stop receiving and close the socket."""
        if self._door is not None:
            await self._door.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._socket.close()

    async def _receive(self) -> None:
        clock = asyncio.get_running_loop().time
        # What has arrived already is taken without a future for each message.
        arrived: zmq.Socket[bytes] = zmq.Socket.shadow(self._socket.underlying)
        while True:
            self._take(await self._socket.recv_multipart())
            begun = clock()
            with contextlib.suppress(zmq.Again):
                while clock() - begun < TURN:
                    self._take(arrived.recv_multipart(zmq.NOBLOCK))
            # Messages may come without end from one that is broken: let others run in between.
            await asyncio.sleep(0)

    def _take(self, frames: list[bytes]) -> None:
        identity, *rest = frames
        receiver = self.receivers.get(identity)
        if receiver is None:
            return
        try:
            message, payload = wire.decode(rest)
        except wire.WireError as error:
            receiver(error, [])
        else:
            receiver(message, payload)
