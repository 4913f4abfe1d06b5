"""What is counted of runs: by location and state, durations, waits, retries, adoptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from launched import HEAD, Launched, launching
from supervised import make_workspace, supervising

from supervisor.runs.figures import DURATIONS, WAITS, Figures
from supervisor.runs.journal import Journal
from supervisor.runs.run import Run

MODULE = (
    HEAD
    + """
@op
def works(): pass

@op
def fails(): raise ValueError("no")

@op
def waits():
    print("running", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.01)

@job
def good(): works()

@job
def bad(): fails()

@job
def held(): waits()
"""
)


async def figures(team: Launched, location: str = "team") -> dict[str, Any]:
    (one,) = (await team.ask("run_figures", location=location))["locations"]
    assert one["location"] == location
    return dict(one)


async def test_runs_are_counted_by_state_and_retries_with_them(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE, runs={"max_concurrent": 1}) as team:
        before = await figures(team)
        assert before["states"] == before["ended"] == {}
        assert before["durations"]["count"] == before["waits"]["count"] == 0
        assert before["longest_wait"] is None
        held = await team.launch("held")
        await team.until(held)
        waiting = await team.launch("good")
        gone = await team.launch("good")
        now = await figures(team)
        assert now["states"] == {"running": 1, "queued": 2}
        assert now["longest_wait"] > 0
        assert (now["waits"]["count"], now["durations"]["count"]) == (1, 0)
        await team.ask("cancel_run", run=gone)
        (tmp_path / "go").touch()
        for run in (held, waiting):
            assert (await team.ended(run))["state"] == "success"
        failed = await team.ended(await team.launch("bad", retries=1))
        assert (await team.ended(failed["retried_by"]))["state"] == "failure"
        after = await figures(team)
        assert after["states"] == {}
        assert after["ended"] == {"success": 2, "failure": 2, "cancelled": 1}
        assert (after["retried"], after["adopted"]) == (1, 0)
        # One was cancelled in the queue: it has neither waited to its start nor taken time.
        assert (after["durations"]["count"], after["waits"]["count"]) == (4, 4)
        assert after["durations"]["sum"] > 0
        assert after["longest_wait"] is None
        assert (await team.ask("run_figures"))["locations"] == [after]


async def test_an_adopted_run_is_counted_by_the_one_that_adopts_it(tmp_path, runtime):
    workspace = make_workspace(
        tmp_path, {"team.py": MODULE}, {"team": {"runs": {"on_stop": "keep"}}}
    )
    async with supervising(workspace, runtime) as first:
        await first.ready()
        team = Launched(first)
        run = await team.launch("held")
        await team.until(run)
    async with supervising(workspace, runtime) as second:
        team = Launched(second)

        # It is adopted before anything is answered.
        assert (await figures(team))["states"] == {"running": 1}
        assert (await figures(team))["adopted"] == 1
        (tmp_path / "go").touch()
        assert (await team.ended(run))["state"] == "success"
        ended = await figures(team)
        assert (ended["adopted"], ended["ended"]) == (1, {"success": 1})
        assert ended["durations"]["count"] == 1


def of(state: str, *, began: float, ended: float, **more: Any) -> Run:
    order = {"run": "r", "location": "team", "created": 100.0, **more}
    run = Run(order, Journal(Path("nowhere")))
    run.started = began
    run.finished({"state": state, "began": began, "ended": ended})
    return run


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1.0, 1.5, 15.0, 86400.0, 86401.0])
def test_a_histogram_counts_what_is_at_most_each_bound(seconds):
    found = Figures()
    run = of("success", began=100.0 + seconds, ended=100.0 + 2 * seconds)
    found.admitted(run)
    found.ended(run)
    (document,) = found.documents(["team"], [], 0.0)
    seconds = max(seconds, 0.0)
    for name, bounds in (("durations", DURATIONS), ("waits", WAITS)):
        one = document[name]
        assert one["bounds"] == list(bounds)
        assert one["counts"] == [int(seconds <= bound) for bound in bounds]
        assert (one["count"], one["sum"]) == (1, seconds)


def test_a_retry_waits_from_the_end_of_its_delay_on():
    found = Figures()
    found.admitted(of("success", began=160.0, ended=161.0, not_before=158.0))
    (document,) = found.documents(["team"], [], 0.0)
    assert document["waits"]["sum"] == 2.0


def test_a_location_without_runs_has_its_figures():
    (document,) = Figures().documents(["other"], [], 0.0)
    assert document["ended"] == {}
    assert document["waits"]["counts"] == [0] * len(WAITS)
