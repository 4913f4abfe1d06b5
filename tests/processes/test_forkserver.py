"""One forkserver: what it preloads, what it refuses to, and what makes it unfit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from forkservers import (
    BAD_LIBRARIES,
    bad_environment,
    children,
    elsewhere,
    scratch_environment,
    site_packages,
    warm_spec,
)
from supervised import alive, poll

from supervisor.processes.forkserver import (
    Forkserver,
    ForkserverGoneError,
    Patience,
    UnfitError,
    UnfitLibrariesError,
)
from supervisor.processes.launcher import LaunchSpec
from supervisor.processes.reaper import Reaper
from supervisor.processes.spawn import SpawnLauncher
from supervisor.processes.start_limiter import StartLimiter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forkservers need Linux")


scratch = pytest.fixture(bad_environment, scope="module")


class Warmed:
    """Starts forkservers and ends them; ``printed`` is what they said."""

    def __init__(self) -> None:
        self.printed = b""
        self.reaper = Reaper()
        self._servers: list[Forkserver] = []

    def start(
        self,
        spec: LaunchSpec,
        *modules: str,
        patience: Patience | None = None,
        left_out: Mapping[str, str] | None = None,
    ) -> Forkserver:
        server = Forkserver(
            spec,
            list(modules),
            StartLimiter(),
            self._hear,
            self.reaper,
            patience or Patience(),
            left_out,
        )
        self._servers.append(server)
        return server

    def _hear(self, stream: str, data: bytes) -> None:
        self.printed += data

    async def close(self) -> None:
        for server in self._servers:
            await server.close()
        self.reaper.close()


@contextlib.asynccontextmanager
async def warmed() -> AsyncIterator[Warmed]:
    one = Warmed()
    try:
        yield one
    finally:
        await one.close()


async def unfit(
    scratch: Path, folder: Path, *modules: str, patience: float = 60.0
) -> Mapping[str, str]:
    """The libraries among ``modules`` that cannot be preloaded; the process is gone then."""
    async with warmed() as one:
        server = one.start(
            await warm_spec(scratch, folder), *modules, patience=Patience(preload=patience)
        )
        with pytest.raises(UnfitLibrariesError) as caught:
            await server.ready()
        assert server.pid is not None
        await poll(lambda: not alive(server.pid or 0), "the forkserver is gone")
        return caught.value.left_out


# What it preloads.


async def test_installed_and_standard_modules_are_preloaded(scratch, tmp_path):
    async with warmed() as one:
        spec = await warm_spec(scratch, tmp_path)
        server = one.start(spec, "good_library.part", "decimal", "no_such_library")
        await server.ready()
        assert server.preloaded == ["good_library.part", "decimal"]
        assert server.gone == []
        assert server.knows({"decimal", "no_such_library"})
        assert not server.knows({"fractions"})


async def test_a_module_that_its_library_has_lost_is_no_failure(scratch, tmp_path):
    async with warmed() as one:
        spec = await warm_spec(scratch, tmp_path)
        server = one.start(spec, "good_library.lost", "good_library.part.deeper", "decimal")
        await server.ready()
        assert server.preloaded == ["decimal"]
        assert server.gone == ["good_library.lost", "good_library.part.deeper"]


async def test_as_many_names_as_there_are_fit(scratch, tmp_path):
    many = [f"good_library.{'x' * 80}{number}" for number in range(10_000)]
    async with warmed() as one:
        server = one.start(await warm_spec(scratch, tmp_path), *many, "decimal")
        await server.ready()
        assert server.gone == many
        assert server.preloaded == ["decimal"]


async def test_what_a_preload_prints_is_the_forkservers_output(scratch, tmp_path):
    site_packages(scratch.parent.parent).joinpath("loud_library.py").write_text("print('hello')\n")
    async with warmed() as one:
        await one.start(await warm_spec(scratch, tmp_path), "loud_library").ready()
        await poll(lambda: one.printed == b"hello\n", "it was heard")


async def test_a_class_that_says_in_its_own_way_where_it_is_from(scratch, tmp_path):
    text = "class Odd:\n    pass\n\n\nOdd.__module__ = 5\nodd = Odd()\n"
    site_packages(scratch.parent.parent).joinpath("odd_library.py").write_text(text)
    async with warmed() as one:
        server = one.start(await warm_spec(scratch, tmp_path), "odd_library")
        await server.ready()
        assert server.preloaded == ["odd_library"]


# The team's own code.


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A directory of the team's own modules; importing one leaves a file behind."""
    folder = tmp_path / "team"
    folder.mkdir()
    text = "import os\nopen(os.path.join(os.path.dirname(__file__), 'imported'), 'w').close()\n"
    for name in ("team_plugin", "decimal", "good_library"):
        (folder / f"{name}.py").write_text(text)
    return folder


