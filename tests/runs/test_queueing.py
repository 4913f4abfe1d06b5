"""Runs that wait: for a place, for their location, for a next supervisor; and what is said of them."""

from __future__ import annotations

import asyncio

import pytest
import yaml
from launched import FOREVER, UNTIL_GO, Launched, journals, kill, launching, one_op
from supervised import (
    make_workspace,
    poll,
    save,
    supervising,
    workspace_text,
)
from test_adoption import order

from supervisor.runs.journal import Journal

ONE = {"runs": {"max_concurrent": 1}}


async def states(team: Launched, *runs: str) -> list[str]:
    return [(await team.row(run))["state"] for run in runs]


async def test_runs_above_the_limit_wait_in_order_and_say_why(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op(FOREVER), **ONE) as team:
        first = await team.launch()
        await team.until(first)
        second, third = await team.launch(), await team.launch()
        rows = [await team.row(run) for run in (second, third)]
        assert [row["state"] for row in rows] == ["queued", "queued"]
        assert [row["place"] for row in rows] == [1, 2]
        assert {row["reason"] for row in rows} == {
            "waits: 1 run of team is under way, and at most 1 may be"
        }
        listed = {one["run"]: one for one in (await team.ask("runs"))["runs"]}
        assert listed[third]["place"] == 2
        await team.ask("cancel_run", run=first)
        await team.until(second)
        assert await states(team, first, second, third) == ["cancelled", "running", "queued"]
        assert (await team.row(third))["place"] == 1


async def test_a_run_that_waits_is_cancelled_at_once(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op(FOREVER), **ONE) as team:
        first = await team.launch()
        await team.until(first)
        second = await team.launch()
        row = await team.ask("cancel_run", run=second, who="the test")
        assert (row["state"], row["reason"]) == ("cancelled", "cancelled by the test")
        assert row["ended"] is not None
        journal = journals(tmp_path)[second]
        assert journal.begun() is None
        assert not any(path.name.startswith("out") for path in journal.path.iterdir())
        assert await states(team, first) == ["running"]


async def test_limits_by_tag_let_others_by(tmp_path, runtime):
    keys = {"runs": {"tag_concurrency": {"db=prod": 1}}}
    async with launching(tmp_path, runtime, one_op(FOREVER), **keys) as team:
        first = await team.launch(tags={"db": "prod"})
        await team.until(first)
        second = await team.launch(tags={"db": "prod"})
        third = await team.launch(tags={"db": "test"})
        await team.until(third)
        row = await team.row(second)
        assert (
            row["reason"]
            == "waits: 1 run with tag db=prod of team is under way, and at most 1 may be"
        )


async def test_the_limit_of_the_workspace_and_its_change(tmp_path, runtime):
    text = workspace_text({"team": {}, "other": {}})
    modules = {"team.py": one_op(FOREVER), "other.py": one_op(FOREVER)}
    workspace = make_workspace(tmp_path, modules, runs={"max_concurrent": 1})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        team = Launched(running)
        first = await team.launch()
        await team.until(first)
        second = (await team.ask("launch", location="other", job="nightly"))["run"]["run"]
        row = await team.row(second)
        assert row["reason"] == "waits: 1 run of the workspace is under way, and at most 1 may be"
        assert row["timeout"] is None
        runs = {"max_concurrent": 2, "timeout": "1h"}
        save(workspace, yaml.safe_dump({**text, "runs": runs}))
        row = await team.until(second)
        assert row["timeout"] == 3600.0  # what is queued heeds an edit
        assert (await team.row(first))["timeout"] is None  # and what has started does not
        saved = Journal(journals(tmp_path)[second].path).order()
        assert saved is not None
        assert saved["run"] == second


async def test_runs_of_a_location_that_is_not_ready_hold_up_no_others(tmp_path, runtime):
    modules = {
        "team.py": one_op("print('x')"),
        "slow.py": "import os, time\nwhile not os.path.exists('load'):\n    time.sleep(0.01)\n"
        + one_op("print('x')"),
    }
    workspace = make_workspace(tmp_path, modules, runs={"max_concurrent": 1})
    waiting = order(tmp_path, location="slow")
    async with supervising(workspace, runtime) as running:
        await running.ready("team")
        team = Launched(running)
        await running.until(lambda: running["slow"].state == "loading", "slow loads")
        slow = await team.row(waiting.path.name)
        assert (slow["state"], slow["reason"]) == ("queued", "waits for slow, which is loading")
        assert (await team.ended(await team.launch()))["state"] == "success"
        (tmp_path / "load").touch()
        assert (await team.ended(waiting.path.name))["state"] == "success"


