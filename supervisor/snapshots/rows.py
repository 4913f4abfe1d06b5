"""A snapshot as a row of the store: its columns, and the checksum by which damage shows.

Owns the table's form and the reading of a store that no supervisor writes to. Judges no snapshot.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from pathlib import Path
from typing import Any

from runner_shim import wire
from supervisor.snapshots.snapshot import Snapshot, SnapshotError, accept

__all__ = [
    "COLUMNS", "INSERT", "SCHEMA", "STORE", "checksum_of", "newest_kept", "row_of", "snapshot_of",
]  # fmt: skip

STORE = "snapshots.db"
"""The name of a store in the state directory of its workspace."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS snapshots (
  location TEXT NOT NULL,
  generation INTEGER NOT NULL,
  loaded_at REAL NOT NULL,
  fingerprint TEXT NOT NULL,
  definitions BLOB NOT NULL,
  sources BLOB NOT NULL,
  report BLOB NOT NULL,
  checksum BLOB NOT NULL,
  PRIMARY KEY (location, generation)
)
"""
COLUMNS = "location, generation, loaded_at, fingerprint, definitions, sources, report, checksum"
INSERT = f"INSERT OR REPLACE INTO snapshots ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608


def row_of(snapshot: Snapshot) -> tuple[Any, ...]:
    """``snapshot`` as a row."""
    row = (
        snapshot.location,
        snapshot.generation,
        snapshot.loaded_at,
        snapshot.fingerprint,
        snapshot.definitions,
        snapshot.sources,
        # Beside the report, so that a history needs no definitions to be decoded.
        wire.pack({**snapshot.report, "counts": dict(snapshot.counts)}),
    )
    return (*row, checksum_of(row))


def checksum_of(row: tuple[Any, ...]) -> bytes:
    """Of all columns but the definitions, whose own is the fingerprint."""
    location, generation, loaded_at, fingerprint, _definitions, sources, report = row
    return hashlib.sha256(
        wire.pack([location, generation, loaded_at, fingerprint, sources, report])
    ).digest()


def snapshot_of(row: tuple[Any, ...]) -> Snapshot | None:
    """A row as a snapshot, checked like one that a shim sent; None when it does not pass."""
    *columns, checksum = row
    location, generation, loaded_at, fingerprint, definitions, sources, report = columns
    try:
        if checksum_of(tuple(columns)) != checksum or not isinstance(definitions, bytes):
            return None
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


def newest_kept(path: Path) -> dict[str, Snapshot]:
    """The newest snapshot of each location that the store at ``path`` holds, where one can be read.

    Changes nothing. Blocks as long as the disk takes.
    """
    for way in ("mode=ro", "mode=ro&immutable=1"):
        with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
            return _newest(f"{path.absolute().as_uri()}?{way}")
    return {}


def _newest(uri: str) -> dict[str, Snapshot]:
    found: dict[str, Snapshot] = {}
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
        database.text_factory = lambda data: data.decode("utf-8", "replace")
        keys = database.execute(
            "SELECT location, generation FROM snapshots ORDER BY location, generation DESC"
        ).fetchall()
        for location, generation in keys:
            if location in found:
                continue
            row = database.execute(
                f"SELECT {COLUMNS} FROM snapshots WHERE location = ? AND generation = ?",  # noqa: S608
                (location, generation),
            ).fetchone()
            if row is not None and (snapshot := snapshot_of(row)) is not None:
                found[location] = snapshot
    return found
