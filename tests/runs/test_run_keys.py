"""Run keys: each is taken once, and those that were asked for last are kept."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from supervisor.runs import tick_store
from supervisor.runs.tick_store import TickStore

FILES = ("team", "files")
OTHER = ("team", "other")


async def test_those_that_were_asked_for_last_are_kept(tmp_path: Path) -> None:
    store = TickStore(tmp_path / "automations.db")
    store.open()

    def take(database: sqlite3.Connection) -> None:
        assert tick_store.take_key(database, OTHER, "key-0", "other") is None
        for number in range(10):
            assert tick_store.take_key(database, FILES, f"key-{number}", f"run-{number}") is None
            tick_store.forget_keys(database, FILES, 5)
            if number:  # it is asked for each time
                assert tick_store.take_key(database, FILES, "key-0", "another") == "run-0"

    await store.write(take)
    kept = await store.write(
        lambda database: {
            number
            for number in range(10)
            if tick_store.run_of(database, FILES, f"key-{number}") is not None
        }
    )
    assert kept == {0, 6, 7, 8, 9}
    assert await store.write(lambda database: tick_store.run_of(database, OTHER, "key-0"))
    await store.close()


async def test_a_store_of_before_is_taken_on(tmp_path: Path) -> None:
    path = tmp_path / "automations.db"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE run_keys (location TEXT NOT NULL, name TEXT NOT NULL, run_key TEXT NOT NULL, "
            "run TEXT NOT NULL, PRIMARY KEY (location, name, run_key)) WITHOUT ROWID"
        )
        database.execute("INSERT INTO run_keys VALUES ('team', 'files', 'old', 'run-1')")
    database.close()
    store = TickStore(path)
    store.open()
    found = await store.write(lambda one: tick_store.take_key(one, FILES, "old", "run-2"))
    assert found == "run-1"
    assert await store.write(lambda one: tick_store.take_key(one, FILES, "new", "run-3")) is None
    await store.close()
