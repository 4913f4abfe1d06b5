"""``supervise check``: every problem, once, and an exit status that a pipeline can use."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from commands import BROKEN, TEAM, foreground, supervise
from supervised import make_workspace, marked


def test_all_well(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    done = supervise("check", cwd=tmp_path, runtime=runtime, WS_TEST_MARKER=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "1 location loaded"
    assert done.stderr.startswith("loading 1 location of workspace.yaml\n")
    assert marked(str(tmp_path)) == []


@pytest.mark.slow
def test_every_problem_is_printed_in_full(tmp_path: Path, runtime: Path) -> None:
    files = {
        "team.py": TEAM,
        "broken.py": BROKEN,
        "syntax.py": "def (:\n",
        "dies.py": "import os, sys\nprint('last words', flush=True)\nos._exit(3)\n",
    }
    make_workspace(tmp_path, files, {**{name[:-3]: {} for name in files}, "absent": {}})
    done = supervise("check", cwd=tmp_path, runtime=runtime, WS_TEST_MARKER=str(tmp_path))
    assert done.returncode == 1
    text = done.stdout
    assert text.splitlines()[-1] == "4 of 5 locations cannot be loaded"
    assert "● team: ready" in text
    assert "✗ broken: failed — no_such_library_here is not installed" in text
    assert "syntax error in syntax.py line 1" in text
    assert "exited with status 3" in text
    assert "last words" in text
    assert "absent.py" in text
    assert marked(str(tmp_path)) == []


@pytest.mark.slow
def test_a_failure_that_locations_share_is_printed_once(tmp_path: Path, runtime: Path) -> None:
    (tmp_path / "reqs.txt").write_text("./absent\n")
    (tmp_path / "workspace.yaml").write_text(
        "environments: {shared: {requirements_file: reqs.txt}}\n"
        "load_from:\n"
        "  - python_file: {relative_path: a.py, environment: shared}\n"
        "  - python_file: {relative_path: b.py, environment: shared}\n"
    )
    done = supervise("check", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 1
    assert "✗ b.py: failed — environment shared" in done.stdout
    assert done.stdout.count("error: Distribution not found") == 1
    assert done.stdout.splitlines()[-2] == "  as for a.py, above"


def test_json(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": TEAM, "broken.py": BROKEN})
    done = supervise("check", "--json", cwd=tmp_path, runtime=runtime)
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["ok"] is False
    assert {one["name"]: one["state"] for one in report["locations"]} == {
        "team": "ready",
        "broken": "failed",
    }
    failure = next(one["failure"] for one in report["locations"] if one["failure"])
    assert failure["exception"]["type"] == "ModuleNotFoundError"


def test_problems_of_the_files_exit_1_too(tmp_path: Path, runtime: Path) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from:\n  - python_fiel: a.py\n")
    for flags in ((), ("--config-only",)):
        done = supervise("check", *flags, cwd=tmp_path, runtime=runtime)
        assert (done.returncode, done.stdout) == (1, "")
        assert "did you mean python_file?" in done.stderr
    done = supervise("check", "--json", cwd=tmp_path, runtime=runtime)
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem["line"] == 2


def test_config_only_touches_no_target_and_no_interpreter(tmp_path: Path, runtime: Path) -> None:
    make_workspace(
        tmp_path, {}, {"a": {"relative_path": "absent.py", "executable_path": "/no/such/python"}}
    )
    done = supervise("check", "--config-only", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'workspace.yaml'}: 1 location, no problems\n"
    assert os.listdir(tmp_path) == ["workspace.yaml"]


@pytest.mark.slow
def test_it_disturbs_no_supervisor_that_runs(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("team: ready"))
        before = running.json("status", "team")["locations"][0]
        assert running.run("check").returncode == 0
        after = running.json("status", "team")["locations"][0]
        assert before["process"]["pid"] == after["process"]["pid"]
        assert before["generation"] == after["generation"]


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path, runtime: Path) -> None:
    os.mkfifo(tmp_path / "defs.py")
    (tmp_path / "workspace.yaml").write_text("load_from: [python_file: defs.py]\n")
    done = supervise("check", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 1
    assert "file defs.py does not exist" in done.stdout
