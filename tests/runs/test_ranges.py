"""Ranges of partitions: a run for each key, told of, cancelled and retried together."""

from __future__ import annotations

import asyncio

import pytest
from launched import HEAD, Launched, launching
from supervised import make_workspace, supervising

from supervisor.errors import RequestError, UnfitOrderError, UnknownPartitionError, UnknownRunError

MODULE = (
    HEAD
    + """
from runner_shim import DynamicPartitionsDefinition, TimeWindowPartitionsDefinition, asset

@asset(partitions_def=["red", "green", "blue", "black"])
def color(context):
    if os.path.exists(context.partition_key):
        raise ValueError("no such color")
    print("color", context.partition_key)

@op
def work(context):
    print("work", context.partition_key, flush=True)

@op
def endless(context):
    print("running", flush=True)
    time.sleep(1000)

daily = TimeWindowPartitionsDefinition("@daily", "2023-02-27", end="2024-06-02")

@job(partitions_def=daily)
def nightly():
    work()

@job(partitions_def=daily)
def hanging():
    endless()

@job(partitions_def=DynamicPartitionsDefinition("tenants"))
def tenants():
    work()

@job(partitions_def=TimeWindowPartitionsDefinition("0 0 L * *", "2024-01-01"))
def monthly():
    work()
"""
)


async def launch(team: Launched, span: str, **params: object) -> dict:
    row: dict = (await team.ask("launch", location="team", partition_range=span, **params))["run"]
    return row


async def test_a_range_of_days_has_a_run_for_each(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as team:
        row = await launch(team, "2024-02-28..2024-03-01", job="nightly")
        assert row["partition"] == "2024-02-28..2024-03-01"
        assert row["partitions"]["count"] == 3
        detail = await team.ended(row["run"])
        assert (detail["state"], detail["reason"]) == ("success", "3 success")
        assert [one["partition"] for one in detail["runs"]] == [
            "2024-02-28",
            "2024-02-29",
            "2024-03-01",
        ]
        assert {one["parent"] for one in detail["runs"]} == {row["run"]}
        for one in detail["runs"]:
            assert await team.written(one["run"]) == f"work {one['partition']}\n"
        listed = (await team.ask("runs"))["runs"]
        assert [one["run"] for one in listed] == [row["run"]]
        children = (await team.ask("runs", parent=row["run"][:20]))["runs"]
        assert len(children) == 3
        with pytest.raises(RequestError, match="no range of partitions"):
            await team.ask("runs", parent=children[0]["run"])
        with pytest.raises(UnknownRunError):
            await team.ask("runs", parent="none")


async def test_a_range_fails_when_one_does_and_is_retried(tmp_path, runtime):
    (tmp_path / "green").touch()
    async with launching(tmp_path, runtime, MODULE) as team:
        row = await launch(team, "red..blue", assets="color")
        detail = await team.ended(row["run"])
        assert (detail["state"], detail["reason"]) == ("failure", "2 success, 1 failure")
        (tmp_path / "green").unlink()
        rest = (await team.ask("retry_run", run=row["run"], from_failure=True))["run"]
        detail = await team.ended(rest["run"])
        assert [one["partition"] for one in detail["runs"]] == ["green"]
        again = (await team.ask("retry_run", run=row["run"]))["run"]
        assert again["retry_of"] == row["run"]
        detail = await team.ended(again["run"])
        assert (detail["state"], detail["reason"]) == ("success", "3 success")


async def test_cancelling_a_range_cancels_all_of_it(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as team:
        row = await launch(team, "2024-02-28..2024-03-01", job="hanging")
        for one in (await team.row(row["run"]))["runs"]:
            await team.until(one["run"])
        assert (await team.row(row["run"]))["state"] == "running"
        assert (await team.ask("cancel_run", run=row["run"]))["state"] == "cancelling"
        detail = await team.ended(row["run"])
        assert (detail["state"], detail["reason"]) == ("cancelled", "3 cancelled")


async def test_the_news_of_a_range_are_those_of_its_runs(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as team:
        row = await launch(team, "red..green", assets="color")
        states: dict[str, str] = {}
        async for news in team.news(row["run"]):
            states.update({one["partition"]: one["state"] for one in news["runs"]})
        assert states == {"red": "success", "green": "success"}
        with pytest.raises(RequestError, match="each of its runs has its own events"):
            await team.written(row["run"])


async def test_a_range_is_known_to_the_next_supervisor(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as team:
        row = await launch(team, "red..blue", assets="color")
        await team.ended(row["run"])
    workspace = make_workspace(tmp_path, {"team.py": MODULE}, {"team": {}})
    async with supervising(workspace, runtime) as running:
        team = Launched(running)
        detail = await team.row(row["run"])
        assert (detail["state"], len(detail["runs"])) == ("success", 3)


REFUSED = [
    ({"assets": "color"}, "red", UnfitOrderError, "no range"),
    ({"assets": "color"}, "red..", UnfitOrderError, "no range"),
    ({"assets": "color"}, "red..blak", UnknownPartitionError, "did you mean black"),
    ({"assets": "color"}, "blue..red", UnfitOrderError, "write red..blue"),
    ({"assets": "color", "partition": "red"}, "red..blue", UnfitOrderError, "together"),
    ({"job": "nightly"}, "2024-02-30..2024-03-01", UnknownPartitionError, "2024-02-30"),
    (
        {"job": "nightly"},
        "2023-02-27..2024-05-01",
        UnfitOrderError,
        "has 430 partitions, and at most 400 are launched at once launch it in parts, such as "
        "2023-02-27..2024-04-01",
    ),
    ({"job": "tenants"}, "a..b", UnfitOrderError, "they are dynamic"),
    ({"job": "monthly"}, "2024-01-31..2024-02-29", UnfitOrderError, "is not one that is counted"),
]


async def test_a_range_that_cannot_be_launched_is_refused(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as team:
        for params, span, error, words in REFUSED:
            with pytest.raises(error) as caught:
                await launch(team, span, **params)
            assert words in f"{caught.value} {caught.value.hint}", span
        assert (await team.ask("runs"))["runs"] == []


@pytest.mark.slow
async def test_a_range_that_is_launched_while_the_supervisor_is_stopped_leaves_none_of_it(
    tmp_path, runtime
):
    async with launching(tmp_path, runtime, MODULE) as team:
        asked = asyncio.create_task(launch(team, "2023-02-27..2024-02-27", job="hanging"))
        daemon = team.running.daemon
        await team.running.until(lambda: daemon.work.runs.newest_first(), "the first of it")
        daemon.shutdown(leave_runs=True)
        with pytest.raises(RequestError, match="the supervisor is stopping"):
            await asked
    async with supervising(tmp_path / "workspace.yaml", runtime) as running:
        found = running.daemon.work.runs.newest_first()
        assert found
        await running.until(lambda: all(one.ended for one in found), "the end of all of it")
        assert {one.state for one in found} == {"cancelled"}
