"""A checkout that is mounted read-only, and a state directory that another user has put there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from commands import COMMAND, TEAM, supervise, variables
from supervised import make_workspace


def mounted_read_only(
    place: Path, runtime: Path, *arguments: str, **extra: str
) -> subprocess.CompletedProcess[str]:
    """``supervise`` in ``place``, where nothing can be written."""
    prefix = ["unshare", "--mount", *(["--map-root-user"] if os.getuid() else [])]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"]).returncode:
        pytest.skip("no mount namespaces here")
    steps = 'mount --bind . . && mount -o remount,bind,ro . && cd "$PWD" && exec "$@"'
    return subprocess.run(
        [*prefix, "sh", "-c", steps, "sh", *COMMAND, *arguments],
        cwd=place,
        env=variables(runtime, **extra),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_check_works_where_nothing_can_be_written(tmp_path: Path, runtime: Path) -> None:
    place, temporary = tmp_path / "checkout", tmp_path / "temporary"
    place.mkdir()
    temporary.mkdir()
    make_workspace(place, {"team.py": TEAM})
    done = mounted_read_only(place, runtime, "check", TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr
    assert "1 location loaded" in done.stdout
    assert not (place / ".supervise").exists()
    assert not [one for one in temporary.iterdir() if one.name.startswith("supervise-")]


@pytest.mark.slow
def test_check_uses_the_environments_that_are_there_and_makes_others_elsewhere(
    tmp_path: Path, runtime: Path
) -> None:
    place, temporary = tmp_path / "checkout", tmp_path / "temporary"
    place.mkdir()
    temporary.mkdir()
    (place / "team.py").write_text(TEAM)
    text = (
        "environments: {one: {python: '3.11'}, two: {python: '>=3.11'}}\nload_from:\n"
        "- python_file: {relative_path: team.py, location_name: one, environment: one}\n"
        "- python_file: {relative_path: team.py, location_name: two, environment: two}\n"
    )
    (place / "workspace.yaml").write_text(text)
    made = supervise("env", "sync", "one", "--json", cwd=place, runtime=runtime)
    (one,) = json.loads(made.stdout)["environments"]
    done = mounted_read_only(place, runtime, "check", "--json", TMPDIR=str(temporary))
    found = {entry["name"]: entry["environment"] for entry in json.loads(done.stdout)["locations"]}
    assert found["one"]["prefix"] == one["prefix"]
    assert found["two"]["prefix"].startswith(str(temporary))
    assert (
        os.listdir(place / ".supervise" / "envs") == ["one"]
        or not (place / ".supervise" / "envs" / "two").exists()
    )


def test_other_commands_say_what_cannot_be_written(tmp_path: Path, runtime: Path) -> None:
    place = tmp_path / "checkout"
    place.mkdir()
    make_workspace(place, {"team.py": TEAM})
    for words in (["run"], ["up", "-d"]):
        done = mounted_read_only(place, runtime, *words)
        assert done.returncode == 2
        error, hint = done.stderr.splitlines()
        assert f"{place}/.supervise" in error
        assert "read-only file system" in error
        assert "make that directory writable" in hint


def test_a_runtime_directory_that_cannot_be_made_says_what_to_set(runtime: Path) -> None:
    make_workspace(runtime, {"team.py": TEAM})
    done = mounted_read_only(runtime, runtime, "check")
    assert done.returncode == 1
    *_, error, hint = done.stderr.splitlines()
    assert error == (
        f"error: {runtime}/workspace-supervisor: the runtime directory cannot be made: "
        "read-only file system"
    )
    assert hint == "hint: point XDG_RUNTIME_DIR at a directory that only you can write to"


@pytest.mark.skipif(os.getuid() != 0, reason="gives a directory to another user")
@pytest.mark.parametrize(
    "words",
    [
        ["env", "sync"],
        ["env", "list"],
        ["env", "remove", "one"],
        ["up", "-d"],
        ["tokens", "add", "x", "--role", "viewer"],
        ["audit"],
    ],
)
def test_what_another_user_has_put_there_is_refused_by_all(
    words: list[str], tmp_path: Path, runtime: Path
) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    planted = tmp_path / ".supervise"
    (planted / "envs").mkdir(parents=True)
    os.chown(planted, 12345, 12345)
    tmp_path.chmod(0o1777)
    done = supervise(*words, cwd=tmp_path, runtime=runtime)
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert "it belongs to the user 12345" in error
    assert hint.startswith("hint: move the workspace to a directory")
    assert os.listdir(planted) == ["envs"]
