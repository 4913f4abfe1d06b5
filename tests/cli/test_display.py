"""The foreground supervisor's display: what may befall it, and that nothing of it ends the supervisor."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from commands import COMMAND, TEAM, ended, foreground, in_terminal, supervise, variables
from places import PROGRAMS
from supervised import child_process, environ, is_stopped, make_workspace, marked, poll_now, save

from supervisor import Client
from supervisor.cli.anchored import ERASED
from supervisor.cli.insist import insist

QUICK = ("0.5", "0.5")  # the display's patience, far less than PAUSE
PAUSE = 2.0
F_SETPIPE_SZ = 1031  # fcntl(2); Python has it from 3.10, on Linux
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


def quick_display(workspace: Path) -> list[str]:
    return [sys.executable, str(PROGRAMS / "run_foreground.py"), str(workspace), *QUICK]


@contextlib.contextmanager
def quick_foreground(workspace: Path, runtime: Path) -> Iterator[subprocess.Popen[str]]:
    """A supervisor whose display soon loses patience, with its lines in a pipe."""
    process = subprocess.Popen(
        quick_display(workspace),
        cwd=workspace.parent,
        env=variables(runtime, WS_TEST_MARKER=str(workspace)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        ended(process, process.stdout.read)


def pause(*pids: int) -> None:
    """Stop these processes and have them go on, as Ctrl-Z or a frozen container does."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
        poll_now(partial(is_stopped, pid), "it is stopped")
    time.sleep(PAUSE)  # the pause is what is tested
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def pids(client: Client) -> dict[str, tuple[str, int, int]]:
    return {
        one["name"]: (one["state"], one["restarts"], one["process"]["pid"])
        for one in client.status()["locations"]
    }


@pytest.mark.slow
@pytest.mark.parametrize("what", ["the supervisor", "everything"])
def test_a_pause_ends_nothing(tmp_path: Path, runtime: Path, what: str) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM, "other.py": TEAM})
    with (
        quick_foreground(workspace, runtime) as process,
        contextlib.closing(process.stdout) as lines,
    ):
        assert lines is not None
        next(line for line in lines if ": ready" in line)
        next(line for line in lines if ": ready" in line)
        with Client(workspace, environ=environ(runtime), timeout=60) as client:
            before = pids(client)
            everything = marked(str(workspace)) if what == "everything" else []
            pause(process.pid, *(pid for pid in everything if pid != process.pid))
            assert pids(client) == before
            client.reload("team")
            said = []
            for line in lines:  # the display goes on, too
                said.append(line)
                if "team: ready" in line and "generation 2" in line:
                    break
            assert "did not answer" not in "".join(said)
            assert process.poll() is None
            client.shutdown()
            assert "everything has stopped" in lines.read()
        assert process.wait(60) == 0


@pytest.mark.slow
def test_ctrl_z_and_fg(tmp_path: Path, runtime: Path) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM})
    shell = [sys.executable, str(PROGRAMS / "job_shell.py"), *quick_display(workspace)]
    env = variables(runtime, TERM="xterm", WS_TEST_MARKER=str(tmp_path))
    with in_terminal(shell, cwd=tmp_path, env=env, columns=100) as screen:
        screen.until("1 of 1 ready")
        with Client(workspace, environ=environ(runtime), timeout=60) as client:
            before = pids(client)
            for seconds in (PAUSE, 0.0):
                start = len(screen.text)
                screen.press(b"\x1a")
                screen.until("[stopped by SIGTSTP]")
                text = screen.text[start:]
                # The terminal is left in order, with the table where it was.
                assert text.rindex(SHOWN) > text.rfind(HIDDEN)
                time.sleep(seconds)  # the pause is what is tested
                start = len(screen.text)
                screen.press(b"\n")
                screen.until("1 of 1 ready")
                text = screen.text[start:].partition("[continued]")[2]
                # Drawn anew, below what the shell wrote and not over it.
                assert text.index(HIDDEN) < text.index("LOCATION")
                assert ERASED not in text[: text.index("LOCATION")]
            assert pids(client) == before
        screen.press(b"\x03")
        screen.until("[ended with 0]")
        screen.wait()
    assert "did not answer" not in screen.text
    assert marked(str(tmp_path)) == []


