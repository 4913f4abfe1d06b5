"""Reloads: beside what serves, by order, by a saved file, by a changed workspace."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from textwrap import dedent

import yaml
from supervised import (
    GOOD,
    Supervised,
    alive,
    job,
    make_workspace,
    poll,
    save,
    supervising,
    workspace_text,
)

BEGUN = "import os, time\nopen('begun', 'w').close()\nwhile not os.path.exists('go'):\n"
BEGUN += "    time.sleep(0.01)\n"

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


# Beside what serves.


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


async def test_a_newer_reload_supersedes_one_under_way(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": job("one")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        first = running.pid("a")
        save(tmp_path / "a.py", dedent(WAITS).format(name="two"))
        await poll(lambda: started(tmp_path) == 1, "the second imports")
        second = running["a"].newest.placed.pid
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


# Watched files.


async def reloaded(running: Supervised, name: str, key: str) -> None:
    await running.until(lambda: running.definitions(name) == [key], f"{name} serves {key}", 25)
    await running.ready(name)


async def test_a_saved_file_reloads_those_that_imported_it_and_only_those(tmp_path, runtime):
    files = {
        "lib/__init__.py": "",
        "lib/shared.py": "NAME = 'one'\n",
        "lib/unused.py": "x = 1\n",
        "a.py": "from runner_shim import job\nfrom lib.shared import NAME\n"
        "\n@job(name=NAME)\ndef this():\n    pass\n",
        "b.py": "import lib.shared\n" + job("b"),
        "c.py": job("c"),
    }
    workspace = make_workspace(tmp_path, files)
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        save(tmp_path / "lib" / "unused.py", "x = 2\n")
        save(tmp_path / "lib" / "shared.py", "NAME = 'two'\n")
        await reloaded(running, "a", "job:two")
        await running.until(lambda: running["b"].generation == 2, "b too")
        await running.ready()
        assert running["c"].generation == 1
        # In place, as other editors do.
        (tmp_path / "c.py").write_text(job("other"))
        await reloaded(running, "c", "job:other")
        assert [running[name].generation for name in "abc"] == [2, 2, 2]


async def test_a_burst_of_saves_reloads_once(tmp_path, runtime):
    files = {f"part{n}.py": f"NAME = '{n}'\n" for n in range(10)}
    text = "".join(f"import part{n}\n" for n in range(10)) + job("nightly")
    workspace = make_workspace(tmp_path, {**files, "a.py": text}, {"a": {}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        begun = time.monotonic()
        for n in range(10):
            save(tmp_path / f"part{n}.py", f"NAME = '{n}{n}'\n")
        quick = time.monotonic() - begun < 0.01
        await running.until(lambda: running["a"].generation >= 2, "reloaded")
        await running.ready()
        await everything_heard(running, tmp_path)
        # On a machine that was busy with something else meanwhile it may have been two bursts.
        assert running["a"].generation == 2 or not quick


async def everything_heard(running: Supervised, folder: Path) -> None:
    """Wait until a change to the workspace file is heard: what changed before it was, too."""
    text = (folder / "workspace.yaml").read_text()
    mark = f"mark{time.monotonic_ns()}"
    (folder / f"{mark}.py").write_text(job("mark"))
    document = yaml.safe_load(text)
    document["load_from"].append(
        {"python_file": {"relative_path": f"{mark}.py", "location_name": mark}}
    )
    save(folder / "workspace.yaml", yaml.safe_dump(document))
    await running.until(lambda: mark in running.daemon.locations, "heard")
    await running.ready(mark)


async def test_a_touched_file_or_one_saved_unchanged_reloads_nothing(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": job("one"), "b.py": job("one")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        os.utime(tmp_path / "a.py")
        save(tmp_path / "a.py", job("one"))
        (tmp_path / "a.pyc").write_bytes(b"x")
        (tmp_path / "notes.txt").write_text("x")
        save(tmp_path / "b.py", job("two"))
        await reloaded(running, "b", "job:two")
        await everything_heard(running, tmp_path)
        assert running["a"].generation == 1


async def test_mending_a_broken_file_recovers(tmp_path, runtime):
    workspace = make_workspace(
        tmp_path,
        {
            "syntax.py": "def broken(:\n",
            "deep.py": "import middle\n" + job("deep"),
            "middle.py": "import bottom\n",
            "bottom.py": "raise RuntimeError('not today')\n",
        },
        {"syntax": {}, "deep": {}},
    )
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"syntax": "failed", "deep": "failed"}
        await running.watched()
        save(tmp_path / "syntax.py", job("mended"))
        await reloaded(running, "syntax", "job:mended")
        assert running["deep"].generation == 1
        save(tmp_path / "bottom.py", "x = 1\n")
        await reloaded(running, "deep", "job:deep")


async def test_breaking_a_file_and_mending_it_again(tmp_path, runtime):
    workspace = make_workspace(
        tmp_path, {"a.py": "import lib\n" + job("one"), "lib.py": "x = 1\n"}, {"a": {}}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        for number in range(2):
            save(tmp_path / "lib.py", f"raise ValueError({number})\n")
            await running.until(lambda: running["a"].state == "failed", "broken")
            assert running.definitions("a") == ["job:one"]
            await running.watched()
            save(tmp_path / "lib.py", f"x = {number}\n")
            await running.ready()
            await running.watched()


async def test_creating_what_was_missing_recovers(tmp_path, runtime):
    workspace = make_workspace(
        tmp_path,
        {"needs.py": "import later.part\n" + job("needs")},
        {
            "needs": {},
            "absent": {},
            "far": {"relative_path": "not/yet/there.py", "working_directory": "not/yet"},
            "module": {"module_name": "team.defs", "working_directory": "."},
        },
    )
    async with supervising(workspace, runtime) as running:
        assert set((await running.settled()).values()) == {"failed"}
        await running.watched()
        save(tmp_path / "absent.py", job("absent"))
        await reloaded(running, "absent", "job:absent")
        (tmp_path / "later").mkdir()
        (tmp_path / "later" / "__init__.py").touch()
        (tmp_path / "later" / "part.py").touch()
        await reloaded(running, "needs", "job:needs")
        (tmp_path / "not" / "yet").mkdir(parents=True)
        save(tmp_path / "not" / "yet" / "there.py", job("far"))
        await reloaded(running, "far", "job:far")
        (tmp_path / "team").mkdir()
        (tmp_path / "team" / "__init__.py").touch()
        save(tmp_path / "team" / "defs.py", job("team"))
        await reloaded(running, "module", "job:team")


async def test_a_change_nearby_is_tried_when_nobody_knows_what_killed_it(tmp_path, runtime):
    files = {
        "file.py": "import lib\n" + job("file"),
        "lib.py": "import os\nos._exit(1)\n",
        "team/__init__.py": "",
        "team/defs.py": "import team.part\n" + job("module"),
        "team/part.py": "while True:\n    pass\n",
    }
    keys = {
        "file": {"restart": {"max_restarts": 0}},
        "module": {"module_name": "team.defs", "working_directory": ".", "load_timeout": "2s"},
    }
    workspace = make_workspace(tmp_path, files, keys)
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"file": "crashed", "module": "failed"}
        await running.watched()
        save(tmp_path / "lib.py", "x = 1\n")
        await reloaded(running, "file", "job:file")
        save(tmp_path / "team" / "part.py", "x = 1\n")
        await reloaded(running, "module", "job:module")


async def test_a_removed_file_fails_and_its_return_recovers(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": job("one")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        (tmp_path / "a.py").rename(tmp_path / "a.gone")
        await running.until(lambda: running["a"].state == "failed", "failed")
        assert running["a"].failure.kind == "missing_file"
        assert running.definitions("a") == ["job:one"]
        await running.watched()
        (tmp_path / "a.gone").rename(tmp_path / "a.py")
        await running.ready()


async def test_an_edit_while_it_loads_is_not_lost(tmp_path, runtime):
    files = {
        "a.py": "import os, time\nfrom runner_shim import job\nfrom lib import NAME\n"
        "open('begun', 'w').close()\n"
        "while not os.path.exists('go'):\n    time.sleep(0.01)\n"
        "\n@job(name=NAME)\ndef this():\n    pass\n",
        "lib.py": "NAME = 'one'\n",
    }
    workspace = make_workspace(tmp_path, files, {"a": {}})
    async with supervising(workspace, runtime) as running:
        await poll((tmp_path / "begun").exists, "it has imported lib")
        save(tmp_path / "lib.py", "NAME = 'two'\n")
        (tmp_path / "go").touch()
        await reloaded(running, "a", "job:two")
        assert running["a"].generation == 2


async def test_an_edit_while_a_failing_load_is_under_way_is_not_lost(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": BEGUN + "raise ValueError\n"})
    async with supervising(workspace, runtime) as running:
        await poll((tmp_path / "begun").exists, "it is loading")
        save(tmp_path / "a.py", job("mended"))
        (tmp_path / "go").touch()
        await reloaded(running, "a", "job:mended")


async def test_a_stopped_location_is_not_reloaded(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": job("one"), "b.py": job("one")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        running["a"].stop()
        await running.settled()
        save(tmp_path / "a.py", job("two"))
        save(tmp_path / "b.py", job("two"))
        await reloaded(running, "b", "job:two")
        await everything_heard(running, tmp_path)
        assert running["a"].state == "stopped"
        running["a"].start()
        await reloaded(running, "a", "job:two")


# The workspace file.


async def test_the_workspace_file_adds_removes_and_changes(tmp_path, runtime):
    files = {"a.py": GOOD, "b.py": GOOD, "c.py": GOOD, "d.py": GOOD}
    workspace = make_workspace(tmp_path, files, {"a": {}, "b": {}, "c": {}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        pids = {name: running.pid(name) for name in "abc"}

        def rewrite(locations: dict) -> None:
            save(workspace, yaml.safe_dump(workspace_text(locations), sort_keys=False))

        rewrite({"d": {}, "a": {}, "c": {"env": {"X": "1"}}})
        await running.until(lambda: list(running.daemon.locations) == ["d", "a", "c"], "applied")
        await running.until(lambda: running["c"].generation == 2, "c is loaded anew")
        await running.ready()
        assert running.pid("a") == pids["a"]
        assert running["a"].generation == 1
        await poll(lambda: not alive(pids["b"]) and not alive(pids["c"]), "the old are gone")
        # What needs no new process gets none.
        await running.watched()
        rewrite(
            {
                "d": {"restart": "never", "metadata": {"team": "x"}},
                "a": {},
                "c": {"env": {"X": "1"}},
            }
        )
        await running.until(lambda: running["d"].spec.restart.policy == "never", "applied")
        assert [running[name].generation for name in "dac"] == [1, 1, 2]
        # It may come back.
        await running.watched()
        rewrite({"a": {}, "b": {}})
        await running.until(lambda: list(running.daemon.locations) == ["a", "b"], "applied")
        await running.ready()


async def test_a_broken_edit_of_the_workspace_changes_nothing_and_is_reported(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": GOOD}, {"a": {}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        first = running.pid("a")
        good = workspace.read_text()
        save(workspace, good + "- python_fil: b.py\n")
        await running.until(lambda: running.daemon.problems, "reported")
        document, _ = await running.methods.status({})
        (problem,) = document["supervisor"]["configuration_problems"]
        assert problem["file"] == str(workspace)
        assert problem["line"] == good.count("\n") + 1
        assert "python_file" in problem["suggestion"]
        assert running.pid("a") == first
        save(workspace, good + "- python_file: {relative_path: b.py, location_name: b}\n")
        await running.until(lambda: "b" in running.daemon.locations, "mended")
        await running.ready()
        assert running.daemon.problems == ()
        assert running.pid("a") == first


async def test_creating_the_file_that_a_broken_edit_names_mends_it(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        text = yaml.safe_dump(workspace_text({"a": {"env_file": "later.env"}}))
        save(workspace, text)
        await running.until(lambda: running.daemon.problems, "reported")
        save(tmp_path / "later.env", "REGION=eu\n")
        await running.until(lambda: not running.daemon.problems, "mended")
        await running.ready()
        assert running["a"].spec.env == {"REGION": "eu"}


async def test_a_workspace_file_that_is_gone_for_a_moment(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": GOOD}, {"a": {}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        first = running.pid("a")
        good = workspace.read_text()
        workspace.unlink()
        await running.until(lambda: running.daemon.problems, "reported")
        assert running["a"].state == "ready"
        workspace.write_text(good + "- python_file: {relative_path: b.py, location_name: b}\n")
        await running.until(lambda: "b" in running.daemon.locations, "mended")
        assert running.pid("a") == first


async def test_an_env_file_is_part_of_the_workspace(tmp_path, runtime):
    text = """\
        import os
        from runner_shim import job

        @job(name=os.environ["NAME"])
        def this():
            pass
        """
    workspace = make_workspace(
        tmp_path,
        {"a.py": text, "b.py": GOOD, ".env": "NAME=one\n"},
        {"a": {"env_file": ".env"}, "b": {}},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        assert running.definitions("a") == ["job:one"]
        save(tmp_path / ".env", "NAME=two\n")
        await reloaded(running, "a", "job:two")
        assert running["b"].generation == 1
