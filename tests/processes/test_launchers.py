"""Every launcher held to the contract of ``supervisor.processes.launcher``, with real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zmq
import zmq.asyncio
from supervised import alive, poll
from warmth import elsewhere, warm_spec

from runner_shim import wire
from supervisor import procfs
from supervisor.processes import orphans
from supervisor.processes.forkserver_pool import ForkserverPool
from supervisor.processes.launcher import (
    FORKED,
    SPAWNED,
    Launcher,
    LaunchError,
    LaunchSpec,
    ShimProcess,
)
from supervisor.processes.preload_profile import PreloadProfile
from supervisor.processes.process import session_members
from supervisor.processes.reaper import Reaper
from supervisor.processes.spawn import SpawnLauncher
from supervisor.processes.start_limiter import StartLimiter
from supervisor.specs import KillScope, Limits, StartMethod

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forkservers need Linux")

LAUNCHERS = {"spawn": SPAWNED, "forkserver pool": FORKED}

# What a target does while it is loaded; then it waits in user code.
WAITS = (
    "import os, time\nopen('pid', 'w').write(str(os.getpid()))\nwhile True:\n    time.sleep(0.01)\n"
)
LEAVES = (
    "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork():\n        os._exit(0)\n"
    "    open('left.new', 'w').write(str(os.getpid()))\n    os.rename('left.new', 'left')\n"
    "    time.sleep(1000)\nos.wait()\n" + WAITS
)
BURNS = "import time\nwhile time.process_time() < 0.5:\n    pass\n" + WAITS


class Bench:
    """A launcher under test, and the supervisor's end of the socket that its shims connect to."""

    def __init__(self, launcher: Launcher, socket: zmq.asyncio.Socket, spec: LaunchSpec) -> None:
        self.launcher = launcher
        self.spec = spec
        self.printed = {"out": b"", "err": b""}
        self.started: list[ShimProcess] = []
        self._socket = socket
        self._count = 0

    def spec_of(self, **more: object) -> LaunchSpec:
        """The spec of one shim more."""
        self._count += 1
        fields = {name: getattr(self.spec, name) for name in LaunchSpec.__dataclass_fields__}
        fields |= {"instance": f"{self._count}-x", "output": self._hear, **more}
        return LaunchSpec(**fields)

    async def start(self, **more: object) -> ShimProcess:
        """Start one and hear its hello."""
        spec = self.spec_of(**more)
        await self.launcher.prepare(spec)
        process = await self.launcher.start(spec)
        self.started.append(process)
        identity, *frames = await asyncio.wait_for(self._socket.recv_multipart(), 60)
        assert identity == spec.instance.encode()
        assert wire.decode(frames)[0]["type"] == "hello"
        return process

    async def load(self, folder: Path, text: str) -> None:
        """Have the last one load ``text``; returns when it has said that it does."""
        (folder / "a.py").write_text(text)
        target = {
            "kind": "python_file",
            "name": str(folder / "a.py"),
            "attribute": None,
            "working_directory": str(folder),
        }
        frames = wire.encode({"type": "load", "request": 1, "target": target})
        await self._socket.send_multipart([f"{self._count}-x".encode(), *frames])
        await poll((folder / "pid").exists, "it loads")

    def _hear(self, stream: str, data: bytes) -> None:
        self.printed[stream] += data


@contextlib.asynccontextmanager
async def benched(kind: str, folder: Path, runtime: Path) -> AsyncIterator[Bench]:
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.ROUTER)
    address = f"ipc://{runtime}/shims.sock"
    socket.bind(address)
    reaper = Reaper()
    cold = SpawnLauncher(reaper)
    pool = ForkserverPool(
        cold, PreloadProfile(None), StartLimiter(), lambda name: _quiet, lambda prefix: ""
    )
    spec = await warm_spec(Path(sys.executable), folder, address=address)
    one = Bench(pool if kind == "forkserver pool" else cold, socket, spec)
    try:
        yield one
    finally:
        for process in one.started:
            process.kill()
            await asyncio.wait_for(process.wait(), 60)
        await pool.close()
        reaper.close()
        context.destroy(linger=0)


def _quiet(stream: str, data: bytes) -> None:
    pass