def test_a_table_is_drawn_anew_after_a_stop_that_was_not_asked_for(
    tmp_path: Path, runtime: Path
) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM})
    env = variables(runtime, TERM="xterm")
    with in_terminal(quick_display(workspace), cwd=tmp_path, env=env, columns=100) as screen:
        screen.until("1 of 1 ready")
        os.kill(screen.pid, signal.SIGSTOP)
        poll_now(lambda: is_stopped(screen.pid), "it is stopped")
        start = len(screen.text)
        os.kill(screen.pid, signal.SIGCONT)
        screen.until(HIDDEN)
        screen.until("1 of 1 ready")
        text = screen.text[start:].rpartition(HIDDEN)[2]
        assert ERASED not in text[: text.index("LOCATION")]
        screen.press(b"\x03")
        screen.until("everything has stopped")
        assert screen.wait() == 0


@pytest.mark.slow
def test_what_cannot_be_written_is_said_elsewhere(tmp_path: Path, runtime: Path) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM})
    with (
        open("/dev/full", "w") as full,
        child_process(
            COMMAND,
            cwd=tmp_path,
            env=variables(runtime, WS_TEST_MARKER=str(tmp_path)),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert supervise("wait", "--timeout", "60", cwd=tmp_path, runtime=runtime).returncode == 0
        with Client(workspace, environ=environ(runtime)) as client:

            def told() -> list[str]:
                return [one["message"] for one in client.status()["supervisor"]["conditions"]]

            wanted = "standard output cannot be written: no space left on device"
            poll_now(lambda: any(one.startswith(wanted) for one in told()), "it is a condition")
            client.shutdown()
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (0, 1)  # what is buffered may be tried once more at the end
        assert "Traceback" not in errors and "defect" not in errors
    assert marked(str(tmp_path)) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the size of a pipe can be set on Linux")
def test_a_reader_that_pauses_holds_up_nothing(tmp_path: Path, runtime: Path) -> None:
    # A line for each location: more than a small pipe takes.
    elsewhere = [
        {"grpc_server": {"host": "elsewhere.example", "port": 4266, "location_name": f"{n}" * 50}}
        for n in range(10, 60)
    ]
    workspace = make_workspace(tmp_path, {"team.py": TEAM})
    entries = "".join(f"- {json.dumps(one)}\n" for one in elsewhere)
    save(workspace, workspace.read_text() + entries)
    with quick_foreground(workspace, runtime) as process:
        assert process.stdout is not None
        size = fcntl.fcntl(process.stdout, F_SETPIPE_SZ, 4096)

        def is_full() -> bool:
            waiting = fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4))
            return int.from_bytes(waiting, sys.byteorder) > 0.8 * size

        poll_now(is_full, "the display waits for its reader")
        with Client(workspace, environ=environ(runtime), timeout=30) as client:
            for _ in range(3):  # and nothing waits for the display
                assert client.wait("team", timeout=60)["ready"]
                client.reload("team")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert marked(str(workspace)) == []
        assert process.stdout.read().startswith("supervise: 51 locations of")


@pytest.mark.slow
@pytest.mark.parametrize("client", ["sync", "async"])
def test_a_client_that_was_stopped_reads_the_answer_that_came(
    tmp_path: Path, runtime: Path, client: str
) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM})
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("team: ready"))
        with child_process(
            [sys.executable, str(PROGRAMS / "ask_often.py"), client, str(workspace)],
            env=environ(runtime),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as asking:
            assert asking.stdout is not None
            assert asking.stdout.readline() == "asking\n"
            pause(asking.pid)
            said, errors = asking.communicate(timeout=60)
            assert asking.returncode == 0, errors
            assert said.endswith("all answered\n")


@pytest.mark.slow
def test_a_follower_outlasts_the_silence_of_its_supervisor(tmp_path: Path, runtime: Path) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM})
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("team: ready"))
        said: list[str] = []

        def hear(line: str) -> None:
            said.append(line)
            os.kill(running.pid, signal.SIGCONT)

        with Client(workspace, environ=environ(runtime), timeout=0.3) as client:
            client.wait(timeout=60)
            os.kill(running.pid, signal.SIGSTOP)
            poll_now(lambda: is_stopped(running.pid), "it is stopped")
            document = insist(client.status, hear)
        assert document["locations"][0]["state"] == "ready"
        assert len(said) == 2
        assert re.fullmatch(
            rf"supervise: the supervisor \(pid {running.pid}\) did not answer 'status' within "
            r"0.3 s: still waiting",
            said[0],
        )
        assert said[1] == "supervise: the supervisor answers again"
