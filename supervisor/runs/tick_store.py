"""What schedules and sensors have done, on the disk: cursors, switches, run keys and ticks.

Owns ``automations.db`` (SQLite) in the state directory and the one thread that touches it. What ``write`` has
returned from outlives a kill and a power failure (``synchronous=FULL``); all that waits to be written is
written in one transaction, so many that are due at once cost one wait for the disk. A run key is the primary
key of a row: it is there once. Decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from supervisor.errors import RequestError
from supervisor.runs.firing import Memory
from supervisor.states import TickState

__all__ = [
    "MOST_KEYS",
    "Stored",
    "TickStore",
    "UnwritableError",
    "add_tick",
    "everything",
    "forget_absent",
    "forget_keys",
    "free_key",
    "remember",
    "run_of",
    "set_tick",
    "take_key",
    "ticks_of",
    "told_of",
    "unfinished",
]  # fmt: skip

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS automations (
  location TEXT NOT NULL, name TEXT NOT NULL, switched INTEGER, memory TEXT, cursor TEXT,
  last_tick REAL, last_run_key TEXT, PRIMARY KEY (location, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ticks (
  id INTEGER PRIMARY KEY AUTOINCREMENT, location TEXT NOT NULL, name TEXT NOT NULL,
  state TEXT NOT NULL, data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_name ON ticks (location, name, id);
CREATE INDEX IF NOT EXISTS unfinished ON ticks (state) WHERE state IN ('due', 'launching');
CREATE TABLE IF NOT EXISTS run_keys (
  location TEXT NOT NULL, name TEXT NOT NULL, run_key TEXT NOT NULL, run TEXT NOT NULL,
  asked INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (location, name, run_key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS absent (location TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID;
"""
# Of those of one sensor the larger was asked for later; 0 where that was not noted yet.
_ASKED = "ALTER TABLE run_keys ADD COLUMN asked INTEGER NOT NULL DEFAULT 0"
_BY_ASKED = "CREATE INDEX IF NOT EXISTS by_asked ON run_keys (location, name, asked)"
# Ticks of one schedule or sensor that are kept: of those that were skipped, and of all others.
_KEPT_SKIPPED, _KEPT = 50, 200
MOST_KEYS = 100_000
"""Run keys of one schedule or sensor that are kept: those that were asked for last."""
_MOST_AT_ONCE = 500
# Of the ticks that are read at once.
_MOST_BYTES = 2 * 1024 * 1024


class UnwritableError(RequestError):
    """It cannot be written now; the text says why."""


@dataclass(slots=True)
class Stored:
    """What is remembered of a schedule or sensor, whatever its location defines by now.

    ``failing``: the newest tick that was evaluated has failed.
    """

    switched: bool | None = None
    memory: Memory | None = None
    cursor: str | None = None
    last_tick: float | None = None
    last_run_key: str | None = None
    failing: bool = False
    last: dict[str, Any] | None = field(default=None, repr=False)


_Work = tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]
_Outcome = tuple[asyncio.Future[Any], Any, BaseException | None]


