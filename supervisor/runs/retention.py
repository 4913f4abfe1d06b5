"""Which runs that have ended are kept, and the removal of the others' journals.

Owns the rules: the newest by number, those within an age, and those that fit into a size, the oldest
that ended going first. A run that goes on is never removed; its journal counts. Locations that say one of
these themselves are judged apart, all others together. ``doomed`` is pure, the rest blocks and is called
in threads.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor.run_settings import DEFAULTS, RunSettings

__all__ = ["Kept", "doomed", "is_left_behind", "remove", "size_of"]

# One that has just ended is there for those who follow it, whatever is said (seconds).
_LATELY = 60.0
_GONE = ".gone"


@dataclass(frozen=True, slots=True)
class Kept:
    """A run with its journal: ``ended`` in Unix seconds, None while it goes on; ``size`` in bytes."""

    id: str
    location: str
    ended: float | None
    size: int = 0


def doomed(
    runs: Iterable[Kept],
    workspace: RunSettings,
    locations: Mapping[str, RunSettings],
    now: float,
) -> list[str]:
    """The ids of the runs that are not kept, the oldest first."""
    everything = sorted(runs, key=lambda one: (one.ended or math.inf, one.id))
    found: dict[str, None] = {}

    def groups(said: Callable[[RunSettings], object]) -> Iterable[tuple[RunSettings, list[Kept]]]:
        apart: dict[str, list[Kept]] = defaultdict(list)
        for one in everything:
            own = locations.get(one.location)
            apart[one.location if own is not None and said(own) is not None else ""].append(one)
        for name, members in apart.items():
            settings = locations[name] if name else workspace
            yield settings, [one for one in members if one.id not in found]

    for settings, members in groups(lambda own: own.keep_count):
        count = settings.over(DEFAULTS).keep_count
        assert count is not None
        age = math.inf if settings.keep_age is None else settings.keep_age
        ended = [one for one in members if one.ended is not None]
        for position, one in enumerate(ended):
            assert one.ended is not None
            late = now - one.ended
            if late > _LATELY and (len(ended) - position > count or late > age):
                found[one.id] = None
    for settings, members in groups(lambda own: own.max_disk):
        most = math.inf if settings.max_disk is None else settings.max_disk
        over = sum(one.size for one in members) - most
        for one in members:
            if over <= 0 or one.ended is None:
                break
            found[one.id] = None
            over -= one.size
    order = {one.id: position for position, one in enumerate(everything)}
    return sorted(found, key=lambda name: order[name])


def size_of(journal: Path) -> int:
    """What a journal takes on the disk (bytes)."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(journal) as found:
        for one in found:
            with contextlib.suppress(OSError):
                total += one.stat(follow_symlinks=False).st_blocks * 512
    return total


def remove(journal: Path) -> None:
    """Remove a journal, which is none any more from the first moment on."""
    gone = journal.with_name(f".{journal.name}{_GONE}")
    with contextlib.suppress(OSError):
        journal.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def is_left_behind(path: Path) -> bool:
    """True for what is no journal yet, or no longer."""
    return path.name.startswith(".")
