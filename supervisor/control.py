"""The control socket: takes requests from clients, answers them, bounds what they may send.

Owns the ROUTER that clients connect to and the framing of requests and replies. What a method does
is the method table's business (``methods``); here each request runs in a task of its own, so one
that waits keeps nobody else waiting. An error becomes a reply; nothing a client sends ends the
supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import zmq
import zmq.asyncio

from runner_shim import wire
from supervisor.conditions import Tell
from supervisor.descriptors import Door
from supervisor.errors import (
    ConfigurationError,
    ConfigurationProblem,
    ProtocolError,
    SupervisorError,
)
from supervisor.keys import Gate, KeyDirectory, check_address
from supervisor.specs import SourcePosition

__all__ = ["VERSION", "Control", "Method", "Packed", "RemoteControl", "Reply"]

VERSION = 1
_MAX_REQUEST = 1024 * 1024
# Of one client: requests under way, and replies that it has not taken yet (a snapshot may be large).
_MOST_REQUESTS = 500
_QUEUED = 8
# How long a reply waits for a client to take those before it, and how long between two looks (s).
_PATIENCE = 60.0
_FIRST_PAUSE, _LAST_PAUSE = 0.005, 0.25


@dataclass(frozen=True, slots=True)
class Packed:
    """A result that is msgpack already, in pieces: one that is large was made in turns."""

    pieces: list[bytes]


Reply = tuple[dict[str, Any] | Packed, list[bytes]]
Method = Callable[[Mapping[str, Any]], Awaitable[Reply]]

_log = logging.getLogger(__name__)


class Control:
    """Serves ``methods`` at ``address``: ipc, or TCP with a ``gate`` that says who may connect."""

    def __init__(
        self,
        context: zmq.asyncio.Context,
        address: str,
        methods: Mapping[str, Method],
        gate: Gate | None = None,
    ) -> None:
        if gate is None and not address.startswith("ipc:"):
            raise ValueError(f"{address} is open to others and has no gate")
        self._methods = methods
        self._socket: zmq.asyncio.Socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _MAX_REQUEST)
        self._socket.setsockopt(zmq.LINGER, 1000)  # ms, for the reply to a shutdown
        self._socket.setsockopt(zmq.SNDHWM, _QUEUED)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a full queue and a client gone are told
        if gate is not None:
            gate.apply(self._socket)
        try:
            self._socket.bind(address)
        except zmq.ZMQError:
            self._socket.close(0)
            raise
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._task: asyncio.Task[None] | None = None
        self._requests: dict[bytes, set[asyncio.Task[None]]] = {}
        self._door: Door | None = None

    def start(self, trouble: Tell = lambda text: None) -> None:
        """Begin to answer; ``trouble`` hears while nobody more can connect."""
        if self.address.startswith("ipc:"):
            self._door = Door(self._socket, self.address, trouble)
        self._task = asyncio.create_task(self._serve(), name="control")

    async def close(self) -> None:
        """Stop answering; waiting requests get no reply."""
        if self._door is not None:
            await self._door.close()
        tasks = [task for requests in self._requests.values() for task in requests]
        if self._task is not None:
            tasks.append(self._task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._socket.close()

    async def _serve(self) -> None:
        while True:
            identity, *frames = await self._socket.recv_multipart()
            requests = self._requests.setdefault(identity, set())
            work = self._answer if len(requests) < _MOST_REQUESTS else self._refuse
            task = asyncio.create_task(work(identity, frames))
            requests.add(task)
            task.add_done_callback(partial(self._answered, identity))

    def _answered(self, identity: bytes, task: asyncio.Task[None]) -> None:
        requests = self._requests[identity]
        requests.discard(task)
        if not requests:
            del self._requests[identity]

    async def _answer(self, identity: bytes, frames: list[bytes]) -> None:
        number: Any = None
        payload: list[bytes] = []
        try:
            request = self._parse(frames)
            number = request.get("id")
            method = self._methods.get(request["method"])
            if method is None:
                known = ", ".join(sorted(self._methods))
                raise ProtocolError(f"no method is named {request['method']!r}; there are {known}")
            result, payload = await method(request.get("params") or {})
            head = _header(number, result)
        except SupervisorError as error:
            head = wire.pack({"v": VERSION, "id": number, "error": _error_data(error)})
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("a request failed")
            text = "the supervisor could not answer; its log has the details"
            failed = {"code": "internal", "message": text}
            head = wire.pack({"v": VERSION, "id": number, "error": failed})
        reply = [identity, head, *payload]
        # What it does not take waits here, where it is no copy yet, and not in its queue.
        pause, until = _FIRST_PAUSE, asyncio.get_running_loop().time() + _PATIENCE
        while not await self._send(reply) and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)

    async def _refuse(self, identity: bytes, frames: list[bytes]) -> None:
        error = ProtocolError(f"{_MOST_REQUESTS} requests of this client are under way already")
        with contextlib.suppress(ProtocolError):
            number = self._parse(frames).get("id")
            header = {"v": VERSION, "id": number, "error": _error_data(error)}
            await self._send([identity, wire.pack(header)])

    async def _send(self, reply: list[bytes]) -> bool:
        """False when the client's queue is full; True when it has it, or is gone."""
        try:
            await self._socket.send_multipart(reply, flags=zmq.DONTWAIT)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
        return True

    @staticmethod
    def _parse(frames: list[bytes]) -> dict[str, Any]:
        if len(frames) != 1:
            raise ProtocolError(f"a request has 1 frame, this one has {len(frames)}")
        try:
            request = wire.unpack(frames[0], _MAX_REQUEST)
        except wire.WireError as error:
            raise ProtocolError(f"the request is {error}") from None
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            raise ProtocolError("the request names no method")
        if request.get("v") != VERSION:
            raise ProtocolError(
                f"the client speaks control protocol {request.get('v')!r}, this supervisor {VERSION}",
                hint="install the same version of workspace-supervisor on both sides",
            )
        if not isinstance(request.get("params") or {}, dict):
            raise ProtocolError("the request's params are no map")
        return request


