"""``supervise tick`` and ``supervise automations``, as people type them."""

from __future__ import annotations

import pytest
from commands import foreground, supervise, supervise_json
from monitored import HEAD
from supervised import make_workspace

TEAM = (
    HEAD
    + """
from runner_shim import RunRequest, ScheduleDefinition, sensor

@op
def work():
    pass

@job
def nightly():
    work()

early = ScheduleDefinition(
    "early", "0 5 * * *", job=nightly, execution_timezone="Europe/Berlin",
    run_config=lambda context: {"ops": {}, "at": str(context.scheduled_execution_time)},
)

@sensor(job=nightly)
def files(context):
    context.update_cursor("1")
    return RunRequest("file-%s" % context.cursor, tags={"n": context.cursor})

@sensor(job=nightly)
def bad(context):
    return 1 / 0
"""
)


@pytest.mark.slow
def test_ticks_and_switches(tmp_path, runtime):
    make_workspace(tmp_path, {"team.py": TEAM})
    with foreground(tmp_path, runtime):
        assert supervise("wait", cwd=tmp_path, runtime=runtime).returncode == 0
        listed = supervise("automations", cwd=tmp_path, runtime=runtime).stdout
        assert "0 5 * * * Europe/Berlin" in listed
        assert "every 30s" in listed

        shown = supervise(
            "tick", "team", "early", "--at", "2026-11-27T05:00", cwd=tmp_path, runtime=runtime
        )
        assert "2026-11-27 05:00:00+01:00" in shown.stdout
        assert shown.returncode == 1  # "at" is no key of the job's configuration
        assert "note: " in shown.stdout
        found = supervise_json(
            "tick", "team", "files", "--cursor", "4", cwd=tmp_path, runtime=runtime
        )
        assert (found["state"], found["requests"][0]["run_key"]) == ("asked", "file-1")

        failed = supervise("tick", "team", "bad", cwd=tmp_path, runtime=runtime)
        assert failed.returncode == 1
        assert "ZeroDivisionError" in failed.stdout
        assert "return 1 / 0" in failed.stdout
        first = supervise("tick", "team", "early", "--at", "0", cwd=tmp_path, runtime=runtime)
        assert "1970-01-01 01:00:00+01:00" in first.stdout
        wrong = supervise("tick", "team", "early", "--at", "soon", cwd=tmp_path, runtime=runtime)
        assert (wrong.returncode, "--at 'soon' is no time" in wrong.stderr) == (2, True)
        nowhere = supervise("tick", "team", "filez", cwd=tmp_path, runtime=runtime)
        assert (nowhere.returncode, "did you mean" in nowhere.stderr) == (4, True)

        launched = supervise_json(
            "tick", "team", "files", "--launch", cwd=tmp_path, runtime=runtime
        )
        run = launched["requests"][0]["run"]
        ticks = supervise(
            "automations", "ticks", "team", "files", cwd=tmp_path, runtime=runtime
        ).stdout
        assert "launched 1 run" in ticks
        assert run in ticks

        none = supervise("automations", "ticks", "team", "bad", cwd=tmp_path, runtime=runtime)
        assert (none.returncode, none.stderr) == (0, "there were no ticks\n")
        typo = supervise("automations", "ticks", "team", "filez", cwd=tmp_path, runtime=runtime)
        assert (typo.returncode, "did you mean files?" in typo.stderr) == (4, True)

        said = supervise("automations", "on", "team", "early", cwd=tmp_path, runtime=runtime).stdout
        assert said.startswith("schedule early of team is on, next in ")
        off = supervise_json("automations", "off", "team", "early", cwd=tmp_path, runtime=runtime)
        assert (off["on"], off["switched"]) == (False, False)
        assert supervise("stop", "team", cwd=tmp_path, runtime=runtime).returncode == 0
        said = supervise("automations", "on", "team", "early", cwd=tmp_path, runtime=runtime).stdout
        assert said == "schedule early of team is on; it waits: the location is stopped\n"
        table = supervise("status", cwd=tmp_path, runtime=runtime).stdout
        assert "last served generation 1: 1 job" in table
        found = supervise_json("automations", "team", cwd=tmp_path, runtime=runtime)
        assert [one["name"] for one in found["automations"]] == ["bad", "early", "files"]
