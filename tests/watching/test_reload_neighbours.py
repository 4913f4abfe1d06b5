"""Locations beside busy neighbours: what others save, and what is saved often, holds none of them down."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from supervised import Supervised, job, make_workspace, poll, reloaded, save, supervising

from supervisor.watching.dependencies import Looked
from supervisor.watching.reloading import Disk, FileWatch

SPAWN = {"start_method": "spawn"}


@contextlib.asynccontextmanager
async def saving(path: Path, text: Callable[[int], str], every: float) -> AsyncIterator[list[str]]:
    """Save ``path`` every so many seconds with ``text(number)``; gives what was saved."""
    saved: list[str] = []

    async def go_on() -> None:
        while True:
            saved.append(text(len(saved)))
            save(path, saved[-1])
            await asyncio.sleep(every)

    task = asyncio.create_task(go_on())
    try:
        yield saved
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def version(number: int) -> str:
    return job(f"v{number}")


def slow(name: str, seconds: float) -> str:
    return f"import time\ntime.sleep({seconds})\n" + job(name)


async def heard(running: Supervised, folder: Path) -> None:
    """Wait until a later change than all before was heard of and judged."""
    mark = f"m{time.monotonic_ns()}"
    save(folder / "mark.py", job(mark))
    await reloaded(running, "mark", f"job:{mark}")


@pytest.mark.slow
async def test_one_that_died_comes_back_beside_one_that_is_saved_all_the_time(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"slow.py": slow("one", 0.7), "other.py": version(0)})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        async with saving(tmp_path / "other.py", version, 0.1) as saved:
            await running.until(lambda: running["other"].generation > 2, "it is reloaded often")
            os.kill(running.pid("slow"), signal.SIGKILL)
            await running.until(lambda: running["slow"].restarts == 1, "it died")
            await running.ready("slow")
            assert running["slow"].generation == 2
            assert len(saved) > 5


async def test_a_crash_loop_is_given_up_beside_one_that_is_saved_all_the_time(tmp_path, runtime):
    restart = {"max_restarts": 3, "initial_delay": "300ms"}
    workspace = make_workspace(
        tmp_path,
        {"crash.py": "import os\nos._exit(1)\n", "other.py": version(0)},
        {"crash": {"restart": restart, **SPAWN}, "other": {}},
    )
    async with supervising(workspace, runtime) as running:
        async with saving(tmp_path / "other.py", version, 0.1):
            await running.until(lambda: running["crash"].state == "crashed", "given up")
        assert (running["crash"].generation, running["crash"].restarts) == (4, 3)


async def test_an_edit_of_its_own_files_ends_a_backoff_and_no_other_does(tmp_path, runtime):
    restart = {"initial_delay": "1h", "max_delay": "1h"}
    files = {"a.py": "import lib\n" + job("a"), "lib.py": "x = 1\n", "mark.py": job("mark")}
    workspace = make_workspace(tmp_path, files, {"a": {"restart": restart, **SPAWN}, "mark": {}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        for _ in range(2):  # the first is answered at once
            before = running["a"].generation
            os.kill(running.pid("a"), signal.SIGKILL)
            await running.until(
                lambda n=before: running["a"].generation > n or running["a"].state == "backoff",
                "it died",
            )
            if running["a"].state != "backoff":
                await running.ready("a")
        assert running["a"].state == "backoff"
        (tmp_path / "new.py").touch()
        await heard(running, tmp_path)
        assert (running["a"].state, running["a"].generation) == ("backoff", 2)
        save(tmp_path / "lib.py", "x = 2\n")
        await running.ready("a")
        assert running["a"].generation == 3


async def test_a_failed_load_waits_for_what_it_looked_for_and_nothing_else(tmp_path, runtime):
    files = {
        "module.py": "import helpers\n" + job("module"),
        "part.py": "import team.helpers\n" + job("part"),
        "team/__init__.py": "",
        "data.py": "RATES = open('data/rates.csv').read()\n" + job("data"),
        "name.py": "from team import helpers\n" + job("name"),
        "mark.py": job("mark"),
    }
    names = ("module", "part", "data", "name")
    workspace = make_workspace(tmp_path, files, {name: {} for name in (*names, "mark")})
    async with supervising(workspace, runtime) as running:
        states = await running.settled()
        assert {states[name] for name in names} == {"failed"}
        await running.watched()
        for name in ("other.py", "helpers2.py", "team/other.py", "notes.yaml"):
            (tmp_path / name).touch()
        (tmp_path / "folder").mkdir()
        await heard(running, tmp_path)
        assert {running[name].generation for name in names} == {1}
        save(tmp_path / "team" / "helpers.py", "")
        await reloaded(running, "part", "job:part")
        await reloaded(running, "name", "job:name")
        (tmp_path / "data").mkdir()
        save(tmp_path / "data" / "rates.csv", "1\n")
        await reloaded(running, "data", "job:data")
        assert running["module"].generation == 1
        save(tmp_path / "helpers.py", "")
        await reloaded(running, "module", "job:module")
        # The second was the fresh process in which the failed load was tried again.
        assert {running[name].generation for name in names} == {3}


@pytest.mark.slow
async def test_one_that_is_saved_faster_than_it_loads_is_ready_again_and_again(tmp_path, runtime):
    def text(number: int) -> str:
        return slow(f"v{number}", 0.6)

    workspace = make_workspace(tmp_path, {"a.py": text(0)})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        served: set[str] = set()

        def seen() -> int:
            served.update(running.definitions("a"))
            return len(served)

        async with saving(tmp_path / "a.py", text, 0.2) as saved:
            await running.until(lambda: seen() > 4, "served again and again")
        begun = running["a"].generation
        assert begun <= len(served) + 1, "what is begun is finished"
        await reloaded(running, "a", f"job:v{len(saved) - 1}")


async def test_an_edit_mends_an_import_that_hangs(tmp_path, runtime):
    hangs = "open('begun', 'w').close()\nimport time\ntime.sleep(1000)\n"
    workspace = make_workspace(tmp_path, {"a.py": job("one")}, {"a": {"load_timeout": "1h"}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        save(tmp_path / "a.py", hangs)
        await poll((tmp_path / "begun").exists, "it hangs")
        save(tmp_path / "a.py", job("mended"))
        await reloaded(running, "a", "job:mended")
        assert running["a"].generation == 3


async def test_a_checkout_is_one_generation(tmp_path, runtime):
    names = [f"part{number}" for number in range(400)]
    text = "from runner_shim import job\n" + "".join(f"import {name}\n" for name in names)
    text += "@job(name='sum_%d' % sum(" + "+".join(f"[{name}.N]" for name in names) + "))\n"
    files = {f"{name}.py": "N = 0\n" for name in names}
    workspace = make_workspace(tmp_path, {**files, "a.py": text + "def a(): pass\n"}, {"a": {}})
    longest = 0.0

    def checkout() -> None:
        nonlocal longest
        before = time.monotonic()
        for name in names:
            (tmp_path / f"{name}.py").unlink()
            (tmp_path / f"{name}.py").write_text("N = 1\n")
            threading.Event().wait(0.002)
            now = time.monotonic()
            longest, before = max(longest, now - before), now

    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        await asyncio.to_thread(checkout)
        await reloaded(running, "a", f"job:sum_{len(names)}")
        # A writer that pauses for longer than the quiet that ends a burst has begun another one.
        assert running["a"].generation <= 3 or longest > 0.02


async def test_many_in_one_directory_are_loaded_for_their_own_files_alone(tmp_path, runtime):
    names = [f"l{number}" for number in range(6)]
    workspace = make_workspace(tmp_path, {f"{name}.py": version(0) for name in names})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        for number in range(1, 4):
            for name in names:
                save(tmp_path / f"{name}.py", version(number))
            for name in names:
                await reloaded(running, name, f"job:v{number}")
        assert [running[name].generation for name in names] == [4] * len(names)


@pytest.mark.parametrize("changes", [True, False], ids=["other text", "same text"])
async def test_code_that_writes_its_own_files_is_believed_in_the_end(
    tmp_path, monkeypatch, changes
):
    monkeypatch.setattr("supervisor.watching.reloading.PATIENCE", (0.0,) * 6)
    path, told = tmp_path / "lib.py", asyncio.Queue()
    disk = Disk()
    files = FileWatch(
        "a", disk, lambda *_: files.look(), lambda paths, late: told.put_nowait((paths, late))
    )
    try:
        for number in range(6):
            files.begun(lambda: 1)
            path.write_text("#" * (number if changes else 1))
            files.take(Looked((str(path),)), 1)
            if number == 0 or changes:
                assert await asyncio.wait_for(told.get(), 30) == ({str(path)}, True)
            await poll(lambda: files.watched, "judged")
        files.begun(lambda: 1)
        path.write_text("believed" if changes else "#")
        files.take(Looked((str(path),)), 1)
        await poll(lambda: files.watched, "judged")
        if changes:
            assert told.empty()
        # Whatever is saved at another time counts.
        path.write_text("an edit")
        files.hear({str(path)})
        paths, late = await asyncio.wait_for(told.get(), 30)
        assert (paths, late) == ({str(path)}, False) or not changes
    finally:
        files.close()
        disk.close()
