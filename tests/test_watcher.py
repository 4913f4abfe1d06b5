"""The watcher: who is told of which changes, and when it has begun to look."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from supervised import save

from supervisor.watcher import Watcher


class Told:
    """What a watcher has said; ``wait`` looks again whenever it says more."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.armed: list[str | None] = []
        self.troubles: list[str] = []
        self._more = asyncio.Event()

    def changed(self, paths: set[str]) -> None:
        self.paths |= paths
        self._more.set()

    def is_armed(self, owner: str | None) -> None:
        self.armed.append(owner)
        self._more.set()

    def trouble(self, text: str) -> None:
        self.troubles.append(text)
        self._more.set()

    async def wait(self, true) -> None:
        async with asyncio.timeout(30):
            while not true():
                self._more.clear()
                await self._more.wait()

    def heard(self, path: Path) -> bool:
        return str(path) in self.paths


@contextlib.asynccontextmanager
async def watching():
    told = Told()
    watcher = Watcher(told.changed, told.is_armed, told.trouble)
    watcher.start()
    try:
        yield watcher, told
    finally:
        await watcher.close()
        assert told.troubles == []


@pytest.fixture
def folders(tmp_path):
    found = [tmp_path / name for name in ("a", "b", "c")]
    for one in found:
        one.mkdir()
    return found


async def test_changes_are_told_once_it_is_armed(folders):
    a, b, _ = folders
    async with watching() as (watcher, told):
        watcher.watch("one", [str(a)])
        await told.wait(lambda: told.armed)
        (b / "unwatched.py").touch()
        (a / "inner").mkdir()
        (a / "written.py").write_text("x")
        save(a / "renamed.py", "x")
        await told.wait(lambda: told.heard(a / "written.py") and told.heard(a / "renamed.py"))
        assert not told.heard(b / "unwatched.py")


async def test_folders_are_watched_without_what_is_below_them(folders):
    a, _, _ = folders
    (a / "inner").mkdir()
    async with watching() as (watcher, told):
        watcher.watch("one", [str(a)])
        await told.wait(lambda: told.armed)
        (a / "inner" / "below.py").write_text("x")
        (a / "here.py").write_text("x")
        await told.wait(lambda: told.heard(a / "here.py"))
        assert not told.heard(a / "inner" / "below.py")


async def test_an_owner_whose_folders_are_watched_already_is_armed_by_itself(folders):
    a, b, _ = folders
    async with watching() as (watcher, told):
        watcher.watch("one", [str(a), str(b)])
        await told.wait(lambda: None in told.armed)
        told.armed.clear()
        watcher.watch("two", [str(b)])
        await told.wait(lambda: told.armed)
        assert told.armed == ["two"]


async def test_folders_are_added_and_taken_away_while_it_runs(folders):
    a, b, c = folders
    async with watching() as (watcher, told):
        watcher.watch("one", [str(a)])
        await told.wait(lambda: told.armed)
        told.armed.clear()
        watcher.watch("two", [str(b)])
        watcher.watch("three", [str(c)])
        await told.wait(lambda: None in told.armed)
        for folder in folders:
            (folder / "x.py").touch()
        await told.wait(lambda: all(told.heard(folder / "x.py") for folder in folders))
        watcher.forget("one")
        watcher.forget("nobody")
        told.armed.clear()
        (c / "new").mkdir()
        watcher.watch("three", [str(c), str(c / "new")])
        await told.wait(lambda: None in told.armed)
        (a / "y.py").touch()
        (c / "new" / "y.py").touch()
        await told.wait(lambda: told.heard(c / "new" / "y.py"))
        assert not told.heard(a / "y.py")


async def test_folders_that_are_not_there_are_left_out(folders):
    a, b, _ = folders
    async with watching() as (watcher, told):
        watcher.watch("one", [str(a / "gone"), str(a), str(a / "gone" / "deeper")])
        await told.wait(lambda: told.armed)
        b.rmdir()
        watcher.watch("two", [str(b)])
        (a / "x.py").touch()
        await told.wait(lambda: told.heard(a / "x.py"))


async def test_a_watched_folder_that_goes_away_does_not_end_the_watching(folders):
    a, b, _ = folders
    async with watching() as (watcher, told):
        watcher.watch("one", [str(a)])
        watcher.watch("two", [str(b)])
        await told.wait(lambda: told.armed)
        a.rmdir()
        (b / "x.py").touch()
        await told.wait(lambda: told.heard(b / "x.py"))


async def test_it_can_be_closed_at_any_time(folders):
    async with watching():
        pass
    async with watching() as (watcher, _):
        watcher.watch("one", [str(folders[0])])
    async with watching() as (watcher, told):
        watcher.watch("one", [str(folders[0])])
        await told.wait(lambda: told.armed)
