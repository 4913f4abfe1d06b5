"""Runs whose end is not in their framework's own records yet: reported as soon as possible.

Owns the second and later attempts: the first is the monitor's. Waits for the monitor's end. The
argument ``report`` makes an attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from supervisor.runs.journal import Journal
from supervisor.runs.run import Run

__all__ = ["Report", "Untold"]

_log = logging.getLogger(__name__)

Report = Callable[[Run], Awaitable[str] | None]
"""Tells the records of a run's framework how it ended; why that failed, or "". None: not now."""


def _read(journal: Journal) -> tuple[bool, str, int]:
    return journal.told(), journal.untold_because(), journal.monitor()


class Untold:
    """Has them told, one at a time."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._busy = False

    async def look(self, runs: Iterable[Run]) -> None:
        """Tell of those of ``runs`` that are untold; returns at once while an earlier look goes on."""
        untold = [run for run in runs if run.untold]
        if self._busy or not untold:
            return
        self._busy = True
        try:
            for run in untold:
                await self._look(run)
        finally:
            self._busy = False

    async def _look(self, run: Run) -> None:
        run.told, run.untold_because, monitor = await asyncio.to_thread(_read, run.journal)
        if run.told or monitor:  # which may be at it
            return
        telling = self._report(run)
        if telling is None:
            return
        try:
            run.untold_because = await telling
        except OSError as error:  # the others are told all the same
            run.untold_because = f"no process can be started: {error.strerror}"
        run.told = not run.untold_because
        try:
            await asyncio.to_thread(run.journal.tell, run.untold_because)
        except OSError as error:
            _log.warning("run %s: its journal cannot be written (%s)", run.id, error.strerror)
