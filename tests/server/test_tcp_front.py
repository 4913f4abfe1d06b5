"""The TCP port stays within its bounds: silent connections, a burst of them, and those with keys."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
import zmq.asyncio
from allowed import access_in
from commands import foreground, supervise
from supervised import environ, job, make_workspace, poll

from runner_shim import wire
from supervisor.client.client import Client
from supervisor.client.requests import VERSION
from supervisor.curve_keys import ClientKeys, KeyDirectory
from supervisor.protocol.methods import METHODS
from supervisor.roles import Role
from supervisor.runtime_dir import running_supervisors
from supervisor.server import tcp_front
from supervisor.server.remote_control import RemoteControl

SIGNATURE = b"\xff\0\0\0\0\0\0\0\1\x7f"
PAYLOAD = os.urandom(1024) * 20_000


@contextlib.contextmanager
def connections(port: int, count: int, greeting: bytes = b"") -> Iterator[list[socket.socket]]:
    """As many connections as fast as they can be opened; none says more than ``greeting``."""
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            one = socket.socket()
            opened.append(one)
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            if greeting:
                with contextlib.suppress(OSError):
                    one.send(greeting)
        yield opened
    finally:
        for one in opened:
            one.close()


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


@pytest.mark.slow
@pytest.mark.parametrize("limit", [256, 1024, None])
@pytest.mark.parametrize("greeting", [b"", SIGNATURE], ids=["silent", "greeting"])
def test_a_burst_of_connections_takes_nothing_from_local_clients(
    tmp_path, runtime, limit, greeting
):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    workspace = make_workspace(tmp_path, {"a.py": job("one")})
    assert (
        supervise(
            "keys", "add", "laptop", "--role", "viewer", cwd=tmp_path, runtime=runtime
        ).returncode
        == 0
    )
    with foreground(tmp_path, runtime, "--listen", "tcp://127.0.0.1:*") as running:
        running.until(lambda line: ": ready" in line)
        if limit is not None:
            resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (limit, limit))
        (info,) = running_supervisors(environ(runtime))
        with connections(port_of(info["listen"]), min(5000, hard - 500), greeting):
            for _ in range(3):
                with Client(workspace, environ=environ(runtime), timeout=60) as local:
                    (one,) = local.status()["locations"]
                    assert one["state"] == "ready"
            assert supervise("status", cwd=tmp_path, runtime=runtime).returncode == 0
            # One that has keys gets in between them.
            keys = tmp_path / "laptop.keys"
            with Client(address=info["listen"], keys=keys, timeout=60) as remote:
                assert remote.status()["locations"][0]["name"] == "a"
            if limit is not None:
                assert len(os.listdir(f"/proc/{running.pid}/fd")) < limit * 7 // 8
        assert running.process.poll() is None
        assert running.end() == 0
    assert not [line for line in running.seen if "Traceback" in line or "Assertion" in line]


async def echo(params):
    return {"params": dict(params)}, [PAYLOAD]


@contextlib.asynccontextmanager
async def serving(tmp_path: Path, told=lambda text: None):
    """A port, and a way to make clients that have keys for it."""
    directory = KeyDirectory(tmp_path)
    directory.add_client("me", tmp_path / "me.keys", Role.VIEWER)
    keys = ClientKeys.read(tmp_path / "me.keys")
    methods = {"status": (METHODS["status"], echo)}
    remote = RemoteControl("tcp://127.0.0.1:*", methods, access_in(tmp_path))
    remote.start(told)
    context = zmq.asyncio.Context()

    def client() -> zmq.asyncio.Socket:
        one = context.socket(zmq.DEALER)
        one.linger = 0
        keys.apply(one)
        one.connect(remote.address)
        return one

    try:
        yield remote, client
    finally:
        context.destroy(0)
        await remote.close()


async def asked(one: zmq.asyncio.Socket) -> bytes:
    await one.send(wire.pack({"v": VERSION, "id": 1, "method": "status"}))
    _header, payload = await asyncio.wait_for(one.recv_multipart(), 60)
    return payload


async def ended(one: socket.socket) -> bool:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        return not await asyncio.wait_for(loop.sock_recv(one, 100), 60)
    return True


async def test_what_is_passed_on_is_what_was_sent(tmp_path):
    async with serving(tmp_path) as (_remote, client):
        one = client()
        for _ in range(3):
            payload = await asked(one)
            assert hashlib.sha256(payload).digest() == hashlib.sha256(PAYLOAD).digest()


async def test_silent_ones_are_ended_and_known_ones_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(tcp_front, "HANDSHAKE", 0.5)
    async with serving(tmp_path) as (remote, client):
        one = client()
        await asked(one)
        monitor = one.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        for greeting in (b"", SIGNATURE[:4]):
            with connections(port_of(remote.address), 1, greeting) as (silent,):
                assert await ended(silent)
        for nonsense in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff" + bytes(20)):
            with connections(port_of(remote.address), 1) as (stranger,):
                await asyncio.get_running_loop().sock_sendall(stranger, nonsense)
                assert await ended(stranger)
        # Plain ZeroMQ greets, and has no keys.
        with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as plain:
            plain.linger = 0
            plain.reconnect_ivl = -1
            gone = plain.get_monitor_socket(
                zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            )
            plain.connect(remote.address)
            assert await gone.poll(60_000)
            plain.disable_monitor()
            gone.close()
        await asked(one)
        assert not await monitor.poll(0)
        one.disable_monitor()
        monitor.close()


async def test_when_no_more_can_be_connected_it_is_said_until_it_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(tcp_front, "MOST", 2)
    told: list[str | None] = []
    async with serving(tmp_path, told.append) as (_remote, client):
        first, second = client(), client()
        await asked(first)
        await asked(second)
        third = client()
        await poll(lambda: told, "it is said")
        assert "who connects from elsewhere now has to wait" in told[0]
        await asked(first)
        second.close()
        await asked(third)
        await poll(lambda: told[-1] is None, "it is over")
