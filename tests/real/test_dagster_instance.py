"""What Dagster's own instance says of runs that were cancelled, timed out, or killed without a word."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from launched import Launched, journals, kill
from places import PROGRAMS
from supervised import make_workspace, supervising

from supervisor import procfs

from .conftest import BETWEEN, RELEASES
from .eras import OLDEST, Environment

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]

SINCE_JOBS = [one for one in (*RELEASES, *BETWEEN) if one != OLDEST]
STATUS = """
import sys
from dagster import DagsterInstance
with DagsterInstance.get() as instance:
    status = instance.get_run_by_id(sys.argv[1]).status
    print(getattr(status, "value", status))
"""


def recorded(python: Path, folder: Path, run: str) -> str:
    """The status of a run in the instance of the location, as Dagster says itself."""
    home = folder / ".supervise" / "workspace.yaml" / "instances" / "team"
    done = subprocess.run(
        [python, "-W", "ignore", "-c", STATUS, run],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "DAGSTER_HOME": str(home)},
    )
    return done.stdout.split()[-1]


def workspace(python: Path, folder: Path) -> Path:
    shutil.copy(PROGRAMS / "dagster_runs.py", folder / "team.py")
    return make_workspace(folder, {}, {"team": {"executable_path": str(python)}})


async def asleep(team: Launched, **options: object) -> str:
    """A run that sleeps."""
    run = await team.launch("sleeper", **options)
    async for news in team.news(run, events=0):
        if any("asleep" in one["message"] for one in news["events"]):
            break
    return run


def processes(folder: Path, run: str) -> tuple[int, int]:
    """Its monitor and its process."""
    monitor = journals(folder)[run].monitor()
    return monitor, int(procfs.read(f"/proc/{monitor}/task/{monitor}/children").split()[0])


async def known(team: Launched, run: str) -> None:
    """Wait until Dagster has been told of the run's end."""
    for _ in range(100):
        row = await team.row(run)
        if row["untold"] is None:
            return
        news = team.running.daemon.work.runs.news
        await news.wait(lambda: team.running.daemon.work.runs.get(run).untold is None, 2.0)
    raise AssertionError(row["untold_because"])


@pytest.mark.parametrize("release", SINCE_JOBS)
async def test_the_instance_agrees_about_the_end(
    release: str, dagster_environment: Environment, tmp_path: Path, runtime: Path
) -> None:
    python = dagster_environment(release)
    async with supervising(workspace(python, tmp_path), runtime) as running:
        await running.ready()
        team = Launched(running)
        # Long enough for a slow machine to come to the step; the others end meanwhile.
        timed_out = await asleep(team, timeout=20)
        cancelled = await asleep(team)
        await team.ask("cancel_run", run=cancelled)
        killed = await asleep(team)
        os.kill(processes(tmp_path, killed)[1], signal.SIGKILL)
        hurried = await asleep(team)
        await team.ask("cancel_run", run=hurried, now=True)
        lost = await asleep(team)
        await kill(processes(tmp_path, lost)[0])
        shut = await asleep(team)
        for run in (cancelled, timed_out, killed, hurried, lost):
            await team.ended(run)
        await running.daemon.work.runs.end(0.0)
        told = [
            await team.ended(one) for one in (cancelled, timed_out, killed, hurried, lost, shut)
        ]
        states = ["cancelled", "timed_out", "failure", "cancelled", "lost", "cancelled"]
        assert [one["state"] for one in told] == states
        ends = ["CANCELED", "CANCELED", "FAILURE", "CANCELED", "FAILURE", "CANCELED"]
        for run, end in zip(told, ends, strict=True):
            await known(team, run["run"])
            assert recorded(python, tmp_path, run["run"]) == end, run
        for run in (cancelled, timed_out, shut):
            out = [e["message"] async for n in team.news(run, events=0) for e in n["events"]]
            assert any("cleaned up" in one for one in out)
