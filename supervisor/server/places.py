"""What clients may be allowed, as ``access`` has to know it: the locations and runs that there are.

Owns nothing; answers from the fleet and the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from supervisor.fleet.fleet import Fleet
from supervisor.runs.store import Runs

__all__ = ["FleetPlaces"]


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
        return self._runs.get(name, sees).id
