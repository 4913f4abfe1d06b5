"""Whether the fork is the cause of a failed load: a fresh process decides.

Owns, for one location, what a forked load did that a fresh one might not do, what a fresh one was
seen to do as well, and the verdict about the fork. Decides nothing else about generations and
starts none. An order or a changed file ends a case: how another text behaves is no evidence.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from supervisor.locations import failures
from supervisor.locations.failures import Failure, Scene
from supervisor.locations.generation import Generation
from supervisor.processes.launcher import Exit
from supervisor.watching.digests import modified_ns

__all__ = ["ForkFallback", "Verdict"]

# Errors that a fresh process was seen to have, too: so many are remembered.
_REMEMBERED = 50


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why forks are given up for the whole ``environment``, or the ``location`` alone; else ""."""

    environment: str = ""
    location: str = ""


class ForkFallback:
    """``because`` says why the next generation has to be a fresh process, "" when it need not."""

    __slots__ = (
        "_dies_fresh_too", "_environment", "_innocent", "_since", "_suspected", "because",
    )  # fmt: skip

    def __init__(self) -> None:
        self.because = ""
        self._environment = False
        self._since = 0
        self._dies_fresh_too = False
        # With what was preloaded: another forkserver may be to blame for the same error.
        self._suspected: tuple[str, Scene] | None = None
        self._innocent: dict[tuple[str, Scene], None] = {}

    def drop(self) -> None:
        """The case is closed without a verdict."""
        self.because, self._dies_fresh_too = "", False

    def failed(self, generation: Generation, failure: Failure) -> str:
        """What to try because of this failure, "" for nothing.

        What was imported before the fork may be to blame for anything that user code raised, and
        for a hang. The same error at the same place is looked into once for what was preloaded.
        """
        scene = failures.scene_of(failure)
        if self.because:
            self._failed_fresh(scene)
            return ""
        process = generation.process
        if scene is None or process is None or not process.forked:
            return ""
        if (process.profile, scene) in self._innocent:
            return ""
        self._suspected = process.profile, scene
        because = f"a forked load failed: {scene.text}; a fresh process loads it"
        self._suspect(generation, because, environment=scene.library)
        return f"the forked load failed ({scene.text}): trying a fresh process"

    def died(self, generation: Generation, ended: Exit, doing: str) -> str:
        """What to try because of this death, which is none to count then; "" for nothing.

        A SIGKILL or SIGTERM came from elsewhere, and one that dies fresh too is not asked again.
        """
        process = generation.process
        if (
            process is not None
            and process.forked
            and doing in ("starting", "loading")
            and generation.refused is None
            and ended.signal not in (signal.SIGKILL, signal.SIGTERM)
            and not self._dies_fresh_too
        ):
            because = f"a forked load {ended}; a fresh process loads it"
            self._suspected = None
            self._suspect(generation, because, environment=True)
            return f"the forked process {ended}: trying a fresh one"
        self._dies_fresh_too = self._dies_fresh_too or bool(self.because)
        self.because = ""
        return ""

    async def loaded(self, files: Iterable[str]) -> Verdict:
        """Why what has just loaded must not be forked, if it is so."""
        because, since, environment = self.because, self._since, self._environment
        self.drop()
        if not because or await asyncio.to_thread(_any_changed, tuple(files), since):
            return Verdict()
        return Verdict(environment=because) if environment else Verdict(location=because)

    def _suspect(self, generation: Generation, because: str, *, environment: bool) -> None:
        self.because, self._environment = because, environment
        self._since = generation.created_ns

    def _failed_fresh(self, scene: Scene | None) -> None:
        self.because = ""
        if self._suspected is None or scene is None or not scene.alike(self._suspected[1]):
            return  # what the forked one did may come again when this is mended
        self._innocent[self._suspected] = None
        while len(self._innocent) > _REMEMBERED:
            del self._innocent[next(iter(self._innocent))]


def _any_changed(files: Sequence[str], since_ns: int) -> bool:
    times = (modified_ns(path) for path in files)
    return any(one is None or one > since_ns for one in times)
