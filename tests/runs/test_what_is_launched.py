"""What a launch names: assets, ops, partitions, and what of it is refused before anything runs."""

from __future__ import annotations

import pytest
from launched import HEAD, Launched, launching, one_op
from supervised import save

from supervisor.errors import UnfitOrderError, UnknownDefinitionError, UnknownPartitionError

MODULE = (
    HEAD
    + """
from runner_shim import TimeWindowPartitionsDefinition, asset
from runner_shim import AssetDefinition as External

outside = External("outside")
daily = TimeWindowPartitionsDefinition("@daily", "2024-01-30", end="2024-02-05")

@asset(group_name="ingest", tags={"team": "ml"})
def raw():
    print("raw")
    return 1

@asset(deps=["outside", "raw"], kinds=["table"])
def clean():
    print("clean")
    return 2

@asset(group_name="finance", deps=["clean"])
def report():
    print("report")

@asset(partitions_def=["red", "blue"])
def color(context):
    print("color", context.partition_key)

@asset(partitions_def=["red", "blue"])
def shade(context, color):
    print("shade", context.partition_key)

@asset(partitions_def=daily)
def day(context):
    print("day", context.partition_key)

@op
def work(context):
    print("work", context.partition_key)

@job(partitions_def=daily)
def nightly():
    work()

@job
def plain():
    work()
"""
)


async def preview(team: Launched, **params: object) -> dict:
    return await team.ask("launch", location="team", dry_run=True, **params)


SELECTIONS = [
    ("report", "report"),
    ("+report", "raw clean report"),
    ("1+report", "clean report"),
    ("raw+", "raw clean report"),
    ("group:finance,tag:team=ml", "raw report"),
    ("kind:table", "clean"),
    ("raw, report, clean", "raw clean report"),
]


