"""What is known of the schedules and sensors of a location that has left the workspace is kept for a while."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from supervised import GOOD, make_workspace, poll, supervising

from supervisor.runs import tick_store
from supervisor.runs.tick_store import Stored, TickStore

DAY = 86400.0


def remembered(database: sqlite3.Connection, location: str) -> None:
    """Have a tick, a cursor and a run key of a sensor of ``location``."""
    key = location, "files"
    tick_store.remember(database, key, Stored(cursor="7"))
    tick: dict[str, Any] = {"location": location, "name": "files", "state": "skipped"}
    tick_store.add_tick(database, {**tick, "by": None, "began": 1.0, "requests": []})
    tick_store.take_key(database, key, "one", "run-1")


def known(path: Path) -> list[set[str]]:
    """The locations of which each table has something."""
    with sqlite3.connect(path) as database:
        found = [
            {row[0] for row in database.execute(f"SELECT location FROM {table}")}
            for table in ("automations", "ticks", "run_keys")
        ]
    database.close()
    return found


async def test_they_are_counted_from_when_they_were_missed_first(tmp_path: Path) -> None:
    path = tmp_path / "automations.db"
    store = TickStore(path)
    store.open()
    for name in ("here", "gone", "back"):
        await store.write(lambda one, name=name: remembered(one, name))

    async def forget(day: int, *present: str) -> list[str]:
        return await store.write(
            lambda one: tick_store.forget_absent(one, present, day * DAY, 30 * DAY)
        )

    assert await forget(100, "here") == []
    assert await forget(120, "here", "back") == []
    assert await forget(131, "here") == ["gone"]
    assert await forget(149, "here") == []
    assert known(path) == [{"here", "back"}] * 3
    assert await forget(170, "here") == ["back"]
    await store.close()


async def test_a_supervisor_forgets_them(tmp_path: Path, runtime: Path) -> None:
    workspace = make_workspace(tmp_path, {"here.py": GOOD})
    state = tmp_path / ".supervise" / "workspace.yaml"
    state.mkdir(parents=True)
    path = state / "automations.db"
    store = TickStore(path)
    store.open()
    for name in ("here", "gone", "just_gone"):
        await store.write(lambda one, name=name: remembered(one, name))
    long_ago = time.time() - 31 * DAY
    await store.write(
        lambda one: tick_store.forget_absent(one, ("here", "just_gone"), long_ago, 30 * DAY)
    )
    await store.close()
    async with supervising(workspace, runtime):
        await poll(lambda: known(path) == [{"here", "just_gone"}] * 3, "it is forgotten")
