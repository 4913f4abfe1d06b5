"""``supervise launch`` and ``supervise runs``, as people type them."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import (
    COMMAND,
    Foreground,
    foreground,
    in_terminal,
    supervise,
    supervise_json,
    variables,
)
from launched import journals
from monitored import HEAD, started
from supervised import DEADLINE, make_workspace

from supervisor.processes.limits import Cgroups

TEAM = (
    HEAD
    + """
@op(config_schema={"n": int})
def load(context):
    print("loading", context.op_config["n"])
    print("a warning", file=sys.stderr)
    return context.op_config["n"]

@op
def publish(rows):
    if rows == 13:
        raise ValueError("no such table")
    print("published", rows)

@op
def wait():
    print("running", flush=True)
    try:
        time.sleep(1000)
    finally:
        print("cleaned up", flush=True)

@job
def nightly():
    publish(load())

@job
def endless():
    wait()

from runner_shim import asset

@asset(partitions_def=["red", "green", "blue"], group_name="paint")
def color(context):
    if context.partition_key == "blue":
        raise ValueError("no such color")
    print("color", context.partition_key)
"""
)


CONFIG = ("--set", "ops.load.config.n=3")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreground]:
    import shutil
    import tempfile

    folder = tmp_path_factory.mktemp("launch")
    runtime = Path(tempfile.mkdtemp(prefix="ws", dir="/tmp"))
    make_workspace(folder, {"team.py": TEAM}, {"team": {"limits": {"open_files": 500}}})
    with foreground(folder, runtime) as one:
        supervise("wait", cwd=folder, runtime=runtime)
        yield one
    shutil.rmtree(runtime, ignore_errors=True)


def run(running: Foreground, *arguments: str) -> subprocess.CompletedProcess[str]:
    return supervise(*arguments, cwd=running.cwd, runtime=running.runtime)


@pytest.mark.slow
def test_a_run_in_the_foreground(running):
    done = run(running, "launch", "team", "nightly", "--set", "ops.load.config.n=3", "--tag", "a=b")
    assert done.returncode == 0, done.stderr
    *printed, last = done.stdout.splitlines()
    assert printed == ["loading 3", "published 3"]
    assert last.startswith("run ")
    assert " of nightly in team: success in " in last
    assert "a warning" in done.stderr
    assert "publish: done in" in done.stderr
    rows = supervise_json("runs", cwd=running.cwd, runtime=running.runtime)["runs"]
    assert rows[0]["tags"] == {"a": "b"}
    name = rows[0]["run"]
    shown = run(running, "runs", "show", name).stdout
    assert 'config: {"ops": {"load": {"config": {"n": 3}}}}' in shown
    events = run(running, "runs", "events", name[-6:], "--json").stdout.splitlines()
    assert json.loads(events[0])["type"] == "RUN_START"
    assert run(running, "runs", "logs", name).stdout == "loading 3\npublished 3\n"
    assert name in run(running, "runs", "team").stdout


def test_a_run_that_fails_shows_the_users_frames(running, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("ops: {load: {config: {n: 13}}}\n")
    done = run(running, "launch", "team", "nightly", "--config", str(config))
    assert done.returncode == 1
    assert "failure after" in done.stdout.splitlines()[-1]
    assert "no such table" in done.stdout.splitlines()[-1]
    assert "in publish" in done.stderr
    name = supervise_json("runs", "--state", "failure", cwd=running.cwd, runtime=running.runtime)
    again = run(running, "runs", "retry", name["runs"][0]["run"], "--json")
    assert again.returncode == 1
    assert json.loads(again.stdout)["retry_of"] == name["runs"][0]["run"]


@pytest.mark.parametrize(
    "config", ["{ops: {load: {config: {n: 3}}}}", '{"ops": {"load": {"config": {"n": 3}}}}']
)
def test_a_configuration_on_the_command_line_is_yaml_or_json(running, config):
    done = run(running, "launch", "team", "nightly", "--dry-run", "--config", config)
    assert 'config: {"ops": {"load": {"config": {"n": 3}}}}' in done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["team", "nightli"], 4, "team has no job 'nightli'"),
        (["team", "nightli"], 4, "did you mean nightly?"),
        (
            ["team", "nightly", "--repository", "other"],
            4,
            "no job 'nightly' in a repository 'other'",
        ),
        (["team", "--assets", "colour"], 4, "team has no asset 'colour'"),
        (["team", "nightly", "--config", "[1]"], 2, "--config must be a map"),
        (["tem", "nightly"], 4, "did you mean team?"),
        (["team", "nightly"], 2, "ops.load.config.n"),
        (["team", "nightly", "--set", "ops.load.config.n=x"], 2, "ops.load.config.n"),
        (["team", "nightly", "--select", "lod"], 2, "did you mean load?"),
        (["team", "--assets", "colr", "--partition", "red"], 4, "did you mean color?"),
        (["team", "--assets", "color", "--partition", "rd"], 4, "did you mean red?"),
        (["team", "--assets", "color"], 2, "color has 3 partitions, and none was given"),
        (["team", "--assets", "color", "--partition-range", "red"], 2, "FIRST..LAST"),
        (["team", "nightly", "--assets", "color"], 2, "not both"),
        (["team"], 2, "give a JOB or --assets: `supervise list job -l team` lists what there is"),
        ([], 2, "give a LOCATION"),
        (["team", "nightly", "--partition", "x"], 2, "has no partitions"),
        (["team", "nightly", "--instance", "shared"], 2, "does not say"),
        (["team", "nightly", "--standalone", "--detach"], 2, "--standalone ends it"),
        (["team", "nightly", "--standalone"], 2, "without --standalone the supervisor"),
        (["team", "nightly", "--tag", "x"], 2, "--tag 'x' has no '='"),
        (
            ["team", "nightly", "--config", "{a: 1"],
            2,
            "--config is neither YAML nor JSON: expected",
        ),
        (["team", "nightly", "--config", "{a: 2026-01-01}"], 2, "put a date in quotes"),
        (["team", "nightly", "--config", "/none"], 2, "no such file"),
        (["team", "nightly", "--config", "[1]"], 2, "--config"),
        (["team", "nightly", "--timeout", "soon"], 2, "'soon' is no duration"),
        (["team", "nightly", *CONFIG, "--limit", "memory"], 2, "write --limit memory=2G"),
        (["team", "nightly", *CONFIG, "--limit", "memory=much"], 2, "a size of at least 1MiB"),
        (["team", "nightly", *CONFIG, "--limit", "disk=3"], 2, "no limit of a run is named 'disk'"),
        (
            ["team", "nightly", *CONFIG, "--limit", "open_files=600"],
            2,
            "open_files=600 is more than the 500 of team, and a run can only have less",
        ),
    ],
    ids=lambda one: " ".join(one)[:40] if isinstance(one, list) else str(one)[:20],
)
def test_what_cannot_be_run_leaves_no_run(running, arguments, status, text):
    before = supervise_json("runs", cwd=running.cwd, runtime=running.runtime)["runs"]
    done = run(running, "launch", *arguments)
    assert done.returncode == status, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert supervise_json("runs", cwd=running.cwd, runtime=running.runtime)["runs"] == before


def test_the_list_of_runs_judges_what_it_is_asked(running):
    run(running, "launch", "team", "nightly", *CONFIG)
    listed = run(running, "runs", "team", "--since", "1d")
    assert listed.returncode == 0, listed.stderr
    assert "nightly" in listed.stdout
    unknown = run(running, "runs", "tem")
    assert unknown.returncode == 4
    assert "did you mean team?" in unknown.stderr
    state = run(running, "runs", "--state", "failures")
    assert state.returncode == 2
    assert "did you mean failure?" in state.stderr


def test_the_limits_of_a_run_are_shown_with_what_enforces_them(running):
    limits = ("--limit", "memory=2G", "--limit", "open_files=256")
    done = run(running, "launch", "team", "nightly", *CONFIG, *limits)
    assert done.returncode == 0, done.stderr
    name = done.stdout.splitlines()[-1].split()[1]
    shown = run(running, "runs", "show", name).stdout
    (line,) = (one for one in shown.splitlines() if "limits: " in one)
    how = "cgroup" if "memory" in Cgroups().available() else "rlimit"
    assert line.strip() == f"limits: memory 2 GiB ({how}), open files 256 (rlimit)"


def test_a_dry_run_runs_nothing(running):
    done = run(
        running, "launch", "team", "nightly", "--set", "ops.load.config.n=1", "--select", "*publish",
        "--dry-run",
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.splitlines()[:4] == [
        "would run 2 ops of nightly in team, generation 1:",
        "  1. load",
        "  2. publish",
        '  config: {"ops": {"load": {"config": {"n": 1}}}}',
    ]
    assert "  process: forked" in done.stdout


def test_ctrl_c_cancels_a_run(running):
    with subprocess.Popen(
        [*COMMAND, "launch", "team", "endless"],
        cwd=running.cwd,
        env=variables(running.runtime),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "running\n"
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=DEADLINE)
    assert command.returncode == 1, err
    assert "cleaned up" in out
    assert out.splitlines()[-1].endswith("— cancelled by Ctrl-C")


def test_a_detached_run_is_cancelled_by_its_id(running):
    name = run(running, "launch", "team", "endless", "--detach").stdout.strip()
    started(journals(running.cwd)[name])
    assert name in run(running, "runs", "--state", "running").stdout
    done = run(running, "runs", "cancel", name)
    assert done.returncode == 0
    assert "cancelled" in done.stdout
    again = run(running, "runs", "cancel", name)
    assert (again.returncode, again.stderr) == (0, "it has ended already\n")
    assert run(running, "runs", "show", "none").returncode == 4


@pytest.mark.slow
def test_assets_of_a_range_of_partitions(running):
    done = run(
        running, "launch", "team", "--assets", "group:paint", "--partition-range", "red..blue"
    )
    assert done.returncode == 1
    assert "— 2 success, 1 failure" in done.stdout.splitlines()[-1]
    assert "red: success in" in done.stderr
    assert "no such color" in done.stderr
    listed = run(running, "runs", "-n", "1").stdout
    assert "color [red..blue]" in listed
    name = listed.splitlines()[1].split()[0]
    shown = run(running, "runs", "show", name).stdout
    assert "color [green]" in shown
    events = run(running, "runs", "events", name)
    assert events.returncode == 1
    assert "each of its runs has its own events" in events.stderr
    assert len(run(running, "runs", "--parent", name).stdout.splitlines()) == 4
    again = run(running, "runs", "retry", "--from-failure", name, "--json")
    assert again.returncode == 1
    assert [one["partition"] for one in json.loads(again.stdout)["runs"]] == ["blue"]
    part = run(
        running,
        "launch",
        "team",
        "--assets",
        "color",
        "--partition-range",
        "red..green",
        "--detach",
    )
    assert part.returncode == 0
    assert run(running, "runs", "show", part.stdout.strip()).returncode == 0


def test_an_error_is_an_object_where_json_is_asked_for(running):
    done = run(running, "launch", "team", "nightli", "--json")
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["hint"] == "did you mean nightly?"


def test_a_line_for_each_step_stays_below_the_output(running):
    arguments = [*COMMAND, "launch", "team", "endless"]
    env = variables(running.runtime, TERM="xterm", COLUMNS="")
    env.pop("CI", None)
    with in_terminal(arguments, cwd=running.cwd, env=env, columns=60) as terminal:
        terminal.until("wait: ")
        terminal.until("\r\x1b[2K")
        terminal.press(b"\x03")
        terminal.until("cancelled by Ctrl-C")
        assert terminal.wait() == 1
