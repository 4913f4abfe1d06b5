"""A supervisor that was itself stopped for a while does not take that for the silence of others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from supervised import BEGUN, is_stopped, job, make_workspace, poll_now, supervisor_process

from supervisor.client.client import Client

PAUSES = 2
# Far longer than a ping may take, and than it takes for every location to be asked.
PAUSE = 6.0
# On a busy machine one that is well may need seconds to answer.
PING_TIMEOUT = 3.0
PINGS = {"ping_interval": "0.2s", "ping_timeout": f"{PING_TIMEOUT}s"}


def deaths_and_pids(client: Client) -> dict[str, tuple[str, int, int]]:
    return {
        one["name"]: (one["state"], one["restarts"], one["process"]["pid"])
        for one in client.status()["locations"]
    }


def ready_pid(client: Client, name: str) -> int | None:
    """The process of a location, when it is ready."""
    (entry,) = client.status(name)["locations"]
    return entry["process"]["pid"] if entry["state"] == "ready" and entry["process"] else None


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "spawn"])
def test_a_supervisor_that_was_stopped_shoots_nobody(
    tmp_path: Path, runtime: Path, marker: str, method: str
) -> None:
    names = [f"l{number}" for number in range(6)]
    files = {f"{name}.py": job(name) for name in names}
    workspace = make_workspace(tmp_path, files, defaults={**PINGS, "start_method": method})
    with supervisor_process(workspace, runtime, marker) as running:
        running.until(lambda told: all(one[0] == "ready" for one in told.values()))
        with Client(workspace, environ={"XDG_RUNTIME_DIR": str(runtime)}, timeout=60) as client:
            before = deaths_and_pids(client)
            for _ in range(PAUSES):
                os.kill(running.pid, signal.SIGSTOP)
                poll_now(lambda: is_stopped(running.pid), "it is stopped")
                time.sleep(PAUSE)  # the pause is what is tested
                os.kill(running.pid, signal.SIGCONT)
                # Whatever it thinks of the pause it has thought of by then: every one is asked
                # anew several times.
                until = time.monotonic() + PING_TIMEOUT + 1.0
                while time.monotonic() < until:
                    assert deaths_and_pids(client) == before, client.logs("l0")
                    time.sleep(0.05)
            # And it has not become deaf: one that really is silent is found out.
            victim = before["l0"][2]
            os.kill(victim, signal.SIGSTOP)
            poll_now(lambda: ready_pid(client, "l0") not in (None, victim), "it is replaced")
            now = deaths_and_pids(client)
            assert now["l0"][1] >= 1
            assert {**now, "l0": None} == {**before, "l0": None}


def paused(*pids: int, seconds: float = PAUSE) -> None:
    """Stop these processes for a while."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        poll_now(lambda pid=pid: is_stopped(pid), "it is stopped")
    time.sleep(seconds)  # the pause is what is tested
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_a_load_that_ended_in_a_pause_has_not_failed(
    tmp_path: Path, runtime: Path, marker: str
) -> None:
    workspace = make_workspace(
        tmp_path, {"a.py": BEGUN + job("nightly")}, {"a": {"load_timeout": PAUSE - 1.0}}
    )
    with supervisor_process(workspace, runtime, marker) as running:
        poll_now((tmp_path / "begun").exists, "it loads")
        (tmp_path / "go.new").touch()
        os.kill(running.pid, signal.SIGSTOP)
        poll_now(lambda: is_stopped(running.pid), "it is stopped")
        (tmp_path / "go.new").rename(tmp_path / "go")  # it ends in the pause
        paused(running.pid)
        states = running.until(lambda told: told["a"][0] not in ("starting", "loading"))
        assert states["a"][0] == "ready", states
        with Client(workspace, environ={"XDG_RUNTIME_DIR": str(runtime)}, timeout=60) as client:
            assert client.status("a")["locations"][0]["generation"] == 1


# Takes a while to end, and says that it did.
THOROUGH = """\
import atexit, time

@atexit.register
def tidy():
    open("ending", "w").close()
    time.sleep(1.0)
    open("tidied", "w").close()
"""


@pytest.mark.slow
def test_a_pause_is_not_taken_from_the_time_to_end(
    tmp_path: Path, runtime: Path, marker: str
) -> None:
    files = {"a.py": THOROUGH + job("nightly")}
    workspace = make_workspace(tmp_path, files, {"a": {"stop_timeout": 2 * (PAUSE - 1.0)}})
    with supervisor_process(workspace, runtime, marker) as running:
        running.until(lambda told: told["a"][0] == "ready")
        with Client(workspace, environ={"XDG_RUNTIME_DIR": str(runtime)}, timeout=60) as client:
            pid = ready_pid(client, "a")
            assert pid is not None
            client.stop("a")
            poll_now((tmp_path / "ending").exists, "it ends")
            paused(running.pid, pid)
            assert client.wait("a", timeout=60)["locations"] == {"a": "stopped"}
        assert (tmp_path / "tidied").exists()


@pytest.mark.slow
def test_a_pause_is_not_taken_from_the_time_of_a_probe() -> None:
    program = (
        "from envs import children\n"
        "done = children.run(['sh', '-c', 'echo $$; sleep 0.5; echo answered'], environ={},\n"
        "                    timeout=2.5, on_line=lambda line: print(line, flush=True))\n"
        "print(done.timed_out)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            paused(process.pid, int(process.stdout.readline()), seconds=3.0)
            assert process.stdout.read() == "answered\nFalse\n"
        finally:
            process.kill()