async def test_nothing_is_imported_from_pythonpath(scratch, tmp_path, team):
    async with warmed() as one:
        spec = await warm_spec(scratch, tmp_path, {"PYTHONPATH": str(team)})
        server = one.start(spec, "team_plugin", "decimal", "good_library.part")
        await server.ready()
        assert server.preloaded == []
        assert not (team / "imported").exists()
        with pytest.raises(
            UnfitLibrariesError, match=r"imports team_plugin, which is the team's own"
        ):
            await one.start(spec, "plugin_library").ready()
        assert not (team / "imported").exists()


async def test_nothing_is_imported_from_the_working_directory(scratch, tmp_path, team, monkeypatch):
    monkeypatch.chdir(team)
    async with warmed() as one:
        server = one.start(await warm_spec(scratch, tmp_path), "team_plugin", "decimal")
        await server.ready()
        assert server.preloaded == ["decimal"]
        assert not (team / "imported").exists()


async def test_nothing_is_imported_from_an_editable_install(tmp_path, team):
    executable = scratch_environment(tmp_path / "environment", sys.executable, BAD_LIBRARIES)
    site_packages(tmp_path / "environment").joinpath("team.pth").write_text(f"{team}\n")
    async with warmed() as one:
        spec = await warm_spec(executable, tmp_path)
        server = one.start(spec, "team_plugin", "decimal")
        await server.ready()
        assert server.preloaded == ["decimal"]
        assert not (team / "imported").exists()
        with pytest.raises(
            UnfitLibrariesError, match=r"imports team_plugin, which is the team's own"
        ):
            await one.start(spec, "plugin_library").ready()
        assert not (team / "imported").exists()


async def test_what_the_interpreter_itself_imports_of_the_teams_counts(scratch, tmp_path, team):
    (team / "sitecustomize.py").write_text("")
    async with warmed() as one:
        spec = await warm_spec(scratch, tmp_path, {"PYTHONPATH": str(team)})
        with pytest.raises(UnfitError, match=r"sitecustomize\.py, the team's own, is imported"):
            await one.start(spec).ready()


# What makes an environment unfit.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "reason"),
    [
        ("thread_library", "leaves threads running: ticker"),
        ("native_library", "leaves native threads running: python"),
        ("raising_library", "cannot be imported (RuntimeError: no licence)"),
        (
            "missing_library",
            "cannot be imported (ModuleNotFoundError: No module named 'something_else')",
        ),
        ("exiting_library", "cannot be imported (SystemExit: 3)"),
        ("ending_library", "ended the forkserver (it exited with status 3) when it was imported"),
        (
            "crashing_library",
            "ended the forkserver (it was killed by SIGSEGV) when it was imported",
        ),
        ("child_library", "leaves a process running"),
        ("timer_library", "leaves a timer running"),
        ("moving_library", "changes the working directory to /tmp"),
        ("ray_user", "imports ray, which does not survive a fork"),
        ("semaphore_library", "makes memory that all forked processes would share: /dev/shm/sem.*"),
        ("memory_library", r"makes memory that all forked processes would share: /dev/zero.*"),
        ("native_handler_library", r"handles signals in native code \(12\)"),
        ("temporary_library", "makes a temporary file or directory"),
        ("limit_library", r"changes the limit RLIMIT_CORE to .*"),
        ("path_library", r"reads sys\.path when it is imported"),
        ("place_library", "remembers the working directory"),
        ("tracing_library", "traces or profiles"),
    ],
)
async def test_a_library_that_cannot_be_preloaded(scratch, tmp_path, library, reason):
    found = await unfit(scratch, tmp_path, "good_library", library, "decimal")
    assert list(found) == [library]
    assert found[library] == reason or re.fullmatch(reason, found[library])


async def test_a_library_that_leaves_descriptors_open(scratch, tmp_path):
    found = await unfit(scratch, tmp_path, "file_library")
    assert found["file_library"].startswith("leaves /")
    assert found["file_library"].endswith("/file_library.py open")
    found = await unfit(scratch, tmp_path, "socket_library")
    assert found["socket_library"].startswith("leaves socket:[")


async def test_all_unfit_libraries_are_found_at_once_with_those_that_import_them(scratch, tmp_path):
    names = ["good_library", "thread_user_user", "timer_library", "decimal"]
    found = await unfit(scratch, tmp_path, *names)
    left = "leaves threads running: ticker"
    assert found == {
        "thread_library": left,
        "thread_user": f"imports thread_library, which {left}",
        "thread_user_user": f"imports thread_library, which {left}",
        "timer_library": "leaves a timer running",
    }
    async with warmed() as one:
        spec = await warm_spec(scratch, tmp_path)
        server = one.start(spec, *names, left_out=found)
        await server.ready()
        assert server.preloaded == ["good_library", "decimal"]
        assert server.left_out == found


