"""One conversation with a shim: the event loop's side of ``shim_connection``.

Owns who waits for which answer. Carries messages between the transport and a ``ShimConnection``; what
the shim says unasked, and what it does wrong, is handed on. Has no deadlines and ends no process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner_shim import wire
from supervisor.locations.shim_connection import (
    Answer,
    Asks,
    Hello,
    OtherVersion,
    Part,
    Phase,
    RunBegun,
    RunEnded,
    ServerEnded,
    ShimConnection,
    Unfit,
    Violation,
)
from supervisor.locations.transport import Transport

__all__ = ["Conversation", "News", "retrieve"]

News = Part | Unfit | RunBegun | RunEnded | ServerEnded | Asks | Violation | OtherVersion

# What waits for the hello is kept under this number: those of requests begin at 1.
_HELLO = 0
# One that has answered so long ago need not be asked whether it would (seconds).
_JUST_NOW = 0.1


class Conversation:
    """The conversation with ``instance``; ``heard`` is given what it says unasked."""

    __slots__ = (
        "_answered_at", "_answers", "_error", "_heard", "_transport", "connection", "instance",
    )  # fmt: skip

    def __init__(self, instance: str, transport: Transport, heard: Callable[[News], None]) -> None:
        self.instance = instance
        self.connection = ShimConnection()
        self._transport = transport
        self._heard = heard
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._error: Exception | None = None
        self._answered_at = 0.0

    @property
    def idle(self) -> bool:
        """True while its target is loaded and all that was asked is answered."""
        return self.connection.phase is Phase.LOADED and self.connection.idle

    @property
    def greeted(self) -> bool:
        """True once it has said hello."""
        return self.connection.phase is not Phase.GREETING

    @property
    def answers(self) -> bool:
        """True where it has answered a request just now."""
        return time.monotonic() - self._answered_at < _JUST_NOW

    @property
    def waiting(self) -> list[asyncio.Future[Any]]:
        """What was asked and is not answered."""
        return list(self._answers.values())

    def open(self) -> None:
        """Let it speak."""
        self._transport.expect(self.instance, self._received)

    def close(self) -> None:
        """Whatever it still says is dropped."""
        self.connection.close()
        self._transport.forget(self.instance)

    def fail(self, error: Exception) -> None:
        """Close; what was asked, and what will be, fails with ``error``. The first one counts."""
        self.close()
        self._error = self._error or error
        for future in self.waiting:
            if not future.done():
                future.set_exception(self._error)
        self._answers = {}

    def hello(self) -> asyncio.Future[None]:
        """Done when it has said hello."""
        hello = self._expect(_HELLO)
        if self.connection.phase not in (Phase.GREETING, Phase.CLOSED):
            self._answered(_HELLO, None)
        return hello

    async def ask(self, kind: str, /, **fields: Any) -> asyncio.Future[Any]:
        """Ask for ``kind``; the future has the ``Answer``, or the ``Unfit`` that ended it."""
        if self.connection.phase in (Phase.LEAVING, Phase.CLOSED):
            return self._expect(_HELLO)  # it is about to end: that is the answer
        asked = self.connection.request(kind, **fields)
        answer = self._expect(asked.number)
        await self._transport.send(self.instance, asked.message)
        return answer

    async def answer(self, number: int, **fields: Any) -> None:
        """Answer what it asks; nothing happens where that is not open any more."""
        message = self.connection.answer(number, **fields)
        if message is not None:
            await self._transport.send(self.instance, message)

    async def stop(self) -> bool:
        """Have it end; False when it would not hear that."""
        message = self.connection.stop()
        if message is None:
            return False
        await self._transport.send(self.instance, message)
        return True

    def answered(self, unfit: Unfit) -> None:
        """What was asked last is answered by its being unfit."""
        self._answered(unfit.number, unfit)

    def _expect(self, number: int) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.add_done_callback(retrieve)
        if self._error is not None:
            future.set_exception(self._error)
        else:
            future = self._answers.setdefault(number, future)
        return future

    def _received(
        self, message: Mapping[str, Any] | wire.WireError, payload: Sequence[bytes]
    ) -> None:
        match self.connection.receive(message, payload):
            case Hello():
                self._answered(_HELLO, None)
            case Answer(number) as answer:
                self._answered_at = time.monotonic()
                self._answered(number, answer)
            case None:
                pass
            case news:
                self._heard(news)

    def _answered(self, number: int, what: Answer | Unfit | None) -> None:
        future = self._answers.pop(number, None)
        if not self._answers:
            self._answers = {}  # an empty one takes less than one that was emptied
        if future is not None and not future.done():
            future.set_result(what)


def retrieve(future: asyncio.Future[Any]) -> None:
    """A done callback: the caller may be gone, and an outcome that is not collected is no defect."""
    if not future.cancelled():
        future.exception()