async def test_a_selection_of_assets_is_resolved_in_the_order_of_running(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as team:
        for selection, steps in SELECTIONS:
            found = await preview(team, assets=selection)
            assert found["steps"] == found["order"]["assets"] == steps.split(), selection
            assert (found["run"], found["fresh_because"]) == (None, None)


async def test_assets_are_made(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as team:
        run = await team.launch(job=None, assets="+report")
        row = await team.ended(run)
        assert (row["state"], row["job"], row["assets"]) == (
            "success",
            None,
            ["raw", "clean", "report"],
        )
        assert await team.written(run) == "raw\nclean\nreport\n"
        again = (await team.ask("retry_run", run=run))["run"]["run"]
        assert (await team.ended(again))["assets"] == ["raw", "clean", "report"]


async def test_assets_of_a_partition(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as team:
        run = await team.launch(job=None, assets="color+", partition="red")
        row = await team.ended(run)
        assert (row["state"], row["partition"]) == ("success", "red")
        assert await team.written(run) == "color red\nshade red\n"


async def test_a_job_of_a_partition(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as team:
        run = await team.launch(partition="2024-02-01")
        assert (await team.ended(run))["state"] == "success"
        assert await team.written(run) == "work 2024-02-01\n"


REFUSED = [
    ({"assets": "rw"}, UnknownDefinitionError, "team has no asset 'rw'", "did you mean raw?"),
    ({"assets": "raw,,clean"}, UnfitOrderError, "empty term", None),
    (
        {"assets": "group:fin"},
        UnfitOrderError,
        "nothing has group 'fin'",
        "did you mean finance?",
    ),
    (
        {"assets": "group:none"},
        UnfitOrderError,
        "nothing has group 'none'",
        "there are default, finance, ingest",
    ),
    ({"assets": "outside"}, UnfitOrderError, "'outside' is made elsewhere", None),
    (
        {"assets": "color"},
        UnfitOrderError,
        "asset color has 2 partitions, and none was given",
        "give one of them, such as --partition blue",
    ),
    ({"assets": "color", "partition": "rd"}, UnknownPartitionError, "'rd'", "did you mean red?"),
    ({"assets": "raw", "partition": "red"}, UnfitOrderError, "raw has no partitions", None),
    ({"assets": "color,day"}, UnfitOrderError, "color and day have different partitions", None),
    ({"assets": "raw", "op_selection": "a"}, UnfitOrderError, "no job is named", None),
    ({"job": "plain", "assets": "raw"}, UnfitOrderError, "not both", None),
    ({}, UnfitOrderError, "nothing is named", None),
    ({"job": "plain", "partition": "x"}, UnfitOrderError, "plain has no partitions", None),
    (
        {"job": "nightly"},
        UnfitOrderError,
        "nightly has 6 partitions, and none was given",
        "give one of them, such as --partition 2024-02-04",
    ),
    (
        {"job": "nightly", "partition": "2024-02-31"},
        UnknownPartitionError,
        "'2024-02-31'",
        "did you mean 2024-02-03?",
    ),
    ({"job": "plain", "op_selection": "wrk"}, UnfitOrderError, "'wrk'", "did you mean work?"),
    ({"job": "plain", "grace": 1e6}, UnfitOrderError, "at most 3600 seconds", None),
    ({"job": "plain", "instance": "mine"}, UnfitOrderError, "no instance 'mine'", None),
    ({"job": "plain", "instance": "shared"}, UnfitOrderError, "does not say", None),
]


async def test_what_cannot_be_run_is_refused(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as team:
        for params, error, message, hint in REFUSED:
            with pytest.raises(error, match=message) as caught:
                await team.ask("launch", **{"location": "team", **params})
            assert hint is None or caught.value.hint == hint
        assert (await team.ask("runs"))["runs"] == []


async def test_a_location_that_is_stopped_judges_before_a_run_is_made(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op("print('x')")) as team:
        await team.ask("stop", locations=["team"])
        await team.running.until(lambda: team.running["team"].state == "stopped", "stopped")
        with pytest.raises(UnfitOrderError, match="oops"):
            await team.launch(config={"oops": 1})
        assert (await team.ask("runs"))["runs"] == []


@pytest.mark.parametrize("method", ["launch", "tick"])
async def test_a_location_that_is_stopped_stays_so_for_what_it_did_not_serve(
    tmp_path, runtime, method
):
    key = "job" if method == "launch" else "name"
    async with launching(tmp_path, runtime, one_op("print('x')")) as team:
        await team.ask("stop", locations=["team"])
        await team.running.until(lambda: team.running["team"].state == "stopped", "stopped")
        with pytest.raises(UnknownDefinitionError, match="nope") as caught:
            await team.ask(method, location="team", **{key: "nope"})
        assert "team is stopped, and stays so: `supervise start team`" in caught.value.hint
        found = await preview(team, job="nightly")
        assert found["note"] == "team is stopped: what it last served is looked at"
        assert team.running["team"].state == "stopped"
        answer = await team.ask("launch", location="team", job="nightly")
        assert answer["note"] == "team was stopped, and was started for this"


async def test_what_is_newer_than_what_runs_is_told(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op("print('x')")) as team:
        await team.running.watched()
        save(tmp_path / "team.py", "syntax error here")
        await team.running.until(lambda: team.running["team"].state == "failed", "failed")
        note = (await preview(team, job="nightly"))["note"]
        assert note.startswith("generation 1 runs; generation 2 is failed: ")
        # What is not there may be in the edit that failed.
        for method, asked in (
            ("launch", {"job": "new"}),
            ("launch", {"assets": "new"}),
            ("launch", {"job": "nightly", "op_selection": "new"}),
            ("tick", {"name": "new"}),
            ("show", {"name": "new"}),
        ):
            with pytest.raises((UnknownDefinitionError, UnfitOrderError)) as caught:
                await team.ask(method, location="team", **asked)
            assert caught.value.hint.endswith(f"; {note}"), (method, asked)


async def test_the_shared_instance_is_used_where_the_workspace_says_so(tmp_path, runtime):
    keys = {"runs": {"instance": "shared"}, "env": {"DAGSTER_HOME": str(tmp_path)}}
    async with launching(tmp_path, runtime, one_op("print('x')"), **keys) as team:
        for instance, expected in (
            (None, str(tmp_path)),
            ("shared", str(tmp_path)),
            ("ephemeral", None),
            ("own", str(tmp_path / ".supervise" / "workspace.yaml" / "instances" / "team")),
        ):
            found = await preview(team, job="nightly", instance=instance)
            assert found["order"]["instance"] == expected


async def test_a_shared_instance_needs_a_home(tmp_path, runtime):
    keys = {"runs": {"instance": "shared"}, "env": {"DAGSTER_HOME": "here"}}
    async with launching(tmp_path, runtime, one_op("print('x')"), **keys) as team:
        with pytest.raises(UnfitOrderError, match="DAGSTER_HOME is 'here', no absolute path"):
            await team.launch()
