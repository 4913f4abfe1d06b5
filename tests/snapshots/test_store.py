"""The snapshot store: what it keeps, for how long, and what a damaged file costs."""

import asyncio
import contextlib
import random
import resource
import shutil
import sqlite3
import subprocess
import sys

import pytest
from stores import reopened, snapshot

import supervisor.snapshots.store
from runner_shim import wire
from supervisor.snapshots.snapshot import Snapshot
from supervisor.snapshots.store import COMPLETE, KEPT_GENERATIONS, SnapshotStore


def test_newest_of_each_location_outlives_the_store(tmp_path):
    async def scenario():
        store, found = await reopened(tmp_path / "s.db")
        assert found == {}
        store.save(snapshot("risk", 1, "a"))
        store.save(snapshot("risk", 2, "a", "b"))
        store.save(snapshot("ml", 7, "c"))
        store.close()
        store, found = await reopened(tmp_path / "s.db")
        store.close()
        assert found == {"risk": snapshot("risk", 2, "a", "b"), "ml": snapshot("ml", 7, "c")}
        assert found["risk"].source_map() == {"job:a": ["a.py", 3]}

    asyncio.run(scenario())


def test_old_generations_can_be_had_and_go_in_the_end(tmp_path):
    async def scenario():
        store, _ = await reopened(tmp_path / "s.db")
        for generation in range(1, KEPT_GENERATIONS + 4):
            store.save(snapshot("risk", generation, f"job_{generation}"))
        kept = await store.generations("risk")
        assert kept == list(range(4, KEPT_GENERATIONS + 4))
        assert await store.get("risk", 3) is None
        assert await store.get("risk", 4) == snapshot("risk", 4, "job_4")
        store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("damage", [b"not a database at all, but long enough" * 100, b"\0" * 5000])
def test_damaged_store_is_set_aside_and_replaced(tmp_path, damage):
    (tmp_path / "s.db").write_bytes(damage)
    heard = []

    async def scenario():
        store, found = await reopened(tmp_path / "s.db", lambda key, text: heard.append(text))
        assert found == {}
        store.save(snapshot("risk", 1, "a"))
        store.close()
        store, found = await reopened(tmp_path / "s.db")
        store.close()
        assert list(found) == ["risk"]

    asyncio.run(scenario())
    assert len(heard) == 1
    assert "damaged" in heard[0]
    (aside,) = tmp_path.glob("s.db.damaged-*")
    assert aside.read_bytes() == damage


def test_a_row_that_was_tampered_with_is_not_served(tmp_path):
    async def scenario():
        import sqlite3

        store, _ = await reopened(tmp_path / "s.db")
        store.save(snapshot("risk", 1, "a"))
        store.close()
        database = sqlite3.connect(tmp_path / "s.db")
        with database:
            database.execute(
                "UPDATE snapshots SET definitions = ?",
                (wire.pack({"format": 1, "repositories": [], "definitions": []}),),
            )
        database.close()
        store, found = await reopened(tmp_path / "s.db")
        store.close()
        assert found == {}

    asyncio.run(scenario())


def test_history_tells_of_what_is_kept_without_its_definitions(tmp_path):
    async def scenario():
        store, _ = await reopened(tmp_path / "s.db")
        first, second = snapshot("risk", 1, "a"), snapshot("risk", 2, "a", "b")
        store.save(first)
        store.save(second)
        history = await store.history("risk")
        store.close()
        assert [one["generation"] for one in history] == [1, 2]
        assert [one["counts"] for one in history] == [{"job": 1}, {"job": 2}]
        assert history[1]["fingerprint"] == second.fingerprint
        assert history[1]["size"] == second.size
        assert history[1]["python"] == "3.8.1"
        assert history[1]["loaded_at"] == 1000.5

    asyncio.run(scenario())