@pytest.fixture(params=LAUNCHERS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


async def ended(process: ShimProcess):
    return await asyncio.wait_for(process.wait(), 60)


async def test_it_starts_a_shim_and_says_how(kind, tmp_path, runtime):
    async with benched(kind, tmp_path, runtime) as one:
        process = await one.start(limits=Limits(open_files=77, nice=3))
        assert (process.method, process.reason) == (LAUNCHERS[kind], "")
        assert process.forked is (LAUNCHERS[kind] == FORKED)
        assert bool(process.profile) is bool(process.hash_seed) is process.forked
        assert process.limits == {"open_files": "rlimit", "nice": "rlimit"}
        assert alive(process.pid) and not process.exited.done()
        assert orphans.VARIABLE.encode() in procfs.read(f"/proc/{process.pid}/environ")


@pytest.mark.parametrize(("order", "number"), [("terminate", 15), ("kill", 9)])
async def test_orders_reach_the_whole_session(kind, tmp_path, runtime, order, number):
    text = "import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\n" + WAITS
    async with benched(kind, tmp_path, runtime) as one:
        process = await one.start()
        await one.load(tmp_path, text)
        members = session_members(process.pid)
        assert len(members) == 2
        getattr(process, order)()
        found = await ended(process)
        assert (found.status, found.signal, found.clean) == (None, number, False)
        await poll(lambda: not any(map(alive, members)), "all of its session is gone")


async def test_all_that_it_printed_has_come_when_it_has_ended(kind, tmp_path, runtime):
    text = (
        "import os\nfor n in range(5000):\n    os.write(1, b'line %d\\n' % n)\nos.write(2, b'last')\n"
        "open('pid', 'w').close()\nos._exit(7)\n"
    )
    async with benched(kind, tmp_path, runtime) as one:
        process = await one.start()
        await one.load(tmp_path, text)
        assert (await ended(process)).status == 7
        lines = one.printed["out"].splitlines()
        assert (len(lines), lines[-1]) == (5000, b"line 4999")
        assert one.printed["err"].endswith(b"last")


async def test_nothing_follows_from_orders_and_questions_after_its_end(kind, tmp_path, runtime):
    async with benched(kind, tmp_path, runtime) as one:
        process = await one.start()
        process.kill()
        first = await ended(process)
        process.terminate()
        process.kill()
        process.dump()
        assert await process.usage(detail=True) is None
        assert await process.stopped() is False
        assert await process.spent() == 0.0
        assert await ended(process) == first
        assert process.pid and process.method


async def test_to_wait_may_be_cancelled(kind, tmp_path, runtime):
    async with benched(kind, tmp_path, runtime) as one:
        process = await one.start()
        waiting = asyncio.create_task(process.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled() and not process.exited.done() and alive(process.pid)
        process.kill()
        assert (await ended(process)).signal == signal.SIGKILL


async def test_a_stopped_one_is_told_from_one_that_runs(kind, tmp_path, runtime):
    async with benched(kind, tmp_path, runtime) as one:
        process = await one.start()
        assert await process.stopped() is False
        os.kill(process.pid, signal.SIGSTOP)
        deadline = asyncio.get_running_loop().time() + 60
        while not await process.stopped():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
        os.kill(process.pid, signal.SIGCONT)
        while await process.stopped():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
        os.kill(process.pid, signal.SIGSTOP)
        process.kill()
        assert (await ended(process)).signal == signal.SIGKILL


async def test_it_dumps_its_stacks_while_user_code_runs(kind, tmp_path, runtime):
    async with benched(kind, tmp_path, runtime) as one:
        process = await one.start()
        await one.load(tmp_path, WAITS)
        process.dump()
        await poll(lambda: b'a.py", line ' in one.printed["err"], "its stack came")
        assert alive(process.pid)


async def test_what_it_takes(kind, tmp_path, runtime):
    async with benched(kind, tmp_path, runtime) as one:
        process = await one.start()
        await one.load(tmp_path, BURNS)
        usage = await process.usage(detail=True)
        assert usage is not None and usage.uss is not None
        assert 0 < usage.uss <= usage.rss
        assert usage.cpu_seconds >= 0.4
        assert usage.cpu_percent > 0
        assert await process.spent() >= usage.cpu_seconds
        brief = await process.usage()
        assert brief is not None and brief.uss is None


@pytest.mark.parametrize("scope", list(KillScope))
async def test_what_left_its_session_ends_with_it_under_kill_tree(kind, tmp_path, runtime, scope):
    async with benched(kind, tmp_path, runtime) as one:
        process = await one.start(kill=scope)
        await one.load(tmp_path, LEAVES)
        await poll((tmp_path / "left").exists, "one has left")
        left = int((tmp_path / "left").read_text())
        process.kill()
        await ended(process)
        assert alive(left) is (scope is KillScope.SESSION)
        with contextlib.suppress(ProcessLookupError):
            os.kill(left, signal.SIGKILL)


async def test_one_that_cannot_be_started_says_why_in_a_sentence(kind, tmp_path, runtime):
    async with benched(kind, tmp_path, runtime) as one:
        gone = elsewhere(one.spec.prepared, tmp_path / "gone")
        spec = one.spec_of(prepared=gone)
        await one.launcher.prepare(spec)
        with pytest.raises(LaunchError) as caught:
            await one.launcher.start(spec)
        assert str(caught.value) == f"{tmp_path}/gone cannot be started: no such file or directory"


async def test_a_start_that_is_cancelled_leaves_nothing(kind, tmp_path, runtime):
    async with benched(kind, tmp_path, runtime) as one:
        await one.launcher.prepare(one.spec)
        variables = {"WS_TEST_MARKER": str(tmp_path)}
        starting = [
            asyncio.create_task(one.launcher.start(one.spec_of(variables=variables)))
            for _ in range(3)
        ]
        await asyncio.sleep(0)
        for task in starting:
            task.cancel()
        done = await asyncio.gather(*starting, return_exceptions=True)
        # What had started in that very moment is the caller's.
        one.started += [found for found in done if isinstance(found, ShimProcess)]
        assert all(isinstance(found, ShimProcess | asyncio.CancelledError) for found in done)


@pytest.mark.parametrize("how", ["asked", "refused", "condemned"])
async def test_a_fresh_process_when_it_must_be_one(kind, tmp_path, runtime, how):
    async with benched(kind, tmp_path, runtime) as one:
        spec, reason = one.spec_of(), "a thread was left"
        more: dict[str, object] = {}
        if how == "asked":
            more = {"start_method": StartMethod.SPAWN, "start_method_reason": reason}
        elif how == "refused":
            one.launcher.refuse(spec, reason)
        else:
            one.launcher.condemn(spec, reason)
        process = await one.start(**more)
        assert process.method == SPAWNED
        assert process.reason == (reason if kind == "forkserver pool" else "")
        one.launcher.learn(spec, {"installed": ["decimal"], "preloaded": []})


def test_a_launcher_that_lacks_some_of_it_cannot_be_made():
    for seam in (Launcher, ShimProcess):
        with pytest.raises(TypeError, match="abstract"):
            seam()
