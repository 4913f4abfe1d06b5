"""The supervisor in the foreground: plain lines, the live table, signals, refusals."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from commands import BROKEN, COMMAND, TEAM, foreground, in_terminal, supervise, variables
from supervised import make_workspace, marked, poll_now, save


def test_plain_lines_tell_each_change(tmp_path: Path, runtime: Path) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM, "broken.py": BROKEN})
    with foreground(tmp_path, runtime, WS_TEST_MARKER=str(tmp_path)) as running:
        running.until(lambda line: line.startswith("broken: failed"))
        ready = running.run("wait", "team").returncode
        assert ready == 0
        save(tmp_path / "broken.py", TEAM)
        running.until(lambda line: line.startswith("broken: ready in "))
        save(tmp_path / "team.py", TEAM.replace("hourly", "daily"))
        running.until(lambda line: "added job:daily; removed job:hourly" in line)
        save(workspace, "load_from: [{python_fiel: team.py}]\n")
        running.until(lambda line: line.startswith("the workspace has problems"))
        assert running.run("status").returncode == 1
        assert running.run("status", "team").returncode == 0
        os.kill(running.pid, signal.SIGTERM)
        lines = running.rest()
        assert running.process.wait(60) == 0
    text = "\n".join(running.seen)
    assert f"supervise: 2 locations of {workspace} (pid {running.pid})" in running.seen[0]
    assert "team: starting — the supervisor started" in running.seen
    team = next(line for line in running.seen if line.startswith("team: ready in "))
    assert " — 2 jobs, 1 schedule (python 3." in team
    assert "\n      import no_such_library_here\n" in text
    assert "did you mean python_file?" in text
    caret = running.seen.index("      1 | load_from: [{python_fiel: team.py}]") + 1
    assert running.seen[caret] == "        |              ^"
    assert "supervise: stopping everything" in "\n".join(lines)
    assert lines[-1] == "supervise: everything has stopped"
    assert "\x1b" not in text
    assert marked(str(tmp_path)) == []


def test_a_second_signal_stops_at_once(tmp_path: Path, runtime: Path) -> None:
    stubborn = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open('deaf', 'w').close()\ntime.sleep(900)\n"
    )
    make_workspace(tmp_path, {"stubborn.py": stubborn}, {"stubborn": {"stop_timeout": 600}})
    marker = str(tmp_path)
    with foreground(tmp_path, runtime, WS_TEST_MARKER=marker) as running:
        running.until(lambda line: line.startswith("stubborn: starting"))
        poll_now((tmp_path / "deaf").exists, "the location ignores SIGTERM")
        os.kill(running.pid, signal.SIGINT)
        running.until(lambda line: "stopping everything (Ctrl-C again" in line)
        os.kill(running.pid, signal.SIGINT)
        running.until(lambda line: line == "supervise: stopping at once")
        running.rest()
        assert running.process.wait(60) == 0
        assert marked(marker) == []


@pytest.mark.slow
def test_a_second_supervisor_is_refused_with_the_pid_of_the_first(
    tmp_path: Path, runtime: Path
) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("team: ready"))
        done = supervise(cwd=tmp_path, runtime=runtime)
        assert (done.returncode, done.stdout) == (2, "")
        error, hint = done.stderr.splitlines()
        assert error.startswith("error: ")
        assert f"already supervised by pid {running.pid}" in error
        assert hint.startswith("hint: use `supervise status`")


def test_a_broken_workspace_exits_2_with_all_problems(tmp_path: Path, runtime: Path) -> None:
    (tmp_path / "workspace.yaml").write_text(
        "load_from:\n  - python_fiel: a.py\n  - python_modul: b\n"
    )
    done = supervise(cwd=tmp_path, runtime=runtime)
    assert (done.returncode, done.stdout) == (2, "")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "workspace.yaml:2:" in errors[0] and "did you mean python_file?" in errors[0]


def test_no_workspace_exits_2(tmp_path: Path, runtime: Path) -> None:
    done = supervise("run", cwd=tmp_path, runtime=runtime)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_a_pipe_that_closes_ends_the_supervisor_cleanly(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    marker = str(tmp_path)
    with foreground(tmp_path, runtime, WS_TEST_MARKER=marker) as running:
        running.until(lambda line: line.startswith("team: ready"))
        assert running.process.stdout is not None
        running.process.stdout.close()
        running.run("reload", "team")  # which makes it write
        assert running.process.wait(60) == 141
        assert marked(marker) == []


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_the_live_table_fits_the_window(tmp_path: Path, runtime: Path, columns: int) -> None:
    make_workspace(tmp_path, {"team.py": TEAM, "broken.py": BROKEN})
    env = variables(runtime, TERM="xterm")
    with in_terminal(COMMAND, cwd=tmp_path, env=env, columns=columns) as screen:
        while not ("no_such_library_here" in screen.text and "1 of 2 ready" in screen.text):
            screen.until(" of 2 ready")
        save(tmp_path / "broken.py", (tmp_path / "team.py").read_text())
        screen.until("2 of 2 ready")
        screen.press(b"\x03")
        screen.until("everything has stopped")
        assert screen.wait() == 0
    plain = _without_escapes(screen.text)
    assert max(len(line) for line in plain.split("\n")) <= columns
    assert "broken: failed — no_such_library_here is not installed" in plain.replace("\n", " ")
    assert ("FRAMEWORK" in plain) is (columns >= 100)
    assert screen.text.rstrip().endswith("supervise: everything has stopped")
    assert screen.text.rindex("\x1b[?25h") > screen.text.rindex("\x1b[?25l")  # the cursor is back


def test_a_table_that_is_watched_says_that_ctrl_c_ends_the_view_alone(
    tmp_path: Path, runtime: Path
) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    env = variables(runtime, TERM="xterm")
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("team: ready"))
        watching = [*COMMAND, "status", "-f"]
        with in_terminal(watching, cwd=tmp_path, env=env, columns=120) as screen:
            screen.until("Ctrl-C ends this view")
            screen.press(b"\x03")
            screen.wait()
        assert running.run("status").returncode == 0


def _without_escapes(text: str) -> str:
    import re

    return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|[78])", "", text).replace("\r", "\n")


def test_no_live_table_in_ci(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    env = variables(runtime, TERM="xterm", CI="true", NO_COLOR="1")
    with in_terminal(COMMAND, cwd=tmp_path, env=env, columns=80) as screen:
        screen.until("team: ready in")
        os.kill(screen.pid, signal.SIGTERM)
        screen.until("everything has stopped")
        screen.wait()
    assert "\x1b" not in screen.text


@pytest.mark.slow
def test_status_can_follow_a_supervisor(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("team: ready"))
        with foreground(tmp_path, runtime, "status", "-f") as following:
            following.until(lambda line: line.startswith("team: ready"))
            running.run("stop", "team")
            following.until(lambda line: line.startswith("team: stopped"))
            running.run("shutdown")
            following.rest()
            assert following.process.wait(60) == 3


def test_a_terminal_that_goes_away_ends_everything(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    marker = str(tmp_path)
    env = variables(runtime, TERM="xterm", WS_TEST_MARKER=marker)
    with in_terminal(COMMAND, cwd=tmp_path, env=env, columns=80) as screen:
        screen.until("1 of 1 ready")
        screen.hang_up()
        screen.wait()
    assert marked(marker) == []


def test_supervisord_in_the_same_environment_is_named(tmp_path: Path, runtime: Path) -> None:
    import shutil

    import supervisor

    site = tmp_path / "site"
    shutil.copytree(Path(supervisor.__file__).parent, site / "supervisor")
    (site / "supervisor" / "supervisord.py").touch()
    done = supervise("run", cwd=tmp_path, runtime=runtime, PYTHONPATH=str(site))
    assert done.returncode == 2
    assert "warning: supervisord is installed in this environment too" in done.stderr
    assert "uv tool install workspace-supervisor" in done.stderr
    (site / "supervisor" / "errors.py").write_text("")  # as if theirs had come last
    broken = supervise("status", cwd=tmp_path, runtime=runtime, PYTHONPATH=str(site))
    assert broken.returncode == 2
    assert broken.stderr.startswith("error: supervisord is installed in this environment too")
