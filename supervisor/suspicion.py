"""Whether a failed load is to be blamed on the fork: a fresh process is the judge.

Owns, for one location, what a forked load did that a fresh one might not do, what a fresh one was
seen to do as well, and the verdict about the environment. Decides nothing else about attempts and
starts none. An order or a changed file ends a case: what another text does convicts nobody.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Sequence

from supervisor import failures
from supervisor.attempt import Attempt
from supervisor.failures import Failure
from supervisor.process import Exit

__all__ = ["Suspicion"]


class Suspicion:
    """``because`` says why the next attempt has to be a fresh process, "" when it need not."""

    def __init__(self) -> None:
        self.because = ""
        self._since = 0
        self._dies_fresh_too = False
        self._innocent: frozenset[str] = frozenset()

    def drop(self) -> None:
        """The case is closed without a verdict."""
        self.because, self._dies_fresh_too = "", False

    def failed(self, attempt: Attempt, failure: Failure) -> str:
        """What to try because of this failure, "" for nothing.

        What was imported before the fork may be to blame when an installed library raised or hung.
        Each such place is looked into once.
        """
        scene = failures.scene_in_a_library(failure)
        if self.because:
            self._innocent |= {scene}  # it fails in a fresh process too
        self.because = ""
        if not scene or scene in self._innocent or not attempt.forked:
            return ""
        self._suspect(attempt, f"a forked load failed: {scene}; a fresh process loads it")
        return f"the forked load failed ({scene}): trying a fresh process"

    def died(self, attempt: Attempt, ended: Exit, doing: str) -> str:
        """What to try because of this death, which is none to count then; "" for nothing.

        A SIGKILL or SIGTERM came from elsewhere, and one that dies fresh too is not asked again.
        """
        if (
            attempt.forked
            and doing in ("starting", "loading")
            and attempt.refused is None
            and ended.signal not in (signal.SIGKILL, signal.SIGTERM)
            and not self._dies_fresh_too
        ):
            self._suspect(attempt, f"a forked load {ended}; a fresh process loads it")
            return f"the forked process {ended}: trying a fresh one"
        self._dies_fresh_too = self._dies_fresh_too or bool(self.because)
        self.because = ""
        return ""

    async def loaded(self, files: Iterable[str]) -> str:
        """Why the environment of what has just loaded cannot be forked, "" when nothing says so."""
        because, since = self.because, self._since
        self.drop()
        if not because:
            return ""
        return "" if await asyncio.to_thread(_any_changed, tuple(files), since) else because

    def _suspect(self, attempt: Attempt, because: str) -> None:
        self.because, self._since = because, attempt.created_ns


def _any_changed(files: Sequence[str], since_ns: int) -> bool:
    try:
        return any(os.stat(path).st_mtime_ns > since_ns for path in files)  # noqa: PTH116  # of text, as reported
    except (OSError, ValueError):
        return True
