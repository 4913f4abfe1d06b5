"""Streams of the control protocol: credit, both ends, clients that vanish."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import zmq
import zmq.asyncio
from allowed import access_in

from runner_shim import wire
from supervisor.errors import RequestError
from supervisor.protocol.methods import Method, Parameter
from supervisor.roles import Role
from supervisor.server.rpc import VERSION, Control
from supervisor.server.turns import held

COUNT = Parameter("count", "how many", "integer", {}, lambda name, value: value)


class Made:
    """What the streams have made, and whether they have ended."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.ended = asyncio.Event()

    async def count(self, params):
        try:
            for number in range(params["count"]):
                self.numbers.append(number)
                yield {"number": number}, [b"more"]
        finally:
            self.ended.set()

    async def fail(self, params):
        yield {"number": 0}, []
        raise RequestError("it cannot go on")

    async def silence(self, params):
        try:
            async with held():
                await asyncio.Event().wait()
            yield {}, []
        finally:
            self.ended.set()

    async def echo(self, params):
        return {"ok": True}, []


class Peer:
    def __init__(self, socket: zmq.asyncio.Socket) -> None:
        self.socket = socket

    async def send(self, **header) -> None:
        await self.socket.send(wire.pack({"v": VERSION, **header}))

    async def reply(self):
        async with asyncio.timeout(30):
            header, *_ = await self.socket.recv_multipart()
        return wire.unpack(header)


@contextlib.asynccontextmanager
async def serving(runtime):
    made = Made()
    methods = {
        name: (Method(name, "A method.", Role.VIEWER, "Any", (COUNT,), streaming=stream), handler)
        for name, handler, stream in (
            ("count", made.count, True),
            ("fail", made.fail, True),
            ("silence", made.silence, True),
            ("echo", made.echo, False),
        )
    }
    context = zmq.asyncio.Context()
    control = Control(context, f"ipc://{runtime}/control.sock", methods, access_in(runtime))
    control.start()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(control.address)
    try:
        yield Peer(socket), made, control
    finally:
        socket.close()
        await control.close()
        context.term()


async def test_no_more_is_made_than_there_is_credit_for(runtime):
    async with serving(runtime) as (peer, made, _):
        await peer.send(id=7, method="count", params={"count": 10}, credit=2)
        assert [(await peer.reply())["result"]["number"] for _ in range(2)] == [0, 1]
        # What is asked after it is answered, so all that the stream would send has been sent.
        for number in range(20):
            await peer.send(id=100 + number, method="echo")
            assert (await peer.reply())["id"] == 100 + number
        assert made.numbers == [0, 1]
        await peer.send(id=7, credit=3)
        assert [(await peer.reply())["result"]["number"] for _ in range(3)] == [2, 3, 4]
        await peer.send(id=7, credit=64)
        assert [(await peer.reply())["result"]["number"] for _ in range(5)] == [5, 6, 7, 8, 9]
        assert await peer.reply() == {"v": VERSION, "id": 7, "end": True}


async def test_a_client_may_end_a_stream(runtime):
    async with serving(runtime) as (peer, made, _):
        await peer.send(id=1, method="count", params={"count": 1_000_000}, credit=1)
        await peer.reply()
        await peer.send(id=1, cancel=True)
        async with asyncio.timeout(30):
            await made.ended.wait()
        await peer.send(id=1, method="count", params={"count": 1}, credit=2)  # its number is free
        assert (await peer.reply())["result"] == {"number": 0}


async def test_an_error_ends_a_stream(runtime):
    async with serving(runtime) as (peer, _, _):
        await peer.send(id=1, method="fail", credit=5)
        assert (await peer.reply())["result"] == {"number": 0}
        assert (await peer.reply())["error"]["message"] == "it cannot go on"


@pytest.mark.parametrize("header", [{}, {"credit": 0}, {"credit": True}, {"credit": "1"}])
async def test_a_stream_without_credit_is_refused(header, runtime):
    async with serving(runtime) as (peer, _, _):
        await peer.send(id=1, method="count", params={"count": 1}, **header)
        error = (await peer.reply())["error"]
        assert error["code"] == "protocol" and "needs credit" in error["message"]


async def test_two_streams_cannot_have_one_number(runtime):
    async with serving(runtime) as (peer, _, _):
        await peer.send(id=1, method="silence", credit=1)
        await peer.send(id=1, method="count", params={"count": 1}, credit=1)
        assert "a number of its own" in (await peer.reply())["error"]["message"]


async def test_many_silent_streams_keep_nobody_from_being_answered(runtime):
    async with serving(runtime) as (peer, _, _):
        for number in range(200):
            await peer.send(id=number, method="silence", credit=1)
        await peer.send(id=999, method="echo")
        assert (await peer.reply())["id"] == 999


@pytest.mark.parametrize(
    "header",
    [{"id": 5, "credit": 3}, {"id": 5, "cancel": True}, {"id": [], "credit": 1}, {"credit": -1}],
)
async def test_a_grant_for_no_stream_is_passed_over(header, runtime):
    async with serving(runtime) as (peer, _, _):
        await peer.send(**header)
        await peer.send(id=1, method="echo")
        assert (await peer.reply())["id"] == 1


async def test_the_stream_of_a_client_that_is_gone_ends(runtime, monkeypatch):
    monkeypatch.setattr("supervisor.server.rpc.ALIVE", 0.05)
    async with serving(runtime) as (peer, made, control):
        context = zmq.asyncio.Context()
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(control.address)
        other = Peer(socket)
        await other.send(id=1, method="silence", credit=1)
        assert (await other.reply()) == {"v": VERSION, "id": 1, "alive": True}
        socket.close()
        context.term()
        async with asyncio.timeout(30):
            await made.ended.wait()
        await peer.send(id=1, method="echo")
        assert (await peer.reply())["id"] == 1
