"""The control socket: framing, errors as replies, and requests that do not wait for each other."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
import zmq
import zmq.asyncio

from runner_shim import wire
from supervisor.control import VERSION, Control
from supervisor.errors import RequestError, UnknownLocationError
from supervisor.turns import held


async def echo(params):
    return {"params": dict(params)}, [b"more"]


async def hang(params):
    async with held():
        await asyncio.Event().wait()


async def unknown(params):
    raise UnknownLocationError("rsk", hint="did you mean risk?")


async def refuse(params):
    raise RequestError("it cannot be done")


async def broken(params):
    raise KeyError("a defect")


METHODS = {"echo": echo, "hang": hang, "unknown": unknown, "refuse": refuse, "broken": broken}


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
    control = Control(context, address, METHODS)
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
        ({"v": 1, "id": 1}, "the request names no method"),
        ({"v": 1, "id": 1, "method": 3}, "the request names no method"),
        ({"v": 9, "id": 1, "method": "echo"}, "the client speaks control protocol 9"),
        ({"v": 1, "id": 1, "method": "echo", "params": [1]}, "the request's params are no map"),
        ({"v": 1, "id": 1, "method": "ech"}, "no method is named 'ech'; there are broken, echo"),
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
