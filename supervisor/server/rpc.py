"""The control socket: takes requests from clients, answers them, bounds what they may send.

Owns the ROUTER that clients connect to, the framing of requests and replies, the credit of streams, and
what one client may have under way. Here, and nowhere else, each request is judged before its handler sees
it (``supervisor.access.access``). Which methods there are is declared in ``supervisor.protocol.methods``, what
they do in ``handlers``, whose request is computed next in ``turns``. An error becomes a reply; nothing
that a client sends ends the supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import zmq
import zmq.asyncio

from runner_shim import wire
from supervisor.access.access import Access
from supervisor.access.judgement import Judgement
from supervisor.conditions import Tell
from supervisor.curve_keys import Gate
from supervisor.descriptors import Door
from supervisor.errors import ConfigurationError, ProtocolError, SupervisorError, UnfitOrderError
from supervisor.protocol.methods import LONGEST_HOLD, Method
from supervisor.server.turns import Place, Turns, held
from supervisor.time_slices import TURN

__all__ = [
    "ALIVE",
    "VERSION",
    "Control",
    "Handler",
    "Handlers",
    "Packed",
    "Reply",
    "StreamHandler",
    "read_request",
]

VERSION = 2
_MAX_REQUEST = 1024 * 1024
# Of one client: requests under way, their bytes, those that are computed or answered at the same
# time, replies that it has not taken yet (a snapshot may be large), and messages not read here yet.
_MOST_REQUESTS = 500
_MOST_BYTES = 4 * _MAX_REQUEST
_AT_ONCE = 4
_QUEUED = 8
_MOST_REFUSALS = 32
_UNREAD = 64
# Within this one with keys has shown them (ms).
_HANDSHAKE = 10_000
# A grant of credit, or the end of a stream, has so many bytes; a stream has so much credit at most.
_SMALL = 128
# A problem of what a client sent is in no file.
_NO_PLACE = {"file": "", "line": 0, "column": 0, "suggestion": ""}
_MOST_CREDIT = 64
# So often a stream that has nothing to say says that it is alive (seconds).
ALIVE = LONGEST_HOLD / 2
# How long a reply waits for a client to take those before it, and how long between two looks (s).
_PATIENCE = 60.0
_FIRST_PAUSE, _LAST_PAUSE = 0.005, 0.25


@dataclass(frozen=True, slots=True)
class Packed:
    """A result that is msgpack already, in pieces: one that is large was made in turns."""

    pieces: list[bytes]


Reply = tuple[dict[str, Any] | Packed, list[bytes]]
Handler = Callable[[Mapping[str, Any]], Awaitable[Reply]]
StreamHandler = Callable[[Mapping[str, Any]], AsyncGenerator[Reply, None]]
Handlers = Mapping[str, tuple[Method, Handler | StreamHandler]]

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Client:
    """What one client has under way; ``refusals`` are those that wait to be delivered.

    ``key`` is the public key of its connection, None for ipc. ``listening`` is False once its replies
    cannot be delivered.
    """

    key: str | None
    requests: int = 0
    size: int = 0
    refusals: int = 0
    listening: bool = True
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    streams: dict[int, _Stream] = field(default_factory=dict)


class _Stream:
    """How many more answers a stream may send; ``task`` sends them."""

    def __init__(self, credit: int, task: asyncio.Task[Any]) -> None:
        self.task = task
        self._credit = min(credit, _MOST_CREDIT)
        self._granted = asyncio.Event()

    def grant(self, credit: int) -> None:
        """So many more."""
        self._credit = min(self._credit + credit, _MOST_CREDIT)
        self._granted.set()

    async def spend(self) -> None:
        """Wait until one more may be sent."""
        while not self._credit:
            self._granted.clear()
            await self._granted.wait()
        self._credit -= 1


class Control:
    """Serves ``handlers`` at ``address`` (ipc) as ``access`` allows, to those whom ``gate`` lets in where
    there is one."""

    def __init__(
        self,
        context: zmq.asyncio.Context,
        address: str,
        handlers: Handlers,
        access: Access,
        gate: Gate | None = None,
    ) -> None:
        if not address.startswith("ipc:"):
            raise ValueError(f"{address} is no local address: others connect through a front")
        self._gate = gate
        self._access = access
        self._handlers = handlers
        self._socket: zmq.asyncio.Socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _MAX_REQUEST)
        self._socket.setsockopt(zmq.LINGER, 1000)  # ms, for the reply to a shutdown
        self._socket.setsockopt(zmq.SNDHWM, _QUEUED)
        self._socket.setsockopt(zmq.RCVHWM, _UNREAD)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a full queue and a client gone are told
        if gate is not None:
            gate.apply(self._socket)
            self._socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE)
        try:
            self._socket.bind(address)
        except zmq.ZMQError:
            self._socket.close(0)
            raise
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._task: asyncio.Task[None] | None = None
        self._streaming = 0
        self._alive: asyncio.TimerHandle | None = None
        # For what is sent and received between two receptions only: the asynchronous socket sees events itself.
        self._plain: zmq.Socket[bytes] = zmq.Socket.shadow(self._socket.underlying)
        self._clients: dict[bytes, _Client] = {}
        self._turns = Turns(_AT_ONCE)
        self._door: Door | None = None

    def rebind(self) -> None:
        """Bind the address again: its file was removed. Raises ZMQError.

        Connections stay. So does the old listener, a descriptor: to end it would end them.
        """
        self._socket.bind(self.address)

    def start(self, trouble: Tell = lambda text: None) -> None:
        """Begin to answer; ``trouble`` gets a text while no more clients can connect, then None."""
        if (
            self._gate is None
        ):  # the front of one that has a gate keeps out what there is no room for
            self._door = Door(self._socket, self.address, trouble)
        self._task = asyncio.create_task(self._serve(), name="control")

    async def close(self) -> None:
        """Stop answering; waiting requests get no reply."""
        if self._door is not None:
            await self._door.close()
        self._turns.close()
        if self._alive is not None:
            self._alive.cancel()
        tasks = [task for client in self._clients.values() for task in client.tasks]
        if self._task is not None:
            tasks.append(self._task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._socket.close()

    async def _serve(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            # Frames say whose connection they came over: those of a gate have keys.
            plain = self._gate is None
            self._take(await self._socket.recv_multipart(copy=plain))
            until = clock() + TURN
            with contextlib.suppress(zmq.Again):
                while clock() < until:
                    self._take(self._plain.recv_multipart(zmq.NOBLOCK, copy=plain))
            await asyncio.sleep(0)

    def _take(self, message: Sequence[bytes | zmq.Frame]) -> None:
        identity, *frames = (one if isinstance(one, bytes) else one.bytes for one in message)
        key = None if isinstance(message[-1], bytes) else _key_of(message[-1])
        client = self._clients.get(identity)
        if client is not None and client.key != key:  # another one took the name of its connection
            self._leave(identity, client)
        if len(frames) == 1 and len(frames[0]) <= _SMALL and self._steers(identity, frames[0]):
            return
        client = self._clients.setdefault(identity, _Client(key))
        size = sum(map(len, frames))
        if client.requests >= _MOST_REQUESTS or client.size + size > _MOST_BYTES:
            self._refuse(identity, client, frames)
            self._look_at(identity, client)
            return
        client.requests += 1
        client.size += size
        self._turns.ask(identity, partial(self._begin, identity, client, frames, size))

    def _steers(self, identity: bytes, frame: bytes) -> bool:
        """True for a grant of credit, or the end of a stream: no request, and never waits its turn."""
        try:
            header = wire.unpack(frame, _SMALL, wire.MAX_CONTAINERS)
        except wire.WireError:
            return False
        if not isinstance(header, dict) or "method" in header:
            return False
        client = self._clients.get(identity)
        number: Any = header.get("id")
        if client is None or not isinstance(number, int):
            stream = None
        else:
            stream = client.streams.get(number)
        credit = header.get("credit")
        if stream is not None and header.get("cancel"):
            stream.task.cancel()
        elif stream is not None and type(credit) is int and credit > 0:
            stream.grant(credit)
        return stream is not None or "credit" in header or "cancel" in header

    def _begin(self, identity: bytes, client: _Client, frames: list[bytes], size: int) -> bool:
        if not client.listening:
            self._forget(identity, client, size)
            return False
        self._keep(client, self._answer(identity, client, frames, size))
        return True

    def _forget(self, identity: bytes, client: _Client, size: int) -> None:
        client.requests -= 1
        client.size -= size
        self._look_at(identity, client)

    def _look_at(self, identity: bytes, client: _Client) -> None:
        gone = not client.requests and not client.refusals
        if gone and self._clients.get(identity) is client:
            del self._clients[identity]

    def _leave(self, identity: bytes, client: _Client) -> None:
        """Answer nothing more of what ``client`` has under way."""
        client.listening = False
        for task in client.tasks:
            task.cancel()
        del self._clients[identity]

    async def _answer(
        self, identity: bytes, client: _Client, frames: list[bytes], size: int
    ) -> None:
        place = Place(self._turns, identity)
        try:
            await self._reply(identity, client, frames)
        finally:
            place.give_back()
            self._forget(identity, client, size)

    async def _deliver(self, client: _Client, reply: list[bytes]) -> None:
        # What it does not take waits here, where it is no copy yet, and not in its queue.
        pause, until = _FIRST_PAUSE, asyncio.get_running_loop().time() + _PATIENCE
        while not await self._send(client, reply):
            if asyncio.get_running_loop().time() >= until:
                client.listening = False
                break
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)

    async def _reply(self, identity: bytes, client: _Client, frames: list[bytes]) -> None:
        number: Any = None
        payload: list[bytes] = []
        judgement = Judgement(self._access)
        try:
            request = read_request(frames)
            number = request.get("id")
            name, params = request["method"], request.get("params") or {}
            if name not in self._handlers:
                known = ", ".join(sorted(self._handlers))
                raise ProtocolError(f"no method is named {name[:100]!r}; there are {known}")
            declared, handler = self._handlers[name]
            async with judgement.passed(client.key, request, declared, params) as given:
                if declared.streaming:
                    answers = cast("StreamHandler", handler)(given)
                    await self._stream(identity, client, request, answers)
                    head = wire.pack({"v": VERSION, "id": number, "end": True})
                else:
                    result, payload = await cast("Handler", handler)(given)
                    judgement.answer = result
                    head = _header(number, result)
        except SupervisorError as error:
            payload = []
            shown = judgement.shown(error)
            head = wire.pack({"v": VERSION, "id": number, "error": _error_data(shown)})
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("a request failed")
            text = "the supervisor could not answer; its log has the details"
            failed = {"code": "internal", "message": text}
            head = wire.pack({"v": VERSION, "id": number, "error": failed})
        await self._deliver(client, [identity, head, *payload])

    async def _stream(
        self,
        identity: bytes,
        client: _Client,
        request: Mapping[str, Any],
        answers: AsyncGenerator[Reply, None],
    ) -> None:
        number, credit = request.get("id"), request.get("credit")
        if type(number) is not int or number in client.streams:
            raise ProtocolError("a stream needs a number of its own as its id")
        if type(credit) is not int or credit < 1:
            raise ProtocolError("a stream needs credit, from 1: how many answers may be under way")
        task = asyncio.current_task()
        assert task is not None
        stream = client.streams[number] = _Stream(credit, task)
        self._streaming += 1
        if self._alive is None:
            self._alive = asyncio.get_running_loop().call_later(ALIVE, self._tell_alive)
        try:
            async with contextlib.aclosing(answers):
                while client.listening:
                    # Nothing is made before there is room for it: a slow client gets the newest.
                    async with held():
                        await stream.spend()
                    answer = await anext(answers, None)
                    if answer is None:
                        break
                    result, payload = answer
                    await self._deliver(client, [identity, _header(number, result), *payload])
        finally:
            self._streaming -= 1
            del client.streams[number]

    def _tell_alive(self) -> None:
        """Tell the client of each stream that it is alive; which also finds clients that are gone."""
        self._alive = None
        for identity, client in list(self._clients.items()):
            for number, stream in list(client.streams.items()):
                head = wire.pack({"v": VERSION, "id": number, "alive": True})
                try:
                    self._plain.send_multipart([identity, head], zmq.DONTWAIT)
                except zmq.Again:
                    pass  # it has enough to read
                except zmq.ZMQError:
                    client.listening = False
                if not client.listening:
                    stream.task.cancel()
        if self._streaming:
            self._alive = asyncio.get_running_loop().call_later(ALIVE, self._tell_alive)

    def _refuse(self, identity: bytes, client: _Client, frames: list[bytes]) -> None:
        if not client.listening:
            return
        error = ProtocolError(
            f"{_MOST_REQUESTS} requests of this client, or {_MOST_BYTES} bytes of them, are under "
            "way already"
        )
        try:
            number = read_request(frames).get("id")
        except ProtocolError:
            return
        reply = [identity, wire.pack({"v": VERSION, "id": number, "error": _error_data(error)})]
        try:
            self._plain.send_multipart(reply, zmq.DONTWAIT)
        except zmq.Again:
            if client.refusals < _MOST_REFUSALS:  # else it is not told
                client.refusals += 1
                self._keep(client, self._tell(client, reply))
        except zmq.ZMQError:
            client.listening = False

    async def _tell(self, client: _Client, refusal: list[bytes]) -> None:
        try:
            await self._deliver(client, refusal)
        finally:
            client.refusals -= 1
            self._look_at(refusal[0], client)

    @staticmethod
    def _keep(client: _Client, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        client.tasks.add(task)
        task.add_done_callback(client.tasks.discard)

    async def _send(self, client: _Client, reply: list[bytes]) -> bool:
        """False when the client's queue is full; True when it has it, or is gone."""
        try:
            await self._socket.send_multipart(reply, flags=zmq.DONTWAIT)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            client.listening = False
        return True


def _key_of(frame: zmq.Frame) -> str:
    """The public key of the connection that ``frame`` came over: see ``curve_keys.Gate``."""
    return str(frame.get("User-Id"))


def _header(number: Any, result: dict[str, Any] | Packed) -> bytes:
    if isinstance(result, Packed):
        # A map of three, the last of which is there already.
        before = ("v", VERSION, "id", number, "result")
        return b"".join([b"\x83", *map(wire.pack, before), *result.pieces])
    packed: bytes = wire.pack({"v": VERSION, "id": number, "result": result})
    return packed


def _error_data(error: SupervisorError) -> dict[str, Any]:
    data: dict[str, Any] = {"code": error.code, "message": str(error)}
    if error.hint:
        data["hint"] = error.hint
    if isinstance(error, ConfigurationError):
        data["problems"] = [one.as_data() for one in error.problems]
    if isinstance(error, UnfitOrderError) and error.problems:
        data["problems"] = [{**_NO_PLACE, **one} for one in error.problems]
    name = getattr(error, "name", None)
    if isinstance(name, str):
        data["name"] = name
    return data


def read_request(frames: list[bytes]) -> dict[str, Any]:
    """The header of a request. Raises ``ProtocolError`` for what is none."""
    if len(frames) != 1:
        raise ProtocolError(f"a request has 1 frame, this one has {len(frames)}")
    try:
        request = wire.unpack(frames[0], _MAX_REQUEST, wire.MAX_CONTAINERS)
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
