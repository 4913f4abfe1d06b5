"""A supervisor that runs out of open files says so, keeps what it has and goes on."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from commands import Foreground, foreground
from supervised import environ, job, make_workspace, poll_now

from supervisor.client.client import Client

NAMES = [f"team{number:02}" for number in range(12)]


@pytest.fixture
def running(tmp_path: Path, runtime: Path) -> Iterator[Foreground]:
    make_workspace(tmp_path, {f"{name}.py": job(name) for name in NAMES}, {NAMES[0]: {}})
    with foreground(tmp_path, runtime) as process:
        process.until(lambda line: ": ready" in line)
        yield process


def client(running: Foreground) -> Client:
    return Client(running.cwd / "workspace.yaml", environ=environ(running.runtime))


def allow(running: Foreground, more: int) -> None:
    """Let it have so many open files beyond those that it has."""
    limit = psutil.Process(running.pid).num_fds() + more
    hard = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (limit, hard))


def states(client: Client) -> dict[str, tuple[str, str]]:
    return {one["name"]: (one["state"], one["reason"]) for one in client.status()["locations"]}


@pytest.mark.slow
def test_locations_for_which_there_is_no_room_are_told_so(running):
    with client(running) as asking:
        allow(running, 60)
        make_workspace(running.cwd, {}, dict.fromkeys(NAMES, {}))
        poll_now(lambda: len(states(asking)) == len(NAMES), "they are known")
        found = asking.wait(timeout=60)["locations"]
        assert set(found.values()) == {"ready", "failed"}
        assert found[NAMES[0]] == "ready"
        for name, (state, reason) in states(asking).items():
            if state == "failed":
                assert (
                    "open files are in use and some must stay free: raise the hard limit" in reason
                )
                assert asking.status(name)["locations"][0]["failure"]["message"] == reason
        # With more of them they can be had.
        allow(running, 1000)
        asking.reload(*(name for name, state in found.items() if state == "failed"))
        assert set(asking.wait(timeout=60)["locations"].values()) == {"ready"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["control.sock", "shims.sock"])
def test_connections_without_end_are_kept_out(running, name):
    (path,) = running.runtime.rglob(name)
    with client(running) as asking, contextlib.ExitStack() as opened:
        asking.status()
        allow(running, 100)
        for _ in range(200):
            asking.status()  # one after the other, as leaks come, and not faster than it can look
            if not let_in(opened.enter_context(socket.socket(socket.AF_UNIX)), path, asking):
                break
        else:
            pytest.fail("all of them were let in")
        # Who was connected is served, and told of it.
        assert has_to_wait(asking)
        since = asking.status()["supervisor"]["conditions"]
        assert [one["key"].startswith("open_files") for one in since] == [True]
        opened.close()
        with client(running) as another:
            assert states(another)[NAMES[0]][0] == "ready"
            poll_now(lambda: not has_to_wait(another), "it is over")
            assert another.status()["supervisor"]["conditions"] == []
        assert running.process.poll() is None


def let_in(stranger: socket.socket, path: Path, asking: Client) -> bool:
    """Connect, and wait for ZeroMQ's greeting; it does not come when the supervisor says so."""
    stranger.settimeout(3)
    deadline = time.monotonic() + 60
    try:
        stranger.connect(str(path))
        while time.monotonic() < deadline:
            try:
                return bool(stranger.recv(1))
            except TimeoutError:
                if has_to_wait(asking):
                    return False
    except OSError:
        return False
    raise AssertionError("neither a greeting nor a warning came")


def has_to_wait(asking: Client) -> bool:
    """True when the supervisor says that nobody else is let in."""
    told = asking.status()["supervisor"]["warnings"]
    return any("who connects now has to wait" in one for one in told)