async def _three(path) -> dict[str, Snapshot]:
    saved = {name: snapshot(name, 7, name, "b") for name in ("risk", "ml", "web")}
    store, _ = await reopened(path)
    for one in saved.values():
        store.save(one)
    store.close()
    return saved


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_whatever_byte_is_damaged_what_is_served_was_saved(tmp_path, seed):
    async def scenario():
        saved = await _three(tmp_path / "good.db")
        good = (tmp_path / "good.db").read_bytes()
        offsets = random.Random(seed)
        for number in range(20):
            path = tmp_path / f"{number}.db"
            data = bytearray(good)
            data[offsets.randrange(len(data))] ^= 1 << offsets.randrange(8)
            path.write_bytes(data)
            store, found = await reopened(path, lambda key, text: None)
            assert found.items() <= saved.items()
            await store.history("risk")
            store.save(snapshot("risk", 8, "c"))
            store.close()
            store, found = await reopened(path)
            assert found["risk"] == snapshot("risk", 8, "c")
            assert [one["generation"] for one in await store.history("risk")][-1:] == [8]
            store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE snapshots SET report = 7",
        "UPDATE snapshots SET report = x'c1'",
        "UPDATE snapshots SET sources = x'80'",
        "UPDATE snapshots SET loaded_at = 'long ago'",
        "UPDATE snapshots SET location = CAST(x'ff' AS TEXT)",
        "UPDATE snapshots SET definitions = NULL",
        "ALTER TABLE snapshots DROP COLUMN sources",
        "DROP TABLE snapshots; CREATE VIEW snapshots AS SELECT 1",
    ],
)
def test_rows_and_tables_that_are_not_as_they_were_left(tmp_path, statement):
    async def scenario():
        await _three(tmp_path / "s.db")
        database = sqlite3.connect(tmp_path / "s.db")
        with contextlib.suppress(sqlite3.IntegrityError):
            database.executescript(statement)
        database.close()
        store, _ = await reopened(tmp_path / "s.db", lambda key, text: None)
        await store.history("risk")
        store.save(snapshot("risk", 8, "c"))
        store.close()
        store, found = await reopened(tmp_path / "s.db")
        assert found["risk"] == snapshot("risk", 8, "c")
        store.close()

    asyncio.run(scenario())


def test_what_goes_wrong_in_memory_is_not_held_against_the_file(tmp_path, monkeypatch):
    async def scenario():
        await _three(tmp_path / "s.db")
        real = supervisor.snapshots.store.open_database
        broken = False

        def authorize(action, *_):
            insert = broken and action == sqlite3.SQLITE_INSERT
            return sqlite3.SQLITE_DENY if insert else sqlite3.SQLITE_OK

        def unwritable(target):
            if target != ":memory:":
                error = sqlite3.OperationalError("attempt to write a readonly database")
                error.sqlite_errorcode = sqlite3.SQLITE_READONLY
                raise error
            database = real(target)
            database.set_authorizer(authorize)
            return database

        monkeypatch.setattr(supervisor.snapshots.store, "open_database", unwritable)
        troubles = []
        store, found = await reopened(
            tmp_path / "s.db", lambda key, text: troubles.append(text or "")
        )
        assert found
        broken = True
        store.save(snapshot("risk", 9, "c"))
        await store.history("risk")
        store.close()
        told = dict.fromkeys(text.partition(" (")[0] for text in troubles)
        assert list(told)[:2] == [
            f"the snapshot store {tmp_path / 's.db'} cannot be written",
            "a snapshot could not be kept on disk: not authorized",
        ]
        monkeypatch.undo()
        assert [path.name for path in tmp_path.glob("*damaged*")] == []
        store, again = await reopened(tmp_path / "s.db")
        assert again == found
        store.close()

    asyncio.run(scenario())


# Files that are taken away. What a save has answered is on disk, whoever looks: here a process that
# finds the files as they are now, as the next supervisor would after a SIGKILL in this moment.

READER = """\
import asyncio, shutil, sys
from pathlib import Path
from supervisor.snapshots.store import SnapshotStore

async def main():
    store = SnapshotStore(Path(sys.argv[1]), lambda key, text: print(key, text))
    found = await store.open()
    print(*(one.generation for one in found.values()))
    print(*await store.generations("risk"))
    store.close()

asyncio.run(main())
"""


def on_disk(path, copy):
    """What a next supervisor would find: the newest generation, and all of them."""
    shutil.copytree(path.parent, copy)
    done = subprocess.run(
        [sys.executable, "-c", READER, str(copy / path.name)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "while it is written"])
def test_a_save_into_a_file_that_is_gone_does_not_count(tmp_path, monkeypatch, when):
    folder = tmp_path / "state"
    folder.mkdir()

    real = supervisor.snapshots.store.open_database
    written_to = False

    def remove():
        for path in folder.iterdir():
            path.unlink()

    def authorize(action, *_):
        nonlocal written_to
        if written_to and action == sqlite3.SQLITE_DELETE:  # the row has been written
            written_to = False
            remove()
        return sqlite3.SQLITE_OK

    def watched(target):
        database = real(target)
        database.set_authorizer(authorize)
        return database

    monkeypatch.setattr(supervisor.snapshots.store, "open_database", watched)

    async def scenario():
        nonlocal written_to
        troubles = []
        store, _ = await reopened(folder / "s.db", lambda key, text: troubles.append(text))
        for number in (1, 2):
            store.save(snapshot("risk", number, "a"))
        await store.generations("risk")
        if when == "before":
            remove()
        else:
            written_to = True
        await asyncio.wrap_future(store.save(snapshot("risk", 3, "b")))
        assert on_disk(folder / "s.db", tmp_path / "copy") == ["3", "1 2 3"]
        assert troubles == []
        store.close()

    asyncio.run(scenario())


