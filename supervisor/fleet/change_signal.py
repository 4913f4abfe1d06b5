"""Waiting for a condition to become true: connects changes with the tasks that wait for them.

Owns the waiters. ``tell`` costs almost nothing without a waiter, which is nearly always so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["ChangeSignal"]


class ChangeSignal:
    """Wakes those who wait whenever ``tell`` is called."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def tell(self) -> None:
        """Have every waiter look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, true: Callable[[], bool], timeout: float) -> bool:
        """Wait until ``true()``, at most ``timeout`` seconds; whether it became true."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while not true():
            remaining = deadline - loop.time()
            if remaining <= 0:
                return False
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.add(waiter)
            try:
                await asyncio.wait([waiter], timeout=remaining)
            finally:
                self._waiters.discard(waiter)
        return True
