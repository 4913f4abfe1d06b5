"""Reloads beside what serves: the old process answers until the new one is ready."""

from __future__ import annotations

import asyncio
from pathlib import Path
from textwrap import dedent

import pytest
from supervised import BEGUN, GOOD, alive, job, make_workspace, poll, save, supervising

WAITS = """\
    import os, time
    from runner_shim import job

    open("started-%d" % os.getpid(), "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)

    @job
    def {name}():
        pass
    """


def started(folder: Path) -> int:
    """How many processes have begun to import a module made of WAITS."""
    return len(list(folder.glob("started-*")))


async def test_a_reload_swaps_processes_when_the_new_one_is_ready(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": job("one"), "b.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        first, neighbour = running.pid("a"), running.pid("b")
        await running.watched()
        save(tmp_path / "a.py", BEGUN + job("two"))
        await poll((tmp_path / "begun").exists, "the second one imports")
        entry = await running.status("a")
        assert (entry["state"], entry["generation"]) == ("loading", 2)
        assert entry["serving"]["generation"] == 1
        assert entry["serving"]["alive"] is True
        assert entry["process"]["pid"] == first
        assert running.definitions("a") == ["job:one"]
        (tmp_path / "go").touch()
        await running.ready("a")
        entry = await running.status("a")
        assert entry["serving"]["generation"] == 2
        assert entry["reason"].endswith("1 added, 1 removed")
        assert running.definitions("a") == ["job:two"]
        assert entry["process"]["pid"] != first
        await poll(lambda: not alive(first), "the old one is gone")
        assert running.pid("b") == neighbour


async def test_a_failed_reload_keeps_serving_and_shows_both(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": job("one")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        first = running.pid("a")
        save(tmp_path / "a.py", "import missing_thing\n")
        await running.until(lambda: running["a"].state == "failed", "failed")
        # What failed forked is tried fresh, which must not see the next edit.
        await running.until(lambda: not running["a"].under_way, "tried fresh")
        entry = await running.status("a")
        assert entry["generation"] == 2
        assert entry["failure"]["kind"] == "import_error"
        assert entry["failure"]["generation"] == 2
        assert entry["serving"]["generation"] == 1
        assert entry["serving"]["alive"] is True
        assert entry["process"]["pid"] == first
        assert running.definitions("a") == ["job:one"]
        shown, _ = await running.methods.show({"location": "a", "name": "one"})
        assert shown["generation"] == 1
        # The next good one replaces it.
        await running.watched()
        save(tmp_path / "a.py", job("three"))
        await running.until(lambda: running.definitions("a") == ["job:three"], "mended")
        entry = await running.status("a")
        assert (entry["state"], entry["failure"]) == ("ready", None)
        await poll(lambda: not alive(first), "the old one is gone")


@pytest.mark.slow
async def test_a_reload_that_dies_or_hangs_keeps_serving(tmp_path, runtime):
    workspace = make_workspace(
        tmp_path,
        {"a.py": job("one"), "b.py": job("one")},
        {"a": {"restart": {"max_restarts": 0}}, "b": {"load_timeout": "2s"}},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        pids = running.pid("a"), running.pid("b")
        await running.watched()
        save(tmp_path / "a.py", "import os\nos.abort()\n")
        save(tmp_path / "b.py", "while True:\n    pass\n")
        await running.until(
            lambda: (running["a"].state, running["b"].state) == ("crashed", "failed"), "both"
        )
        assert all(alive(pid) for pid in pids)
        assert running.definitions("a") == running.definitions("b") == ["job:one"]
        assert (await running.status("a"))["process"]["pid"] == pids[0]


async def test_requests_in_flight_finish_on_the_old_process(tmp_path, runtime):
    text = """\
        import os, time
        from runner_shim import job, repository

        def slow():
            open("asked", "w").close()
            while not os.path.exists("answer"):
                time.sleep(0.01)

            @job(description="from pid %d" % os.getpid())
            def slow():
                pass
            return slow

        @repository
        def things():
            return {"jobs": {"slow": slow}}
        """
    workspace = make_workspace(tmp_path, {"a.py": text})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        first = running.pid("a")
        request = asyncio.create_task(running.methods.show({"location": "a", "name": "slow"}))
        await poll((tmp_path / "asked").exists, "asked")
        running["a"].reload()
        await running.until(
            lambda: running["a"].generation == 2 and running["a"].state == "ready", "reloaded"
        )
        assert running.pid("a") != first
        assert alive(first), "it still has something to answer"
        (tmp_path / "answer").touch()
        shown, _ = await request
        assert shown["definition"]["description"] == f"from pid {first}"
        await poll(lambda: not alive(first), "then it goes")


@pytest.mark.slow
async def test_a_newer_reload_supersedes_one_under_way(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": job("one")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        first = running.pid("a")
        save(tmp_path / "a.py", dedent(WAITS).format(name="two"))
        await poll(lambda: started(tmp_path) == 1, "the second imports")
        second = running["a"].newest.process.pid
        save(tmp_path / "a.py", dedent(WAITS).format(name="three"))
        await poll(lambda: started(tmp_path) == 2, "the third imports")
        await poll(lambda: not alive(second), "the second is gone")
        assert alive(first)
        assert running.definitions("a") == ["job:one"]
        (tmp_path / "go").touch()
        await running.ready("a")
        assert running.definitions("a") == ["job:three"]
        assert running["a"].generation == 3
        assert running["a"].restarts == 0


async def test_the_difference_between_generations(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": job("one") + job("two")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        text = "from runner_shim import job\n\n@job(description='new')\ndef two():\n    pass\n"
        await running.watched()
        save(tmp_path / "a.py", text + job("three"))
        await running.until(lambda: "job:three" in running.definitions("a"), "reloaded")
        found, _ = await running.methods.diff({"location": "a"})
        assert (found["from"]["generation"], found["to"]["generation"]) == (1, 2)
        assert (found["added"], found["removed"]) == (["job:three"], ["job:one"])
        (change,) = found["changed"]
        assert (change["key"], change["fields"]) == ("job:two", ["description"])
        assert (change["before"], change["after"]) == (
            {"description": None},
            {"description": "new"},
        )
        running["a"].reload()
        await running.until(lambda: running["a"].generation == 3, "again")
        await running.ready()
        assert running["a"].reason.endswith("definitions unchanged")
