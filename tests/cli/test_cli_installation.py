"""An environment of our own that is older than our code, and files that the system refuses: no defects."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import COMMAND, supervise, variables


def without(module: str, runtime: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``supervise`` where ``module`` is not installed."""
    code = (
        f"import sys; sys.modules[{module!r}] = None; "
        f"from supervisor.cli import run_command; sys.exit(run_command({list(arguments)!r}))"
    )
    return subprocess.run(
        [COMMAND[0], "-c", code], env=variables(runtime), capture_output=True, text=True
    )


@pytest.mark.parametrize("module", ["yaml", "click"])
def test_a_library_that_is_not_installed_is_no_defect(
    module: str, tmp_path: Path, runtime: Path
) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from: [python_file: defs.py]\n")
    words = ["config", "-w", str(tmp_path / "workspace.yaml")]
    done = without(module, runtime, *words)
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error == (
        f"error: the library {module}, which supervise needs, is not installed in {sys.prefix}"
    )
    assert hint.startswith("hint: that environment is older than supervise: run `")
    assert "install" in hint


def test_a_part_of_our_own_python_that_is_missing(runtime: Path) -> None:
    done = without("selectors", runtime, "status", "--json")
    assert (done.returncode, done.stderr) == (2, "")
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "installation"
    assert "lacks selectors of its standard library" in error["message"]


def test_a_defect_is_an_object_where_json_is_asked_for(tmp_path: Path, runtime: Path) -> None:
    code = (
        "import sys, supervisor.runtime_dir as r; "
        "r.running_supervisors = lambda environ: 1 / 0; "
        "from supervisor.cli import run_command; sys.exit(run_command(['ps', '--json']))"
    )
    done = subprocess.run(
        [COMMAND[0], "-c", code],
        env=variables(runtime, TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (1, "")
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "internal"
    assert "ZeroDivisionError" in error["message"]


def test_a_file_that_the_system_refuses_is_no_defect(tmp_path: Path, runtime: Path) -> None:
    (tmp_path / "file").touch()
    done = supervise("init", "-o", "file/workspace.yaml", cwd=tmp_path, runtime=runtime)
    assert done.returncode in (1, 2)
    assert "defect" not in done.stderr
    assert "file/workspace.yaml" in done.stderr


def test_a_virtualenv_beside_the_workspace_file_that_is_broken_is_told(
    tmp_path: Path, runtime: Path
) -> None:
    """Its default is not the supervisor's own interpreter, which lacks what the team's code needs."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("home = /gone/bin\n")
    (tmp_path / "defs.py").touch()
    (tmp_path / "workspace.yaml").write_text("load_from: [python_file: defs.py]\n")
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        [*COMMAND, "env", "sync", "--json"],
        cwd=tmp_path,
        env={**environ, "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (error,) = json.loads(done.stdout)["errors"]
    assert error["message"] == f"{tmp_path}/.venv/bin/python does not exist"
    assert "make it again" in error["hint"]
