"""Writes the orders of new runs to the disk: those that come at once, together.

Owns the making of journals. Orders that come while others are written are the next ones: however many they are,
they wait for the disk as long as one does. What is in a journal is ``journal``'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from supervisor.runs.journal import Journal, sync

__all__ = ["OrderWriter"]

# So many files are open at once.
_MOST = 64

_One = tuple[Journal, Mapping[str, Any]]


class OrderWriter:
    """Makes journals in ``directory``. Used in the event loop; it writes in threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._waiting: list[tuple[_One, asyncio.Future[None]]] = []
        self._writing = False

    async def create(self, journal: Journal, order: Mapping[str, Any]) -> None:
        """``Journal.create``, and the directory of the order's instance; raises OSError."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(((journal, order), done))
        if not self._writing:
            self._write()
        await done

    def _write(self) -> None:
        batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        self._writing = bool(batch)
        if not batch:
            return
        ones, futures = [one for one, _ in batch], [done for _, done in batch]
        try:
            work = asyncio.get_running_loop().run_in_executor(None, partial(self._create, ones))
        except RuntimeError as error:  # no thread can be started
            self._end(futures, [OSError(str(error))] * len(ones))
        else:
            work.add_done_callback(lambda _: self._end(futures, work.result()))

    def _end(
        self, futures: Sequence[asyncio.Future[None]], outcomes: Sequence[Exception | None]
    ) -> None:
        for done, error in zip(futures, outcomes, strict=True):
            if done.done():  # the caller was cancelled
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
        self._write()

    # In a thread.

    def _create(self, ones: Sequence[_One]) -> list[Exception | None]:
        """What went wrong with each."""
        outcomes: list[Exception | None] = [None] * len(ones)
        begun: list[tuple[int, int]] = []
        for number, (journal, order) in enumerate(ones):
            try:
                self._make_room(order)
                begun.append((number, journal.begin(order)))
            except Exception as error:
                outcomes[number] = error
        settled = []
        for number, file in begun:  # the first waits for the disk, and with it are all others there
            try:
                ones[number][0].settle(file)
                settled.append(number)
            except Exception as error:
                outcomes[number] = error
        try:
            if settled:
                sync(self._directory)
        except OSError as error:
            for number in settled:
                outcomes[number] = error
                ones[number][0].withdraw()
        return outcomes

    def _make_room(self, order: Mapping[str, Any]) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        if order.get("instance") and not order.get("shared_instance"):
            Path(order["instance"]).mkdir(mode=0o700, parents=True, exist_ok=True)