async def test_a_next_supervisor_has_the_same_queue_and_counts_what_goes_on(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"team.py": one_op(UNTIL_GO)}, {"team": ONE})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        team = Launched(running)
        first = await team.launch()
        await team.until(first)
        others = [await team.launch() for _ in range(5)]
        await team.ask("shutdown", leave_runs=True)
        await running.until(lambda: running["team"].state == "stopped", "stopped")
    assert all(journals(tmp_path)[one].final() is None for one in (first, *others))
    async with supervising(workspace, runtime) as running:
        await running.ready()
        team = Launched(running)
        assert (await team.row(first))["adopted"]
        rows = [await team.row(run) for run in others]
        assert [row["place"] for row in rows] == [1, 2, 3, 4, 5]
        assert {row["state"] for row in rows} == {"queued"}
        (tmp_path / "go").touch()
        ended = [await team.ended(run) for run in (first, *others)]
        assert {row["state"] for row in ended} == {"success"}
        began = [row["began"] for row in ended]
        assert began == sorted(began)
        assert all(one["ended"] <= two["began"] for one, two in zip(ended, ended[1:], strict=False))


async def test_a_waiting_run_that_has_ended_elsewhere_is_not_ended_twice(tmp_path, runtime):
    """As when an earlier supervisor had it forked, and was killed before it began."""
    waiting = order(tmp_path, location="slow")
    module = "import os, time\nwhile not os.path.exists('load'):\n    time.sleep(0.01)\n"
    make_workspace(tmp_path, {"slow.py": module + one_op("print('x')")})
    async with supervising(tmp_path / "workspace.yaml", runtime) as running:
        team = Launched(running)
        name = waiting.path.name
        await running.until(lambda: running["slow"].state == "loading", "loading")
        assert await states(team, name) == ["queued"]
        assert waiting.finish("success", "by another")
        await team.ask("cancel_run", run=name)
        row = await team.row(name)
        assert (row["state"], row["reason"]) == ("success", "by another")


@pytest.mark.slow
@pytest.mark.parametrize("on_stop", ["cancel", "keep"])
async def test_what_waits_when_the_supervisor_is_stopped(tmp_path, runtime, on_stop):
    keys = {"runs": {"max_concurrent": 1, "on_stop": on_stop, "run_grace": 0.1}}
    workspace = make_workspace(tmp_path, {"team.py": one_op(UNTIL_GO)}, {"team": keys})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        team = Launched(running)
        first = await team.launch()
        await team.until(first)
        second = await team.launch()
        running.daemon.shutdown()
        if on_stop == "cancel":
            conditions = running.daemon.fleet.conditions
            await running.until(lambda: "stopping" in conditions, "it says what it waits for")
            assert first in next(one.message for one in conditions if one.key == "stopping")
        await running.until(lambda: running["team"].state == "stopped", "stopped")
    finals = [journals(tmp_path)[one].final() for one in (first, second)]
    if on_stop == "cancel":
        assert [one and one["state"] for one in finals] == ["cancelled", "cancelled"]
        assert journals(tmp_path)[second].begun() is None
        return
    assert finals == [None, None]
    (tmp_path / "go").touch()
    async with supervising(workspace, runtime) as running:
        await running.ready()
        for run in (first, second):
            assert (await Launched(running).ended(run))["state"] == "success"


async def test_a_location_that_serves_nothing_fails_what_waits_for_it(tmp_path, runtime):
    waiting = [order(tmp_path), order(tmp_path, location="gone")]
    make_workspace(tmp_path, {"team.py": "raise ValueError('no')\n"})
    async with supervising(tmp_path / "workspace.yaml", runtime) as running:
        team = Launched(running)
        failed, gone = [await team.ended(one.path.name) for one in waiting]
        assert (failed["state"], gone["state"]) == ("failure", "failure")
        assert failed["reason"].startswith("team serves nothing: failed")
        assert "gone" in gone["reason"]


@pytest.mark.slow
async def test_a_thousand_runs_wait_in_their_order(tmp_path, runtime):
    """Each turn of the event loop is bounded by the loop's guard."""
    for number in range(1000):
        order(tmp_path, sequence=number + 1, tags={"user": f"u{number % 100}"})
    keys = {"runs": {"max_concurrent": 0, "tag_concurrency": {"user=*": 1}}}
    workspace = make_workspace(tmp_path, {"team.py": one_op("print('x')")}, {"team": keys})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        team = Launched(running)
        rows = (await team.ask("runs", limit=1000))["runs"]
        assert sorted(row["place"] for row in rows) == list(range(1, 1001))
        assert {row["reason"] for row in rows} == {"no runs of team are started"}
        for _ in range(100):
            running.daemon.work.runs.look()
            await asyncio.sleep(0)
        for row in rows[:20]:
            await team.ask("cancel_run", run=row["run"])
        assert len((await team.ask("runs", limit=1000, states=["queued"]))["runs"]) == 980


async def test_a_run_counts_until_it_has_ended_however_it_does(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op(FOREVER), **ONE) as team:
        first = await team.launch()
        row = await team.until(first)
        second = await team.launch()
        await kill(row["monitor"])
        await team.until(second)
        assert await states(team, first, second) == ["lost", "running"]
        await poll(lambda: journals(tmp_path)[first].final() is not None, "its record")
