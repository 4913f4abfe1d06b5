"""The files of an SQLite database as the file system has them: whether they are still those in use.

SQLite goes on without a word in files that have no name any more. Owns the look that notices it, and
the putting of another database in their place. Never opens them: a second descriptor of a database,
when it is closed, takes SQLite's locks away (www.sqlite.org/howtocorrupt.html, 2.2). A database must
never meet the log (``-wal``) of another one (ibid., 1.4), so the log is removed first; a new database
whose maker ended before it was in place is found by its name, ``NAME.new``.
"""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["DatabaseFiles"]

_LOG, _INDEX, _JOURNAL = "-wal", "-shm", "-journal"

_File = tuple[int, int, int, int]
"""Device, inode, size in bytes, time of the last change in nanoseconds."""


class DatabaseFiles:
    """Those of the database at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fresh = path.with_name(f"{path.name}.new")
        self._known: dict[str, _File | None] = {}

    def note(self) -> None:
        """SQLite has just opened them, or written to them."""
        self._known = {suffix: self._look(suffix) for suffix in ("", _LOG, _INDEX)}

    def in_place(self, *, written: bool = False) -> bool:
        """True while they are those that were noted, and no other program wrote to them.

        ``written``: SQLite itself has written to them since.
        """
        if not self._known:
            return False
        for suffix, before in self._known.items():
            if before is None:
                continue  # a file system on which SQLite needs none
            now = self._look(suffix)
            if now is None or now[:2] != before[:2]:
                return False
            if suffix == _INDEX:
                continue  # shared memory: it may have any time
            if now[2] < before[2] or not (written or now == before):
                return False
        return True

    def put(self, *, keep: bool) -> None:
        """Have ``fresh`` stand at ``path``. What is there is set aside if ``keep`` or if it is none
        of those that were noted, unless it is empty."""
        now, before = self._look(""), self._known.get("")
        ours = now is not None and before is not None and now[:2] == before[:2]
        if self.path.is_dir() or (now is not None and now[2] and (keep or not ours)):
            self.path.replace(self.aside())
        for suffix in (_LOG, _INDEX):
            self._beside(self.path, suffix).unlink(missing_ok=True)
        self.fresh.replace(self.path)

    def aside(self) -> Path:
        """A name of its own for what is set aside now."""
        name = f"{self.path.name}.damaged-{int(time.time())}"
        names = (f"{name}{more}" for more in ("", *(f".{number}" for number in range(1, 1000))))
        return next(path for path in map(self.path.with_name, names) if not path.exists())

    def remove_fresh(self) -> None:
        """Remove ``fresh`` and what SQLite has beside it."""
        for suffix in ("", _LOG, _INDEX, _JOURNAL):
            self._beside(self.fresh, suffix).unlink(missing_ok=True)

    def _look(self, suffix: str) -> _File | None:
        try:
            status = self._beside(self.path, suffix).lstat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    @staticmethod
    def _beside(path: Path, suffix: str) -> Path:
        return path.with_name(path.name + suffix)
