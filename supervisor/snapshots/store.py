"""Snapshots on disk: the last good one of every location outlives the supervisor.

Owns ``snapshots.db`` (SQLite, write-ahead log) in the workspace's state directory and the one
thread that touches it, so that reads see what was saved before them. Keeps as many generations of
each location as it is told to, and forgets a location that has not been in the workspace for
``FORGET_SECONDS``. A row whose checksum does not match is passed over; a file that is damaged is set
aside and a new one begun; where none can be written (a full disk, a read-only one) what there is is
read and the rest kept in memory: history must never keep a supervisor from starting. Judges no
snapshot.

The files are looked at before and after each save: when one was removed, replaced, truncated or
written by another program, a new database is filled with what the open one still holds and with the
newest snapshots, and put in its place (``databasefiles``).

What was saved outlives the supervisor's being killed at any moment; a power failure may cost the
last few saves (``synchronous=NORMAL``), never the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from runner_shim import wire
from supervisor.snapshots.database_files import DatabaseFiles
from supervisor.snapshots.rows import COLUMNS, INSERT, SCHEMA, checksum_of, row_of, snapshot_of
from supervisor.snapshots.snapshot import Snapshot

if TYPE_CHECKING:
    from supervisor.protocol import documents

__all__ = [
    "COMPLETE", "FORGET_SECONDS", "KEPT_GENERATIONS", "RETRY", "SnapshotStore", "open_database",
]  # fmt: skip

KEPT_GENERATIONS = 20
FORGET_SECONDS = 30 * 86400.0
# It is looked for those so often (seconds).
_FORGET_EVERY = 86400.0
# So many of them are held in memory while the disk does not take them.
_MOST_GONE = 20

# What SQLite says when the file may be good and cannot be written (www.sqlite.org/rescode.html).
# Whatever else it says means that this is not, or no longer, a database of ours.
_UNWRITABLE = frozenset({
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
})  # fmt: skip
# What reading a damaged file raises: SQLite's errors, and Python's about names that are no text.
_TROUBLE = (sqlite3.Error, UnicodeDecodeError)

# Says that a new database holds all that it is to hold (its ``user_version``).
COMPLETE = 1
# How long it is left alone when none can be made (seconds); copying it may take long.
RETRY = 5.0

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class SnapshotStore:
    """The store at ``path``, or in memory for None.

    ``trouble(key, text)`` hears what is wrong (``store_unwritable``, ``store_unreadable``,
    ``store_damaged``), and None for the text once it is not any more. ``place()`` makes the
    directory of ``path`` anew where it is gone, or raises OSError. Both are called in the store's
    thread.
    """

    def __init__(
        self,
        path: Path | None,
        trouble: Callable[[str, str | None], None],
        place: Callable[[], object] = lambda: None,
    ) -> None:
        self._path = path
        self._tell = trouble
        self._place = place
        self._files = None if path is None else DatabaseFiles(path)
        self._merged = False  # in memory, but all that is on disk
        self._newest_saved: dict[str, Snapshot] = {}
        self._unsaved: dict[str, tuple[Snapshot, int]] = {}  # the disk did not take them
        self._again = self._forget_at = 0.0
        self._told: set[str] = set()
        self._database: sqlite3.Connection | None = None
        self._on_disk = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")

    async def open(self, known: Collection[str] | None = None) -> dict[str, Snapshot]:
        """Open it; the newest snapshot of every location that it holds.

        ``known`` are the locations of the workspace: others are forgotten after a while.
        """
        found = await self._run(self._open)
        if known is not None:
            self.keep_only(known)
        return found

    def keep_only(self, known: Collection[str]) -> None:
        """Only ``known`` are locations of the workspace: of the others nothing is held in memory any more."""
        names = frozenset(known)
        self._thread.submit(self._keep_only, names)

    def save(self, snapshot: Snapshot, keep: int = KEPT_GENERATIONS) -> Future[None]:
        """Keep ``snapshot`` and so many generations of its location in all.

        Returns at once, what is asked later sees it. Done when it is written, or when ``trouble``
        has heard that it cannot be.
        """
        return self._thread.submit(self._guarded, lambda: self._save(snapshot, keep))

    async def check(self) -> None:
        """Make the files anew where they are gone, and write what the disk did not take before."""
        await self._run(lambda: self._guarded(self._save_again))

    async def get(self, location: str, generation: int) -> Snapshot | None:
        """One generation, or None when it is not kept."""
        return await self._run(lambda: self._reading(lambda: self._get(location, generation), None))

    async def newest(self, location: str) -> Snapshot | None:
        """The newest that is kept of ``location``, or None."""
        return await self._run(lambda: self._newest_of(location))

    async def generations(self, location: str) -> list[int]:
        """The generations that are kept, oldest first."""
        return await self._run(lambda: self._reading(lambda: self._generations(location), []))

    async def history(self, location: str) -> list[documents.Generation]:
        """What is kept of ``location``, oldest first, without its definitions."""
        return await self._run(lambda: self._reading(lambda: self._history(location), []))

    def close(self) -> None:
        """Write what is under way and close."""
        self._thread.submit(self._finish).result()
        self._thread.shutdown()

    @property
    def _open_one(self) -> sqlite3.Connection:
        assert self._database is not None
        return self._database

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> dict[str, Snapshot]:
        with contextlib.suppress(OSError, *_TROUBLE):
            self._adopt()
        try:
            found = self._connect()
        except _TROUBLE as error:
            found = self._in_memory(error) if _unwritable(error) else self._renew(error)
        self._newest_saved = dict(found)
        return found

    def _renew(self, error: Exception) -> dict[str, Snapshot]:
        """Set the damaged file aside and begin another."""
        assert self._path is not None and self._files is not None
        self._close()
        aside = self._files.aside()
        try:
            for suffix in ("", "-wal", "-shm"):
                part = self._path.with_name(self._path.name + suffix)
                if part.exists():
                    part.replace(aside.with_name(aside.name + suffix))
            found = self._connect()
        except (OSError, *_TROUBLE) as still:
            return self._in_memory(still)
        self._trouble(
            "store_damaged",
            f"the snapshot store was damaged ({error}) and is set aside as {aside.name}: "
            "earlier generations cannot be compared any more",
        )
        return found

    def _in_memory(self, error: Exception) -> dict[str, Snapshot]:
        """Go on without a disk to write to, with what can be read from it."""
        assert self._path is not None
        self._close()
        self._on_disk = self._merged = False
        self._unwritable(error)
        database = self._database = open_database(":memory:")
        for way in ("mode=ro", "immutable=1"):
            try:
                database.execute("ATTACH ? AS disk", (f"{self._path.as_uri()}?{way}",))
            except _TROUBLE:
                continue
            with contextlib.suppress(*_TROUBLE):
                database.execute(
                    f"INSERT OR IGNORE INTO snapshots SELECT {COLUMNS} FROM disk.snapshots"  # noqa: S608
                )
                self._merged = True
            with contextlib.suppress(*_TROUBLE):
                database.execute("DETACH disk")
        return self._newest()

    def _connect(self) -> dict[str, Snapshot]:
        target = ":memory:" if self._path is None else str(self._path)
        self._database = open_database(target)
        self._on_disk = self._path is not None
        found = self._newest()
        self._note()
        return found

    def _newest(self) -> dict[str, Snapshot]:
        """The newest snapshot of each location that passes the checks."""
        keys = self._open_one.execute(
            "SELECT location, generation FROM snapshots ORDER BY location, generation DESC"
        ).fetchall()
        found: dict[str, Snapshot] = {}
        for location, generation in keys:
            if location not in found:
                snapshot = self._get(location, generation)
                if snapshot is not None:
                    found[location] = snapshot
        return found

    def _newest_of(self, location: str) -> Snapshot | None:
        known = self._newest_saved.get(location)
        if known is not None:
            return known
        kept: list[int] = self._reading(lambda: self._generations(location), [])
        for generation in reversed(kept):
            found = self._reading(partial(self._get, location, generation), None)
            if found is not None:
                return found
        return None

    def _keep_only(self, known: frozenset[str]) -> None:
        gone = self._newest_saved.keys() - known - self._unsaved.keys()
        unsaved = [name for name in self._unsaved if name not in known]
        for name in (*gone, *unsaved[:-_MOST_GONE]):
            del self._newest_saved[name]
            self._unsaved.pop(name, None)
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + _FORGET_EVERY
            self._guarded(partial(self._forget, known))

    def _forget(self, known: frozenset[str]) -> None:
        """Remove what has been gone for long."""
        names = self._open_one.execute("SELECT DISTINCT location FROM snapshots").fetchall()
        self._open_one.executemany(
            "DELETE FROM snapshots WHERE location = ?1 AND "
            "(SELECT max(loaded_at) FROM snapshots WHERE location = ?1) < ?2",
            [(name, time.time() - FORGET_SECONDS) for (name,) in names if name not in known],
        )

    def _save(self, snapshot: Snapshot, keep: int) -> None:
        row = row_of(snapshot)
        self._newest_saved[snapshot.location] = snapshot
        self._unsaved[snapshot.location] = snapshot, keep
        self._open_one.execute(INSERT, row)
        self._open_one.execute(
            # By count: failed loads have numbers, too, and must not cost history.
            "DELETE FROM snapshots WHERE location = ?1 AND generation NOT IN (SELECT generation "
            "FROM snapshots WHERE location = ?1 ORDER BY generation DESC LIMIT ?2)",
            (snapshot.location, keep),
        )
        del self._unsaved[snapshot.location]

    def _save_again(self) -> None:
        for snapshot, keep in list(self._unsaved.values()):
            self._save(snapshot, keep)

    def _get(self, location: str, generation: int) -> Snapshot | None:
        row = self._open_one.execute(
            f"SELECT {COLUMNS} FROM snapshots WHERE location = ? AND generation = ?",  # noqa: S608
            (location, generation),
        ).fetchone()
        return None if row is None else snapshot_of(row)

    def _generations(self, location: str) -> list[int]:
        rows = self._open_one.execute(
            "SELECT generation FROM snapshots WHERE location = ? ORDER BY generation", (location,)
        )
        return [row[0] for row in rows]

    def _history(self, location: str) -> list[documents.Generation]:
        rows = self._open_one.execute(
            "SELECT generation, loaded_at, fingerprint, report, "
            "length(definitions) + length(sources) FROM snapshots "
            "WHERE location = ? ORDER BY generation",
            (location,),
        )
        found: list[documents.Generation] = []
        for generation, loaded_at, fingerprint, packed, size in rows:
            try:
                report = dict(wire.unpack(packed))
            except (wire.WireError, TypeError, ValueError):
                continue
            found.append(
                {
                    "generation": generation,
                    "loaded_at": loaded_at,
                    "fingerprint": fingerprint,
                    "size": size,
                    "counts": report.get("counts", {}),
                    "python": report.get("python", ""),
                    "frameworks": report.get("frameworks", []),
                    "load_seconds": report.get("load_seconds"),
                }
            )
        return found

    def _guarded(self, work: Callable[[], None]) -> None:
        if not self._in_place():
            self._restore()
        try:
            try:
                work()
            except _TROUBLE as error:
                if not self._on_disk or _unwritable(error):
                    raise
                self._again = 0.0
                self._restore(f"damaged ({error})")
                work()
        except _TROUBLE as error:
            # A full disk: the snapshot is still served from memory.
            self._trouble("store_unwritable", f"a snapshot could not be kept on disk: {error}")
            return
        # It may have been taken away in this moment: then it was written to where nothing is found.
        if self._in_place(written=True):
            self._note()
            if self._on_disk:
                self._over("store_unwritable")
        else:
            self._restore()

    # Files that were taken away.

    def _in_place(self, *, written: bool = False) -> bool:
        if self._files is None:
            return True
        return self._on_disk and self._files.in_place(written=written)

    def _note(self) -> None:
        if self._files is not None and self._on_disk:
            self._files.note()

    def _restore(self, was: str = "removed, replaced or changed by another program") -> None:
        """Put a database in place that holds what the open one holds, and the newest snapshots."""
        files = self._files
        assert files is not None
        if time.monotonic() < self._again:
            return
        try:
            self._place()
            whole = self._fill(files)
            files.put(keep=not (whole and (self._on_disk or self._merged)))
        except (OSError, *_TROUBLE) as error:
            self._again = time.monotonic() + RETRY
            with contextlib.suppress(OSError):
                files.remove_fresh()
            self._unwritable(error)
            return
        self._again = 0.0
        self._close()
        try:
            self._connect()
        except _TROUBLE as error:
            self._in_memory(error)
            return
        self._over("store_unwritable")
        text = f"the snapshot store {files.path} was {was}"
        if whole:
            _log.warning("%s: a new one is created with the same contents", text)
        else:
            self._trouble(
                "store_damaged",
                f"{text}; a new one is created with the newest snapshots: earlier generations cannot be "
                "compared any more",
            )

    def _fill(self, files: DatabaseFiles) -> bool:
        """Make ``fresh``; whether all could be read that was kept."""
        files.remove_fresh()
        whole = True
        with contextlib.closing(open_database(str(files.fresh))) as database:
            database.execute("BEGIN")
            rows = self._rows()
            while True:
                try:
                    row = next(rows, None)
                except _TROUBLE:
                    whole = False
                    break
                if row is None:
                    break
                if checksum_of(row[:-1]) == row[-1]:
                    database.execute(INSERT, row)
                else:
                    whole = False
            for snapshot in self._newest_saved.values():
                database.execute(INSERT, row_of(snapshot))
            database.execute(f"PRAGMA user_version={COMPLETE}")
            database.execute("COMMIT")
        return whole

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        yield from self._open_one.execute(f"SELECT {COLUMNS} FROM snapshots")  # noqa: S608

    def _adopt(self) -> None:
        """Finish a ``_restore`` that the end of its process interrupted."""
        files = self._files
        if files is None or not files.fresh.exists():
            return
        with contextlib.closing(open_database(str(files.fresh))) as database:
            complete = database.execute("PRAGMA user_version").fetchone() == (COMPLETE,)
        if complete:
            files.put(keep=True)
        else:
            files.remove_fresh()

    def _finish(self) -> None:
        self._again = 0.0
        if self._database is not None and not self._in_place():
            self._restore()
        if self._database is not None:
            with contextlib.suppress(*_TROUBLE):
                self._save_again()
        self._close()

    def _reading(self, work: Callable[[], _T], nothing: _T) -> _T:
        try:
            found = work()
        except _TROUBLE as error:
            self._trouble("store_unreadable", f"the snapshot store cannot be read: {error}")
            return nothing
        self._over("store_unreadable")
        return found

    def _unwritable(self, error: Exception) -> None:
        text = (getattr(error, "strerror", None) or str(error)).lower()
        self._trouble(
            "store_unwritable",
            f"the snapshot store {self._path} cannot be written ({text}): what is loaded from now on "
            "is forgotten when the supervisor ends",
        )

    def _trouble(self, key: str, text: str) -> None:
        self._told.add(key)
        self._tell(key, text)

    def _over(self, key: str) -> None:
        if key in self._told:
            self._told.remove(key)
            self._tell(key, None)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def open_database(target: str) -> sqlite3.Connection:
    """A database with the tables of a store; raises ``sqlite3.Error``."""
    database = sqlite3.connect(target, isolation_level=None, uri=True)
    # Damaged text is no reason to raise: its checksum says what it is worth.
    database.text_factory = lambda data: data.decode("utf-8", "replace")
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute(SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


def _unwritable(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNWRITABLE
