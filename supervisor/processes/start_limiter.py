"""How much starts at once: as much as there are cores, but nothing waits for what hangs.

Owns the count and the order. A slot that comes free goes to the highest rank; equals get it in
the order in which they came. A slot is given back after ``lease`` seconds even if its holder is
still at it: an import that hangs must not keep others from starting. Knows nothing of what starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from supervisor.machine import cores

__all__ = ["FIRST", "StartLimiter"]

LEASE = 5.0

FIRST = float("inf")
"""The rank of what is quick and lets others go on."""

Rank = Callable[[], float]


def _plain() -> float:
    return 0.0


class StartLimiter:
    """``count`` slots (default: the cores this process may use), each lent for ``lease`` seconds."""

    def __init__(self, count: int | None = None, lease: float = LEASE) -> None:
        self._free = count or cores()
        self._lease = lease
        self._waiting: list[tuple[Rank, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def take(self, rank: Rank = _plain) -> AsyncIterator[None]:
        """Hold a slot for the body, or for the first ``lease`` seconds of it.

        ``rank`` is asked whenever a slot comes free: what it depends on may change meanwhile.
        """
        await self._acquire(rank)
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._release()

        expiry = asyncio.get_running_loop().call_later(self._lease, give_back)
        try:
            yield
        finally:
            expiry.cancel()
            give_back()

    async def _acquire(self, rank: Rank) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (rank, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()  # it was given a slot and cancelled in the same moment
            else:
                self._waiting.remove(entry)
            raise

    def _release(self) -> None:
        # One that was cancelled stays among them until its task has run again.
        waiting = [entry for entry in self._waiting if not entry[1].done()]
        if waiting:
            best = max(waiting, key=lambda entry: entry[0]())  # the first of equals
            self._waiting.remove(best)
            best[1].set_result(None)
        else:
            self._free += 1