async def test_an_import_of_what_is_left_out_is_not_done(scratch, tmp_path):
    """Known of one library alone: what imports it is found, and it is never imported."""
    async with warmed() as one:
        spec = await warm_spec(scratch, tmp_path)
        server = one.start(spec, "thread_user", left_out={"thread_library": "is not wanted"})
        with pytest.raises(UnfitLibrariesError) as caught:
            await server.ready()
        reason = "imports thread_library, which is not wanted"
        assert caught.value.left_out == {"thread_user": reason}


@pytest.mark.slow
@pytest.mark.parametrize("library", ["hanging_library", "holding_library"])
async def test_a_preload_that_hangs(scratch, tmp_path, library):
    # As long as an interpreter may take to start, too.
    found = await unfit(scratch, tmp_path, "decimal", library, patience=3.0)
    assert found == {library: "took longer than 3 s when it was imported"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import socket\nsocket.pair = socket.socketpair()", r"leaves socket:\[\d+\] open"),
        ("import mmap\nmmap.one = mmap.mmap(-1, 4096)", "makes memory that all forked .*"),
        ("import os, threading\nthreading.Thread(target=os.wait4, args=(1, 0))", ""),
        (
            "import threading\n"
            "threading.Thread(target=threading.Event().wait, name='t', daemon=True).start()",
            "leaves threads running: t",
        ),
    ],
    ids=["descriptors", "memory", "nothing", "thread"],
)
async def test_what_the_start_of_the_interpreter_leaves(tmp_path, text, reason):
    executable = scratch_environment(tmp_path / "environment", sys.executable, {})
    site_packages(tmp_path / "environment").joinpath("begin.pth").write_text(
        f"import sys; exec({text!r})\n"
    )
    async with warmed() as one:
        server = one.start(await warm_spec(executable, tmp_path), "decimal")
        if not reason:
            await server.ready()
            return
        start = r"the start of the interpreter \(sitecustomize or a \.pth file\) "
        with pytest.raises(UnfitError, match=start + reason):
            await server.ready()


async def test_what_is_known_to_break_is_not_preloaded(scratch, tmp_path):
    async with warmed() as one:
        server = one.start(await warm_spec(scratch, tmp_path), "ray", "decimal")
        await server.ready()
        assert server.preloaded == ["decimal"]


async def test_an_interpreter_that_cannot_be_started(scratch, tmp_path):
    async with warmed() as one:
        spec = await warm_spec(scratch, tmp_path)
        missing = replace(spec, prepared=elsewhere(spec.prepared, tmp_path / "gone"))
        with pytest.raises(UnfitError, match="the forkserver cannot be started"):
            await one.start(missing).ready()


# Its end.


async def test_closing_does_not_wait_for_a_preload(scratch, tmp_path):
    async with warmed() as one:
        server = one.start(await warm_spec(scratch, tmp_path), "hanging_library")
        waiting = asyncio.create_task(server.ready())
        await poll(lambda: server.pid, "it was started")
        await server.close()
        assert not alive(server.pid or 0)
        assert not server.usable
        with pytest.raises(ForkserverGoneError):
            await waiting


async def test_a_forkserver_that_was_killed_is_gone(scratch, tmp_path):
    async with warmed() as one:
        spec = await warm_spec(scratch, tmp_path)
        server = one.start(spec)
        await server.ready()
        os.kill(server.pid or 0, signal.SIGKILL)
        with pytest.raises(ForkserverGoneError):
            await server.fork(spec, SpawnLauncher(one.reaper))


async def test_a_forkserver_that_is_stopped_is_given_up(scratch, tmp_path):
    async with warmed() as one:
        spec = await warm_spec(scratch, tmp_path)
        server = one.start(spec, patience=Patience(answer=0.5))
        await server.ready()
        os.kill(server.pid or 0, signal.SIGSTOP)
        with pytest.raises(UnfitError, match="the forkserver does not answer"):
            await server.fork(spec, SpawnLauncher(one.reaper))
        await poll(lambda: not alive(server.pid or 0), "it was killed")


async def test_forks_that_nobody_waits_for_leave_no_process(scratch, tmp_path):
    async with warmed() as one:
        spec = await warm_spec(scratch, tmp_path)
        server = one.start(spec)
        await server.ready()
        cold = SpawnLauncher(one.reaper)
        forks = [asyncio.create_task(server.fork(spec, cold)) for _ in range(5)]
        await asyncio.sleep(0)  # they have begun
        for fork in forks[::2]:
            fork.cancel()
        done = await asyncio.gather(*forks, return_exceptions=True)
        shims = [one for one in done if not isinstance(one, BaseException)]
        assert len(shims) == 2
        await poll(lambda: len(children(server.pid or 0)) == 2, "three are gone, and collected")
        assert children(server.pid or 0) == sorted(one.pid for one in shims)
        for shim in shims:
            shim.terminate()
            assert (await shim.wait()).signal == signal.SIGTERM
        assert children(server.pid or 0) == []
