"""Time limits that count only while this process runs.

Owns the one rule for deadlines on what others do: a pause of our own (Ctrl-Z, SIGSTOP, a frozen
container, a machine that starved us) is not their silence, and what they sent meanwhile lies unread.
So a limit is waited for in steps, and each step counts for no more than it was meant to take. A
pause then costs at most one step: an eighth of the limit.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

__all__ = ["RunningTime", "limit"]

_STEPS = 8
# Below this, in seconds, a step is not divided any further.
_SHORTEST_STEP = 0.05


class RunningTime:
    """``seconds`` of running time, used up by waiting.

    ``clock`` gives monotonic seconds. A blocking caller waits for ``step()`` seconds at a time::

        time_left = RunningTime(10.0)
        while (step := time_left.step()) > 0:
            if came_within(step):
                break
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._left = seconds
        self._longest = max(seconds / _STEPS, _SHORTEST_STEP)
        self._clock = clock
        self._began: float | None = None
        self._step = 0.0

    def step(self) -> float:
        """How long to wait now, in seconds; 0 when the time is used up.

        What passed since the last call is counted, up to the step that was given then.
        """
        now = self._clock()
        if self._began is not None:
            self._left -= min(now - self._began, self._step)
        self._began = now
        # Clocks and sleeps are a little off: no step of microseconds is made of what that leaves.
        self._step = min(self._left, self._longest) if self._left > 1e-3 else 0.0
        return self._step

    async def wait(self, futures: Iterable[asyncio.Future[Any]]) -> bool:
        """Wait until all are done; False when the time is used up first. Cancels none of them."""
        import asyncio

        pending = {one for one in futures if not one.done()}
        while pending and (step := self.step()) > 0:
            _, pending = await asyncio.wait(pending, timeout=step)
        return not pending


@asynccontextmanager
async def limit(seconds: float) -> AsyncIterator[None]:
    """Raises ``TimeoutError`` when the body takes longer than ``seconds`` of running time.

    As ``asyncio.timeout`` otherwise.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    time_left = RunningTime(seconds, loop.time)
    timer: asyncio.TimerHandle | None = None
    async with asyncio.timeout(None) as scope:

        def look() -> None:
            nonlocal timer
            step = time_left.step()
            if step > 0:
                timer = loop.call_later(step, look)
            else:
                scope.reschedule(loop.time())

        look()
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
