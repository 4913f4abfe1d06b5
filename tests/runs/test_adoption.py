"""Runs and the end of their supervisor: they go on, are adopted, and end exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import pytest
from launched import FOREVER, UNTIL_GO, Launched, journals, launching, one_op
from monitored import ended, gone, started
from supervised import (
    DEADLINE,
    Supervised,
    alive,
    environ,
    make_workspace,
    poll_now,
    supervising,
    supervisor_process,
)

from supervisor.client.client import Client
from supervisor.errors import RequestError
from supervisor.runs.journal import Journal, boot_id
from supervisor.runs.run import new_id
from supervisor.server.daemon import Daemon
from supervisor.workspace_files import Selection


def client(folder: Path, monkeypatch: pytest.MonkeyPatch, runtime: Path) -> Client:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    return Client(folder / "workspace.yaml", timeout=DEADLINE)


def ready(running, *names: str) -> None:
    running.until(lambda told: all(told[name][0] == "ready" for name in names))


@pytest.mark.slow
def test_a_run_goes_on_without_its_supervisor_and_is_adopted(tmp_path, runtime, monkeypatch):
    workspace = make_workspace(tmp_path, {"team.py": one_op(UNTIL_GO)})
    with supervisor_process(workspace, runtime, str(tmp_path)) as running:
        ready(running, "team")
        with client(tmp_path, monkeypatch, runtime) as asking:
            run = asking.launch("team", "nightly")
            journal = journals(tmp_path)[run.id]
            monitor, process = started(journal)
        running.kill()
        poll_now(lambda: set(running.survivors()) == {process}, "nothing but the run")
    with supervisor_process(workspace, runtime, str(tmp_path)) as running:
        ready(running, "team")
        with client(tmp_path, monkeypatch, runtime) as asking:
            run = asking.run(run.id)
            assert (run.state, run.row["adopted"], run.row["monitor"]) == ("running", True, monitor)
            (tmp_path / "go").touch()
            assert run.wait()["state"] == "success"
            kinds = [one["type"] for one in run.events()]
            assert (kinds[0], kinds[-1]) == ("RUN_START", "RUN_SUCCESS")
            assert len(kinds) == len(set(kinds))
        gone(monitor, process)


@pytest.mark.slow
def test_an_adopted_run_is_cancelled(tmp_path, runtime, monkeypatch):
    workspace = make_workspace(tmp_path, {"team.py": one_op(FOREVER)})
    with supervisor_process(workspace, runtime, str(tmp_path)) as running:
        ready(running, "team")
        with client(tmp_path, monkeypatch, runtime) as asking:
            run = asking.launch("team", "nightly")
            started(journals(tmp_path)[run.id])
        running.kill()
    with supervisor_process(workspace, runtime, str(tmp_path)) as running:
        ready(running, "team")
        with client(tmp_path, monkeypatch, runtime) as asking:
            run = asking.run(run.id)
            run.cancel(who="the test")
            assert run.wait()["reason"] == "cancelled by the test"


@pytest.mark.slow
def test_a_run_that_ended_without_a_supervisor_is_told_of(tmp_path, runtime, monkeypatch):
    workspace = make_workspace(tmp_path, {"team.py": one_op(UNTIL_GO)})
    with supervisor_process(workspace, runtime, str(tmp_path)) as running:
        ready(running, "team")
        with client(tmp_path, monkeypatch, runtime) as asking:
            runs = [asking.launch("team", "nightly").id for _ in range(2)]
        for run in runs:
            started(journals(tmp_path)[run])
        running.kill()
    lost, success = (journals(tmp_path)[run] for run in runs)
    os.kill(lost.monitor(), signal.SIGKILL)
    poll_now(lambda: lost.monitor() == 0, "the monitor's end")
    (tmp_path / "go").touch()
    assert ended(success)["state"] == "success"
    with supervisor_process(workspace, runtime, str(tmp_path)) as running:
        ready(running, "team")
        with client(tmp_path, monkeypatch, runtime) as asking:
            rows = {one["run"]: one for one in asking.runs()}
            assert rows[runs[1]]["state"] == "success"
            assert (rows[runs[0]]["state"], rows[runs[0]]["reason"]) == (
                "lost",
                "its monitor was killed",
            )


def order(folder: Path, **more: object) -> Journal:
    """A journal with an order that has not begun."""
    runs = folder / ".supervise" / "workspace.yaml" / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    name = new_id()
    journal = Journal(runs / name)
    journal.create(
        {
            "format": 1, "run": name, "location": "team", "job": "nightly", "config": {},
            "tags": {}, "boot": boot_id(), "created": time.time(), "grace": 5.0, "timeout": None,
            "notify": str(folder / "nobody"), **more,
        }
    )  # fmt: skip
    return journal


async def test_what_never_began_is_started_again_on_the_same_machine_only(tmp_path, runtime):
    make_workspace(tmp_path, {"team.py": one_op("print('x')")})
    again, elsewhere = order(tmp_path), order(tmp_path, boot="another")
    asked = order(tmp_path)
    asked.ask("the test", "ask")
    cut = order(tmp_path)
    (cut.path / "order").write_bytes((cut.path / "order").read_bytes()[:-1])
    begun = order(tmp_path, namespace="pid:[1]")
    (begun.path / "begun").touch()
    async with launching(tmp_path, runtime, one_op("print('x')")) as team:
        states = {}
        for journal in (again, elsewhere, asked, cut, begun):
            row = await team.ended(journal.path.name)
            states[journal] = (row["state"], row["reason"])
        assert states[again] == ("success", None)
        assert states[elsewhere] == ("lost", "ended with its machine before it began")
        assert states[asked][0] == "cancelled"
        assert states[cut][0] == "lost"
        assert states[begun] == ("lost", "ended with its container")


async def test_a_supervisor_that_is_stopped_has_its_runs_cancelled(tmp_path, runtime, monkeypatch):
    monkeypatch.setattr("supervisor.server.work.RUN_GRACE", 0.1)
    workspace = make_workspace(tmp_path, {"team.py": one_op(FOREVER)})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        team = Launched(running)
        run = await team.launch()
        row = await team.until(run)
        running.daemon.shutdown()
        await running.until(lambda: running.daemon.work.runs.get(run).ended, "the run's end")
    final = journals(tmp_path)[run].final()
    assert final is not None
    assert (final["state"], final["reason"]) == (
        "cancelled",
        "cancelled by the supervisor, which was stopped",
    )
    assert not alive(row["monitor"])


async def test_an_upgrade_leaves_runs_to_the_next_supervisor(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"team.py": one_op(UNTIL_GO)})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        run = await Launched(running).launch()
        await Launched(running).until(run)
        await Launched(running).ask("shutdown", leave_runs=True)
        # The end of this block would stop it at once.
        await running.until(lambda: running.daemon.stopping, "stopping")
        await running.until(lambda: running["team"].state == "stopped", "stopped")
    assert journals(tmp_path)[run].final() is None
    async with supervising(workspace, runtime) as running:
        await running.ready()
        (tmp_path / "go").touch()
        assert (await Launched(running).ended(run))["state"] == "success"


@pytest.mark.slow
async def test_a_supervisor_that_fails_leaves_runs_to_the_next_one(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"team.py": one_op(UNTIL_GO)})
    daemon = Daemon(Selection(files=(workspace,)), cwd=tmp_path, environ=environ(runtime))
    serving = asyncio.create_task(daemon.run())
    async with asyncio.timeout(DEADLINE):
        await daemon.started.wait()
        running = Supervised(daemon)
        await running.ready()
        run = await Launched(running).launch()
        await Launched(running).until(run)
        serving.cancel()  # it was not told to stop
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    assert journals(tmp_path)[run].final() is None
    async with supervising(workspace, runtime) as running:
        await running.ready()
        (tmp_path / "go").touch()
        assert (await Launched(running).ended(run))["state"] == "success"


async def test_a_launch_starts_no_location_of_a_supervisor_that_stops(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"team.py": one_op(UNTIL_GO)})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        running.daemon.shutdown()
        await running.until(lambda: running["team"].state == "stopped", "stopped")
        with pytest.raises(RequestError, match="the supervisor is stopping"):
            await Launched(running).launch()
        assert running["team"].state == "stopped"
