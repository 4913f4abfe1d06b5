"""Runs whose steps have processes of their own, with their monitor and under a supervisor."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from launched import HEAD, journals, kill, launching
from supervised import alive, poll

# Two steps that go on until they are ended, and tell their process ids.
SLEEPERS = (
    HEAD
    + """
@op
def sleeper(context):
    print("pid", os.getpid(), flush=True)
    try:
        time.sleep(1000)
    finally:
        print("cleaned up", flush=True)

@op
def last(rows):
    pass

@job(max_concurrent=2)
def nightly():
    last(sleeper.alias("one")())
    sleeper.alias("two")()
"""
)


async def pids(team, run):
    """The process ids of the two steps, once both run."""
    text = ""
    async for news in team.news(run, out=0):
        text += news["out"]
        found = [int(line.split()[1]) for line in text.splitlines() if line.startswith("pid ")]
        if len(found) == 2:
            return found
    raise AssertionError(text)


async def test_a_cancel_ends_all_steps_with_their_cleanup(tmp_path, runtime):
    async with launching(tmp_path, runtime, SLEEPERS) as team:
        run = await team.launch()
        steps = await pids(team, run)
        await team.ask("cancel_run", run=run, who="the test")
        row = await team.ended(run)
        assert (row["state"], row["reason"]) == ("cancelled", "cancelled by the test")
        assert (await team.written(run)).count("cleaned up\n") == 2
        assert not any(alive(pid) for pid in steps)
        kinds = await team.kinds(run)
        assert sorted(one for one in kinds if one.startswith("STEP_F")) == [
            "STEP_FAILURE one",
            "STEP_FAILURE two",
        ]
        assert "STEP_START last" not in kinds


async def test_a_step_that_is_killed_fails_alone(tmp_path, runtime):
    async with launching(tmp_path, runtime, SLEEPERS) as team:
        run = await team.launch()
        first, second = await pids(team, run)
        await kill(first)
        async for news in team.news(run, events=0):
            if any(event["type"] == "STEP_FAILURE" for event in news["events"]):
                break
        assert alive(second)
        os.kill(second, signal.SIGTERM)
        row = await team.ended(run)
        assert row["state"] == "failure"
        assert row["reason"] == "the process of one was killed by SIGKILL" or (
            row["reason"] == "the process of one was killed by SIGTERM"
        )
        assert {row["failure"]["step"]} == {"one"}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["run", "monitor"])
async def test_no_step_outlives_its_run(what, tmp_path, runtime):
    async with launching(tmp_path, runtime, SLEEPERS) as team:
        run = await team.launch()
        steps = await pids(team, run)
        (journal,) = journals(tmp_path).values()
        pid = journal.monitor()
        if what == "run":
            pid = psutil.Process(steps[0]).ppid()
        await kill(pid)
        row = await team.ended(run)
        assert row["state"] == ("failure" if what == "run" else "lost")
        await poll(lambda: not any(alive(one) for one in steps), "the end of the steps")


async def test_a_run_that_is_over_has_left_no_values(tmp_path, runtime):
    module = (
        HEAD
        + """
@op
def load():
    return list(range(1000))

@op
def publish(rows):
    print("rows", len(rows))

@job(max_concurrent=2)
def nightly():
    publish(load())
"""
    )
    async with launching(tmp_path, runtime, module) as team:
        run = await team.launch()
        assert (await team.ended(run))["state"] == "success"
        assert await team.written(run) == "rows 1000\n"
        (journal,) = journals(tmp_path).values()
        assert not (journal.path / "values").exists()
        assert (await team.kinds(run)).count("STEP_SUCCESS publish") == 1
