"""The supervisor's socket towards shims: who is heard, and what a bad message becomes."""

from __future__ import annotations

import asyncio
import contextlib

import zmq
import zmq.asyncio

from runner_shim import wire
from supervisor.locations.transport import Transport


@contextlib.asynccontextmanager
async def serving(runtime):
    context = zmq.asyncio.Context()
    transport = Transport(context, f"ipc://{runtime}/shims.sock")
    transport.start()
    peers = []

    def connect(instance: str) -> zmq.asyncio.Socket:
        peer = context.socket(zmq.DEALER)
        peer.setsockopt(zmq.IDENTITY, instance.encode())
        peer.setsockopt(zmq.LINGER, 0)
        peer.connect(transport.address)
        peers.append(peer)
        return peer

    try:
        yield transport, connect
    finally:
        for peer in peers:
            peer.close()
        await transport.close()
        context.term()


class Heard:
    """What an instance has said, in order."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue = asyncio.Queue()

    def __call__(self, message, payload) -> None:
        self.messages.put_nowait((message, payload))

    async def next(self):
        return await asyncio.wait_for(self.messages.get(), 30)


async def test_messages_go_both_ways_with_their_payload(runtime):
    async with serving(runtime) as (transport, connect):
        heard = Heard()
        transport.expect("one", heard)
        peer = connect("one")
        await peer.send_multipart(wire.encode({"type": "hello"}, b"more", b""))
        assert await heard.next() == ({"type": "hello", "v": wire.VERSION}, [b"more", b""])
        await transport.send("one", {"type": "ping", "request": 7})
        message, payload = wire.decode(await peer.recv_multipart())
        assert (message["request"], payload) == (7, [])


async def test_who_is_not_expected_is_not_heard_and_harms_nobody(runtime):
    async with serving(runtime) as (transport, connect):
        heard = Heard()
        transport.expect("one", heard)
        stranger, known = connect("stranger"), connect("one")
        for frames in ([b""], [b"\xc1"], wire.encode({"type": "hello"}), [b"x"] * 50):
            await stranger.send_multipart(frames)
        await known.send_multipart(wire.encode({"type": "hello"}))
        assert (await heard.next())[0]["type"] == "hello"
        transport.forget("one")
        await known.send_multipart(wire.encode({"type": "late"}))
        other = Heard()
        transport.expect("two", other)
        await connect("two").send_multipart(wire.encode({"type": "hello"}))
        await other.next()
        assert heard.messages.empty()
        transport.forget("nobody")
        await transport.send("nobody", {"type": "ping"})


async def test_what_breaks_the_protocol_is_handed_over_as_an_error(runtime):
    async with serving(runtime) as (transport, connect):
        heard = Heard()
        transport.expect("one", heard)
        peer = connect("one")
        await peer.send_multipart([b"\xc1"])
        await peer.send_multipart([b"x"] * 9)
        await peer.send_multipart(wire.encode({"type": "hello"}))
        error, payload = await heard.next()
        assert isinstance(error, wire.WireError)
        assert payload == []
        assert isinstance((await heard.next())[0], wire.WireError)
        assert (await heard.next())[0]["type"] == "hello"


async def test_one_that_talks_without_end_lets_others_be_heard(runtime):
    async with serving(runtime) as (transport, connect):
        count = 0

        def chatter(message, payload) -> None:
            nonlocal count
            count += 1

        heard = Heard()
        transport.expect("chatty", chatter)
        transport.expect("one", heard)
        chatty, peer = connect("chatty"), connect("one")

        async def talk() -> None:
            frames = wire.encode({"type": "noise"})
            while True:
                await chatty.send_multipart(frames)
                await asyncio.sleep(0)

        talking = asyncio.create_task(talk())
        for number in range(5):
            await peer.send_multipart(wire.encode({"type": "hello", "number": number}))
            assert (await heard.next())[0]["number"] == number
        talking.cancel()
        assert count
