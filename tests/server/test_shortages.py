"""What passes by itself must leave nothing broken: no descriptors, no threads, helpers that are held."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from forkservers import launcher, method, scratch_environment
from supervised import alive, job, make_workspace, poll, save, supervising

from supervisor.errors import RequestError
from supervisor.processes import reaper as reapers
from supervisor.processes.reaper import Reaper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scratch_environment(
        tmp_path_factory.mktemp("scratch") / "environment",
        sys.executable,
        {"good_library.py": "VALUE = 1\n", "late_library.py": "VALUE = 2\n"},
    )


def workspace_of(folder: Path, python: Path, files: dict[str, str], **keys: dict) -> Path:
    return make_workspace(
        folder,
        files,
        {name[:-3]: {"executable_path": str(python)} | keys.get(name[:-3], {}) for name in files},
    )


async def test_a_forkserver_that_could_not_be_had_is_had_the_next_time(
    tmp_path, runtime, scratch, monkeypatch
):
    real = socket.socketpair

    def none_left(family: int = -1, kind: int = socket.SOCK_STREAM, *more: int):
        if kind == socket.SOCK_SEQPACKET:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(family, kind, *more)

    workspace = workspace_of(tmp_path, scratch, {"a.py": job("one")})
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socketpair", none_left)
        async with supervising(workspace, runtime) as running:
            await running.ready()
            assert (await method(running, "a"))[0] == "spawn"
            patch.undo()
            running["a"].reload()
            await running.until(lambda: running["a"].generation == 2, "second")
            await running.ready()
            assert (await method(running, "a"))[0] == "forkserver"


async def test_an_end_is_told_when_no_thread_can_be_started(
    tmp_path, runtime, scratch, monkeypatch
):
    workspace = workspace_of(
        tmp_path, scratch, {"a.py": job("one")}, a={"kill": "tree", "restart": "never"}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()

        async def no_thread(*arguments: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr("supervisor.processes.process.asyncio.to_thread", no_thread)
        pid = running.pid("a")
        os.kill(pid, signal.SIGKILL)
        await running.until(lambda: running["a"].state == "stopped", "its end was told")
        monkeypatch.undo()
        assert not alive(pid)


def test_a_reaper_that_is_held_holds_nobody(monkeypatch):
    monkeypatch.setattr(reapers, "PATIENCE", 0.2)
    reaper = Reaper()
    try:
        reaper.add(2**22)
        pids = reaper.pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
    finally:
        reaper.close()
    assert not any(map(alive, pids))


@pytest.mark.slow
async def test_without_pidfds_processes_are_fresh_and_their_ends_are_told(
    tmp_path, runtime, scratch, monkeypatch
):
    def refused(pid: int, flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    from supervisor.processes.process import has_pidfds

    monkeypatch.setattr(os, "pidfd_open", refused)
    has_pidfds.cache_clear()
    try:
        names = [f"a{number}" for number in range(10)]
        workspace = workspace_of(tmp_path, scratch, {f"{name}.py": job(name) for name in names})
        async with supervising(workspace, runtime) as running:
            await running.ready()
            assert await method(running, "a0") == (
                "spawn",
                "forkservers need pidfd_open(2), which is refused here",
            )
            os.kill(running.pid("a3"), signal.SIGKILL)
            await running.until(lambda: running["a3"].generation == 2, "replaced")
            await running.ready()
            save(tmp_path / "a7.py", job("edited"))
            await running.until(lambda: running.definitions("a7") == ["job:edited"], "reloaded")
    finally:
        monkeypatch.undo()
        has_pidfds.cache_clear()


async def test_every_forkserver_of_an_environment_has_the_preload_profile(
    tmp_path, runtime, scratch
):
    # Neither is named by an import, so both are learned, and by one location after the other.
    late = '__import__("late_" + "library")\n__import__("good_" + "library")\n'
    workspace = workspace_of(
        tmp_path,
        scratch,
        {"a.py": late + job("a"), "b.py": late + job("b")},
        b={"env": {"REGION": "eu"}},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        servers = launcher(running).servers
        assert len(servers) == 2
        await poll(
            lambda: (
                len(servers) == 2
                and all(one.knows({"good_library", "late_library"}) for one in servers.values())
            ),
            "both have what was learned",
        )


async def test_no_order_is_taken_while_it_stops(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": job("one")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        running.daemon.shutdown()
        with pytest.raises(RequestError, match="is stopping"):
            await running.methods.restart({"locations": ["a"]})


QUEUED = """\
    import os, time
    from runner_shim import job, repository

    def waiting(name):
        def make():
            open("begun", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.01)

            @job(name=name)
            def made():
                pass
            return made
        return make

    @repository
    def everything():
        return {"jobs": {"first": waiting("first"), "second": waiting("second")}}
    """


async def test_what_waits_its_turn_is_answered_before_a_swap(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": QUEUED})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        asked = [
            asyncio.create_task(running.methods.show({"location": "a", "name": name}))
            for name in ("first", "second")
        ]
        await poll((tmp_path / "begun").exists, "the first is being made")
        save(tmp_path / "a.py", job("other"))
        await running.until(lambda: running.definitions("a") == ["job:other"], "swapped")
        (tmp_path / "go").touch()
        for shown, _ in await asyncio.gather(*asked):
            assert shown["definition"]["name"] in ("first", "second")
