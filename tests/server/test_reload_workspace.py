"""Reloads by a changed workspace: locations added, removed and changed, and edits that are broken."""

from __future__ import annotations

import yaml
from supervised import (
    GOOD,
    alive,
    make_workspace,
    poll,
    reloaded,
    save,
    supervising,
    workspace_text,
)


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
        await running.until(
            lambda: list(running.daemon.fleet.locations) == ["d", "a", "c"], "applied"
        )
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
        await running.until(lambda: list(running.daemon.fleet.locations) == ["a", "b"], "applied")
        await running.ready()


async def test_a_broken_edit_of_the_workspace_changes_nothing_and_is_reported(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": GOOD}, {"a": {}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        first = running.pid("a")
        good = workspace.read_text()
        save(workspace, good + "- python_fil: b.py\n")
        await running.until(lambda: running.daemon.fleet.problems, "reported")
        document = await running.document()
        (problem,) = document["supervisor"]["configuration_problems"]
        assert problem["file"] == str(workspace)
        assert problem["line"] == good.count("\n") + 1
        assert "python_file" in problem["suggestion"]
        assert running.pid("a") == first
        save(workspace, good + "- python_file: {relative_path: b.py, location_name: b}\n")
        await running.until(lambda: "b" in running.daemon.fleet.locations, "mended")
        await running.ready()
        assert running.daemon.fleet.problems == ()
        assert running.pid("a") == first


async def test_creating_the_file_that_a_broken_edit_names_mends_it(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        text = yaml.safe_dump(workspace_text({"a": {"env_file": "later.env"}}))
        save(workspace, text)
        await running.until(lambda: running.daemon.fleet.problems, "reported")
        save(tmp_path / "later.env", "REGION=eu\n")
        await running.until(lambda: not running.daemon.fleet.problems, "mended")
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
        await running.until(lambda: running.daemon.fleet.problems, "reported")
        assert running["a"].state == "ready"
        workspace.write_text(good + "- python_file: {relative_path: b.py, location_name: b}\n")
        await running.until(lambda: "b" in running.daemon.fleet.locations, "mended")
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
        {"a.py": text, "b.py": GOOD, "a.env": "NAME=one\n"},
        {"a": {"env_file": "a.env"}, "b": {}},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        assert running.definitions("a") == ["job:one"]
        save(tmp_path / "a.env", "NAME=two\n")
        await reloaded(running, "a", "job:two")
        assert running["b"].generation == 1


async def test_a_dotenv_that_appears_beside_the_workspace_is_read(tmp_path, runtime):
    text = """\
        import os
        from runner_shim import job

        @job(name=os.environ["NAME"])
        def this():
            pass
        """
    workspace = make_workspace(tmp_path, {"a.py": text, "b.py": GOOD}, {"a": {}, "b": {}})
    async with supervising(workspace, runtime) as running:
        await running.until(lambda: running["a"].state == "failed", "failed")
        await running.watched()
        assert "NAME is not set" in running["a"].failure.hint
        save(tmp_path / ".env", "NAME=one\n")
        await running.ready()
        assert running.definitions("a") == ["job:one"]
