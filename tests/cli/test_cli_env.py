"""``supervise env``: real virtualenvs without requirements, so that nothing needs a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import TEAM, supervise
from envs_support import make_wheel
from supervised import make_workspace


def workspace(folder: Path, **environment: Any) -> Path:
    path = make_workspace(folder, {"team.py": TEAM})
    data = yaml.safe_load(path.read_text())
    data["environments"] = {"risk": {"python": sys.executable, **environment}}
    data["load_from"] = [{"python_environment": {"name": "risk", "target": data["load_from"][0]}}]
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.slow
def test_sync_list_show_remove(tmp_path: Path, runtime: Path) -> None:
    workspace(tmp_path)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return supervise("env", *arguments, cwd=tmp_path, runtime=runtime)

    empty = run("list")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert "no environments have been made" in empty.stderr

    first = run("sync")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("risk (python 3.")
    assert ": made  " in first.stdout
    assert "risk: " in first.stderr  # progress
    again = run("sync", "risk")
    assert ": up to date  " in again.stdout
    assert run("sync", "team").stdout == again.stdout  # a location's name will do

    (row,) = json.loads(run("list", "--json").stdout)["environments"]
    assert (row["name"], row["current"], row["complete"]) == ("risk", True, True)
    assert os.access(Path(row["prefix"]) / "bin" / "python", os.X_OK)
    assert run("list").stdout.splitlines()[1].split()[0] == "risk"
    shown = run("show", "risk").stdout
    assert shown.startswith("risk - python 3.")
    assert row["prefix"] in shown

    removed = run("remove", "risk")
    assert (removed.returncode, removed.stdout) == (0, f"risk: removed {row['prefix']}\n")
    assert not Path(row["prefix"]).exists()
    gone = run("remove", "risk")
    assert (gone.returncode, gone.stderr) == (0, "risk: not there\n")
    assert run("show", "risk").returncode == 4


def test_what_cannot_be_made_exits_1_in_the_tools_own_words(tmp_path: Path, runtime: Path) -> None:
    workspace(tmp_path, requirements=["no-such-thing @ file:///no/such/thing.whl"])
    done = supervise("env", "sync", cwd=tmp_path, runtime=runtime)
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: " in done.stderr
    assert "/no/such/thing.whl" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_name_is_told_with_what_was_meant(tmp_path: Path, runtime: Path) -> None:
    workspace(tmp_path)
    done = supervise("env", "sync", "risk2", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 4
    assert "no environment or location is named 'risk2'\nhint: did you mean risk?" in done.stderr
    done = supervise("env", "sync", "elsewhere", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 4
    assert "no environment or location is named 'elsewhere'\nhint: there are risk" in done.stderr


@pytest.mark.slow
def test_lock_writes_beside_the_workspace_and_says_what_has_no_lock(
    tmp_path: Path, runtime: Path
) -> None:
    make_wheel(tmp_path / "wheels", "lemon")
    (tmp_path / "uv.toml").write_text('no-index = true\nfind-links = ["wheels"]\n')
    workspace(tmp_path, requirements=["lemon"])

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return supervise("env", *arguments, cwd=tmp_path, runtime=runtime)

    lock = tmp_path / "supervise-locks" / "risk.txt"
    assert run("lock").stdout == f"risk: written  {lock}\n"
    assert run("lock", "risk").stdout == f"risk: up to date  {lock}\n"
    assert f"\n  versions of {lock}\n" in run("sync").stdout
    assert f"Pinned: versions of {lock}\n" in run("show", "risk").stdout
    workspace(tmp_path, requirements=["lemon>=1"])
    stale = run("sync")
    assert stale.returncode == 1
    assert "hint: run `supervise env lock risk`" in stale.stderr
    (answer,) = json.loads(run("lock", "--json").stdout)["locks"]
    assert answer == {"name": "risk", "path": str(lock), "changed": True}

    workspace(tmp_path)
    assert "no environment of this workspace is made from requirements" in run("lock").stderr
    refused = run("lock", "risk")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: environment risk is not made from requirements")


@pytest.mark.slow
def test_a_script_is_loaded_in_the_environment_of_its_block(tmp_path: Path, runtime: Path) -> None:
    block = f'# /// script\n# requires-python = "=={sys.version_info[0]}.{sys.version_info[1]}.*"\n# ///\n'
    make_workspace(tmp_path, {"team.py": block + TEAM})
    done = supervise("check", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(supervise("env", "list", "--json", cwd=tmp_path, runtime=runtime).stdout)[
        "environments"
    ]
    assert row["script"] == str(tmp_path / "team.py")
    status = supervise("env", "show", row["key"], cwd=tmp_path, runtime=runtime).stdout
    assert f"Requires: {tmp_path}/team.py\n" in status


@pytest.mark.slow
def test_the_environment_of_a_dg_project_is_made_where_that_is_asked_for(
    tmp_path: Path, runtime: Path
) -> None:
    make_wheel(tmp_path / "wheels", "lemon")
    place = tmp_path / "risk"
    (place / "risk").mkdir(parents=True)
    (place / "risk" / "__init__.py").write_text("")
    (place / "risk" / "definitions.py").write_text("import lemon\n" + TEAM)
    (place / "pyproject.toml").write_text(
        '[project]\nname = "risk"\nversion = "1"\ndependencies = ["lemon"]\n'
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "risk"\n'
    )
    offline = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(tmp_path / "wheels")}
    done = supervise("check", cwd=place, runtime=runtime, **offline)
    assert done.returncode == 1
    assert "SUPERVISE_ENVIRONMENTS=managed has one made" in done.stdout
    with (place / "pyproject.toml").open("a") as file:
        file.write('[tool.supervise]\nenvironments = "managed"\n')
    done = supervise("check", "--json", cwd=place, runtime=runtime, **offline)
    assert done.returncode == 0, done.stdout
    (location,) = json.loads(done.stdout)["locations"]
    assert location["environment"]["managed"]
    assert location["environment"]["project"] == str(place)
    assert not (place / ".venv").exists()
    synced = supervise("env", "sync", "risk", "--json", cwd=place, runtime=runtime, **offline)
    (made,) = json.loads(synced.stdout)["environments"]
    assert (made["created"], made["prefix"]) == (False, location["environment"]["prefix"])


def test_an_error_names_its_environment(tmp_path: Path, runtime: Path) -> None:
    path = workspace(tmp_path)
    path.write_text(path.read_text().replace(sys.executable, "py3"))
    done = supervise("env", "sync", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2] == "error: environment risk: 'py3' is no python version"
