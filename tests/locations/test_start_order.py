"""What starts first on a machine with one core, and how many start where few files may be open."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import uuid
from collections.abc import Iterator
from functools import partial

import pytest
from forkservers import launcher, method, scratch_environment
from supervised import job, make_workspace, poll, supervising, supervisor_process

from supervisor import procfs
from supervisor.processes.forkserver import Forkserver
from supervisor.processes.start_limiter import StartLimiter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forkservers need Linux")


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process, and the supervisor in it, may use one core; a slot is lent for long."""
    monkeypatch.setattr("supervisor.server.daemon.StartLimiter", partial(StartLimiter, lease=60.0))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def born(pid: int) -> int:
    """When a process was started, in clock ticks."""
    return int(procfs.stat(pid)[19])


@pytest.mark.slow
@pytest.mark.parametrize("order", [("few", "many"), ("many", "few")])
async def test_the_environment_that_most_wait_for_gets_its_forkserver_first(
    tmp_path, runtime, one_core, order
):
    """While the only slot is taken, one location waits for an environment and five for another."""
    gate = tmp_path / "gate"
    gate.touch()
    python = scratch_environment(
        tmp_path / "environment",
        sys.executable,
        {
            "slow_library.py": f"import os, time\nwhile os.path.exists({str(gate)!r}): time.sleep(0.01)"
        },
    )
    waiting = {"few": ["few"], "many": [f"many{number}" for number in range(5)]}
    names = ["first", *(name for kind in order for name in waiting[kind])]
    keys = {
        name: {
            "executable_path": str(python),
            "env": {"KIND": name.rstrip("0123456789")},
            "preload": [],
        }
        for name in names
    }
    keys["first"]["preload"] = ["slow_library"]
    files = {f"{name}.py": job(name) for name in names}
    workspace = make_workspace(tmp_path / "w", files, {"first": keys["first"]})
    async with supervising(workspace, runtime) as running:

        def server(kind: str) -> Forkserver | None:
            wanted = ("KIND", kind)
            found = [one for key, one in launcher(running).servers.items() if wanted in key[2]]
            return found[0] if found else None

        def all_wait() -> bool:
            few, many = server("few"), server("many")
            return few is not None and many is not None and (few.waiting, many.waiting) == (1, 5)

        await poll(lambda: (one := server("first")) and one.pid, "the slot is taken")
        make_workspace(tmp_path / "w", {}, {name: keys[name] for name in names})
        running.daemon.reread()
        await poll(all_wait, "they wait")
        assert server("few").pid is None and server("many").pid is None
        gate.unlink()
        await running.ready()
        assert {await method(running, name) for name in names} == {("forkserver", "")}
        assert born(server("first").pid) <= born(server("many").pid) < born(server("few").pid)


@pytest.mark.slow
def test_a_low_soft_limit_of_open_files(tmp_path, runtime):
    """It raises its own; a location's process has what the operator gave."""
    names = [f"l{number}" for number in range(30)]
    text = (
        "import json, os, resource\n"
        "with open('limit-' + os.path.basename(__file__), 'w') as file:\n"
        "    json.dump(resource.getrlimit(resource.RLIMIT_NOFILE), file)\n"
    )
    workspace = make_workspace(
        tmp_path,
        {f"{name}.py": text + job("nightly") for name in names},
        {name: {"start_method": "spawn"} if name in names[:4] else {} for name in names},
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
        try:
            made = supervisor_process(workspace, runtime, uuid.uuid4().hex)
            running = stack.enter_context(made)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        running.until(lambda told: all(one[0] == "ready" for one in told.values()))
        seen = [json.loads(one.read_text()) for one in tmp_path.glob("limit-*")]
        assert seen == [[128, hard]] * len(names)
        assert resource.prlimit(running.pid, resource.RLIMIT_NOFILE)[0] > 128
