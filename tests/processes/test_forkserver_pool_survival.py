"""Warm environments when something is killed, stopped or shut down: what survives, and what goes."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from forkservers import (
    FORKED,
    bad_environment,
    children,
    forkservers,
    launcher,
    method,
    using,
    workspace_of,
)
from supervised import GOOD, Supervised, alive, job, poll, poll_now, supervising, supervisor_process

from supervisor.processes.forkserver import Patience
from supervisor.processes.forkserver_pool import ForkserverPool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forkservers need Linux")

scratch = pytest.fixture(bad_environment, scope="module")


async def test_children_survive_a_killed_forkserver(tmp_path, runtime, scratch):
    before = set(children(os.getpid(), "Z"))
    names = ["a", "b", "c"]
    workspace = workspace_of(
        tmp_path,
        scratch,
        {f"{name}.py": using("good_library") for name in names},
        {name: {"restart": "never"} for name in names},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        pids = {name: running.pid(name) for name in names}
        (server,) = forkservers(running)
        os.kill(server, signal.SIGKILL)
        await poll(lambda: not forkservers(running), "its end is noticed")
        assert all(alive(pid) for pid in pids.values())
        assert {name: running.pid(name) for name in names} == pids
        # Who dies now is the supervisor's own to collect.
        os.kill(pids["a"], signal.SIGUSR1)
        await running.until(lambda: running["a"].state not in ("ready",), "noticed")
        assert "was killed by SIGUSR1" in running["a"].reason
        # The next one is forked by a new one.
        running["b"].reload()
        await running.until(lambda: running["b"].generation == 2, "second")
        await running.ready("b")
        assert await method(running, "b") == FORKED
        assert len(forkservers(running)) == 1
        assert forkservers(running) != [server]
        await poll(lambda: not alive(pids["b"]), "the old one is gone")
        assert running.pid("c") == pids["c"]
        running["c"].stop()
        await running["c"].stopped()
        await poll(lambda: not set(children(os.getpid(), "Z")) - before, "no zombie is left")


async def test_a_forkserver_killed_while_it_preloads(tmp_path, runtime, scratch):
    workspace = workspace_of(
        tmp_path, scratch, {"a.py": "if False:\n    import hanging_library\n" + job("one")}
    )
    async with supervising(workspace, runtime) as running:
        await poll(lambda: forkservers(running), "it was started")
        (server,) = forkservers(running)
        os.kill(server, signal.SIGKILL)
        await running.ready()
        how, why = await method(running, "a")
        assert how == "spawn"
        assert why.endswith("ended the forkserver (it was killed by SIGKILL)")


@pytest.mark.slow
async def test_a_stopped_forkserver_holds_nothing_up(tmp_path, runtime, scratch, monkeypatch):
    monkeypatch.setattr(ForkserverPool, "patience", Patience(answer=3.0))
    before = set(children(os.getpid(), "Z"))
    workspace = workspace_of(tmp_path, scratch, {"a.py": GOOD, "b.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        (server,) = forkservers(running)
        os.kill(server, signal.SIGSTOP)
        running["a"].reload()
        await running.until(lambda: running["a"].generation == 2, "second")
        await running.ready("a")
        assert await method(running, "a") == ("spawn", "the forkserver does not answer")
        await poll(lambda: not alive(server), "it is given up")
        assert await method(running, "b") == FORKED
        running["b"].stop()
        await running["b"].stopped()
        await poll(lambda: not set(children(os.getpid(), "Z")) - before, "no zombie is left")


async def test_a_child_that_closes_all_descriptors(tmp_path, runtime, scratch):
    closes = "import os\nos.closerange(0, 200)\n" + job("one")
    workspace = workspace_of(
        tmp_path,
        scratch,
        {"a.py": GOOD, "b.py": closes},
        {"b": {"restart": "never", "load_timeout": "5s"}},
    )
    async with supervising(workspace, runtime) as running:
        states = await running.settled()
        assert states["a"] == "ready"
        assert states["b"] in ("crashed", "failed", "stopped")
        assert await method(running, "a") == FORKED
        running["a"].reload()
        await running.until(lambda: running["a"].generation == 2, "second")
        await running.ready("a")


async def test_shutdown_does_not_wait_for_a_preload(tmp_path, runtime, scratch):
    workspace = workspace_of(
        tmp_path, scratch, {"a.py": "if False:\n    import hanging_library\n" + job("one")}
    )
    async with supervising(workspace, runtime) as running:
        await poll(lambda: forkservers(running), "it was started")
        (server,) = forkservers(running)
        running.daemon.shutdown()
        await poll(lambda: not alive(server), "it is gone", timeout=20)


def test_a_killed_supervisor_takes_all_with_it(tmp_path, runtime, scratch):
    spawning = "import good_library, subprocess\nsubprocess.Popen(['sleep', '600'])\n"
    workspace = workspace_of(
        tmp_path,
        scratch,
        {
            "a.py": spawning + job("one"),
            "b.py": GOOD,
            "c.py": "if False:\n    import hanging_library\n" + job("one"),
        },
        {"c": {"env": {"ANOTHER": "1"}}},
    )
    with supervisor_process(workspace, runtime, f"warm-{os.getpid()}") as running:
        running.until(lambda states: states["a"][0] == states["b"][0] == "ready")
        # supervisor, reaper, two forkservers, two shims, a grandchild
        poll_now(lambda: len(running.survivors()) >= 7, "all are there")
        running.kill()
        poll_now(lambda: not running.survivors(), "all are gone", timeout=20)


async def test_the_launcher_is_closed_with_nothing_left(tmp_path, runtime, scratch):
    workspace = workspace_of(tmp_path, scratch, {"a.py": using("good_library"), "b.py": GOOD})
    # What others left is given to us, too, and may end only now.
    others = set(children(os.getpid()))
    async with supervising(workspace, runtime) as running:
        await running.ready()
        servers = forkservers(running)
        own = set(children(os.getpid())) - others
        used: Supervised = running
    assert not any(alive(server) for server in servers)
    assert not launcher(used).servers
    assert not own & set(children(os.getpid(), "Z"))


async def test_a_child_of_a_forkserver_that_was_killed_in_the_middle_is_nobody(
    tmp_path, runtime, scratch
):
    # It forked, and was killed before it could say so: what it forked says hello all the same.
    workspace = workspace_of(tmp_path, scratch, {"a.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready("a")
        serving = running["a"].serving
        before = serving.instance
        heard = running.daemon.services.transport.receivers
        assert serving.phase.launch.anew() != before
        assert before.encode() not in heard
        assert serving.instance.encode() in heard
        assert not serving.conversation.greeted
        running["a"].reload("it was given another name")
        await running.until(lambda: running["a"].serving is not serving, "reloaded")
        await running.ready("a")
