"""Requests to a control socket as they are on the wire, and which of them a role allows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import zmq
import zmq.asyncio

from runner_shim import wire
from supervisor.client.requests import VERSION
from supervisor.curve_keys import ClientKeys
from supervisor.protocol.methods import Method, Scope
from supervisor.roles import Role

DEADLINE = 60.0
REFUSALS = {"forbidden", "unauthenticated", "unknown_location", "unknown_run"}


class Peer:
    """Asks over one connection; ``more`` is what each request has beside its method."""

    def __init__(self, socket: zmq.asyncio.Socket, **more: Any) -> None:
        self._socket = socket
        self._more = more
        self._number = 0

    async def send(self, method: str, params: dict[str, Any], **more: Any) -> int:
        """Send a request; its number."""
        self._number += 1
        head = {"v": VERSION, "id": self._number, "method": method, "params": params}
        await self._socket.send(wire.pack({**head, **self._more, **more}))
        return self._number

    async def reply(self, number: int) -> tuple[dict[str, Any], bytes]:
        """The next reply to it that is more than a sign of life, and all its bytes."""
        async with asyncio.timeout(DEADLINE):
            while True:
                frames = await self._socket.recv_multipart()
                header = wire.unpack(frames[0], wire.MAX_MESSAGE_BYTES)
                if header["id"] == number and "alive" not in header:
                    return header, b"".join(frames)

    async def ask(self, method: Method, params: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The reply, or the first one of a stream, which is ended then."""
        credit = {"credit": 1} if method.streaming else {}
        number = await self.send(method.name, params, **credit)
        header, data = await self.reply(number)
        if method.streaming and "result" in header:
            await self._socket.send(wire.pack({"v": VERSION, "id": number, "cancel": True}))
        return header, data


@contextlib.asynccontextmanager
async def connected(
    address: str, keys: ClientKeys | None = None, **more: Any
) -> AsyncIterator[Peer]:
    """A connection of its own."""
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    if keys is not None:
        keys.apply(socket)
    socket.connect(address)
    try:
        yield Peer(socket, **more)
    finally:
        context.destroy(0)


def outcome(header: dict[str, Any]) -> str:
    """``allowed``, or the code of the refusal."""
    code = header.get("error", {}).get("code", "")
    return code if code in REFUSALS else "allowed"


def params_of(method: Method, location: str, run: str) -> dict[str, Any]:
    """Parameters that say no more than needed, about ``location`` and a run of it."""
    found: dict[str, Any] = {}
    for one in method.parameters:
        if one.name == "location":
            found["location"] = location
        elif one.name == "locations":
            found["locations"] = [location]
        elif one.name == "run":
            found["run"] = run
        elif one.name == "timeout" and method.waits:
            found["timeout"] = 0
        elif one.required or one.name == "job":
            found[one.name] = True if one.kind == "boolean" else "nightly"
        elif method.streaming and one.kind.startswith("integer"):
            found[one.name] = 0  # from the beginning, so that there is something to send
    return found


def expected(method: Method, role: Role | None, own: bool, everywhere: bool) -> str:
    """What the rules say of a client with ``role``; ``own`` location or another's."""
    if role is None or not role.includes(method.role):
        return "forbidden"
    if Scope.SUPERVISOR in method.scopes and not everywhere:
        return "forbidden"
    if own or everywhere or Scope.CLIENT in method.scopes:
        return "allowed"
    places = method.scopes & {Scope.LOCATION, Scope.LOCATIONS}
    return "unknown_location" if places else "unknown_run"
