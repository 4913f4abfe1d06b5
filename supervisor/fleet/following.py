"""Reading a source again whenever it has changed, once for all changes that come together.

Owns the task that reads until nothing has changed meanwhile. What follows from what was read is the
fleet's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from supervisor.desired import Desired
from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.fleet.source import Source
from supervisor.specs import SourcePosition

__all__ = ["Following"]

_log = logging.getLogger(__name__)


class Following:
    """Follows ``source`` from ``start`` to ``close``.

    ``took(desired, problems)`` is awaited with what each reading gave; ``desired`` is None when
    nothing can be told. ``calm()`` is called when all that has changed was taken; until then it is
    ``busy``.
    """

    def __init__(
        self,
        source: Source,
        took: Callable[[Desired | None, tuple[ConfigurationProblem, ...]], Awaitable[None]],
        calm: Callable[[], None],
    ) -> None:
        self.source = source
        self._took = took
        self._calm = calm
        self.busy = False
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        source.listen(self.ask)

    def start(self) -> None:
        """Read it whenever it has changed, also for changes that came before."""
        self._task = asyncio.create_task(self._run(), name=f"following {self.source.title}")

    async def close(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def ask(self) -> None:
        """Have it read again, whether or not it is known to have changed."""
        self.busy = True
        self._changed.set()

    async def read(self) -> None:
        """Read it once, now."""
        try:
            desired = await self.source.read()
        except ConfigurationError as error:
            await self._took(None, error.problems)
        except Exception as error:  # a defect of one source must not hold back the others
            _log.exception("reading %s", self.source.title)
            what = f"it cannot be read: {type(error).__name__}: {error}"
            problem = ConfigurationProblem(SourcePosition(self.source.title), "", what)
            await self._took(None, (problem,))
        else:
            await self._took(desired, desired.problems)

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            while self._changed.is_set():
                self._changed.clear()
                try:
                    await self.read()
                except Exception:  # a defect of ours must not be the end of following
                    _log.exception("what %s desires could not be taken", self.source.title)
            self.busy = False
            self._calm()
