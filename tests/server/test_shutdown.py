"""Ends and bad beginnings: each leaves a clear message and nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import COMMAND, foreground, in_terminal, variables
from supervised import (
    child_process,
    job,
    make_workspace,
    marked,
    poll_now,
    save,
    supervisor_process,
)

from supervisor.processes.limits import CGROUP, Cgroups, confine
from supervisor.server.sd_notify import Notifier
from supervisor.specs import Limits


def nothing_left(marker: Path, runtime: Path) -> None:
    """No process and no socket; the workspace can be supervised again."""
    assert marked(str(marker)) == []
    assert list(runtime.glob("*/*")) == []


# Orders and signals.


@pytest.mark.slow
@pytest.mark.parametrize("how", ["shutdown", "shutdown --now", "SIGTERM", "SIGINT"])
def test_everything_ends(tmp_path, runtime, how):
    text = "import subprocess\nsubprocess.Popen(['sleep', '1000'])\n" + job("a")
    make_workspace(tmp_path, {"a.py": text, "b.py": job("b")})
    with foreground(tmp_path, runtime, WS_TEST_MARKER=str(tmp_path)) as running:
        running.until(lambda line: line.startswith("a: ready"))
        if how.startswith("shutdown"):
            done = running.run(*how.split())
            assert done.returncode == 0, done.stderr
            assert "has ended" in done.stderr
        else:
            os.kill(running.pid, getattr(signal, how))
        running.rest()
        assert running.process.wait(60) == 0
        nothing_left(tmp_path, runtime)
        again = running.run("shutdown")
        assert (again.returncode, again.stdout) == (0, "")
        assert "no supervisor is running" in again.stderr
    assert running.seen[-1] == "supervise: everything has stopped"


@pytest.mark.slow
def test_hup_has_the_workspace_read_again(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": job("a"), "b.py": job("b")}, {"a": {}})
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("a: ready"))
        text = workspace.read_text()
        save(workspace, text + "- python_file: {relative_path: b.py, location_name: b}\n")
        os.kill(running.pid, signal.SIGHUP)
        running.until(lambda line: line == "supervise: reading the workspace again")
        assert running.run("wait", "b").returncode == 0
        assert running.process.poll() is None


@pytest.mark.slow
def test_hup_on_a_terminal_that_is_there_is_no_end(tmp_path, runtime):
    make_workspace(tmp_path, {"a.py": job("a")})
    env = variables(runtime, TERM="dumb", CI="1", WS_TEST_MARKER=str(tmp_path))
    with in_terminal(COMMAND, cwd=tmp_path, env=env, columns=80) as screen:
        screen.until("a: ready in")
        os.kill(screen.pid, signal.SIGHUP)
        screen.until("reading the workspace again")
        screen.hang_up()  # the kernel sends the same signal
        assert screen.wait() >= 0
    nothing_left(tmp_path, runtime)


# A machine that has not enough.


def refused(tmp_path: Path, runtime: Path, done: subprocess.CompletedProcess[str]) -> list[str]:
    """What it said on standard error: a sentence and a hint, and it is gone."""
    assert "Traceback" not in done.stderr
    assert done.returncode in (1, 2), done.stderr
    nothing_left(tmp_path, runtime)
    lines = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"]
    return lines


def run_with(tmp_path: Path, runtime: Path, prefix: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, *COMMAND],
        cwd=tmp_path,
        env=variables(runtime, WS_TEST_MARKER=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.slow
@pytest.mark.parametrize("limit", [12, 24, 60])
def test_too_few_descriptors(tmp_path, runtime, limit):
    make_workspace(tmp_path, {"a.py": job("a")})
    done = run_with(tmp_path, runtime, ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh"])
    error, hint = refused(tmp_path, runtime, done)
    assert error == (
        f"error: the supervisor cannot start: it may have {limit} open files and needs 64 for "
        "itself and about 10 for each location"
    )
    assert "ulimit -n" in hint


def test_too_few_processes(tmp_path, runtime):
    make_workspace(tmp_path, {"a.py": job("a")})
    with (
        contextlib.closing(Cgroups()) as cgroups,
        child_process(
            ["sh", "-c", 'read go && exec "$@"', "sh", *COMMAND],
            cwd=tmp_path,
            env=variables(runtime, WS_TEST_MARKER=str(tmp_path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child,
    ):
        confinement = confine(child.pid, Limits(processes=3), cgroups, None)
        if confinement.how["processes"] != CGROUP:
            pytest.skip("nothing limits the number of processes here")
        out, error = child.communicate("go\n", timeout=60)
    done = subprocess.CompletedProcess([], child.returncode, out, error)
    error, hint = refused(tmp_path, runtime, done)
    assert error == (
        "error: the supervisor cannot start: no more processes or threads can be started"
    )
    assert "TasksMax" in hint


@pytest.fixture
def small_disk(tmp_path):
    """A command prefix that runs a program in ``tmp_path``/disk, 1 MiB in a namespace of its own."""
    prefix = ["unshare", "--mount", *(["--map-root-user"] if os.getuid() else [])]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"]).returncode:
        pytest.skip("no mount namespaces here")
    (tmp_path / "disk").mkdir()
    make_workspace(tmp_path / "source", {"a.py": job("a")})

    def command(then: str) -> list[str]:
        return [
            *prefix,
            "sh",
            "-c",
            "mount -t tmpfs -o size=1m tmpfs disk && cp source/* disk && cd disk && "
            f'({then}) && exec "$@"',
            "sh",
        ]

    return command


def test_a_state_directory_that_cannot_be_written(tmp_path, runtime, small_disk):
    done = run_with(tmp_path, runtime, small_disk("mount -o remount,ro tmpfs ."))
    error, hint = refused(tmp_path, runtime, done)
    assert error == (
        f"error: {tmp_path}/disk/.supervise/workspace.yaml: the state directory cannot be used: "
        "read-only file system"
    )
    assert "make that directory writable" in hint


@pytest.mark.slow
def test_a_full_disk(tmp_path, runtime, small_disk):
    """It starts, serves and ends; what cannot be written is said."""
    script = tmp_path / "script.py"
    script.write_text(
        "import subprocess, sys\n"
        "command = [sys.executable, '-m', 'supervisor.cli']\n"
        "running = subprocess.Popen(command)\n"
        "for words in (['wait'], ['status'], ['shutdown']):\n"
        "    done = subprocess.run([*command, *words], capture_output=True, text=True)\n"
        "    print(words[0], done.returncode, done.stdout, done.stderr)\n"
        "print('ended', running.wait(60))\n"
    )
    fill = "mkdir -p .supervise/workspace.yaml && cat /dev/zero > fill 2> /dev/null || true"
    prefix = small_disk(fill)
    done = subprocess.run(
        [*prefix, sys.executable, str(script)],
        cwd=tmp_path,
        env=variables(runtime, WS_TEST_MARKER=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said and "Logging error" not in said
    assert "wait 0" in said
    assert "snapshots.db cannot be written (" in said
    assert "shutdown 0" in said
    assert "ended 0" in said
    nothing_left(tmp_path, runtime)


# systemd.


@pytest.mark.slow
@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_manager_is_told(tmp_path, runtime, abstract):
    path = f"@ws-test-{os.getpid()}-{tmp_path.name}" if abstract else str(runtime / "notify")
    text = "import json, os\njson.dump(dict(os.environ), open('seen', 'w'))\n" + job("a")
    make_workspace(tmp_path, {"a.py": text})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + path[1:] if abstract else path)
        came: list[str] = []

        def until(words: str) -> list[str]:
            deadline = time.monotonic() + 60
            while (left := deadline - time.monotonic()) > 0:
                listener.settimeout(left)
                with contextlib.suppress(TimeoutError):
                    lines = listener.recv(4096).decode().splitlines()
                    came.append(lines[0])
                    if lines[0] == words:
                        return lines
            raise AssertionError(f"{words} did not come, but {came}")

        def make_room() -> None:
            """Read what has come: the kernel may keep no more than ten, and drops the next."""
            listener.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    came.append(listener.recv(4096).decode())

        with foreground(tmp_path, runtime, NOTIFY_SOCKET=path, WATCHDOG_USEC="200000") as running:
            ready = until("READY=1")
            assert ready[1].startswith("STATUS=supervising ")
            # It can be connected to by now.
            assert running.run("wait").returncode == 0
            make_room()
            until("WATCHDOG=1")
            until("WATCHDOG=1")
            os.kill(running.pid, signal.SIGHUP)
            assert until("RELOADING=1")[1].startswith("MONOTONIC_USEC=")
            until("READY=1")
            os.kill(running.pid, signal.SIGTERM)
            until("STOPPING=1")
            running.rest()
            assert running.process.wait(60) == 0
    seen = (tmp_path / "seen").read_text()
    assert "NOTIFY_SOCKET" not in seen
    assert "WATCHDOG_USEC" not in seen


@pytest.mark.parametrize(
    ("environ", "watchdog"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"NOTIFY_SOCKET": "vsock:2:3"}, 0.0),
        ({"NOTIFY_SOCKET": "/nobody/listens"}, 0.0),
    ],
)
def test_what_a_service_manager_wants(environ, watchdog):
    given = {"PATH": "/bin", **environ}
    notifier = Notifier.from_environ(given)
    assert given == {"PATH": "/bin"}
    assert notifier.watchdog == watchdog
    notifier.ready("well")  # nobody hears it: that is no error


# Never twice.

ALONE = """\
import fcntl, os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
held = open(__name__ + ".lock", "w")
try:
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    open(__name__ + ".twice", "w").close()
with open(__name__ + ".runs", "a") as file:
    file.write("%d\\n" % os.getpid())
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "auto"])
def test_a_supervisor_that_follows_a_killed_one_runs_nothing_twice(tmp_path, runtime, method):
    """Killed while its locations load and while they serve; the next one is started at once."""
    names = [f"l{number}" for number in range(4)]
    files = {f"{name}.py": ALONE + job(name) for name in names}
    workspace = make_workspace(tmp_path, files, defaults={"start_method": method})
    marker = f"twice-{tmp_path}"

    def runs() -> int:
        return sum(len(one.read_text().splitlines()) for one in tmp_path.glob("*.runs"))

    for round_ in range(6):
        before = runs()
        with supervisor_process(workspace, runtime, marker) as running:
            if round_ % 2:
                running.until(lambda told: all(one[0] == "ready" for one in told.values()))
            else:
                poll_now(lambda: runs() > before, "the first one loads")  # noqa: B023
            running.kill()
    with supervisor_process(workspace, runtime, marker) as running:
        running.until(lambda told: all(one[0] == "ready" for one in told.values()))
        last = {int((tmp_path / f"{name}.runs").read_text().split()[-1]) for name in names}
        # Those that hold the locks are the ones that were started last, each in its own session.
        assert {os.getsid(pid) for pid in last} == last
        running.kill()
    poll_now(lambda: not marked(marker), "all are gone")
    assert list(tmp_path.glob("*.twice")) == []
