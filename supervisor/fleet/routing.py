"""Passes changes from the watcher on: to the workspace's files, the packages of environments, or a location.

Owns the mapping from the name under which directories are watched to the object that is called when they
change, and nothing of what follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Hearer", "Routing"]


class Hearer(Protocol):
    """An object whose directories are watched."""

    def hear(self, paths: set[str]) -> None:
        """``paths`` in directories that it watches changed."""

    def look(self) -> None:
        """What it asked for is watched now."""


class Routing:
    """Tells the hearer of a name in ``owners``, else that of ``location(name)``.

    ``anything()`` is called before, whatever has changed.
    """

    def __init__(
        self, location: Callable[[str], Hearer | None], anything: Callable[[], None]
    ) -> None:
        self.owners: dict[str, Hearer] = {}
        self._location = location
        self._anything = anything
        self._closed = False

    def close(self) -> None:
        """Tell no more."""
        self._closed = True

    def changed(self, owner: str, paths: set[str]) -> None:
        """``paths`` in directories of ``owner`` changed."""
        if self._closed:
            return
        self._anything()
        hearer = self._of(owner)
        if hearer is not None:
            hearer.hear(paths)

    def armed(self, owner: str) -> None:
        """What ``owner`` asked for is watched."""
        hearer = None if self._closed else self._of(owner)
        if hearer is not None:
            hearer.look()

    def _of(self, owner: str) -> Hearer | None:
        return self.owners.get(owner) or self._location(owner)
