"""The control socket for clients on other machines: a TCP port, its gate of keys, and a ``Control`` behind.

Owns what these three are put together to, and the order in which they begin and end. What a client may do
is ``rpc``'s and ``access``'s.
"""

from __future__ import annotations

import asyncio
import contextlib

import zmq.asyncio

from supervisor.access.access import Access
from supervisor.conditions import Tell
from supervisor.curve_keys import Gate, check_address
from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.server.rpc import Control, Handlers
from supervisor.server.tcp_front import Front
from supervisor.specs import SourcePosition

__all__ = ["RemoteControl"]


class RemoteControl:
    """A ``Control`` at a TCP address, for clients that have keys; made in a running event loop.

    ``public`` is the supervisor's public key. Raises ``ConfigurationError`` for an address that
    cannot be had. It has a context of its own: its gate concerns no other sockets.
    """

    def __init__(self, address: str, handlers: Handlers, access: Access) -> None:
        host, port = check_address(address)
        with contextlib.ExitStack() as undoing:
            self._context = zmq.asyncio.Context()
            undoing.callback(self._context.destroy, 0)
            self._gate = Gate(self._context, access.keys)
            self._gate.start()
            undoing.callback(self._gate.close)
            try:
                self._front = Front(host, port)
                undoing.callback(self._front.abandon)
                self._control = Control(
                    self._context, self._front.inner, handlers, access, self._gate
                )
            except OSError as error:  # a ZMQError is one
                text = f"{address} cannot be had: {error.strerror}".lower()
                raise ConfigurationError(
                    [ConfigurationProblem(SourcePosition("--listen"), "", text)],
                    hint="choose another port, or end what listens there",
                ) from None
            self._front.hide()
            undoing.pop_all()
        self.address = self._front.address
        self.public = self._gate.public

    def start(self, trouble: Tell = lambda text: None) -> None:
        """Begin to answer; ``trouble`` as for ``Control``."""
        self._control.start()
        self._front.start(trouble)

    async def close(self) -> None:
        """Stop answering and close the port."""
        await self._front.stop()
        await self._control.close()
        self._gate.close()
        await asyncio.to_thread(self._context.term)  # until the last replies are passed on
        await self._front.close()
