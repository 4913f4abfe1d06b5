"""What is closed when something fails on the way up, or fails to close on the way down."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
import zmq.asyncio
from allowed import access_in
from supervised import Supervised, environ, job, make_workspace, poll, supervising

import supervisor.server.daemon
from supervisor.client.client import AsyncClient, Client
from supervisor.curve_keys import KeyDirectory
from supervisor.errors import ConfigurationError, SupervisorError
from supervisor.locations.transport import Transport
from supervisor.processes.reaper import Reaper
from supervisor.roles import Role
from supervisor.runtime_dir import RuntimeDirectory
from supervisor.server.daemon import Daemon
from supervisor.server.remote_control import RemoteControl
from supervisor.watching.inotify import Heard, directory_watch
from supervisor.workspace_files import Selection

UNBINDABLE = "ipc:///proc/none/here.sock"


@pytest.mark.parametrize("which", ["shim_address", "control_address"])
async def test_a_socket_that_cannot_be_had_leaves_none_open(tmp_path, runtime, monkeypatch, which):
    made = []

    def context():
        made.append(zmq.asyncio.Context())
        return made[0]

    monkeypatch.setattr(supervisor.server.daemon, "thrifty_context", context)
    monkeypatch.setattr(RuntimeDirectory, which, UNBINDABLE)
    workspace = make_workspace(tmp_path / "w", {"a.py": job("one")})
    daemon = Daemon(Selection(files=(workspace,)), cwd=tmp_path, environ=environ(runtime))
    with pytest.raises(SupervisorError, match="no such file"):
        await daemon.run()
    assert [one.closed for one in made] == [True]


async def test_a_transport_that_cannot_be_bound_closes_its_socket():
    context = zmq.asyncio.Context()
    with pytest.raises(zmq.ZMQError):
        Transport(context, UNBINDABLE)
    context.term()  # waits for whatever is open


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux")
async def test_a_watcher_that_died_does_not_keep_the_rest_open(tmp_path, runtime, monkeypatch):
    tried = asyncio.Event()
    loop = asyncio.get_running_loop()

    def broken() -> None:
        loop.call_soon_threadsafe(tried.set)
        raise ImportError("no such library")

    monkeypatch.setattr("supervisor.watching.inotify.find_inotify", broken)
    contexts = []
    real = zmq.asyncio.Context

    def context():
        contexts.append(real())
        return contexts[-1]

    monkeypatch.setattr(supervisor.server.daemon, "thrifty_context", context)
    workspace = make_workspace(tmp_path / "w", {"a.py": job("one")})
    running: Supervised
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await asyncio.wait_for(tried.wait(), 60)
        await poll(
            lambda: all(one.get_name() != "watcher" for one in asyncio.all_tasks()), "it has died"
        )
    assert [one.closed for one in contexts] == [True]


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux")
async def test_without_a_thread_to_be_had_it_says_so_and_tries_again(monkeypatch):
    said: list[str | None] = []
    tries = []

    def start(work):
        tries.append(work)
        if len(tries) == 1:
            raise RuntimeError("can't start new thread")
        return asyncio.get_running_loop().run_in_executor(None, work)

    def trouble(text: str | None) -> None:
        said.append(text)

    def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr("supervisor.watching.inotify.RETRY", 0.01)
    monkeypatch.setattr("supervisor.watching.inotify.asyncio.to_thread", start)
    watch = await directory_watch(Heard(nothing, nothing, nothing, trouble))
    await watch.close()
    assert said == ["files cannot be watched: can't start new thread", None]
    assert len(tries) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reapers are Linux")
def test_a_reaper_that_was_closed_stays_closed():
    reaper = Reaper()
    reaper.add(os.getpid())
    assert len(reaper.pids) == 2
    reaper.close()
    reaper.discard(os.getpid())
    assert reaper.pids == []


async def test_keys_that_are_damaged_leave_nothing_open(tmp_path):
    keys = KeyDirectory(tmp_path)
    keys.server()
    (damaged,) = tmp_path.rglob("server.key")
    damaged.write_text("{")
    with pytest.raises(ConfigurationError):
        RemoteControl("tcp://127.0.0.1:*", {}, access_in(tmp_path))


async def test_an_address_that_cannot_be_connected_to_is_refused(tmp_path):
    keys = KeyDirectory(tmp_path)
    keys.add_client("me", tmp_path / "me.key", Role.VIEWER)
    for address in ("tcp://127.0.0.1:99999", "tcp://127.0.0.1"):
        for client in (Client, AsyncClient):
            with pytest.raises(ConfigurationError, match="is no TCP address"):
                client(address=address, keys=tmp_path / "me.key")
