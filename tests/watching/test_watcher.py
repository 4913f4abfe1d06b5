"""The watcher: who is told of which changes, and when it has begun to look."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from functools import partial
from pathlib import Path

import inotify_simple
import pytest
from supervised import save

from supervisor.watching.inotify import InotifyWatch, directory_watch
from supervisor.watching.watcher import Watcher

QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


class Told:
    """What a watcher has said; ``wait`` looks again whenever it says more."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.by_owner: dict[str, set[str]] = {}
        self.armed: list[str] = []
        self.troubles: list[str] = []
        self.more = asyncio.Event()

    def changed(self, owner: str, paths: set[str]) -> None:
        self.paths |= paths
        self.by_owner.setdefault(owner, set()).update(paths)
        self.more.set()

    def is_armed(self, owner: str) -> None:
        self.armed.append(owner)
        self.more.set()

    def trouble(self, text: str | None) -> None:
        if text is not None:
            self.troubles.append(text)
            self.more.set()

    async def wait(self, true) -> None:
        async with asyncio.timeout(30):
            while not true():
                self.more.clear()
                await self.more.wait()

    def heard(self, path: Path) -> bool:
        return str(path) in self.paths


@pytest.fixture(params=["linux", "another"])
def platform(request):
    """Both ways to watch: the second works here too."""
    return request.param


@contextlib.asynccontextmanager
async def watching(platform="linux"):
    told = Told()
    watcher = Watcher(
        told.changed, told.is_armed, told.trouble, partial(directory_watch, platform=platform)
    )
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


async def test_changes_are_told_once_it_is_armed(folders, platform):
    a, b, _ = folders
    async with watching(platform) as (watcher, told):
        watcher.watch("one", [str(a)])
        await told.wait(lambda: told.armed)
        (b / "unwatched.py").touch()
        (a / "inner").mkdir()
        (a / "written.py").write_text("x")
        save(a / "renamed.py", "x")
        await told.wait(lambda: told.heard(a / "written.py") and told.heard(a / "renamed.py"))
        assert not told.heard(b / "unwatched.py")


async def test_folders_are_watched_without_what_is_below_them(folders, platform):
    a, _, _ = folders
    (a / "inner").mkdir()
    async with watching(platform) as (watcher, told):
        watcher.watch("one", [str(a)])
        await told.wait(lambda: told.armed)
        (a / "inner" / "below.py").write_text("x")
        (a / "here.py").write_text("x")
        await told.wait(lambda: told.heard(a / "here.py"))
        assert not told.heard(a / "inner" / "below.py")


async def test_an_owner_whose_folders_are_watched_already_is_armed_by_itself(folders, platform):
    a, b, _ = folders
    async with watching(platform) as (watcher, told):
        watcher.watch("one", [str(a), str(b)])
        await told.wait(lambda: "one" in told.armed)
        told.armed.clear()
        watcher.watch("two", [str(b)])
        await told.wait(lambda: told.armed)
        assert told.armed == ["two"]


async def test_folders_are_added_and_taken_away_while_it_runs(folders, platform):
    a, b, c = folders
    async with watching(platform) as (watcher, told):
        watcher.watch("one", [str(a)])
        await told.wait(lambda: told.armed)
        told.armed.clear()
        watcher.watch("two", [str(b)])
        watcher.watch("three", [str(c)])
        await told.wait(lambda: {"two", "three"} <= set(told.armed))
        assert "one" not in told.armed, "its own are watched as before"
        for folder in folders:
            (folder / "x.py").touch()
        await told.wait(lambda: all(told.heard(folder / "x.py") for folder in folders))
        watcher.forget("one")
        watcher.forget("nobody")
        told.armed.clear()
        (c / "new").mkdir()
        watcher.watch("three", [str(c), str(c / "new")])
        await told.wait(lambda: told.armed)
        assert told.armed == ["three"]
        (a / "y.py").touch()
        (c / "new" / "y.py").touch()
        await told.wait(lambda: told.heard(c / "new" / "y.py"))
        assert not told.heard(a / "y.py")


async def test_folders_that_are_not_there_are_left_out(folders, platform):
    a, b, _ = folders
    async with watching(platform) as (watcher, told):
        watcher.watch("one", [str(a / "gone"), str(a), str(a / "gone" / "deeper")])
        await told.wait(lambda: told.armed)
        b.rmdir()
        watcher.watch("two", [str(b)])
        (a / "x.py").touch()
        await told.wait(lambda: told.heard(a / "x.py"))


async def test_a_watched_folder_that_goes_away_does_not_end_the_watching(folders, platform):
    a, b, _ = folders
    async with watching(platform) as (watcher, told):
        watcher.watch("one", [str(a)])
        watcher.watch("two", [str(b)])
        await told.wait(lambda: told.armed)
        a.rmdir()
        (b / "x.py").touch()
        await told.wait(lambda: told.heard(b / "x.py"))


async def test_it_can_be_closed_at_any_time(folders, platform):
    async with watching(platform):
        pass
    async with watching(platform) as (watcher, _):
        watcher.watch("one", [str(folders[0])])
    async with watching(platform) as (watcher, told):
        watcher.watch("one", [str(folders[0])])
        await told.wait(lambda: told.armed)


