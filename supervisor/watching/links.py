"""Where a path leads: the links that it goes through, and what it names in the end.

Owns the following of symbolic links, a component at a time, so that each link can be watched where it
stands. ``Places`` remembers directories, not files, and for one pass over many paths only. Watches
nothing and reads no file.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

__all__ = ["Place", "Places"]

_MAX_LINKS = 40  # in one path, as the kernel counts
_MAX_DEPTH = 200
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Place:
    """``path`` has no link in it; ``links`` are those that led there. ``status`` None: not there."""

    path: str
    links: frozenset[str]
    status: os.stat_result | None


class Places:
    """Follows absolute paths. ``changed_ns`` says when each link that was met was last changed."""

    def __init__(self) -> None:
        self.changed_ns: dict[str, int] = {}
        self._directories: dict[str, tuple[str, frozenset[str]]] = {"/": ("/", _NONE)}
        self._nearest: dict[str, tuple[str, str]] = {}
        self._links_left = 0

    def follow(self, path: str) -> Place:
        """Where ``path`` leads; a link that leads nowhere, or in circles, to a place without status."""
        self._links_left = _MAX_LINKS
        return self._follow(path)

    def directory(self, path: str) -> str:
        """The directory that ``path`` leads to."""
        self._links_left = _MAX_LINKS
        return self._directory(path)[0]

    def nearest(self, directory: str) -> tuple[str, str]:
        """The nearest directory that exists at or above ``directory``, and what is missing in it.

        The second is the path of the first missing component, "" when nothing is missing.
        """
        found = self._nearest.get(directory)
        if found is None:
            here, missing = directory, ""
            while not _is_directory(here) and (above := os.path.dirname(here)) != here:  # noqa: PTH120  # text only
                here, missing = above, here
            found = self._nearest[directory] = here, missing
        return found

    def _follow(self, path: str) -> Place:
        if path.count("/") > _MAX_DEPTH:
            return Place("/", _NONE, None)
        directory, name = os.path.split(path)
        above, links = self._directory(directory)
        if name in ("", "."):
            return Place(above, links, _status(above))
        if name == "..":
            above = os.path.dirname(above)  # noqa: PTH120  # text only
            return Place(above, links, _status(above))
        here = f"{above}/{name}" if above != "/" else f"/{name}"
        if here == path:
            here = path  # kept by very many owners: once
        status = _status(here)
        if status is None or not stat.S_ISLNK(status.st_mode):
            return Place(here, links, status)
        self.changed_ns[here] = status.st_ctime_ns
        links |= {here}
        self._links_left -= 1
        try:
            target = os.readlink(here)  # noqa: PTH115  # hot
        except OSError:
            return Place(here, links, None)  # it was replaced meanwhile
        if self._links_left < 0:
            return Place(here, links, None)
        end = self._follow(os.path.join(above, target))  # noqa: PTH118  # hot
        return Place(end.path, links | end.links, end.status)

    def _directory(self, path: str) -> tuple[str, frozenset[str]]:
        found = self._directories.get(path)
        if found is None:
            place = self._follow(path)
            found = place.path, place.links
            if self._links_left >= 0:  # else it may be the middle of a circle
                self._directories[path] = found
        return found


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None


def _is_directory(path: str) -> bool:
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)
