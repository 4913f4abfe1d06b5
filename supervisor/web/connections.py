"""HTTP connections within bounds: how many, how long one may take, and what is no request.

Owns what happens before an application sees a request and after it has answered: connections that say
nothing or not enough, requests whose length is said in two ways (another server in front may believe the
other one), and clients that do not read what they asked for. Reads no header's meaning otherwise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["BODY", "HEAD", "LOOK", "MAX_HEAD", "STALLED", "Connections", "protocol"]

MAX_HEAD = 32 * 1024
"""Bytes of a request line and its headers."""

# Within this a request's head has come, within that its body, and an answer is read so fast or faster
# (seconds, and bytes in them).
HEAD, BODY = 10.0, 30.0
STALLED, _PROGRESS = 60.0, 8192
LOOK = 1.0
_RETRY_AFTER = 5


class Connections:
    """Those that there are: at most ``most``, of which a part may be without a whole request."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_silent = max(most // 4, 8)
        self.open: set[_Protocol] = set()
        self.silent: dict[_Protocol, None] = {}  # the one that is so for the longest time first

    def enter(self, one: _Protocol) -> bool:
        """Let ``one`` in. The oldest without a whole request makes room; False when there is none."""
        full = len(self.open) >= self._most
        if self.silent and (full or len(self.silent) >= self._most_silent):
            oldest = next(iter(self.silent))
            self.leave(oldest)
            oldest.drop()
        elif full:
            return False
        self.open.add(one)
        self.silent[one] = None
        return True

    def leave(self, one: _Protocol) -> None:
        """``one`` is gone."""
        self.open.discard(one)
        self.silent.pop(one, None)

    def mark(self, one: _Protocol, *, silent: bool) -> None:
        """``one`` has sent a whole request that is being answered, or none any more."""
        if one in self.open:
            self.silent.pop(one, None)
            if silent:
                self.silent[one] = None


class _Requests(h11.Connection):
    """h11 that refuses more, and knows since when something has been waited for."""

    def __init__(self, mark: Callable[[bool], None]) -> None:
        super().__init__(h11.SERVER, MAX_HEAD)
        self._mark = mark
        self._seen = b""
        self.since = time.monotonic()
        self.problem = "this is no HTTP request"

    def receive_data(self, data: bytes) -> None:
        self._seen += data
        super().receive_data(data)

    def next_event(self) -> Any:
        event = super().next_event()
        if event is h11.NEED_DATA:
            return event
        rest = self.trailing_data[0]
        if isinstance(event, h11.Request):
            self.since = time.monotonic()
            # As it came: h11 makes one header of two that say the same.
            problem = _ambiguous(self._seen[: len(self._seen) - len(rest)])
            if problem is not None:
                self.problem = problem
                raise h11.RemoteProtocolError(problem)
        elif isinstance(event, h11.EndOfMessage):
            self._mark(False)
        self._seen = rest
        return event

    def start_next_cycle(self) -> None:
        super().start_next_cycle()
        self.since = time.monotonic()
        self._mark(True)


class _Protocol(H11Protocol):
    """One connection. ``connections`` is set by ``protocol``."""

    connections_of_page: Connections

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn: _Requests = _Requests(self._mark)
        self._timer: asyncio.TimerHandle | None = None
        self._least = 0  # bytes that wait to be read by the other side, and since when
        self._progress = time.monotonic()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.connections_of_page.enter(self):
            self._look()
        else:
            self._say(503, f"too many connections are open: try again in {_RETRY_AFTER} seconds")

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections_of_page.leave(self)
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        self._progress = time.monotonic()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._say(400, self.conn.problem)
        else:  # an answer is under way
            self.transport.abort()

    def drop(self) -> None:
        """End it at once."""
        self.transport.abort()

    def _mark(self, silent: bool) -> None:
        self.connections_of_page.mark(self, silent=silent)

    def _look(self) -> None:
        now = time.monotonic()
        waited = now - self.conn.since
        if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE and waited > HEAD:
            self._say(408, f"the request did not come within {HEAD:g} seconds")
        elif (self.conn.their_state is h11.SEND_BODY and waited > BODY) or self._is_stalled(now):
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(LOOK, self._look)

    def _is_stalled(self, now: float) -> bool:
        waiting = self.transport.get_write_buffer_size()
        if not waiting or waiting <= self._least - _PROGRESS:
            self._progress = now
            self._least = waiting
        elif waiting > self._least:
            self._least = waiting
        return waiting > 0 and now - self._progress > STALLED

    def _say(self, status: int, text: str) -> None:
        """The whole answer, past the state machine, and the end of the connection."""
        reason = {400: "Bad Request", 408: "Request Timeout", 503: "Service Unavailable"}[status]
        body = f"{text}\n".encode("ascii", "replace")
        retry = f"retry-after: {_RETRY_AFTER}\r\n" if status == 503 else ""
        self.transport.write(
            f"HTTP/1.1 {status} {reason}\r\n{retry}content-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()


def protocol(connections: Connections) -> type[asyncio.Protocol]:
    """The protocol for uvicorn whose connections are counted in ``connections``."""
    return type("Protocol", (_Protocol,), {"connections_of_page": connections})


def _ambiguous(head: bytes) -> str | None:
    """Why it cannot be told for certain where the request with this ``head`` ends, or None."""
    first, *lines = head.split(b"\n")
    lengths = encodings = 0
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            return "a header goes on in another line"
        name, _, value = line.partition(b":")
        name = name.strip().lower()
        if name == b"content-length":
            lengths += 1 + value.count(b",")
        elif name == b"transfer-encoding":
            encodings += 1
    if encodings and lengths:
        return "the request has both Content-Length and Transfer-Encoding"
    if lengths > 1 or encodings > 1:
        return "the request says its length more than once"
    if encodings and first.rstrip().endswith(b"HTTP/1.0"):
        return "HTTP/1.0 knows no Transfer-Encoding"
    return None
