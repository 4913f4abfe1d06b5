"""Whose request is computed next: clients in turn, and few requests of one client at a time.

Owns the queue of each client and the order between them. One request begins in one turn of the event
loop, so that the requests of one client, however many, come between those of others and not before
them. A request that waits on purpose gives its place away meanwhile (``held``). Knows no socket.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar

__all__ = ["Place", "Turns", "held"]

_place: ContextVar[Place | None] = ContextVar("place", default=None)


class Turns:
    """The requests that wait to be computed; at most ``at_once`` of one client have a place."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._waiting: dict[bytes, deque[Callable[[], bool]]] = {}
        self._placed: Counter[bytes] = Counter()
        self._ready: dict[bytes, None] = {}  # in this order
        self._next: asyncio.Handle | None = None

    def ask(self, client: bytes, begin: Callable[[], bool]) -> None:
        """Have ``begin`` called when it is the client's turn.

        It returns True when it took the place, which is given back with ``end``, and False when
        it needs none any more.
        """
        self._waiting.setdefault(client, deque()).append(begin)
        self._look(client)

    def end(self, client: bytes) -> None:
        """One place of ``client`` is free again."""
        self._placed[client] -= 1
        if not self._placed[client]:
            del self._placed[client]
        self._look(client)

    def close(self) -> None:
        """Begin nothing more."""
        self._waiting.clear()
        self._ready.clear()
        if self._next is not None:
            self._next.cancel()

    def _look(self, client: bytes) -> None:
        if client in self._waiting and self._placed[client] < self._at_once:
            self._ready[client] = None
            if self._next is None:
                self._next = asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._next = None
        client = next(iter(self._ready), None)
        if client is None:
            return
        del self._ready[client]  # it goes to the end
        queue = self._waiting[client]
        while queue:
            if queue.popleft()():
                self._placed[client] += 1
                break
        if not queue:
            del self._waiting[client]
        self._look(client)
        if self._ready and self._next is None:
            self._next = asyncio.get_running_loop().call_soon(self._begin)


class Place:
    """The place of one request that has begun. To be made and used in the request's own task."""

    def __init__(self, turns: Turns, client: bytes) -> None:
        self._turns = turns
        self._client = client
        self._taken = True
        _place.set(self)

    def give_back(self) -> None:
        """Let another request of the client have it; may be called more than once."""
        if self._taken:
            self._taken = False
            self._turns.end(self._client)

    async def take_again(self) -> None:
        """Wait for the client's turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def begin() -> bool:
            if turn.done():
                return False
            turn.set_result(None)
            return True

        self._turns.ask(self._client, begin)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it came in the same moment
                self._turns.end(self._client)
            raise
        self._taken = True


@contextlib.asynccontextmanager
async def held() -> AsyncIterator[None]:
    """The request of this task waits for something meanwhile, and others are computed."""
    place = _place.get()
    if place is None:  # this task answers no request
        yield
        return
    place.give_back()
    yield
    await place.take_again()  # not after an error: there is nothing left to compute
