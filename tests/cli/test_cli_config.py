"""``supervise config``: what counts, and where it comes from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import supervise
from workspaces import CLOUD, PROJECT

from supervisor.run_settings import RunSettings
from supervisor.workspace_files import Selection, resolve
from supervisor.workspace_files.effective import location_settings
from supervisor.workspace_files.keys import OWN_KEYS

WORKSPACE = """\
environments:
  lab: {python: "3.${MINOR:-11}", requirements: [pkg]}
defaults:
  load_timeout: 90
  env: {A: "1", DB_PASSWORD: hunter2, HOME_OF: "x${HOME}"}
runs: {timeout: 1h}
load_from:
  - python_file:
      relative_path: team/defs.py
      environment: lab
      restart: never
      limits: {memory: 1GiB}
      metadata: {owner: me, token: abcdef}
      env_file: more.env
      runs: {retries: 2}
      tags: {team: risk, api_token: "t-${HOME}"}
"""


def config(directory: Path, runtime: Path, *words: str) -> dict[str, Any]:
    done = supervise("config", "--json", *words, cwd=directory, runtime=runtime)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def place(one: dict[str, Any], directory: Path) -> tuple[Any, str, str]:
    at = (one["at"] or "").replace(f"{directory.resolve()}/", "")
    return one["value"], one["from"], at


def test_each_setting_says_where_it_comes_from(tmp_path: Path, runtime: Path) -> None:
    (tmp_path / "workspace.yaml").write_text(WORKSPACE)
    (tmp_path / "more.env").write_text("\n# more\nEXTRA=secretly\n")
    document = config(tmp_path, runtime)
    assert document["discovered"]
    settings = {
        key: place(one, tmp_path)
        for key, one in document["locations"]["defs.py"]["settings"].items()
    }
    assert settings["location_name"] == ("defs.py", "default", "")
    assert settings["python_file"] == (
        f"{tmp_path.resolve()}/team/defs.py", "file", "workspace.yaml:9:22",
    )  # fmt: skip
    assert settings["environment"] == ("lab", "file", "workspace.yaml:10:20")
    assert settings["load_timeout"] == (90, "file", "workspace.yaml:4:17")
    assert settings["stop_timeout"] == (5, "default", "")
    assert settings["restart.policy"] == ("never", "file", "workspace.yaml:11:16")
    assert settings["restart.window"] == (60, "default", "")
    assert settings["limits.memory"] == (2**30, "file", "workspace.yaml:12:24")
    assert settings["runs.retries.count"] == (2, "file", "workspace.yaml:15:23")
    assert settings["runs.timeout"] == (3600, "workspace", "")
    assert settings["env.A"] == ("1", "file", "workspace.yaml:5:12")
    assert settings["env.DB_PASSWORD"][0] == "(hidden)"
    assert settings["env.HOME_OF"][0] == "(hidden)"
    assert settings["env.EXTRA"] == ("(hidden)", "file", "more.env:3:1")
    assert settings["metadata.token"][0] == "(hidden)"
    assert settings["metadata.owner"][0] == "me"
    assert settings["tags.team"][0] == "risk"
    assert settings["tags.api_token"][0] == "(hidden)"
    assert place(document["environments"]["lab"]["python"], tmp_path) == (
        "3.11", "file", "workspace.yaml:2:17",
    )  # fmt: skip
    assert place(document["runs"]["timeout"], tmp_path) == (3600, "file", "workspace.yaml:6:17")
    assert document["runs"]["keep.count"] == {"value": 500, "from": "default", "at": None}


def test_for_people_it_reads_like_a_workspace_file(tmp_path: Path, runtime: Path) -> None:
    (tmp_path / "workspace.yaml").write_text(WORKSPACE)
    (tmp_path / "more.env").write_text("EXTRA=secretly\n")
    done = supervise("config", "defs.py", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0].startswith(f"# {tmp_path.resolve()}/workspace.yaml, ")
    assert lines[0].endswith("upwards)")
    assert lines[1:3] == ["locations:", "defs.py: # workspace.yaml:8"]
    assert "load_timeout: 90s # workspace.yaml:4" in lines
    assert "memory: 1073741824 # workspace.yaml:12, 1 GiB" in lines
    assert "timeout: 1h # workspace" in lines
    assert "max_restarts: 5 # default" in lines
    assert not {"hunter2", "secretly"} & set(done.stdout.split())


def test_every_key_of_a_location_is_shown(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text(
        "environments: {e: {python: '3.11'}}\n"
        "load_from: [python_file: {relative_path: a.py, environment: e, env: {A: b}, metadata: {a: b}, "
        "tags: [a], notify: [{command: 'true'}]}]\n"
    )
    (spec,) = resolve(Selection(), cwd=tmp_path, environ={}).locations
    shown = {re.split(r"[.\[]", one.key)[0] for one in location_settings(spec, RunSettings())}
    # What an env file says is among the variables.
    assert set(OWN_KEYS) - {"env_file"} <= shown


@pytest.mark.parametrize(
    ("name", "text", "location", "expected"),
    [
        ("dagster_cloud.yaml", CLOUD, "c", {"python_module": "file", "load_timeout": "default"}),
        (
            "pyproject.toml",
            PROJECT,
            None,
            {"environment.executable_path": "discovered", "env.X": "discovered"},
        ),
    ],
)
def test_every_kind_of_file(
    tmp_path: Path,
    runtime: Path,
    name: str,
    text: str,
    location: str | None,
    expected: dict[str, str],
) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / ".env").write_text("X=1\n")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/nowhere")
    document = config(tmp_path, runtime)
    settings = document["locations"][location or tmp_path.name]["settings"]
    assert {key: settings[key]["from"] for key in expected} == expected


def test_flags_and_what_is_wrong(tmp_path: Path, runtime: Path) -> None:
    done = supervise("config", "--json", "-f", "a.py", cwd=tmp_path, runtime=runtime)
    settings = json.loads(done.stdout)["locations"]["a.py"]["settings"]
    assert settings["python_file"]["at"] == "command line"
    (tmp_path / "workspace.yaml").write_text("load_from: [python_file: {path: a.py}]\n")
    done = supervise("config", cwd=tmp_path, runtime=runtime)
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown key path" in done.stderr
    (tmp_path / "workspace.yaml").write_text("load_from: [python_file: a.py]\n")
    done = supervise("config", "a.pi", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 4
    assert "hint: there is a.py" in done.stderr