async def test_only_the_owners_of_a_folder_are_told(folders, platform):
    a, b, _ = folders
    async with watching(platform) as (watcher, told):
        watcher.watch("one", [str(a)])
        watcher.watch("two", [str(b)])
        watcher.watch("both", [str(a), str(b)])
        await told.wait(lambda: {"one", "two", "both"} <= set(told.armed))
        told.armed.clear()
        (a / "x.py").touch()
        (b / "y.py").touch()
        await told.wait(lambda: told.heard(a / "x.py") and told.heard(b / "y.py"))
        x, y = str(a / "x.py"), str(b / "y.py")
        heard = {name: paths & {x, y} for name, paths in told.by_owner.items()}
        assert heard == {"one": {x}, "two": {y}, "both": {x, y}}
        assert told.armed == []


async def test_only_the_owners_of_a_folder_that_is_gone_look(folders):
    a, b, _ = folders
    async with watching() as (watcher, told):
        watcher.watch("one", [str(a)])
        watcher.watch("two", [str(b)])
        await told.wait(lambda: {"one", "two"} <= set(told.armed))
        told.armed.clear()
        a.rmdir()
        await told.wait(lambda: told.armed)
        (b / "x.py").touch()
        await told.wait(lambda: told.heard(b / "x.py"))
        assert told.armed == ["one"]


@pytest.mark.parametrize("how", ["removed", "renamed"])
async def test_a_folder_that_is_made_anew_is_watched_anew(folders, how):
    a, b, _ = folders
    async with watching() as (watcher, told):
        watcher.watch("one", [str(a)])
        await told.wait(lambda: told.armed)
        told.armed.clear()
        if how == "removed":
            a.rmdir()
        else:
            a.rename(b / "elsewhere")
        a.mkdir()
        await told.wait(lambda: told.armed)
        (a / "x.py").touch()
        await told.wait(lambda: told.heard(a / "x.py"))


async def test_a_folder_of_two_names_is_told_of_by_both(folders):
    a, b, _ = folders
    link = b / "link"
    link.symlink_to(a)
    async with watching() as (watcher, told):
        watcher.watch("one", [str(a), str(link)])
        await told.wait(lambda: told.armed)
        (a / "x.py").touch()
        await told.wait(lambda: told.heard(a / "x.py") and told.heard(link / "x.py"))
        watcher.watch("one", [str(link)])
        watcher.watch("two", [str(b)])
        told.armed.clear()
        await told.wait(lambda: {"one", "two"} <= set(told.armed))
        (a / "y.py").touch()
        await told.wait(lambda: told.heard(link / "y.py"))
        assert not told.heard(a / "y.py")


async def test_writing_without_end_does_not_hold_back_what_changed(folders):
    a, _, _ = folders
    async with watching() as (watcher, told):
        watcher.watch("one", [str(a)])
        await told.wait(lambda: told.armed)
        number = 0

        def heard() -> bool:
            nonlocal number
            number += 1
            (a / f"{number}.log").touch()
            told.more.set()
            return told.heard(a / "x.py")

        (a / "x.py").touch()
        await told.wait(heard)


@pytest.mark.slow
async def test_what_the_kernel_dropped_has_everybody_look(folders):
    a, b, _ = folders
    async with watching() as (watcher, told):
        watcher.watch("one", [str(a)])
        watcher.watch("two", [str(b)])
        await told.wait(lambda: told.armed)
        told.armed.clear()
        for number in range(QUEUE // 2 + 2):  # two events each, and nobody reads meanwhile
            (a / f"{number}").touch()
        await told.wait(lambda: {"one", "two"} <= set(told.armed))


async def test_too_few_watches_are_told_of(folders):
    told = Told()

    class Full:
        def fileno(self):
            return self.ours

        def __init__(self):
            self.ours, self.theirs = os.pipe()

        def add_watch(self, path, mask):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def read(self, timeout):
            return []

        def close(self):
            os.close(self.ours)
            os.close(self.theirs)

    async def full(heard):
        return InotifyWatch(Full(), heard)

    watcher = Watcher(told.changed, told.is_armed, told.trouble, full)
    watcher.start()
    watcher.watch("one", [str(folders[0])])
    try:
        await told.wait(lambda: told.troubles)
        assert "fs.inotify.max_user_watches" in told.troubles[0]
    finally:
        await watcher.close()


async def test_nothing_is_left_open_when_it_is_closed_while_it_begins(monkeypatch):
    made, begun, go_on = [], threading.Event(), threading.Event()

    class Slow(inotify_simple.INotify):
        def __init__(self, **options):
            begun.set()
            assert go_on.wait(20)
            super().__init__(**options)
            made.append(self)

    monkeypatch.setattr(inotify_simple, "INotify", Slow)
    told = Told()
    watcher = Watcher(told.changed, told.is_armed, told.trouble)
    watcher.start()
    assert await asyncio.to_thread(begun.wait, 20)
    await watcher.close()
    go_on.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert [one.closed for one in made] == [True]
