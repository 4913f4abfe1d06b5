"""How many locations start at once: as many as there are cores, but none waits for a hanging one.

Owns the count. A slot is given back after ``lease`` seconds even if its holder is still at it: an
import that hangs must not keep other locations from starting. Knows nothing of what is started.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Slots"]

LEASE = 5.0


class Slots:
    """``count`` slots (default: the cores this process may use), each lent for ``lease`` seconds."""

    def __init__(self, count: int | None = None, lease: float = LEASE) -> None:
        self._free = asyncio.Semaphore(count or _cores())
        self._lease = lease

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Hold a slot for the body, or for the first ``lease`` seconds of it."""
        await self._free.acquire()
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._free.release()

        expiry = asyncio.get_running_loop().call_later(self._lease, give_back)
        try:
            yield
        finally:
            expiry.cancel()
            give_back()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
