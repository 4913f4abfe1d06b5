"""Snapshots on disk: the last good one of every location outlives the supervisor.

Owns ``snapshots.db`` (SQLite, write-ahead log) in the workspace's state directory and the one
thread that touches it, so that reads see what was saved before them. Keeps the newest
``KEPT_GENERATIONS`` of each location. A file that is damaged is set aside and a new one begun: the
loss of history must never keep a supervisor from starting. Judges no snapshot.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from runner_shim import wire
from supervisor.snapshot import Snapshot, SnapshotError, accept

__all__ = ["KEPT_GENERATIONS", "SnapshotStore"]

KEPT_GENERATIONS = 20

_SCHEMA = """
CREATE TABLE IF NOT EXISTS snapshots (
  location TEXT NOT NULL,
  generation INTEGER NOT NULL,
  loaded_at REAL NOT NULL,
  fingerprint TEXT NOT NULL,
  definitions BLOB NOT NULL,
  sources BLOB NOT NULL,
  report BLOB NOT NULL,
  PRIMARY KEY (location, generation)
)
"""
_COLUMNS = "location, generation, loaded_at, fingerprint, definitions, sources, report"

_T = TypeVar("_T")


class SnapshotStore:
    """The store at ``path``, or in memory for None. ``trouble(text)`` hears what went wrong."""

    def __init__(self, path: Path | None, trouble: Callable[[str], None]) -> None:
        self._path = path
        self._trouble = trouble
        self._database: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")

    async def open(self) -> dict[str, Snapshot]:
        """Open it; the newest snapshot of every location that it holds."""
        return await self._run(self._open)

    def save(self, snapshot: Snapshot) -> Future[None]:
        """Keep ``snapshot``; returns at once, what is asked later sees it. Done when it is written,
        or when ``trouble`` has heard that it cannot be."""
        return self._thread.submit(self._guarded, lambda: self._save(snapshot))

    async def get(self, location: str, generation: int) -> Snapshot | None:
        """One generation, or None when it is not kept."""
        return await self._run(lambda: self._get(location, generation))

    async def generations(self, location: str) -> list[int]:
        """The generations that are kept, oldest first."""
        return await self._run(lambda: self._generations(location))

    async def history(self, location: str) -> list[dict[str, Any]]:
        """What is kept of ``location``, oldest first, without its definitions.

        Each has ``generation``, ``loaded_at``, ``fingerprint``, ``size``, ``counts`` (empty for one
        kept by a version that did not note them), ``python``, ``frameworks`` and ``load_seconds``.
        """
        return await self._run(lambda: self._history(location))

    def close(self) -> None:
        """Write what is under way and close."""
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> dict[str, Snapshot]:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            assert self._path is not None
            aside = self._path.with_name(f"{self._path.name}.damaged-{int(time.time())}")
            self._close()
            for suffix in ("", "-wal", "-shm"):
                part = self._path.with_name(self._path.name + suffix)
                if part.exists():
                    part.replace(aside.with_name(aside.name + suffix))
            self._trouble(
                f"the snapshot store was damaged ({error}) and is set aside as {aside.name}: "
                "earlier generations cannot be compared any more"
            )
            return self._connect()

    def _connect(self) -> dict[str, Snapshot]:
        target = ":memory:" if self._path is None else str(self._path)
        self._database = sqlite3.connect(target, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(_SCHEMA)
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM snapshots s WHERE generation = "  # noqa: S608  # a constant
            "(SELECT max(generation) FROM snapshots WHERE location = s.location)"
        )
        found = (_snapshot(row) for row in rows)
        return {one.location: one for one in found if one is not None}

    def _save(self, snapshot: Snapshot) -> None:
        assert self._database is not None
        self._database.execute(
            f"INSERT OR REPLACE INTO snapshots ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (
                snapshot.location,
                snapshot.generation,
                snapshot.loaded_at,
                snapshot.fingerprint,
                snapshot.definitions,
                snapshot.sources,
                # Beside the report, so that a history needs no definitions to be decoded.
                wire.pack({**snapshot.report, "counts": dict(snapshot.counts)}),
            ),
        )
        self._database.execute(
            "DELETE FROM snapshots WHERE location = ? AND generation <= ? - ?",
            (snapshot.location, snapshot.generation, KEPT_GENERATIONS),
        )

    def _get(self, location: str, generation: int) -> Snapshot | None:
        assert self._database is not None
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM snapshots WHERE location = ? AND generation = ?",  # noqa: S608
            (location, generation),
        ).fetchone()
        return None if row is None else _snapshot(row)

    def _generations(self, location: str) -> list[int]:
        assert self._database is not None
        rows = self._database.execute(
            "SELECT generation FROM snapshots WHERE location = ? ORDER BY generation", (location,)
        )
        return [row[0] for row in rows]

    def _history(self, location: str) -> list[dict[str, Any]]:
        assert self._database is not None
        rows = self._database.execute(
            "SELECT generation, loaded_at, fingerprint, report, "
            "length(definitions) + length(sources) FROM snapshots "
            "WHERE location = ? ORDER BY generation",
            (location,),
        )
        found = []
        for generation, loaded_at, fingerprint, packed, size in rows:
            try:
                report = wire.unpack(packed)
            except wire.WireError:
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
        try:
            work()
        except sqlite3.Error as error:
            # A full disk: the snapshot is still served from memory.
            self._trouble(f"a snapshot could not be kept on disk: {error}")

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _snapshot(row: tuple[Any, ...]) -> Snapshot | None:
    """A row as a snapshot, checked like one that a shim sent; None when it does not pass."""
    location, generation, loaded_at, fingerprint, definitions, sources, report = row
    try:
        snapshot = accept(
            location,
            generation,
            report=wire.unpack(report),
            definitions=definitions,
            sources=sources,
            loaded_at=loaded_at,
        )
    except (SnapshotError, wire.WireError):
        return None
    return snapshot if snapshot.fingerprint == fingerprint else None
