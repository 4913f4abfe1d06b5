"""The control socket: framing, errors as replies, and requests that do not wait for each other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter

import pytest
import zmq
import zmq.asyncio
from allowed import access_in

from runner_shim import wire
from supervisor.errors import RequestError, UnknownLocationError
from supervisor.protocol.methods import Method, Parameter
from supervisor.roles import Role
from supervisor.server.rpc import VERSION, Control
from supervisor.server.turns import held


async def echo(params):
    return {"params": {name: one for name, one in params.items() if one is not None}}, [b"more"]


async def hang(params):
    async with held():
        await asyncio.Event().wait()


async def unknown(params):
    raise UnknownLocationError("rsk", hint="did you mean risk?")


async def refuse(params):
    raise RequestError("it cannot be done")


async def broken(params):
    raise KeyError("a defect")


async def work(params):
    """Computed without a pause, as a status document is; counts for ``params["by"]``."""
    if params["gate"]:
        async with held():
            await GATES[params["gate"]].wait()
    COMPUTED[params["by"]] += 1
    end = time.thread_time() + 0.001
    while time.thread_time() < end:
        pass
    return {}, []


COMPUTED: Counter[str] = Counter()
GATES: dict[str, asyncio.Event] = {}
HANDLERS = {
    "work": work,
    "echo": echo,
    "hang": hang,
    "unknown": unknown,
    "refuse": refuse,
    "broken": broken,
}


ANY = [
    Parameter(name, "anything", "any", {}, lambda name, value: value)
    for name in ("a", "by", "gate", "more")
]
METHODS = {
    name: (Method(name, "A method.", Role.VIEWER, "Any", tuple(ANY)), handler)
    for name, handler in HANDLERS.items()
}


class Peer:
    def __init__(self, socket: zmq.asyncio.Socket) -> None:
        self.socket = socket

    async def send(self, request) -> None:
        await self.socket.send(request if isinstance(request, bytes) else wire.pack(request))

    async def reply(self):
        header, *payload = await asyncio.wait_for(self.socket.recv_multipart(), 30)
        return wire.unpack(header), payload

    async def ask(self, method: str, number: int = 1, **params):
        await self.send({"v": VERSION, "id": number, "method": method, "params": params})
        return await self.reply()


@contextlib.asynccontextmanager
async def serving(runtime):
    context = zmq.asyncio.Context()
    address = f"ipc://{runtime}/control.sock"
    control = Control(context, address, METHODS, access_in(runtime))
    control.start()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(address)
    try:
        yield Peer(socket)
    finally:
        socket.close()
        await control.close()
        context.term()


async def test_a_result_comes_with_the_number_of_its_request_and_its_payload(runtime):
    async with serving(runtime) as peer:
        header, payload = await peer.ask("echo", 42, a=[1, "x"])
        assert header == {"v": VERSION, "id": 42, "result": {"params": {"a": [1, "x"]}}}
        assert payload == [b"more"]


async def test_params_may_be_left_out(runtime):
    async with serving(runtime) as peer:
        await peer.send({"v": VERSION, "id": 1, "method": "echo"})
        header, _ = await peer.reply()
        assert header["result"] == {"params": {}}


async def test_errors_are_replies(runtime):
    async with serving(runtime) as peer:
        header, _ = await peer.ask("unknown", 3)
        assert header["error"] == {
            "code": "unknown_location",
            "message": "no code location is named 'rsk'",
            "hint": "did you mean risk?",
            "name": "rsk",
        }
        assert header["id"] == 3
        header, _ = await peer.ask("refuse")
        assert header["error"] == {"code": "refused", "message": "it cannot be done"}


async def test_a_defect_of_ours_is_a_reply_and_is_logged(runtime, caplog):
    async with serving(runtime) as peer:
        with caplog.at_level(logging.ERROR):
            header, _ = await peer.ask("broken")
        assert header["error"]["code"] == "internal"
        assert "a defect" not in header["error"]["message"]
        assert "a defect" in caplog.text
        header, _ = await peer.ask("echo")
        assert "result" in header


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (b"\xc1", "the request is not msgpack"),
        (b"", "the request is not msgpack"),
        ([1], "the request names no method"),
        ({"v": VERSION, "id": 1}, "the request names no method"),
        ({"v": VERSION, "id": 1, "method": 3}, "the request names no method"),
        ({"v": 9, "id": 1, "method": "echo"}, "the client speaks control protocol 9"),
        (
            {"v": VERSION, "id": 1, "method": "echo", "params": [1]},
            "the request's params are no map",
        ),
        (
            {"v": VERSION, "id": 1, "method": "ech"},
            "no method is named 'ech'; there are broken, echo",
        ),
    ],
)
async def test_what_is_no_request_says_why_and_ends_nothing(runtime, request_, message):
    async with serving(runtime) as peer:
        await peer.send(request_)
        header, _ = await peer.reply()
        assert header["error"]["code"] == "protocol"
        assert header["error"]["message"].startswith(message)
        header, _ = await peer.ask("echo")
        assert "result" in header


async def test_a_request_in_several_frames_is_refused(runtime):
    async with serving(runtime) as peer:
        await peer.socket.send_multipart([b"a", b"b"])
        header, _ = await peer.reply()
        assert header["error"]["message"] == "a request has 1 frame, this one has 2"


async def test_one_that_waits_keeps_nobody_waiting(runtime):
    async with serving(runtime) as peer:
        for number in range(50):
            await peer.send({"v": VERSION, "id": number, "method": "hang"})
        header, _ = await peer.ask("echo", 99)
        assert header["id"] == 99


async def test_a_client_that_is_gone_when_its_answer_comes_is_no_trouble(runtime):
    async with serving(runtime) as peer:
        context = zmq.asyncio.Context()
        other = context.socket(zmq.DEALER)
        other.setsockopt(zmq.LINGER, 1000)
        other.connect(f"ipc://{runtime}/control.sock")
        await other.send(wire.pack({"v": VERSION, "id": 1, "method": "echo"}))
        other.close()
        context.term()
        header, _ = await peer.ask("echo")
        assert "result" in header


# One client's backlog is that client's alone.

MANY = 400


@contextlib.asynccontextmanager
async def two(runtime):
    """A control socket with two clients of it: one asks much, the other little."""
    COMPUTED.clear()
    async with serving(runtime) as one:
        context = zmq.asyncio.Context()
        other = context.socket(zmq.DEALER)
        other.setsockopt(zmq.LINGER, 0)
        other.setsockopt(zmq.SNDHWM, 0)
        other.setsockopt(zmq.RCVHWM, 1)
        other.connect(f"ipc://{runtime}/control.sock")
        try:
            yield Peer(other), one
        finally:
            other.close()
            context.term()


async def flood(peer: Peer, count: int, **params) -> None:
    request = wire.pack({"v": VERSION, "id": 1, "method": "work", "params": params})
    for _ in range(count):
        await peer.send(request)


async def few_answers(peer: Peer, count: int = 20) -> None:
    for number in range(count):
        header, _ = await peer.ask("work", number, by="few")
        assert header["id"] == number


async def test_many_requests_of_one_come_between_those_of_another(runtime):
    async with two(runtime) as (much, little):
        await flood(much, MANY, by="much")

        async def read():
            for _ in range(MANY):
                await much.reply()

        reading = asyncio.create_task(read())
        await few_answers(little)
        assert COMPUTED["much"] < MANY / 2
        await reading
        assert COMPUTED == {"much": MANY, "few": 20}


async def test_many_that_waited_and_are_woken_together_come_between_too(runtime):
    GATES["a"] = asyncio.Event()
    async with two(runtime) as (much, little):
        await flood(much, MANY, by="much", gate="a")
        await little.ask("echo")
        header, _ = await much.ask("echo", 7)  # those that wait do not keep their client waiting
        assert header["id"] == 7
        GATES["a"].set()
        reading = asyncio.gather(*(much.reply() for _ in range(MANY)))
        await few_answers(little)
        assert COMPUTED["much"] < MANY / 2
        await reading


@pytest.mark.slow
async def test_a_hundred_thousand_unread_requests_delay_nobody_else(runtime):
    async with two(runtime) as (much, little):
        sending = asyncio.create_task(flood(much, 100_000, by="much"))
        await few_answers(little, 100)
        # Of what is not read no more is computed than waits to be read.
        assert COMPUTED["much"] < 100
        assert not sending.done() or COMPUTED["few"] == 100
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_more_than_may_be_under_way_is_refused(runtime):
    GATES["b"] = asyncio.Event()
    async with two(runtime) as (much, _little):
        await flood(much, 510, by="much", gate="b")
        for _ in range(10):
            header, _ = await much.reply()
            assert "are under way already" in header["error"]["message"]
        GATES["b"].set()
        for _ in range(500):
            assert "result" in (await much.reply())[0]
        # And then it may ask again.
        assert "result" in (await much.ask("work", 2, by="much"))[0]


async def test_large_requests_that_wait_are_bounded(runtime):
    GATES["c"] = asyncio.Event()
    async with two(runtime) as (much, _little):
        await flood(much, 10, by="much", gate="c", more="x" * 1_000_000)
        for _ in range(6):
            header, _ = await much.reply()
            assert "are under way already" in header["error"]["message"]
        GATES["c"].set()
        for _ in range(4):
            assert "result" in (await much.reply())[0]
        assert COMPUTED["much"] == 4
