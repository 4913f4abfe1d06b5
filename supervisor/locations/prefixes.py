"""Whether the environments that locations run in are still there.

Owns what follows when one was removed: a condition of the location, and for a virtualenv of ours a
reload, which makes it anew. Looks at no file: ``upkeep`` does, in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from supervisor.locations.location import Location
from supervisor.locations.phases import prepared

__all__ = ["Prefixes"]

_KEY = "environment"


class Prefixes:
    """Those that the processes of ``locations()`` run in."""

    def __init__(self, locations: Callable[[], Iterable[Location]]) -> None:
        self._locations = locations

    def used(self) -> set[Path]:
        """All of them."""
        serving = (one.serving for one in self._locations())
        found = (prepared(one.phase) for one in serving if one is not None)
        return {one.environment.prefix for one in found if one is not None}

    def gone(self, prefixes: set[Path]) -> None:
        """These are not there, the others are."""
        for location in self._locations():
            serving = location.serving
            found = None if serving is None else prepared(serving.phase)
            if found is None or found.environment.prefix not in prefixes:
                location.conditions.clear(_KEY)
                continue
            managed = found.environment.managed
            location.conditions.set(
                _KEY,
                f"its environment {found.environment.prefix} was removed: what is imported from "
                "now on fails",
                f"`supervise reload {location.spec.name}` makes it again"
                if managed
                else "put it back, or choose another in the workspace file",
            )
            if managed and location.newest is serving:
                location.reload("its environment was removed")
