"""What clients may be allowed, as ``access`` has to know it: the locations and runs that there are.

Owns the one lookup of a run or a range by the name that a client gave. Answers from the fleet and the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from supervisor.errors import UnknownRunError
from supervisor.fleet.fleet import Fleet
from supervisor.runs.ranges import Range, find
from supervisor.runs.run import Run
from supervisor.runs.store import Runs

__all__ = ["FleetPlaces", "named"]


def named(runs: Runs, name: str, sees: Callable[[str], bool]) -> Run | Range:
    """The run or the range that ``name`` is the id, the beginning or the end of, among those of locations
    that ``sees``; raises ``UnknownRunError``, or ``RequestError`` for several."""
    try:
        return runs.get(name, sees)
    except UnknownRunError:
        found = find((one for one in runs.newest_first() if sees(one.location)), name)
        if found is None:
            raise
        return found


class FleetPlaces:
    """The locations of ``fleet`` and its ``runs``."""

    def __init__(self, fleet: Fleet, runs: Runs) -> None:
        self._fleet = fleet
        self._runs = runs

    def names(self) -> Collection[str]:
        """See ``Places``."""
        return [*self._fleet.locations, *self._fleet.remotes]

    def run(self, name: str, sees: Callable[[str], bool]) -> str:
        """See ``Places``."""
        return named(self._runs, name, sees).id