class TickStore:
    """The store at ``path``. Its methods are called in the event loop, and their work in its thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="automations", daemon=True)
        self._database: sqlite3.Connection | None = None
        self._place: tuple[int, int] | None = None
        self._begun = False

    def open(self) -> None:
        """Take work from now on. A damaged store is set aside at the first, and another begun."""
        self._thread.start()
        self._begun = True

    async def write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Have ``work`` done in a transaction; returns once that is on the disk. Raises ``sqlite3.Error``."""
        done: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._queue.put((work, done))
        return await done

    async def close(self) -> None:
        """Write what waits, and close."""
        if self._begun:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)

    # In the thread.

    def _serve(self) -> None:
        ending = False
        while not ending:
            first = self._queue.get()
            if first is None:
                break
            batch = [first]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _MOST_AT_ONCE:
                    one = self._queue.get_nowait()
                    if one is None:
                        ending = True
                        break
                    batch.append(one)
            self._write(batch)
        if self._database is not None:
            self._database.close()

    def _write(self, batch: list[_Work]) -> None:
        outcomes: list[_Outcome] = []
        try:
            database = self._connected()
            database.execute("BEGIN IMMEDIATE")
            try:
                for work, done in batch:
                    if not done.cancelled():
                        outcomes.append((done, *_one(database, work)))
                database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise
        except Exception as error:
            damaged = isinstance(error, sqlite3.DatabaseError)
            if damaged and not isinstance(error, sqlite3.OperationalError):
                self._drop()  # the next write sets it aside
            outcomes = [(done, None, error) for _, done in batch]
        # All in one turn of the loop: to wake it takes longer than a write.
        with contextlib.suppress(RuntimeError):  # it has ended
            batch[0][1].get_loop().call_soon_threadsafe(_tell, outcomes)

    def _drop(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _connected(self) -> sqlite3.Connection:
        if self._database is not None and self._place != _place(self._path):
            # It was taken away, and goes on without a name: have another with all that is in it.
            fresh = _opened(self._path)
            self._database.backup(fresh)
            self._database.close()
            self._database, self._place = fresh, _place(self._path)
        if self._database is None:
            try:
                self._database = _opened(self._path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                aside = self._path.with_name(f"{self._path.name}.damaged-{int(time.time())}")
                _log.warning("%s is damaged (%s), and set aside as %s", self._path, error, aside)
                for suffix in ("", "-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        self._path.with_name(self._path.name + suffix).rename(f"{aside}{suffix}")
                self._database = _opened(self._path)
            self._place = _place(self._path)
        return self._database


def _place(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _opened(path: Path) -> sqlite3.Connection:
    # With configurations of runs in it, private whatever the directory is.
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.executescript(_SCHEMA)
        if "asked" not in {row[1] for row in database.execute("PRAGMA table_info(run_keys)")}:
            database.execute(_ASKED)
        database.execute(_BY_ASKED)
    except BaseException:
        database.close()
        raise
    return database


def _tell(outcomes: Sequence[_Outcome]) -> None:
    for done, result, raised in outcomes:
        if done.done():  # the caller was cancelled
            continue
        if raised is not None:
            done.set_exception(raised)
        else:
            done.set_result(result)


def _one(
    database: sqlite3.Connection, work: Callable[[sqlite3.Connection], Any]
) -> tuple[Any, BaseException | None]:
    """Do one of a transaction; what it raises undoes it alone."""
    database.execute("SAVEPOINT one")
    try:
        result = work(database)
    except (KeyError, TypeError, ValueError, sqlite3.IntegrityError) as error:
        database.execute("ROLLBACK TO one")
        database.execute("RELEASE one")
        return None, error
    database.execute("RELEASE one")
    return result, None


# What is done in a transaction.


def everything(database: sqlite3.Connection) -> dict[tuple[str, str], Stored]:
    """What is remembered of all."""
    found: dict[tuple[str, str], Stored] = {}
    columns = "location, name, switched, memory, cursor, last_tick, last_run_key"
    for location, name, switched, memory, *rest in database.execute(
        f"SELECT {columns} FROM automations"  # noqa: S608
    ):
        until = None
        if memory is not None:
            one = json.loads(memory)
            until = Memory(float(one[0]), str(one[1]), tuple(float(each) for each in one[2]))
        on = None if switched is None else bool(switched)
        found[location, name] = Stored(on, until, *rest)
    newest = "SELECT max(id) FROM ticks GROUP BY location, name"
    for location, name, row in database.execute(
        f"SELECT location, name, id || ' ' || data FROM ticks WHERE id IN ({newest})"  # noqa: S608
    ):
        number, _, data = row.partition(" ")
        last = {**json.loads(data), "tick": int(number)}
        stored = found.setdefault((location, name), Stored())
        stored.last, stored.failing = last, last["state"] == TickState.FAILED and told_of(last)
    return found


def told_of(tick: Mapping[str, Any]) -> bool:
    """True for a tick that was evaluated, and not because a client has asked for it."""
    return tick.get("by") is None and tick.get("began") is not None


def forget_absent(
    database: sqlite3.Connection, present: Collection[str], now: float, after: float
) -> list[str]:
    """Forget all of the locations that were not among those ``present`` for ``after`` seconds; their names.

    They are counted from the first call that they are missing at. ``now`` is in Unix seconds.
    """
    known = {row[0] for row in database.execute("SELECT location FROM automations")}
    known |= {row[0] for row in database.execute("SELECT DISTINCT location FROM ticks")}
    missing = known - set(present)
    since = dict(database.execute("SELECT location, since FROM absent"))
    gone = [name for name in sorted(missing) if now - since.get(name, now) > after]
    for table in ("automations", "ticks", "run_keys"):
        database.executemany(
            f"DELETE FROM {table} WHERE location = ?",  # noqa: S608
            [(name,) for name in gone],
        )
    database.execute("DELETE FROM absent")
    database.executemany(
        "INSERT INTO absent VALUES (?, ?)",
        # Not later than now: the clock may have been wrong.
        [(name, min(since.get(name, now), now)) for name in missing.difference(gone)],
    )
    return gone


def remember(database: sqlite3.Connection, key: tuple[str, str], stored: Stored) -> None:
    """Have all of ``stored`` but its last tick."""
    memory = stored.memory
    said = None if memory is None else [memory.until, memory.fingerprint, list(memory.waiting)]
    database.execute(
        "INSERT OR REPLACE INTO automations VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *key,
            stored.switched,
            None if said is None else json.dumps(said),
            stored.cursor,
            stored.last_tick,
            stored.last_run_key,
        ),
    )


def add_tick(database: sqlite3.Connection, tick: Mapping[str, Any]) -> int:
    """Add the document of a tick; its number. The oldest that are too many go."""
    key = tick["location"], tick["name"]
    made = database.execute(
        "INSERT INTO ticks (location, name, state, data) VALUES (?, ?, ?, ?)",
        (*key, tick["state"], json.dumps(tick)),
    ).lastrowid
    assert made is not None  # a row was inserted
    for kept, states in (
        (_KEPT_SKIPPED, "state = 'skipped'"),
        (_KEPT, "state IN ('launched', 'failed')"),
    ):
        where = f"location = ? AND name = ? AND {states}"
        database.execute(
            f"DELETE FROM ticks WHERE {where} AND id <= (SELECT id FROM ticks WHERE {where} "  # noqa: S608
            f"ORDER BY id DESC LIMIT 1 OFFSET {kept})",
            (*key, *key),
        )
    return made


def set_tick(database: sqlite3.Connection, number: int, tick: Mapping[str, Any]) -> None:
    """Replace a tick."""
    database.execute(
        "UPDATE ticks SET state = ?, data = ? WHERE id = ?",
        (tick["state"], json.dumps(tick), number),
    )


def take_key(
    database: sqlite3.Connection, key: tuple[str, str], run_key: str, run: str
) -> str | None:
    """Have ``run`` be the one of ``run_key``, which was asked for; the run that has it already, or None."""
    mine = "location = ? AND name = ?"
    last = database.execute(f"SELECT max(asked) FROM run_keys WHERE {mine}", key)  # noqa: S608
    asked = (last.fetchone()[0] or 0) + 1
    found = run_of(database, key, run_key)
    if found is not None:
        database.execute(
            f"UPDATE run_keys SET asked = ? WHERE {mine} AND run_key = ?",  # noqa: S608
            (asked, *key, run_key),
        )
        return found
    database.execute("INSERT INTO run_keys VALUES (?, ?, ?, ?, ?)", (*key, run_key, run, asked))
    return None


def forget_keys(database: sqlite3.Connection, key: tuple[str, str], most: int = MOST_KEYS) -> None:
    """Keep those ``most`` run keys of ``key`` that were asked for last."""
    mine = "location = ? AND name = ?"
    database.execute(
        f"DELETE FROM run_keys WHERE {mine} AND asked <= (SELECT asked FROM run_keys "  # noqa: S608
        f"WHERE {mine} ORDER BY asked DESC LIMIT 1 OFFSET ?)",
        (*key, *key, most),
    )


def run_of(database: sqlite3.Connection, key: tuple[str, str], run_key: str) -> str | None:
    """The run that was launched under a run key, or None."""
    found = database.execute(
        "SELECT run FROM run_keys WHERE location = ? AND name = ? AND run_key = ?", (*key, run_key)
    ).fetchone()
    return None if found is None else str(found[0])


def free_key(database: sqlite3.Connection, key: tuple[str, str], run_key: str, run: str) -> None:
    """Let go of a run key whose run was refused."""
    database.execute(
        "DELETE FROM run_keys WHERE location = ? AND name = ? AND run_key = ? AND run = ?",
        (*key, run_key, run),
    )


def ticks_of(
    database: sqlite3.Connection, location: str, name: str | None, limit: int
) -> list[dict[str, Any]]:
    """The newest ticks of a location, newest first; as many as have 2 MiB, and one in any case."""
    where, values = ("", ()) if name is None else (" AND name = ?", (name,))
    found: list[dict[str, Any]] = []
    left = _MOST_BYTES
    for number, data in database.execute(
        f"SELECT id, data FROM ticks WHERE location = ?{where} ORDER BY id DESC LIMIT ?",  # noqa: S608
        (location, *values, limit),
    ):
        left -= len(data)
        if left < 0 and found:
            break
        found.append({**json.loads(data), "tick": number})
    return found


def unfinished(database: sqlite3.Connection) -> list[dict[str, Any]]:
    """The ticks that were begun and have not ended, oldest first."""
    return [
        {**json.loads(data), "tick": number}
        for number, data in database.execute(
            "SELECT id, data FROM ticks WHERE state IN (?, ?) ORDER BY id",
            (TickState.DUE, TickState.LAUNCHING),
        )
    ]
