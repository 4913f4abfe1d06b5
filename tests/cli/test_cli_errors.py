"""What an error looks like: an object where JSON is asked for, the source line for people."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from commands import COMMAND, supervise, variables

from supervisor.presentation.excerpt import excerpt


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["status"], 3, "not_running"),
        (["logs"], 3, "not_running"),
        (["reload", "--all"], 3, "not_running"),
        (["reload"], 2, "usage"),
        (["show", "a", "b", "--nonsense"], 2, "usage"),
        (["config", "nowhere"], 4, "unknown_location"),
        (["config", "-w", "bad.yaml"], 2, "configuration"),
        (["env", "sync", "-w", "bad.yaml"], 2, "configuration"),
        (["runs", "show", "x"], 3, "not_running"),
        (["env", "show", "x"], 4, "unknown"),
    ],
)
def test_an_error_is_one_object_on_standard_output(
    tmp_path: Path, runtime: Path, words: list[str], status: int, code: str
) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from: [python_file: a.py]\n")
    (tmp_path / "bad.yaml").write_text("load_from:\n  - python_fil: a.py\n")
    done = supervise(*words, "--json", cwd=tmp_path, runtime=runtime)
    assert done.returncode == status
    assert done.stderr == ""
    error = json.loads(done.stdout)["error"]
    assert error["code"] == code
    assert error["message"]
    if code == "configuration":
        (problem,) = error["problems"]
        assert (problem["line"], problem["column"]) == (2, 5)
        assert problem["suggestion"] == "python_file"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tokens", "add", "x"], "missing option '--role'. Choose from: viewer, launcher, editor, admin"),
        (["stat"], "no command is named 'stat': did you mean 'status'?"),
        (["wait", "--timeout", "soon"], "invalid value for '--timeout': 'soon' is no number of seconds"),
        (["wait", "--timeout", "nan"], "invalid value for '--timeout': 'nan' is no number of seconds"),
        (["diff", "a", "0"], "invalid value for '[BEFORE]': '0' is no generation: they are counted from 1"),
        (["check", "workspace.yaml"], "got unexpected extra argument (workspace.yaml): to name a file, use -w workspace.yaml"),
        (["check", "defs.py"], "got unexpected extra argument (defs.py): to name a file, use -f defs.py"),
        (["shutdown", "now"], "got unexpected extra argument (now)"),
        (["status", "--jsn"], "no such option '--jsn'; did you mean '--json'?"),
        (["logs", "--level", "x"], "no such option '--level'"),
        (["logs", "-n", "x"], "invalid value for '-n' / '--lines': 'x' is no whole number"),
        (["automations", "start", "team"], "no command is named 'start': there are list, off, on, ticks"),
        (["status", "-w", ""], "invalid value for '-w' / '--workspace': it is empty: name a workspace file"),
        (["logs", "--since", "inf"], "invalid value for '--since': 'inf' is no duration: write 30s, 5m, 1h or 2d"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_told_in_one_line(
    tmp_path: Path, runtime: Path, words: list[str], said: str
) -> None:
    done = supervise(*words, cwd=tmp_path, runtime=runtime)
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error == f"error: {said}"
    assert hint.startswith("hint: see `supervise")


def test_a_workspace_file_that_is_not_there_is_told(tmp_path: Path, runtime: Path) -> None:
    done = supervise("-w", "worksapce.yaml", "status", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 3
    assert done.stderr.splitlines()[1:] == ["hint: there is no file worksapce.yaml"]


def test_a_directory_stands_for_the_workspace_file_in_it(tmp_path: Path, runtime: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "workspace.yaml").write_text("load_from: [python_file: a.py]\n")
    done = supervise("check", "--config-only", "-w", "own", cwd=tmp_path, runtime=runtime)
    assert (done.returncode, "1 location, no problems" in done.stdout) == (0, True), done.stderr
    done = supervise("status", "-w", "own", cwd=tmp_path, runtime=runtime)
    assert done.stderr.startswith("error: no supervisor is running for own/workspace.yaml")
    done = supervise("check", "--config-only", "-w", ".", cwd=tmp_path, runtime=runtime)
    assert done.stderr.splitlines()[0].endswith("no workspace file is in '.'")
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("worspace.yaml", "does not exist; did you mean workspace.yaml?\n"),
        ("nope.yaml", "hint: there is workspace.yaml"),
        ("a/nope.yaml", "hint: `supervise init -o a/nope.yaml` writes one for what it finds"),
    ],
)
def test_a_workspace_file_that_cannot_be_read_is_told_with_what_to_do(
    tmp_path: Path, runtime: Path, name: str, said: str
) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from: [python_file: a.py]\n")
    done = supervise("check", "--config-only", "-w", name, cwd=tmp_path, runtime=runtime)
    assert said in done.stderr
    assert done.returncode == 1


def test_without_a_workspace_the_hint_is_how_to_get_one(tmp_path: Path, runtime: Path) -> None:
    for words, status in (([], 2), (["status"], 3)):
        done = supervise(*words, cwd=tmp_path, runtime=runtime)
        assert done.returncode == status
        assert done.stderr.splitlines()[-1].startswith("hint: `supervise init` writes ")


@pytest.mark.parametrize("command", ["check", "config", "run"])
def test_a_problem_shows_its_source_line(tmp_path: Path, runtime: Path, command: str) -> None:
    (tmp_path / "workspace.yaml").write_text(
        "load_from:\n  - python_file: {relativ_path: a.py}\n  - python_fil: b.py\n"
    )
    done = supervise(command, cwd=tmp_path, runtime=runtime)
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"error: {tmp_path.resolve()}/workspace.yaml:2:19: ")
    assert lines[1:3] == [
        "    2 |   - python_file: {relativ_path: a.py}",
        "      |                   ^",
    ]
    assert lines[4] == "    3 |   - python_fil: b.py"


def test_no_secret_and_no_other_file_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text("a: 1\npassword: hunter2x\n\n" + "x" * 300 + "\n")
    assert excerpt(str(file), 1, 4) == ["    1 | a: 1", "      |    ^"]
    assert excerpt(str(file), 1, 0) == ["    1 | a: 1"]
    assert excerpt(str(file), 2, 1) == []
    assert excerpt(str(file), 3, 1) == []
    assert excerpt(str(file), 9, 1) == []
    shown, caret = excerpt(str(file), 4, 250)
    assert (len(shown), caret.index("^")) == (76, 42)
    env = tmp_path / "x.env"
    env.write_text("A=1\n")
    assert excerpt(str(env), 1, 1) == []
    assert excerpt(str(tmp_path / "none.yaml"), 1, 1) == []
    assert excerpt("command line", 0, 0) == []


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_gets_no_file_of_ours(
    tmp_path: Path, runtime: Path, closed: str
) -> None:
    """Else the log of a supervisor in the background gets the number of its standard output."""
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    line = f"{shlex.join(COMMAND)} up -d {closed}"
    started = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=variables(runtime), timeout=60)
    try:
        assert started.returncode == 0
        done = supervise("status", "--json", cwd=tmp_path, runtime=runtime)
        assert json.loads(done.stdout)["supervisor"]["warnings"] == []
    finally:
        supervise("shutdown", cwd=tmp_path, runtime=runtime)
    output = tmp_path / ".supervise" / "workspace.yaml" / "output.log"
    assert "everything has stopped" in output.read_text()
