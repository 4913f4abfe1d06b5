"""The relay: bytes from TCP to sockets and back, by a file that may change."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from supervised import save

from supervisor.dagster import relay

RELAY = relay.__file__


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        found: int = one.getsockname()[1]
        return found


def routes(file: Path, ports: dict[int, Path]) -> None:
    found = {str(port): [path.name, str(path)] for port, path in ports.items()}
    save(file, json.dumps({"host": "127.0.0.1", "routes": found}))


class Running:
    """A relay, and what it said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def says(self, text: str) -> str:
        """The next line with ``text``."""
        assert self.process.stderr is not None
        async with asyncio.timeout(60):
            async for line in self.process.stderr:
                if text in line.decode():
                    return line.decode()
        raise AssertionError(text)


@asynccontextmanager
async def relaying(file: Path) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", RELAY, str(file), stderr=asyncio.subprocess.PIPE
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def reversing(path: Path) -> AsyncIterator[None]:
    """A server at ``path`` that answers all it got, backwards, once the client has said all."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read())[::-1])
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(answer, path):
        yield


async def asked(port: int, data: bytes) -> bytes:
    """What comes back; nothing where the connection is closed before all was said."""
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(data)
            writer.write_eof()
            return await reader.read()
        except OSError:
            return b""
        finally:
            writer.close()


async def test_megabytes_go_through_and_come_back(tmp_path: Path) -> None:
    port, path, file = free_port(), tmp_path / "a.sock", tmp_path / "routes.json"
    data = bytes(range(256)) * 20_000
    routes(file, {port: path})
    async with reversing(path), relaying(file) as relay:
        await relay.says(f"a.sock is served at 127.0.0.1:{port}")
        answers = await asyncio.gather(*(asked(port, data) for _ in range(3)))
    assert answers == [data[::-1]] * 3


async def test_a_server_that_is_away_ends_the_connection_and_may_come_back(tmp_path: Path) -> None:
    port, path, file = free_port(), tmp_path / "a.sock", tmp_path / "routes.json"
    routes(file, {port: path})
    async with relaying(file) as relay:
        await relay.says("is served")
        assert await asked(port, b"anything") == b""
        async with reversing(path):
            assert await asked(port, b"abc") == b"cba"


async def test_the_file_is_read_again_when_it_is_told(tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    file = tmp_path / "routes.json"
    routes(file, {first: tmp_path / "a.sock"})
    async with reversing(tmp_path / "b.sock"), relaying(file) as relay:
        await relay.says("a.sock is served")
        routes(file, {second: tmp_path / "b.sock"})
        relay.process.send_signal(signal.SIGURG)
        await relay.says("b.sock is served")
        assert await asked(second, b"abc") == b"cba"
        with socket.socket() as closed:
            assert closed.connect_ex(("127.0.0.1", first)) != 0


async def test_a_port_that_is_taken_is_said_and_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "routes.json"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        routes(file, {port: tmp_path / "a.sock"})
        async with relaying(file) as relay:
            line = await relay.says("ERROR")
            assert f"a.sock cannot be served at 127.0.0.1:{port}" in line
            taken.close()
            await relay.says("a.sock is served")
