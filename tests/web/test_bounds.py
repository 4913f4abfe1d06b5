"""What many or silent clients of the page cost the others: connections, streams, requests that lie."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from supervised import poll
from uvicorn.server import ServerState

from supervisor.web import connections
from supervisor.web.connections import Connections, protocol
from supervisor.web.room import Room

from .site import Page, Site, site

FOLLOWERS = 520
HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@contextlib.contextmanager
def opened(page: Page, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that have said ``sent``."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            one = stack.enter_context(socket.create_connection((page.host, page.port), 60))
            one.sendall(sent)
            found.append(one)
        yield found


def answer_to(page: Page, request: bytes) -> bytes:
    """All that comes back until the connection ends."""
    with opened(page, 1, request) as (one,):
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while data := one.recv(65536):
                found += data
        return found


@pytest.mark.slow
def test_many_followers_leave_room_for_orders_and_pages(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    request = b"GET /events?logs=payments HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with site(tmp_path) as made, opened(made.page, FOLLOWERS, request) as followers:
        for one in followers:
            assert read_until(one, b"event: change")
        # Programs that wait for lines share their request, too.
        waiting = (
            b"GET /api/v1/logs?location=payments&after=999999999&timeout=30 HTTP/1.1\r\n"
            b"Host: 127.0.0.1\r\n\r\n"
        )
        with opened(made.page, 100, waiting):
            for _ in range(3):
                done = made.page.post(
                    "/api/v1/orders", {"order": "reload", "locations": ["payments"]}
                )
                assert done.status == 200, done.text
                assert made.client.wait("payments", timeout=60)["ready"]
                assert made.page.get("/").status == 200
                assert made.page.get("/location", name="payments", view="logs").status == 200
        for one in followers:
            assert read_until(one, b"team was loaded")


def read_until(one: socket.socket, wanted: bytes) -> bool:
    seen = b""
    while data := one.recv(65536):
        seen = seen[-200:] + data
        if wanted in seen:
            return True
    return False


def test_half_sent_requests_keep_nobody_out(quiet: Site) -> None:
    pid = quiet.page.process.pid
    limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    for sent in (HEAD, b"", b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n"):
        with opened(quiet.page, 600, sent):
            for path in ("/healthz", "/", "/api/v1/status"):
                assert quiet.page.get(path).status == 200
            assert len(os.listdir(f"/proc/{pid}/fd")) < limit


LENGTHS = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"content-length: 5\r\ntransfer-encoding : chunked\r\n",
    b"Content-Length: 5\r\nContent-Length: 5\r\n",
    b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: 5\r\n , 5\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: -5\r\n",
    b"Content-Length: 0x5\r\n",
    b"Content-Length: " + b"9" * 5000 + b"\r\n",
    b"Content-Length:\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Host: 127.0.0.1\r\n",
]


@pytest.mark.parametrize("headers", LENGTHS)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["crlf", "lf"])
def test_a_request_whose_length_is_in_doubt_is_refused(
    quiet: Site, headers: bytes, end: bytes
) -> None:
    request = b"POST /api/v1/orders HTTP/1.1\r\nHost: 127.0.0.1\r\n" + headers + b"\r\n"
    request = request.replace(b"\r\n", end) + b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    found = answer_to(quiet.page, request)
    assert found.startswith(b"HTTP/1.1 400 "), found
    assert found.count(b"HTTP/1.1 ") == 1
    # Also where it follows a good one.
    found = answer_to(quiet.page, HEAD + b"\r\n" + request)
    assert found.count(b"HTTP/1.1 200 ") == 1
    assert found.count(b"HTTP/1.1 400 ") == 1
    assert found.count(b"HTTP/1.1 ") == 2


def test_an_old_request_in_pieces_is_refused(quiet: Site) -> None:
    found = answer_to(
        quiet.page,
        b"POST /api/v1/orders HTTP/1.0\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    )
    assert found.startswith(b"HTTP/1.1 400 ")
    assert b"HTTP/1.0 knows no Transfer-Encoding" in found


def test_heads_are_bounded(quiet: Site) -> None:
    for request in (
        b"GET /" + b"a" * 70_000,
        HEAD + b"X: " + b"a" * 70_000,
        HEAD + b"X: a\r\n" * 20_000,
        b"GET /definitions?" + b"q=a&" * 20_000 + b" HTTP/1.1\r\n",
    ):
        assert answer_to(quiet.page, request).startswith(b"HTTP/1.1 400 ")


def test_who_goes_in_the_middle_of_a_request_is_no_trouble(quiet: Site) -> None:
    head = b"Host: 127.0.0.1\r\nOrigin: " + quiet.page.url.encode() + b"\r\n"
    for path in (b"/orders", b"/api/v1/orders"):
        for length in (
            b"Content-Length: 100\r\n\r\norder",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nor",
        ):
            with opened(quiet.page, 1, b"POST " + path + b" HTTP/1.1\r\n" + head + length):
                pass
    # One whose body is none, while its answer is under way.
    stream = b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with opened(quiet.page, 1, stream) as (one,):
        assert read_until(one, b"event: change")
        one.sendall(b"no number\r\n")
        with contextlib.suppress(ConnectionResetError):
            while one.recv(65536):
                pass
    assert quiet.page.get("/healthz").status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/diff?location=risk&from=9223372036854775808", 422),
        ("/api/v1/diff?location=risk&from=18446744073709551615&to=1", 422),
        ("/api/v1/diff?location=risk&from=9223372036854775807&to=1", 409),
        ("/api/v1/diff?location=risk&from=0", 422),
        ("/api/v1/diff?location=risk&from=" + "9" * 5000, 422),
        ("/api/v1/history?location=a%00b", 422),
        ("/api/v1/history?location=" + "a" * 20_001, 422),
        ("/api/v1/history?location=%ff", 404),
        ("/api/v1/locations?state=a%00", 422),
        ("/api/v1/definition?location=risk&name=a%00", 422),
        ("/api/v1/definition?location=risk&name=settle&kind=%00", 422),
        ("/api/v1/logs?location=risk&after=99999999999999999999", 422),
        ("/api/v1/logs?location=risk&timeout=nan&after=1", 422),
        ("/api/v1/logs?location=risk&lines=-1", 422),
        ("/location?name=a%00b", 400),
        ("/location?name=risk&view=history&from=99999999999999999999&to=1", 200),
        ("/location?name=risk&view=history&from=9223372036854775807&to=1", 200),
    ],
)
def test_numbers_and_texts_are_bounded(quiet: Site, path: str, status: int) -> None:
    answer = quiet.page.get(path)
    assert answer.status == status, answer.text


def test_an_order_for_what_is_no_text(quiet: Site) -> None:
    for name in ('"\\ud800"', '"a\\u0000"', f'"{"a" * 20_001}"'):
        body = f'{{"order": "reload", "locations": [{name}]}}'.encode()
        headers = {"Content-Type": "application/json"}
        answer = quiet.page.ask("/api/v1/orders", method="POST", body=body, headers=headers)
        assert answer.status == 422, answer.text
    assert quiet.page.send("/orders", order="reload", location="a\0").status == 400


# Time limits, in this process, where they can be shorter.


RELEASED = asyncio.Event()


async def application(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    else:
        return
    if scope["path"] == "/held":
        await RELEASED.wait()
    size = 8 * 1024 * 1024 if scope["path"] == "/large" else 2
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * size})


@contextlib.asynccontextmanager
async def serving(most: int) -> AsyncIterator[tuple[Connections, int]]:
    bounds = Connections(most)
    made = protocol(bounds)
    config = uvicorn.Config(application, http=made, log_level="error", ws="none")
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: made(config=config, server_state=state, app_state={}), "127.0.0.1", 0, backlog=4
    )
    try:
        yield bounds, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for one in list(state.connections):
            one.transport.abort()
        await poll(lambda: not state.connections, "they are gone")
        await server.wait_closed()


async def connected(port: int, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    return reader, writer


async def rest(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(), 60)
    return b""


async def test_heads_and_bodies_that_do_not_come_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "HEAD", 0.2)
    monkeypatch.setattr(connections, "BODY", 0.2)
    monkeypatch.setattr(connections, "LOOK", 0.05)
    async with serving(100) as (_, port):
        for sent, said in (
            (b"", b"HTTP/1.1 408 "),
            (HEAD, b"HTTP/1.1 408 "),
            (HEAD + b"\r\n" + HEAD, b"HTTP/1.1 200 "),  # the second one of a connection
            (HEAD + b"Content-Length: 5\r\n\r\nab", b""),
            (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab", b""),
        ):
            reader, writer = await connected(port, sent)
            found = await rest(reader)
            assert found.startswith(said)
            assert b"408" in found or b"408" not in said
            writer.close()


async def test_the_oldest_silent_ones_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(32) as (bounds, port):
        silent = [await connected(port, b"") for _ in range(8)]
        for _ in range(3):
            reader, writer = await connected(port, HEAD + b"Connection: close\r\n\r\n")
            assert (await rest(reader)).startswith(b"HTTP/1.1 200 ")
            writer.close()
        assert await rest(silent[0][0]) == b""
        assert not silent[-1][0].at_eof()
        for _, writer in silent:
            writer.close()
        # With a request under way they keep their place, and who comes then is told so.
        for length in (b"Content-Length: 9\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
            half = [await connected(port, HEAD + length) for _ in range(40)]
            reader, writer = await connected(port, HEAD + b"Connection: close\r\n\r\n")
            assert (await rest(reader)).startswith(b"HTTP/1.1 200 ")
            for _, one in [*half, (reader, writer)]:
                one.close()
        await poll(lambda: not bounds.open, "they are gone")
        held = HEAD.replace(b"/healthz", b"/held") + b"\r\n"
        busy = [await connected(port, held) for _ in range(32)]
        await poll(lambda: not bounds.silent, "they have asked")
        reader, writer = await connected(port, HEAD + b"\r\n")
        found = await rest(reader)
        assert found.startswith(b"HTTP/1.1 503 ") or not found
        writer.close()
        RELEASED.set()
        for reader, writer in busy:
            assert (await asyncio.wait_for(reader.readline(), 60)) == b"HTTP/1.1 200 OK\r\n"
            writer.close()


async def test_each_kind_has_room_of_its_own() -> None:
    held = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await held.wait()

    async def asked(path: str, query: bytes = b"") -> dict[str, Any]:
        """What it answers; empty for one that was let in."""
        said: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            said.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query,
            "headers": [],
        }
        await room(scope, lambda: asyncio.sleep(60), send)  # type: ignore[arg-type,return-value]
        return said[0] if said else {}

    room = Room(app, 2)
    waiting = b"location=a&after=1&timeout=9"
    inside = [asyncio.create_task(asked("/events"))]
    inside.append(asyncio.create_task(asked("/api/v1/logs", waiting)))
    inside += [asyncio.create_task(asked("/")) for _ in range(200)]
    await poll(lambda: all(one.get_coro().cr_await for one in inside), "they are let in")
    for path, query in (
        ("/events", b""),
        ("/api/v1/runs/some/events", b""),
        ("/api/v1/logs", waiting),
        ("/", b""),
        ("/api/v1/status", b""),
    ):
        answer = await asked(path, query)
        assert answer["status"] == 503, path
        assert (b"retry-after", b"5") in answer["headers"]
    inside += [
        asyncio.create_task(asked(path)) for path in ("/orders", "/api/v1/orders", "/healthz")
    ]
    await poll(lambda: all(one.get_coro().cr_await for one in inside), "these are, too")
    held.set()
    assert await asyncio.gather(*inside) == [{}] * len(inside)
    assert await asked("/events") == {}


async def test_who_does_not_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALLED", 0.3)
    monkeypatch.setattr(connections, "LOOK", 0.05)
    async with serving(10) as (bounds, port):
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(HEAD.replace(b"/healthz", b"/large") + b"\r\n")
            await poll(lambda: bounds.open, "it has come")
            await poll(lambda: not bounds.open, "it was ended")
        # One that reads is given all of it.
        reader, writer = await connected(
            port, HEAD.replace(b"/healthz", b"/large") + b"Connection: close\r\n\r\n"
        )
        assert len(await rest(reader)) > 8 * 1024 * 1024
        writer.close()
