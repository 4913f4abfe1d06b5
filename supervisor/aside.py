"""Work on snapshots beside the event loop, where it is long.

Owns the one rule of what is long. What runs here is Python that reads a document piece by piece
(``supervisor.packed``): between two pieces the event loop has its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

__all__ = ["aside"]

_T = TypeVar("_T")

# Below this many bytes a thread would cost more than it saves.
_SHORT = 64 * 1024


async def aside(size: int, work: Callable[[], _T]) -> _T:
    """What ``work()`` gives, which has to read ``size`` bytes."""
    if size <= _SHORT:
        return work()
    try:
        done = asyncio.get_running_loop().run_in_executor(None, work)
    except RuntimeError:  # no thread can be started: that is how a bomb of processes ends
        return work()
    return await done
