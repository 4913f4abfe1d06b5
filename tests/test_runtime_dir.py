"""Where supervisors and clients meet: private directories, and who is really running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.errors import ConfigurationError
from supervisor.runtime_dir import RuntimeDirectory, process_birth, running_supervisors


def place(runtime: Path, key: str = "workspace.yaml") -> RuntimeDirectory:
    return RuntimeDirectory.for_workspace(Path("/srv/team"), key, {"XDG_RUNTIME_DIR": str(runtime)})


def test_a_workspace_has_one_place_and_others_have_others(runtime):
    assert place(runtime).control_address == place(runtime).control_address
    assert place(runtime).control_address != place(runtime, "other.yaml").control_address
    assert place(runtime).control_address != place(runtime).shim_address
    path = place(runtime).control_address.removeprefix("ipc://")
    assert path.startswith(str(runtime))
    assert not Path(path).parent.exists(), "asking creates nothing"


@pytest.mark.parametrize(
    "value", ["", "relative/dir", "/does/not/exist", "/tmp/" + "x" * 90], ids=lambda one: one[:10]
)
def test_a_runtime_directory_that_will_not_do_is_not_used(value):
    address = RuntimeDirectory.for_workspace(Path("/srv"), "key", {"XDG_RUNTIME_DIR": value})
    assert f"/tmp/workspace-supervisor-{os.getuid()}/" in address.control_address


def test_addresses_are_short_enough_for_a_socket(tmp_path):
    deep = tmp_path
    while len(str(deep)) < 60:
        deep = deep / "xxxxxxxxx"
    deep.mkdir(parents=True, exist_ok=True)
    for runtime in (deep, deep.parent, tmp_path):
        address = place(runtime).control_address.removeprefix("ipc://")
        assert len(address.encode()) <= 103


def test_who_runs_is_known_from_announce_to_close(runtime):
    meeting = place(runtime)
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    assert meeting.running() is None
    assert running_supervisors(environ) == []
    meeting.open()
    assert meeting.running() is None, "not before it can be reached"
    meeting.announce({"workspace": "workspace.yaml", "files": []})
    info = meeting.running()
    assert info["pid"] == os.getpid()
    assert info["control_address"] == meeting.control_address
    assert (info["workspace"], info["key"]) == ("workspace.yaml", "workspace.yaml")
    assert running_supervisors(environ) == [info]
    meeting.close()
    assert meeting.running() is None
    assert not meeting.path.exists()


def test_directories_are_private(runtime):
    meeting = place(runtime)
    (runtime / "workspace-supervisor").mkdir(mode=0o755)
    meeting.open()
    for directory in (meeting.path, meeting.path.parent):
        assert directory.stat().st_mode & 0o777 == 0o700
    meeting.close()


def test_directories_are_private_from_their_first_moment(runtime, monkeypatch):
    """Made private, not made and then closed: nothing may change a mode, and the umask takes none."""

    def never(*_args, **_more):
        raise AssertionError("the mode of what was there already was changed")

    for where, name in ((os, "chmod"), (os, "fchmod"), (Path, "chmod")):
        monkeypatch.setattr(where, name, never)
    meeting = place(runtime)
    before = os.umask(0)
    try:
        meeting.open()
        meeting.announce({"workspace": "workspace.yaml", "files": []})
        for directory in (meeting.path, meeting.path.parent):
            assert directory.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)
    meeting.close()


@pytest.mark.parametrize("what", ["symlink", "file"])
def test_what_is_no_directory_of_ours_is_refused(runtime, tmp_path, what):
    path = runtime / "workspace-supervisor"
    if what == "symlink":
        path.symlink_to(tmp_path)
    else:
        path.touch()
    with pytest.raises(ConfigurationError, match="is not a directory of yours"):
        place(runtime).open()


def test_what_a_dead_supervisor_left_is_not_believed_and_cleared(runtime):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    meeting = place(runtime)
    meeting.open()
    info = meeting.path / "supervisor.json"
    info.write_text(json.dumps({"pid": gone.pid, "create_time": "1"}))
    (meeting.path / "control.sock").touch()
    assert meeting.running() is None
    # Another process with the same id is another process.
    info.write_text(json.dumps({"pid": os.getpid(), "create_time": "1"}))
    assert meeting.running() is None
    for text in ("", "{", "[]", '{"pid": "x"}', '{"pid": -1, "create_time": "1"}'):
        info.write_text(text)
        assert meeting.running() is None
    meeting.open()
    assert list(meeting.path.iterdir()) == []
    meeting.close()


def test_birth_tells_processes_apart_and_the_dead_have_none():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as one:
        born = process_birth(one.pid)
        assert born is not None
        assert born == process_birth(one.pid)
        one.kill()
        os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
        assert process_birth(one.pid) is None, "a zombie has ended"
    assert process_birth(one.pid) is None
    assert process_birth(os.getpid()) is not None
