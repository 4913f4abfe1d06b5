"""The state directory: one holder at a time, private, ignored by version control."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from supervised import child_process

from supervisor.errors import AlreadyRunningError, ConfigurationError
from supervisor.server.state_directory import StateDirectory


def test_it_is_private_and_ignored(tmp_path):
    state = StateDirectory(tmp_path / ".supervise", "key")
    state.open("workspace.yaml")
    try:
        assert state.path == tmp_path / ".supervise" / "key"
        assert state.path.stat().st_mode & 0o777 == 0o700
        ignore = tmp_path / ".supervise" / ".gitignore"
        assert "*" in ignore.read_text().splitlines()
        assert (state.path / "lock").read_text() == f"{os.getpid()}\n"
    finally:
        state.close()
    ignore.write_text("mine\n")
    state.open("workspace.yaml")
    state.close()
    assert ignore.read_text() == "mine\n", "what is there is left alone"


def test_a_second_holder_is_refused_until_the_first_lets_go(tmp_path):
    first = StateDirectory(tmp_path, "key")
    second = StateDirectory(tmp_path, "key")
    other = StateDirectory(tmp_path, "other")
    first.open("workspace.yaml")
    other.open("workspace.yaml")
    with pytest.raises(AlreadyRunningError) as caught:
        second.open("workspace.yaml")
    assert caught.value.pid == os.getpid()
    assert str(caught.value) == f"workspace.yaml is already supervised by pid {os.getpid()}"
    second.close()
    first.close()
    first.close()
    second.open("workspace.yaml")
    second.close()
    other.close()


def test_the_lock_of_one_that_was_killed_is_free(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from supervisor.server.state_directory import StateDirectory\n"
        "StateDirectory(Path(sys.argv[1]), 'key').open('w')\nprint(flush=True)\ntime.sleep(1000)\n"
    )
    with child_process(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        state = StateDirectory(tmp_path, "key")
        with pytest.raises(AlreadyRunningError) as caught:
            state.open("w")
        assert caught.value.pid == holder.pid
    state.open("w")
    state.close()


def test_a_temporary_one_leaves_nothing(tmp_path):
    state = StateDirectory(tmp_path, "check-1", temporary=True)
    state.open("w")
    (state.path / "logs" / "a.log").touch()
    state.close()
    assert not state.path.exists()


def test_one_that_cannot_be_made_says_where_and_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    state = StateDirectory(tmp_path / "file", "key")
    with pytest.raises(ConfigurationError) as caught:
        state.open("w")
    (problem,) = caught.value.problems
    assert problem.position.file == str(state.path)
    assert "cannot be used: not a directory" in problem.message
    assert "writable" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["risk", "a/b", "../../x", "ünï", ".", "..", "a b@c", "x" * 60, "ü" * 100, "🚀" * 50]
)
def test_a_log_has_a_name_of_its_own_inside(tmp_path, name):
    state = StateDirectory(tmp_path, "key")
    path = state.log_path(name)
    assert path.parent == tmp_path / "key" / "logs"
    assert path.name.endswith(".log")
    assert len(path.name.encode()) < 240
    assert path != state.log_path(name + "2")


def test_our_own_logs_are_not_among_those_of_locations(tmp_path):
    """A location may have any name, also that of something of ours."""
    state = StateDirectory(tmp_path, "key")
    for name in ("forkserver risk", "dagster programs", "a/b"):
        own = state.own_log_path(name)
        assert own.parent == tmp_path / "key"
        assert own != state.log_path(name)
        assert own.parent != state.log_path(f"../{name}").parent


@pytest.mark.skipif(os.getuid() != 0, reason="gives a directory to another user")
@pytest.mark.parametrize("name", [".supervise", ".supervise/key"])
def test_what_another_user_has_made_is_not_used_where_all_users_may_write(tmp_path, name):
    (tmp_path / name).mkdir(parents=True)
    os.chown(tmp_path / name, 12345, 12345)
    state = StateDirectory(tmp_path / ".supervise", "key")
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigurationError, match="it belongs to the user 12345") as refused:
        state.open("workspace")
    assert refused.value.hint == (
        "move the workspace to a directory that other users may not write to"
    )
    tmp_path.chmod(0o755)
    state.open("workspace")
    state.close()
