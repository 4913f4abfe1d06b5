"""An ``Access`` for tests of the control socket alone, which have no fleet."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from supervisor.access.access import Access


class NoPlaces:
    """No locations and no runs."""

    def names(self) -> Collection[str]:
        return ()

    def run(self, name: str, sees: Callable[[str], bool]) -> str:
        return name


def access_in(directory: Path) -> Access:
    """By the tokens and keys in ``directory``."""
    return Access(directory, NoPlaces())
