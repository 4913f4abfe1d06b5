"""Tools: their output, their end, and ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from supervised import child_process

from envs import EnvError, children, locks

ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/"}


def test_both_streams_and_lines_as_they_come() -> None:
    lines: list[str] = []
    done = children.run(
        ["sh", "-c", "echo one; echo two >&2; printf 'three\\rfour'; exit 3"],
        environ=ENVIRON,
        on_line=lines.append,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "one\nthree\rfour", "two\n")
    assert sorted(lines) == ["four", "one", "three", "two"]
    assert done.output == "two\none\nthree\rfour"


def test_bytes_that_are_no_text() -> None:
    done = children.run(["sh", "-c", "printf 'a\\377b'"], environ=ENVIRON)
    assert done.stdout == "a\ufffdb"


def test_output_is_bounded_and_its_end_is_kept() -> None:
    done = children.run(
        ["sh", "-c", "yes | head -c 3000000; echo the end"], environ=ENVIRON, limit=1000
    )
    assert done.overflowed
    assert len(done.stdout) == 1000
    assert done.stdout.endswith("the end\n")


def test_a_command_that_is_not_there() -> None:
    done = children.run(["/nowhere/tool"], environ=ENVIRON)
    assert done.returncode == 127
    assert "cannot run /nowhere/tool" in done.stderr
    with pytest.raises(FileNotFoundError):
        children.run(["/nowhere/tool"], environ=ENVIRON, lifeline=False)


def test_a_grandchild_goes_with_the_tool(tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    done = children.run(["sh", "-c", f"exec 9>{fifo}; sleep 600 & echo done"], environ=ENVIRON)
    assert done.stdout == "done\n"
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_time_limit() -> None:
    done = children.run(["sleep", "600"], environ=ENVIRON, timeout=0.1)
    assert done.timed_out
    assert done.returncode == -signal.SIGTERM


def test_one_that_ignores_the_request_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "TERM_GRACE", 0.1)
    done = children.run(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"],
        environ=ENVIRON,
        limit=1,
        stop_on_overflow=True,  # its word that the trap is set is what ends it
    )
    assert done.overflowed
    assert done.returncode == -signal.SIGKILL


def test_cancelling() -> None:
    cancel = threading.Event()
    with pytest.raises(EnvError) as caught:
        children.run(
            ["sh", "-c", "echo ready; sleep 600"],
            environ=ENVIRON,
            cancel=cancel,
            on_line=lambda _: cancel.set(),
        )
    assert caught.value.kind == "cancelled"


def test_a_callback_that_raises_ends_the_child(tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    def fail(_: str) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        children.run(
            ["sh", "-c", f"exec 9>{fifo}; echo x; sleep 600"], environ=ENVIRON, on_line=fail
        )
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""
    os.close(reader)


@pytest.mark.parametrize(
    "body", ["sleep 600", "while :; do :; done", "trap '' TERM HUP IO; sleep 600"]
)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's part is Linux only")
def test_when_we_are_killed_the_tool_is_too(body: str, tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    code = (
        "import sys\nfrom envs import children\n"
        "children.run(['sh', '-c', sys.argv[1]], environ={'PATH': '/usr/bin:/bin'},"
        " on_line=lambda line: print(line, flush=True))"
    )
    with child_process(
        [sys.executable, "-c", code, f"exec 9>{fifo}; echo up; {body}"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_tools_see_no_settings_of_ours() -> None:
    seen = children.tool_environ(
        {
            "PYTHONPATH": "/x",
            "VIRTUAL_ENV": "/v",
            "FORCE_COLOR": "1",
            "PIP_USER": "1",
            "UV_SYSTEM_PYTHON": "1",
            "VIRTUALENV_CLEAR": "1",
            "UV_INDEX": "kept",
        }
    )
    assert seen == {
        "UV_INDEX": "kept",
        "NO_COLOR": "1",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def test_a_lock_is_exclusive_and_can_be_given_up(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    waited: list[bool] = []
    cancel = threading.Event()

    def waiting() -> None:
        waited.append(True)
        cancel.set()

    with locks.exclusive(path) as held:
        assert held
        with locks.exclusive(path, wait=False) as second:
            assert not second
        with (
            pytest.raises(EnvError) as caught,
            locks.exclusive(path, cancel=cancel, waiting=waiting),
        ):
            pass
    assert caught.value.kind == "cancelled"
    assert waited == [True]
    with locks.exclusive(path, wait=False) as held:
        assert held
