"""Reading the workspace's files again, once for all changes that come together.

Owns the task that reads, in a thread, until nothing has changed meanwhile. What follows from what was
read is the caller's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from supervisor.errors import ConfigurationError
from supervisor.specs import WorkspaceSpec

__all__ = ["Reader", "Rereading"]


class Reader(Protocol):
    """What has its files read again. All but ``read`` are called in the event loop."""

    def read(self) -> WorkspaceSpec:
        """Read them, in a thread; raises ``ConfigurationError``."""

    def was_read(self, spec: WorkspaceSpec, touched: set[str]) -> None:
        """They say this now; ``touched`` are the paths that are known to have changed."""

    def is_broken(self, error: ConfigurationError) -> None:
        """They cannot be read."""

    def reading_began(self, wall_ns: int) -> None:
        """What changes from this moment on (Unix nanoseconds) is news."""

    def is_calm(self) -> None:
        """All that has changed was read."""


class Rereading:
    """Reads for ``reader``; ``spawn`` starts a task that ends with the supervisor."""

    def __init__(
        self,
        reader: Reader,
        started: asyncio.Event,
        stopping: Callable[[], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._reader = reader
        self._started = started
        self._stopping = stopping
        self._spawn = spawn
        self._touched: set[str] = set()
        self._stale = False
        self._task: asyncio.Task[None] | None = None

    def ask(self, paths: set[str]) -> None:
        """Have the files read again; ``paths`` are known to have changed."""
        self._touched |= paths
        self._stale = True
        if self._task is None or self._task.done():
            self._task = self._spawn(self._until_calm())

    async def _until_calm(self) -> None:
        await self._started.wait()
        reader = self._reader
        while self._stale and not self._stopping():
            self._stale = False
            touched, self._touched = self._touched, set()
            began = time.time_ns()
            try:
                # In a thread: a file may be large, or on a disk that hangs.
                spec = await asyncio.to_thread(reader.read)
            except ConfigurationError as error:
                reader.is_broken(error)
            else:
                if not self._stopping():
                    reader.was_read(spec, touched)
            reader.reading_began(began)
        if not self._stopping():
            reader.is_calm()
