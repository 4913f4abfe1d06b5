"""A supervisor that is replaced in a run's middle: what waits goes on, and the run can be cancelled."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from commands import COMMAND, ended, foreground, variables
from launched import FOREVER, UNTIL_GO, journals, one_op
from monitored import written
from supervised import alive, make_workspace, poll_now

from supervisor.processes.pid1 import REPLACED

READY = "ready"


def running_run(folder: Path) -> str:
    """The one run, once it has written that it runs."""
    poll_now(lambda: any("running" in written(one) for one in journals(folder).values()), "the run")
    (run,) = journals(folder)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("how", ["upgrade", "SIGUSR2", "SIGKILL"])
def test_a_launch_that_waits_goes_on_with_the_next_supervisor(tmp_path, runtime, how):
    make_workspace(tmp_path, {"team.py": one_op(UNTIL_GO)})
    with foreground(tmp_path, runtime) as first:
        first.until(lambda line: READY in line)
        launch = subprocess.Popen(
            [*COMMAND, "launch", "team", "nightly"],
            cwd=tmp_path,
            env=variables(runtime),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            run = running_run(tmp_path)
            monitor = journals(tmp_path)[run].monitor()
            if how == "upgrade":
                assert first.run("upgrade").returncode == 0
            else:
                os.kill(first.pid, getattr(signal, how))
            first.rest()
            assert first.process.wait() == (-signal.SIGKILL if how == "SIGKILL" else REPLACED)
            assert alive(monitor)
            with foreground(tmp_path, runtime) as second:
                second.until(lambda line: READY in line)
                (tmp_path / "go").touch()
                said: list[str] = []
                status = ended(launch, lambda: said.extend(launch.stdout or ()))
                assert status == 0, said
                text = "".join(said)
                assert text.count("running\n") == 1
                assert text.count("work: done") == 1
                assert f"run {run} of nightly in team: success" in text
                events = second.run("runs", "events", run).stdout
                assert [line.split()[1] for line in events.splitlines()] == [
                    "RUN_START", "STEP_START", "STEP_OUTPUT", "STEP_SUCCESS", "RUN_SUCCESS",
                ]  # fmt: skip
        finally:
            launch.kill()
            launch.wait()


@pytest.mark.slow
def test_a_run_is_cancelled_by_the_supervisor_that_came_after_an_upgrade(tmp_path, runtime):
    make_workspace(tmp_path, {"team.py": one_op(FOREVER)})
    with foreground(tmp_path, runtime) as first:
        first.until(lambda line: READY in line)
        first.run("launch", "team", "nightly", "--detach")
        run = running_run(tmp_path)
        assert first.run("upgrade").returncode == 0
    with foreground(tmp_path, runtime) as second:
        second.until(lambda line: READY in line)
        done = second.run("runs", "cancel", run)
        assert "cancelled by supervise runs cancel" in done.stdout
    assert "cleaned up" in written(journals(tmp_path)[run])
