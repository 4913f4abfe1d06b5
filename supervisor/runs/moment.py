"""The ticks that begin at one moment: runs of the first must not take the processor from the orders of the last.

Owns when all of them are over. How long runs wait for that is ``dispatch``'s to bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Moment"]


class Moment:
    """``together`` is called, where there are several, with a future that is done once all have ended."""

    def __init__(self, together: Callable[[asyncio.Future[None]], None]) -> None:
        self._together = together
        self._ended: asyncio.Future[None] | None = None
        self._begun = self._left = 0

    def begin(self) -> None:
        """One more begins."""
        self._begun += 1
        self._left += 1
        if self._begun > 1 and self._ended is None:
            self._ended = asyncio.get_running_loop().create_future()
            self._together(self._ended)

    def end(self) -> None:
        """One of them is over."""
        self._left -= 1
        if not self._left and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
