"""Daemons that user code starts: found wherever they went, told of, and ended when that is wanted."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from supervised import (
    alive,
    job,
    make_workspace,
    poll,
    poll_now,
    supervising,
    supervisor_process,
)

from supervisor.processes import orphans

# Two daemons: one that became another program, and one that is still a copy of the shim.
DAEMONS = """\
import os, time

def daemon(then):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            with open("pids", "a") as file:
                file.write("%d\\n" % os.getpid())
            then()
        os._exit(0)
    os.wait()

daemon(lambda: os.execvp("sleep", ["sleep", "1000"]))
daemon(lambda: time.sleep(1000))
"""
METHODS = ["spawn", "auto"]


def daemons(folder: Path, count: int = 2) -> list[int]:
    """The pids of the daemons, once all are there."""
    poll_now(
        lambda: (
            (folder / "pids").exists() and len((folder / "pids").read_text().splitlines()) == count
        ),
        "the daemons run",
    )
    return [int(line) for line in (folder / "pids").read_text().splitlines()]


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def told_of(log: str, pids: list[int], fate: str) -> None:
    """Each has a line of its own, once."""
    for pid in pids:
        (line,) = (one for one in log.splitlines() if one.startswith(f"pid {pid} ("))
        assert line.endswith(f") left the session: {fate}")


@pytest.mark.parametrize("method", METHODS)
async def test_they_are_found_and_told_of(tmp_path, runtime, marker, method):
    workspace = make_workspace(
        tmp_path,
        {"a.py": DAEMONS + job("a"), "b.py": job("b")},
        {"a": {"start_method": method, "env": {"WS_TEST_MARKER": marker}}, "b": {}},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        pids = daemons(tmp_path)
        poll_now(lambda: "sleep" in "".join(map(command, pids)), "one became another program")
        entry = await running.status("a")
        assert {one["pid"] for one in entry["strays"]} == set(pids)
        assert "sleep 1000" in {one["command"] for one in entry["strays"]}
        assert (await running.status("b"))["strays"] == []
        told_of(
            await running.log("a"), pids, "it goes on when the process ends, unless kill is tree"
        )
        running["a"].stop()
        await running.until(lambda: running["a"].state == "stopped", "stopped")
        # A session's end is not theirs, and they are told of for as long as they live.
        assert all(map(alive, pids))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await poll(lambda: not any(map(alive, pids)), "they ended")
        assert (await running.status("a"))["strays"] == []


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["stopped", "killed", "reloaded"])
async def test_a_tree_ends_with_its_process(tmp_path, runtime, marker, method, how):
    keys = {"start_method": method, "kill": "tree", "env": {"WS_TEST_MARKER": marker}}
    workspace = make_workspace(tmp_path, {"a.py": DAEMONS + job("a")}, {"a": keys})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        pids = daemons(tmp_path)
        if how == "stopped":
            running["a"].stop()
        elif how == "killed":
            os.kill(running.pid("a"), signal.SIGKILL)
        else:
            running["a"].reload()
        await poll(lambda: not any(map(alive, pids)), "they were ended")
        if how != "stopped":
            await running.until(lambda: running["a"].generation == 2, "again")
            await running.ready()
            # Those of the next generation are its own.
            again = daemons(tmp_path, 4)[2:]
            assert all(map(alive, again))
            entry = await running.status("a")
            assert {one["pid"] for one in entry["strays"]} == set(again)
            told_of(await running.log("a"), again, "it ends with the process")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_tree_ends_with_a_supervisor_that_is_killed(tmp_path, runtime, marker, method):
    workspace = make_workspace(
        tmp_path, {"a.py": DAEMONS + job("a")}, {"a": {"start_method": method, "kill": "tree"}}
    )
    with supervisor_process(workspace, runtime, marker) as running:
        running.until(lambda told: told["a"][0] == "ready")
        pids = daemons(tmp_path)
        running.kill()
        poll_now(lambda: not any(map(alive, pids)), "they were ended")
        poll_now(lambda: not running.survivors(), "all are gone")


def test_tokens_tell_locations_and_instances_apart():
    tokens = {orphans.token_of(name, instance) for name in "ab" for instance in ("1-x", "2-y")}
    assert len(tokens) == 4
    assert {len(token) for token in tokens} == {len(orphans.NO_TOKEN)}
    assert {token[:16] for token in tokens} == {orphans.location_of("a"), orphans.location_of("b")}