def test_what_cannot_be_put_in_place_is_kept_until_it_can_be(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor.snapshots.store, "RETRY", 0.0)
    folder = tmp_path / "state"
    folder.mkdir()
    told: dict[str, str | None] = {}

    def place():
        if (tmp_path / "no").exists():
            raise OSError(28, "No space left on device")
        folder.mkdir(exist_ok=True)

    async def scenario():
        store = SnapshotStore(folder / "s.db", told.__setitem__, place)
        await store.open()
        store.save(snapshot("risk", 1, "a"))
        await store.generations("risk")
        (tmp_path / "no").touch()
        shutil.rmtree(folder)
        store.save(snapshot("risk", 2, "b"))
        await store.check()
        assert "cannot be written (no space left on device)" in told["store_unwritable"]
        assert await store.generations("risk") == [1, 2]
        (tmp_path / "no").unlink()
        await store.check()
        assert told == {"store_unwritable": None}
        assert on_disk(folder / "s.db", tmp_path / "copy") == ["2", "1 2"]
        store.close()

    asyncio.run(scenario())


def test_one_that_moved_away_and_came_back_is_gone_on_with(tmp_path):
    folder, away = tmp_path / "state", tmp_path / "away"
    folder.mkdir()

    def place():
        raise FileNotFoundError(2, "No such file or directory")

    async def scenario():
        told: dict[str, str | None] = {}
        store = SnapshotStore(folder / "s.db", told.__setitem__, place)
        await store.open()
        store.save(snapshot("risk", 1, "a"))
        await store.check()
        folder.rename(away)
        await store.check()
        assert told["store_unwritable"]
        away.rename(folder)
        await store.check()
        assert told == {"store_unwritable": None}
        store.save(snapshot("risk", 2, "b"))
        await store.check()
        assert on_disk(folder / "s.db", tmp_path / "copy") == ["2", "1 2"]
        assert {path.name for path in folder.iterdir()} <= {"s.db", "s.db-wal", "s.db-shm"}
        store.close()

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize("complete", [True, False])
def test_a_new_database_that_was_not_put_in_place_is_found(tmp_path, complete):
    folder = tmp_path / "state"
    folder.mkdir()

    async def scenario():
        store, _ = await reopened(folder / "s.db")
        store.save(snapshot("risk", 1, "a"))
        await store.check()
        await asyncio.wrap_future(store.save(snapshot("risk", 2, "b")))
        with (
            contextlib.closing(sqlite3.connect(folder / "s.db")) as database,
            contextlib.closing(sqlite3.connect(folder / "s.db.new")) as fresh,
        ):
            database.backup(fresh)
            fresh.execute(f"PRAGMA user_version={COMPLETE if complete else 0}")
            if not complete:
                fresh.execute("DELETE FROM snapshots")
            fresh.commit()
        (folder / "s.db").unlink() if complete else None
        expected = ["2", "1 2"]
        assert on_disk(folder / "s.db", tmp_path / "copy") == expected
        assert not (tmp_path / "copy" / "s.db.new").exists()
        store.close()

    asyncio.run(scenario())


def test_what_a_full_disk_did_not_take_is_written_once_it_can_be(tmp_path):
    told: dict[str, str | None] = {}
    large = [f"job_{number}" for number in range(20_000)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def scenario():
        store = SnapshotStore(tmp_path / "s.db", told.__setitem__)
        await store.open()
        await asyncio.wrap_future(store.save(snapshot("risk", 1, "a")))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            await asyncio.wrap_future(store.save(snapshot("risk", 2, *large)))
            assert told["store_unwritable"] is not None
            await store.check()
            assert told["store_unwritable"] is not None
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await store.check()
        assert told == {"store_unwritable": None}
        store.close()
        store, found = await reopened(tmp_path / "s.db")
        store.close()
        assert found["risk"].generation == 2

    asyncio.run(scenario())
