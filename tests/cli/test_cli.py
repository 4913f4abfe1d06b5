"""The commands against a real supervisor: output, streams, exit statuses."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from commands import BROKEN, COMMAND, TEAM, Foreground, foreground, supervise, variables
from supervised import child_process, make_workspace, save

REMOTE = {"grpc_server": {"host": "elsewhere.example", "port": 4266, "location_name": "far"}}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreground]:
    """One supervisor with a good, a broken and a remote location; tests change nothing in it."""
    runtime = Path(tempfile.mkdtemp(prefix="ws", dir="/tmp"))
    folder = tmp_path_factory.mktemp("cli")
    workspace = make_workspace(folder, {"team.py": TEAM, "broken.py": BROKEN})
    text = workspace.read_text()
    save(workspace, text + "- " + json.dumps(REMOTE) + "\n")
    with foreground(folder, runtime) as running:
        running.until(lambda line: line.startswith("broken: failed"))
        running.run("wait", "--timeout", "60")
        yield running
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.mark.slow
def test_status_of_all(live: Foreground) -> None:
    done = live.run("status")
    assert done.returncode == 1
    head, team, broken, far, *rest = done.stdout.splitlines()
    assert head.split() == [
        "LOCATION", "STATE", "SINCE", "GEN", "PYTHON", "FRAMEWORK", "MEMORY", "DEFINITIONS",
    ]  # fmt: skip
    assert team.split()[:3] == ["●", "team", "ready"]
    assert team.endswith("2 jobs, 1 schedule")
    assert broken.split()[:3] == ["✗", "broken", "failed"]
    assert "elsewhere" in far
    assert far.endswith("served at grpc:elsewhere.example:4266")
    assert any("no_such_library_here is not installed" in line for line in rest)
    assert any(line.startswith("  hint: ") for line in rest)
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_status_fits_a_narrow_terminal(live: Foreground) -> None:
    done = live.run("status", COLUMNS="60")
    table = done.stdout.split("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 60


def test_status_of_one_reads_like_systemctl(live: Foreground) -> None:
    done = live.run("status", "team")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("● team - python_file ")
    labels = {line.split(":")[0].strip() for line in lines[1:] if line[:1] == " "}
    assert labels >= {
        "State", "Reason", "Serving", "Process", "Python", "Environment", "Framework",
        "Definitions", "Defined in",
    }  # fmt: skip
    assert any("team was loaded" in line for line in lines)


def test_status_of_a_failed_one_shows_the_users_frames_and_the_remedy(live: Foreground) -> None:
    done = live.run("status", "broken")
    assert done.returncode == 1
    text = done.stdout
    frames = text.index("broken.py:4"), text.index("broken.py:2"), text.index("ModuleNotFoundError")
    assert list(frames) == sorted(frames)
    assert "import no_such_library_here" in text
    entry = "environments: {broken: {requirements: [no_such_library_here]}}"
    assert f"give it an environment: `{entry}` at the top" in text
    assert "Traceback (most recent call last)" not in text
    assert "Traceback (most recent call last)" in live.run("status", "broken", "-v").stdout


def test_status_json_is_the_document(live: Foreground) -> None:
    document = live.json("status")
    assert document["format"] == 1
    assert [one["name"] for one in document["locations"]] == ["team", "broken", "far"]
    (one,) = live.json("status", "team")["locations"]
    assert one["serving"]["counts"] == {"job": 2, "schedule": 1}


def test_a_location_served_elsewhere_counts_as_ready(live: Foreground) -> None:
    done = live.run("status", "far")
    assert done.returncode == 0
    assert "served elsewhere, at grpc:elsewhere.example:4266" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "reload", "logs", "snapshot", "diff", "wait"])
def test_an_unknown_location_exits_4_and_says_what_was_meant(
    live: Foreground, command: str
) -> None:
    done = live.run(command, "teem")
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: no code location is named 'teem'",
        "hint: did you mean team?",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["list"],
        ["show", "team", "nightly"],
        ["snapshot", "team"],
        ["diff", "team"],
        ["logs", "team"],
        ["reload", "--all"],
        ["wait", "--timeout", "0"],
    ],
)
def test_without_a_supervisor_it_exits_3(
    tmp_path: Path, runtime: Path, arguments: list[str]
) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM})
    state = tmp_path / ".supervise" / "workspace.yaml"
    for left in ("", f"; logs and runs of the last one are in {state}"):
        done = supervise(*arguments, cwd=tmp_path, runtime=runtime)
        assert done.returncode == 3
        assert done.stdout == ""
        assert done.stderr.splitlines() == [
            f"error: no supervisor is running for {workspace}",
            f"hint: start one with `supervise`{left}",
        ]
        (state / "logs").mkdir(parents=True, exist_ok=True)


def test_the_only_supervisor_is_used_from_anywhere_and_that_is_said(
    live: Foreground, tmp_path: Path
) -> None:
    done = supervise("status", "team", cwd=tmp_path, runtime=live.runtime)
    assert done.returncode == 0
    assert "using the only running supervisor" in done.stderr
    assert str(live.cwd / "workspace.yaml") in done.stderr


def test_a_project_below_names_the_supervisor_above(live: Foreground) -> None:
    project = live.cwd / "sales" / "pyproject.toml"
    project.parent.mkdir()
    project.write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "m"\n'
    )
    done = supervise("status", cwd=project.parent, runtime=live.runtime)
    shutil.rmtree(project.parent)
    above = live.cwd / "workspace.yaml"
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        f"error: no supervisor is running for {project}",
        f"hint: one runs for {above}, in a directory above: choose it with -w {above}; "
        "or start another with `supervise`",
    ]


def test_list(live: Foreground) -> None:
    lines = live.run("list", "jobs").stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["LOCATION", "KIND", "NAME"],
        ["team", "job", "hourly"],
        ["team", "job", "nightly"],
    ]
    assert lines[2].endswith("Runs at night.")
    assert {one["kind"] for one in live.json("list")["definitions"]} == {"job", "schedule"}
    empty = live.run("list", "dashboards")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert "kinds here: job, schedule" in empty.stderr


def test_show(live: Foreground) -> None:
    text = live.run("show", "team", "nightly").stdout
    assert text.startswith("# team, generation 1, team.py:")
    assert "\n  team: risk\n" in text
    definition = live.json("show", "team", "nightly")["definition"]
    assert definition["description"] == "Runs at night."
    assert yaml.safe_load(text) == definition
    assert "\x1b[34mtags\x1b[0m:" in live.run("show", "team", "nightly", FORCE_COLOR="1").stdout
    unknown = live.run("show", "team", "nightlie")
    assert (unknown.returncode, unknown.stderr.splitlines()[-1]) == (
        4,
        "hint: did you mean nightly?",
    )


def test_snapshot(live: Foreground, tmp_path: Path) -> None:
    document = json.loads(live.run("snapshot", "team").stdout)
    assert document["definitions"]["format"] == 1
    file = tmp_path / "team.msgpack"
    done = live.run("snapshot", "team", "-o", str(file))
    assert (done.returncode, done.stdout) == (0, "")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == document["fingerprint"]
    nowhere = live.run("snapshot", "team", "-o", str(tmp_path / "no" / "file"))
    assert nowhere.returncode == 1
    assert "cannot be written: no such file or directory" in nowhere.stderr


def test_logs(live: Foreground) -> None:
    lines = live.run("logs", "team").stdout.splitlines()
    assert any(line.endswith(" out team was loaded") for line in lines)
    rows = [json.loads(line) for line in live.run("logs", "team", "--json").stdout.splitlines()]
    assert {"time", "stream", "text"} == set(rows[0])
    assert len(live.run("logs", "team", "-n", "1").stdout.splitlines()) == 1


def test_ps(live: Foreground) -> None:
    rows = live.json("ps")["supervisors"]
    assert [row["pid"] for row in rows] == [live.pid]
    assert str(live.cwd / "workspace.yaml") in live.run("ps").stdout


def test_colours_are_asked_for_and_forbidden_by_the_environment(live: Foreground) -> None:
    assert "\x1b[32m●\x1b[0m" in live.run("status", FORCE_COLOR="1").stdout
    assert "\x1b" not in live.run("status", FORCE_COLOR="1", NO_COLOR="1").stdout


def test_a_closed_pipe_is_silent(live: Foreground) -> None:
    with child_process(
        [*COMMAND, "logs", "team", "-f", "-n", "1000"],
        cwd=live.cwd,
        env=variables(live.runtime),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        live.run("reload", "team")  # which makes it write more
        assert process.wait(60) == 141
        assert process.stderr.read() == ""


def test_a_full_disk_is_no_defect(live: Foreground) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "status"],
            cwd=live.cwd,
            env=variables(live.runtime),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr == "error: standard output cannot be written: no space left on device\n"


def test_a_stream_that_knows_no_symbols_gets_others(live: Foreground) -> None:
    done = live.run("status", PYTHONIOENCODING="ascii")
    assert done.stdout.splitlines()[1].split()[:3] == ["?", "team", "ready"]


def test_an_interrupt_ends_following_quietly(live: Foreground) -> None:
    with child_process(
        [*COMMAND, "logs", "team", "-f"],
        cwd=live.cwd,
        env=variables(live.runtime),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "")


@pytest.mark.slow
def test_usage_errors_exit_2_and_say_what_was_meant(tmp_path: Path, runtime: Path) -> None:
    for arguments, message in (
        (["staus"], "no command is named 'staus': did you mean 'status'?"),
        (["ws.yaml"], "no command is named 'ws.yaml': to supervise a file, use -w ws.yaml"),
        (["reload"], "name the locations, or use --tag or --all"),
        (["reload", "a", "--all"], "name the locations, or use --tag or --all"),
        (["status", "--nonsense"], "no such option"),
        (["runs", "-n", "x"], "'x' is no whole number"),
    ):
        done = supervise(*arguments, cwd=tmp_path, runtime=runtime)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith("hint: see `supervise")


def test_ps_and_shutdown_of_nothing_are_well(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    for command in ("ps", "shutdown"):
        done = supervise(command, cwd=tmp_path, runtime=runtime)
        assert (done.returncode, done.stdout) == (0, "")
        assert "no supervisor is running" in done.stderr


def test_help_lists_every_command(tmp_path: Path, runtime: Path) -> None:
    from supervisor.cli import app

    text = supervise("--help", cwd=tmp_path, runtime=runtime).stdout
    for name in app.HOMES:
        assert f"\n  {name} " in text
        done = CliRunner().invoke(app.supervise, [name, "-h"])
        assert done.exit_code == 0 and f" {name} " in done.output.splitlines()[0]


def test_version_schema_and_completion(tmp_path: Path, runtime: Path) -> None:
    import supervisor

    done = supervise("--version", cwd=tmp_path, runtime=runtime)
    assert done.stdout == f"supervise {supervisor.__version__}\n"
    schema = json.loads(supervise("schema", cwd=tmp_path, runtime=runtime).stdout)
    assert "load_from" in json.dumps(schema)
    for shell in ("bash", "zsh", "fish"):
        script = supervise("completion", shell, cwd=tmp_path, runtime=runtime).stdout
        assert "_SUPERVISE_COMPLETE" in script


def test_bash_takes_the_completion_script(tmp_path: Path, runtime: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    script = supervise("completion", "bash", cwd=tmp_path, runtime=runtime).stdout
    done = subprocess.run([bash, "-n"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_location_names_complete_from_the_running_supervisor(live: Foreground) -> None:
    def complete(*words: str) -> str:
        return live.run(
            _SUPERVISE_COMPLETE="bash_complete",
            COMP_WORDS=" ".join(["supervise", *words]),
            COMP_CWORD=str(len(words)),
        ).stdout

    assert complete("status", "te").split() == ["plain,team"]
    assert complete("reload", "team", "bro").split() == ["plain,broken"]
    assert "plain,status" in complete("sta").split()


def test_a_defect_is_one_line_with_the_place_of_the_traceback(
    tmp_path: Path, runtime: Path
) -> None:
    code = (
        "import sys, supervisor.runtime_dir as r; "
        "r.running_supervisors = lambda environ: 1 / 0; "
        "from supervisor.cli import run_command; sys.exit(run_command(['ps']))"
    )

    def defect(**extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND[0], "-c", code],
            env=variables(runtime, TMPDIR=str(tmp_path), **extra),
            capture_output=True,
            text=True,
        )

    done = defect()
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error == "error: this is a defect of supervise: ZeroDivisionError: division by zero"
    path = Path(hint.split()[5].rstrip(";"))
    assert path.read_text().startswith("Traceback")
    assert defect(SUPERVISE_DEBUG="1").stderr.startswith("Traceback")


@pytest.mark.slow
def test_orders_wait_for_the_outcome_and_tell_what_changed(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": TEAM, "other.py": TEAM})
    with foreground(tmp_path, runtime) as running:
        done = running.run("wait", "--timeout", "60")
        assert (done.returncode, done.stdout) == (0, "")
        assert running.run("status").returncode == 0

        done = running.run("stop", "team")
        assert (done.returncode, done.stdout) == (0, "team: stopped — stopped by the operator\n")
        assert running.run("stop", "team").stdout == "team: already stopped\n"
        assert running.run("status").returncode == 1
        done = running.run("reload", "team")
        assert (done.returncode, done.stdout) == (1, "team is stopped: use start\n")

        assert running.run("start", "team").returncode == 0
        assert "already" in running.run("start", "team").stdout
        done = running.run("restart", "team", "other")
        assert done.returncode == 0
        assert len(done.stdout.splitlines()) == 2

        save(tmp_path / "team.py", (tmp_path / "team.py").read_text().replace("hourly", "daily"))
        running.until(lambda line: "added job:daily; removed job:hourly" in line)
        lines = running.run("diff", "team").stdout.splitlines()
        assert lines[1:] == ["+ job:daily", "- job:hourly"]
        answer = running.json("reload", "--all")["locations"]
        assert answer["team"]["state"] == "ready"
        assert answer["other"]["diff"]["changed"] == []

        save(tmp_path / "team.py", "import no_such_library_here\n")
        done = running.run("reload", "team")
        assert done.returncode == 1
        assert done.stdout.startswith("team: failed — no_such_library_here is not installed")
        assert "is still served" in done.stdout.splitlines()[0]
        assert running.run("wait", "team").returncode == 1
        assert running.run("snapshot", "team").returncode == 0

        done = running.run("reload", "other", "--no-wait")
        assert done.stdout == "other: reloading\n"
        done = running.run("shutdown")
        assert done.returncode == 0
        assert running.process.wait(60) == 0


@pytest.mark.slow
def test_wait_gives_up_at_its_timeout(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"slow.py": "import time\ntime.sleep(600)\n"})
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("slow: starting"))
        done = running.run("wait", "--timeout", "0.2")
        assert done.returncode == 1
        assert "after 0.2 s slow had not finished" in done.stderr
        assert running.run("status").returncode == 1  # starting is not success
        assert running.run("shutdown", "--now").returncode == 0


@pytest.mark.slow
def test_two_supervisors_of_two_workspaces_have_to_be_told_apart(
    tmp_path: Path, runtime: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        make_workspace(folder, {"team.py": TEAM})
    with foreground(first, runtime) as one, foreground(second, runtime) as other:
        for running in (one, other):
            running.until(lambda line: line.startswith("team: ready"))
        done = supervise("status", cwd=tmp_path, runtime=runtime)
        assert done.returncode == 3
        assert "choose one with -w" in done.stderr
        chosen = supervise(
            "status", "-w", str(second / "workspace.yaml"), "--json", cwd=tmp_path, runtime=runtime
        )
        assert json.loads(chosen.stdout)["supervisor"]["pid"] == other.pid
        group = supervise(
            "-w", str(first / "workspace.yaml"), "status", "--json", cwd=tmp_path, runtime=runtime
        )
        assert json.loads(group.stdout)["supervisor"]["pid"] == one.pid


@pytest.mark.slow
def test_ad_hoc_workspaces_are_found_by_the_same_flags(tmp_path: Path, runtime: Path) -> None:
    (tmp_path / "solo.py").write_text("from runner_shim import job\n\n@job\ndef one(): pass\n")
    with foreground(tmp_path, runtime, "-f", "solo.py") as running:
        running.until(lambda line: line.startswith("solo.py: ready"))
        done = running.run("-f", "solo.py", "status", "solo.py")
        assert done.returncode == 0, done.stderr
        assert "using the only" not in done.stderr
        assert os.path.basename(str(tmp_path)) in running.run("ps").stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", ["logs", "snapshot", "reload", "diff"])
def test_what_a_remote_location_has_not_is_refused_plainly(live: Foreground, command: str) -> None:
    done = live.run(command, "far")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: far is served elsewhere: it has no process here\n"


def test_a_remote_location_is_not_waited_for(live: Foreground) -> None:
    done = live.run("wait", "far", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["locations"] == {"far": "elsewhere"}