class RemoteControl:
    """A ``Control`` at a TCP address, for clients that have keys; made in a running event loop.

    ``public`` is the supervisor's public key. Raises ``ConfigurationError`` for an address that
    cannot be had. It has a context of its own: its gate concerns nobody else's sockets.
    """

    def __init__(self, address: str, methods: Mapping[str, Method], keys: KeyDirectory) -> None:
        check_address(address)
        with contextlib.ExitStack() as undoing:
            self._context = zmq.asyncio.Context()
            undoing.callback(self._context.destroy, 0)
            self._gate = Gate(self._context, keys)
            self._gate.start()
            undoing.callback(self._gate.close)
            try:
                self._control = Control(self._context, address, methods, self._gate)
            except zmq.ZMQError as error:
                text = f"{address} cannot be had: {error.strerror}".lower()
                raise ConfigurationError(
                    [ConfigurationProblem(SourcePosition("--listen"), "", text)]
                ) from None
            undoing.pop_all()
        self.address = self._control.address
        self.public = self._gate.public

    def start(self, trouble: Tell = lambda text: None) -> None:
        """Begin to answer; ``trouble`` as for ``Control``."""
        self._control.start(trouble)

    async def close(self) -> None:
        """Stop answering and close the port."""
        await self._control.close()
        self._gate.close()
        self._context.term()


def _header(number: Any, result: dict[str, Any] | Packed) -> bytes:
    if isinstance(result, Packed):
        # A map of three, the last of which is there already.
        before = ("v", VERSION, "id", number, "result")
        return b"".join([b"\x83", *map(wire.pack, before), *result.pieces])
    packed: bytes = wire.pack({"v": VERSION, "id": number, "result": result})
    return packed


def _error_data(error: SupervisorError) -> dict[str, Any]:
    from supervisor.status import problem_data

    data: dict[str, Any] = {"code": error.code, "message": str(error)}
    if error.hint:
        data["hint"] = error.hint
    if isinstance(error, ConfigurationError):
        data["problems"] = [problem_data(one) for one in error.problems]
    name = getattr(error, "name", None)
    if isinstance(name, str):
        data["name"] = name
    return data
