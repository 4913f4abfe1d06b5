"""Edits of a running workspace in which something is wrong: the rest of the edit counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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

MISTAKE = {"load_timeout": "soon"}


def rewrite(workspace: Path, locations: dict[str, dict[str, Any]], **top: Any) -> None:
    save(workspace, yaml.safe_dump(workspace_text(locations, **top), sort_keys=False))


async def told(running: Supervised) -> list[str]:
    """Which lines of the workspace have problems, by the status document."""
    document = await running.document()
    return [one["message"] for one in document["supervisor"]["configuration_problems"]]


async def test_one_bad_entry_holds_back_no_other(tmp_path, runtime):
    files = {f"{name}.py": GOOD for name in "abcde"}
    workspace = make_workspace(tmp_path, files, {"a": {}, "b": {}, "c": {}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        pids = {name: running.pid(name) for name in "abc"}
        changed = {"env": {"X": "1"}}
        rewrite(workspace, {"a": changed | MISTAKE, "b": changed, "d": {}, "e": MISTAKE})
        await running.until(lambda: list(running.daemon.fleet.locations) == ["a", "b", "d"], "read")
        await running.until(lambda: running["b"].generation == 2, "b is loaded anew")
        await running.ready()
        await poll(lambda: not alive(pids["c"]), "c is gone")
        assert (running.pid("a"), running["a"].generation) == (pids["a"], 1)
        assert running["a"].spec.env == {}, "a broken entry counts as a whole, or not at all"
        assert len(await told(running)) == 2
        (condition,) = (await running.status("a"))["conditions"]
        assert condition["key"] == "entry_refused"
        assert f"{workspace}:" in condition["message"]
        assert (await running.status("b"))["conditions"] == []
        log = running.daemon.state.path / "supervisor.log"
        await poll(lambda: log.read_text().count("refused: ") == 2, "the log has both")
        # Mended, its change counts.
        await running.watched()
        rewrite(workspace, {"a": changed, "b": changed, "d": {}, "e": {}})
        await running.until(lambda: list(running.daemon.fleet.locations) == list("abde"), "read")
        await running.until(lambda: running["a"].generation == 2, "a is loaded anew")
        await running.ready()
        assert await told(running) == []
        assert (await running.status("a"))["conditions"] == []
        assert running["b"].generation == 2


async def test_broken_entries_may_be_removed_like_any_other(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        rewrite(workspace, {"a": {}, "b": MISTAKE})
        await running.until(lambda: running.daemon.fleet.problems, "reported")
        await running.watched()
        rewrite(workspace, {"a": {}})
        await running.until(lambda: list(running.daemon.fleet.locations) == ["a"], "removed")
        assert await told(running) == []


async def test_an_entry_that_cannot_be_told_keeps_what_is_missing(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        pid = running.pid("b")
        save(workspace, "load_from:\n- 5\n- python_file: {relative_path: a.py, location_name: a}\n")
        await running.until(lambda: running.daemon.fleet.problems, "reported")
        document = await running.document()
        await running.until(lambda: "entries_missing" in running.daemon.fleet.conditions, "told")
        assert sorted(running.daemon.fleet.locations) == ["a", "b"]
        assert running.pid("b") == pid
        assert len(document["supervisor"]["configuration_problems"]) == 1
        await running.watched()
        rewrite(workspace, {"a": {}})
        await running.until(lambda: list(running.daemon.fleet.locations) == ["a"], "removed")
        assert "entries_missing" not in running.daemon.fleet.conditions


async def test_what_is_renamed_and_broken_at_once_goes_on_by_its_old_name(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        pid = running.pid("a")
        rewrite(workspace, {"new": {"relative_path": "a.py", **MISTAKE}, "b": {}})
        await running.until(lambda: running.daemon.fleet.problems, "reported")
        assert sorted(running.daemon.fleet.locations) == ["a", "b"]
        assert running.pid("a") == pid
        await running.watched()
        rewrite(workspace, {"new": {"relative_path": "a.py"}, "b": {}})
        await running.until(lambda: list(running.daemon.fleet.locations) == ["new", "b"], "renamed")
        await running.ready()


async def test_a_name_that_is_taken_ends_no_location(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        pids = [running.pid(name) for name in "ab"]
        text = workspace.read_text()
        save(workspace, text.replace("location_name: b", "location_name: a"))
        await running.until(lambda: "entries_missing" in running.daemon.fleet.conditions, "told")
        (problem,) = await told(running)
        assert 'the location name "a" is taken already' in problem
        assert [running.pid(name) for name in "ab"] == pids
        await running.watched()
        save(workspace, text.replace("location_name: b", "location_name: c"))
        await running.until(lambda: list(running.daemon.fleet.locations) == ["a", "c"], "renamed")
        await running.ready()
        assert running.pid("a") == pids[0]


async def test_broken_defaults_hold_back_changes_and_no_removal(tmp_path, runtime):
    files = {f"{name}.py": GOOD for name in "abc"}
    workspace = make_workspace(tmp_path, files, {"a": {}, "b": {}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        pid = running.pid("a")
        rewrite(workspace, {"a": {"env": {"X": "1"}}, "c": {}}, defaults=MISTAKE)
        await running.until(lambda: list(running.daemon.fleet.locations) == ["a"], "b is removed")
        assert running.pid("a") == pid
        assert len(await told(running)) == 1


async def test_an_environment_that_breaks_holds_back_those_that_use_it(tmp_path, runtime):
    files = {f"{name}.py": GOOD for name in "abc"}
    shared = {"environment": "e"}
    workspace = make_workspace(
        tmp_path, files, {"a": shared, "b": shared, "c": {}}, environments={"e": {}}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        changed = {"env": {"X": "1"}}
        rewrite(
            workspace,
            {"a": shared | changed, "b": shared, "c": changed},
            environments={"e": {"requirements_file": "missing.txt"}},
        )
        await running.until(lambda: running["c"].generation == 2, "c is loaded anew")
        await running.ready()
        assert [running[name].generation for name in "ab"] == [1, 1]
        assert len(await told(running)) == 1


async def test_a_file_that_is_no_yaml_changes_nothing_of_its_own(tmp_path, runtime):
    one = make_workspace(tmp_path, {"a.py": job("a"), "b.py": job("b")}, {"a": {}})
    two = tmp_path / "two.yaml"
    two.write_text(yaml.safe_dump(workspace_text({"b": {}})))
    async with supervising(one, runtime, more=(two,)) as running:
        await running.ready()
        await running.watched()
        pid = running.pid("a")
        save(one, "load_from: [\n")
        save(two, yaml.safe_dump(workspace_text({"b": {"env": {"X": "1"}}})))
        await running.until(lambda: running["b"].generation == 2, "b is loaded anew")
        await running.until(lambda: running.daemon.fleet.problems, "reported")
        await running.ready()
        assert running.pid("a") == pid
        # Both are watched still.
        await running.watched()
        rewrite(one, {"a": {"env": {"X": "1"}}})
        await running.until(lambda: running["a"].generation == 2, "mended")
        assert await told(running) == []
