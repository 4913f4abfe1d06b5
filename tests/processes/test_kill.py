"""SIGKILL for the supervisor, whatever its processes are doing: within two seconds none is left.

Every process of a test has WS_TEST_MARKER in its environment, so that those which left their
parents, groups and sessions are found as well. A zombie has ended; who collects it is not ours.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from loading import write
from supervised import (
    GOOD,
    GRANDCHILDREN,
    SupervisorProcess,
    alive,
    job,
    make_workspace,
    poll_now,
    supervisor_process,
)

from supervisor.client.client import Client

LIMIT = 2.0


def kill_and_expect_nobody(running: SupervisorProcess) -> None:
    assert len(running.survivors()) >= 2, "something was running"
    kill_while_it_starts(running)


def kill_while_it_starts(running: SupervisorProcess) -> None:
    """Whatever there is already, or only just."""
    before = time.monotonic()
    running.survivors()
    one_look = time.monotonic() - before
    running.kill()
    killed = time.monotonic()
    poll_now(lambda: not running.survivors(), "all are gone", timeout=30)
    took = time.monotonic() - killed
    # Looking takes its time too: on a busy machine that is most of it.
    assert took < LIMIT + 20 * one_look


BUSY = {
    "python": "open('here', 'w').close()\nwhile True:\n    pass\n",
    "sleep": "import time\nopen('here', 'w').close()\ntime.sleep(1000)\n",
    "c": "import itertools\nopen('here', 'w').close()\nsum(itertools.repeat(1))\n",
    "no signals": "import signal, time\n"
    "signal.pthread_sigmask(signal.SIG_BLOCK, set(range(1, 65)) - {signal.SIGKILL})\n"
    "for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGIO, signal.SIGPIPE):\n"
    "    signal.signal(number, signal.SIG_IGN)\n"
    "open('here', 'w').close()\nwhile True:\n    time.sleep(1000)\n",
    "stopped": "import os, signal\nopen('here', 'w').close()\nos.kill(os.getpid(), signal.SIGSTOP)\n",
    "flood": "import os\nopen('here', 'w').close()\nwhile True:\n    os.write(1, b'x' * 65536)\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "auto"])
@pytest.mark.parametrize("how", BUSY)
def test_while_it_loads(tmp_path, runtime, marker, how, method):
    workspace = make_workspace(tmp_path, {"a.py": BUSY[how]}, {"a": {"start_method": method}})
    with supervisor_process(workspace, runtime, marker) as running:
        poll_now((tmp_path / "here").exists, "it loads")
        kill_and_expect_nobody(running)


@pytest.mark.parametrize("method", ["spawn", "auto"])
def test_when_all_are_ready(tmp_path, runtime, marker, method):
    files = {f"l{n}.py": GOOD for n in range(4)}
    workspace = make_workspace(tmp_path, files, defaults={"start_method": method})
    with supervisor_process(workspace, runtime, marker) as running:
        running.until(lambda told: all(one[0] == "ready" for one in told.values()))
        assert len(running.survivors()) >= 5
        kill_and_expect_nobody(running)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_while_they_start(tmp_path, runtime, marker, moment):
    # No event marks the steps between fork, exec and hello: so at several moments in between.
    files = {f"l{n}.py": GOOD for n in range(6)}
    workspace = make_workspace(tmp_path, files)
    with supervisor_process(workspace, runtime, marker) as running:
        running.until(lambda told: "starting" in {one[0] for one in told.values()})
        time.sleep(moment)
        kill_while_it_starts(running)


@pytest.mark.parametrize("state", ["ready", "loading"])
def test_with_grandchildren(tmp_path, runtime, marker, state):
    text = dedent(GRANDCHILDREN)
    text += job("nightly") if state == "ready" else "while True:\n    pass\n"
    workspace = make_workspace(tmp_path, {"a.py": text})
    with supervisor_process(workspace, runtime, marker) as running:
        running.until(lambda told: told["a"][0] == state)
        poll_now((tmp_path / "pids").exists, "they run")
        assert len(running.survivors()) >= 6
        kill_and_expect_nobody(running)


# They run when it is told to stop, and never let it end.
ENDLESS = {
    "exit handler": "import atexit, time\n"
    "def end():\n    open('ending', 'w').close()\n    time.sleep(1000)\n"
    "atexit.register(end)\n",
    "exit handler in C": "import atexit, itertools\n"
    "def end():\n    open('ending', 'w').close()\n    sum(itertools.repeat(1))\n"
    "atexit.register(end)\n",
    "thread": "import atexit, signal, threading\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "threading.Thread(target=threading.Event().wait).start()\n"
    "def end():\n    open('ending', 'w').close()\n"
    "getattr(threading, '_register_atexit')(end)\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "auto"])
@pytest.mark.parametrize("how", ENDLESS)
def test_while_a_process_is_being_stopped(tmp_path, runtime, marker, how, method):
    text = ENDLESS[how] + dedent(GRANDCHILDREN) + job("nightly")
    keys = {"stop_timeout": "200s", "start_method": method}
    workspace = make_workspace(tmp_path, {"a.py": text, "b.py": GOOD}, {"a": keys, "b": {}})
    with supervisor_process(workspace, runtime, marker) as running:
        running.until(lambda told: all(one[0] == "ready" for one in told.values()))
        with Client(workspace, environ={"XDG_RUNTIME_DIR": str(runtime)}) as client:
            assert client.stop("a") == {"a": "stopping"}
        running.until(lambda told: told["a"][0] == "stopping")
        poll_now((tmp_path / "ending").exists, "it is about to end")
        assert len(running.survivors()) >= 8
        kill_and_expect_nobody(running)


def test_while_an_environment_is_being_made(tmp_path, runtime, marker):
    # An installation that takes for ever: a project whose build backend hangs.
    write(
        tmp_path / "slow",
        {
            "pyproject.toml": """\
                [build-system]
                requires = []
                build-backend = "backend"
                backend-path = ["."]
                [project]
                name = "slow"
                version = "1.0"
                """,
            "backend.py": """\
                import time
                from pathlib import Path

                def build_wheel(directory, settings=None, metadata=None):
                    Path(__file__).with_name("building").touch()
                    time.sleep(1000)

                build_editable = build_wheel
                """,
        },
    )
    (tmp_path / "a.py").write_text(GOOD)
    workspace = tmp_path / "workspace.yaml"
    entry = {"python_environment": {"target": {"python_file": "a.py"}, "project": "slow"}}
    workspace.write_text(yaml.safe_dump({"load_from": [entry]}))
    with supervisor_process(workspace, runtime, marker) as running:
        poll_now(lambda: list(tmp_path.glob("slow/**/building")), "it builds", timeout=90)
        kill_and_expect_nobody(running)


# One supervisor at a time.


def test_a_second_supervisor_is_refused_with_the_pid_of_the_first(tmp_path, runtime, marker):
    workspace = make_workspace(tmp_path, {"a.py": GOOD})
    with supervisor_process(workspace, runtime, marker) as first:
        first.until(lambda told: told["a"][0] == "ready")
        with supervisor_process(workspace, runtime, marker) as second:
            told = second.until(lambda told: "error" in told)
            assert second.process.wait() == 2
        assert told["error"] == "already_running"
        assert told["message"] == f"workspace.yaml is already supervised by pid {first.pid}"
        assert "supervise shutdown" in told["hint"]
        assert first.process.poll() is None
        # The first one's sockets and files are as they were.
        (info,) = runtime.glob("*/*/supervisor.json")
        assert json.loads(info.read_text())["pid"] == first.pid
        assert Path(info.parent / "control.sock").exists()


@pytest.mark.slow
def test_after_a_kill_a_new_one_starts_cleanly(tmp_path, runtime, marker):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": "while True:\n    pass\n"})
    for _ in range(2):
        with supervisor_process(workspace, runtime, marker) as running:
            running.until(lambda told: told["a"][0] == "ready" and told["b"][0] == "loading")
            running.kill()
    with supervisor_process(workspace, runtime, marker) as running:
        running.until(lambda told: told["a"][0] == "ready")
        (info,) = runtime.glob("*/*/supervisor.json")
        assert json.loads(info.read_text())["pid"] == running.pid


def test_a_shim_that_is_killed_takes_its_own_children_along(tmp_path, runtime, marker):
    workspace = make_workspace(
        tmp_path, {"a.py": dedent(GRANDCHILDREN) + job("nightly")}, {"a": {"restart": "never"}}
    )
    with supervisor_process(workspace, runtime, marker) as running:
        running.until(lambda told: told["a"][0] == "ready")
        pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
        leader = os.getsid(pids[0])
        os.kill(leader, signal.SIGKILL)
        poll_now(lambda: not any(alive(pid) for pid in [leader, *pids]), "all are gone")
        assert running.process.poll() is None
