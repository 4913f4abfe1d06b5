"""Limits of runs, in the machine's own cgroups and by rlimits: who they hold, and what is told."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from launched import FOREVER, UNTIL_GO, journals, kill, launching, one_op
from monitored import started, written
from supervised import alive, poll

from supervisor.errors import UnfitOrderError
from supervisor.processes.limits import CGROUP, RLIMIT, UNENFORCED, Cgroups

HOG = """
    print("running", flush=True)
    kept = []
    while True:
        kept.append(bytearray(4 * 1024 * 1024))
    """
# Threads that the import leaves have every run be fresh.
UNFIT = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
WAYS = {"forked": "", "fresh": UNFIT}


@pytest.fixture(autouse=True)
def _memory(request):
    """Skips where there is no memory cgroup for us, but for what is about rlimits."""
    if "no_cgroups" not in request.fixturenames and "memory" not in Cgroups().available():
        pytest.skip("no memory cgroup is ours here")


def groups_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def left(folder: Path) -> list[Path]:
    """The cgroups of runs of the workspace in ``folder``."""
    found = Path("/sys/fs/cgroup").rglob("workspace-supervisor-run-*")
    return [one for one in found if one.name.partition("-run-")[2] in journals(folder)]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_a_run_that_reaches_its_memory_limit_is_told_so_and_ends_alone(
    tmp_path, runtime, way
):
    module = (
        one_op(FOREVER, WAYS[way])
        + "\n@op\ndef grow():\n    if True:"
        + HOG.replace("\n", "\n    ")
        + "\n\n@job\ndef hog():\n    grow()\n"
    )
    async with launching(tmp_path, runtime, module, limits={"memory": "96MiB"}) as team:
        shim = team.running.pid("team")
        other = await team.launch()
        await team.until(other)
        run = await team.launch("hog")
        row = await team.ended(run)
        assert row["state"] == "failure"
        assert row["reason"] == "its process was killed at its 96 MiB memory limit in step 'grow'"
        assert (row["limit"], row["signal"]) == ("96 MiB memory limit", signal.SIGKILL)
        assert row["limits"] == {"memory": 96 * 2**20}
        assert row["limits_by"] == {"memory": CGROUP}
        if way == "fresh":  # a shim that is busy has the other be fresh, too
            assert row["fresh_because"]
        assert (await team.row(other))["state"] == "running"
        assert team.running.pid("team") == shim
        await team.ask("cancel_run", run=other)
        assert (await team.ended(other))["state"] == "cancelled"
    assert left(tmp_path) == []


async def test_a_run_and_its_monitor_are_outside_of_the_shims_group(tmp_path, runtime):
    head = """
        import threading
        def grow(number, frame):
            kept = []
            while True:
                kept.append(bytearray(4 * 1024 * 1024))
        signal.signal(signal.SIGUSR1, grow)
        """
    async with launching(
        tmp_path, runtime, one_op(UNTIL_GO, head), limits={"memory": "96MiB"}, restart="never"
    ) as team:
        run = await team.launch(limits={"memory": 2**28})
        await team.until(run)
        monitor, process = started(journals(tmp_path)[run])
        shim = team.running.pid("team")
        assert f"workspace-supervisor-run-{run}" in groups_of(process)
        assert groups_of(monitor) == groups_of(os.getpid())
        assert len({groups_of(one) for one in (monitor, process, shim)}) == 3
        os.kill(shim, signal.SIGUSR1)
        await team.running.until(lambda: team.running["team"].state == "stopped", "killed")
        failure = await team.running.failure("team")
        assert "96 MiB memory limit" in failure["message"]
        assert alive(monitor)
        assert alive(process)
        (tmp_path / "go").touch()
        row = await team.ended(run)
        assert (row["state"], row["limits"]) == ("success", {"memory": 2**28})
    assert left(tmp_path) == []


async def test_a_child_that_is_killed_at_the_limit_is_told_of(tmp_path, runtime):
    body = """
        code = "x = []\\nwhile True: x.append(bytearray(2**22))"
        done = subprocess.run([sys.executable, "-S", "-c", code])
        print(done.returncode, flush=True)
        """
    async with launching(tmp_path, runtime, one_op(body)) as team:
        run = await team.launch(limits={"memory": 96 * 2**20})
        await team.ended(run)
        told = [
            one["message"]
            async for news in team.news(run, events=0)
            for one in news["events"]
            if one["type"] == "ENGINE_EVENT"
        ]
        assert told == ["a process of it was killed at its 96 MiB memory limit"]


async def test_a_bomb_of_processes_stays_within_the_limit_of_the_run(tmp_path, runtime):
    if "processes" not in Cgroups().available():
        pytest.skip("no pids controller here")
    body = """
        while True:
            if os.fork() == 0:
                time.sleep(1000)
        """
    async with launching(tmp_path, runtime, one_op(body)) as team:
        run = await team.launch(limits={"processes": 30})
        row = await team.ended(run)
        assert row["failure"]["exception"]["type"] == "BlockingIOError"
        told = [
            one["message"]
            async for news in team.news(run, events=0)
            for one in news["events"]
            if one["type"] == "ENGINE_EVENT"
        ]
        assert told[0].startswith("its limit of 30 processes and threads refused it ")
    assert left(tmp_path) == []


async def test_what_a_killed_monitor_leaves_is_removed(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op(FOREVER)) as team:
        run = await team.launch(limits={"memory": 2**28})
        row = await team.until(run)
        assert left(tmp_path)
        await kill(row["monitor"])
        assert (await team.ended(run))["state"] == "lost"
        await poll(lambda: left(tmp_path) == [], "the cgroup's end")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_without_cgroups_rlimits_hold_a_run(tmp_path, runtime, no_cgroups, way):
    body = """
        import resource
        for name in ("AS", "NOFILE", "NPROC"):
            print(name, *resource.getrlimit(getattr(resource, "RLIMIT_" + name)))
        print("nice", os.getpriority(os.PRIO_PROCESS, 0))
        """
    limits = {"memory": "4GiB", "open_files": 200, "processes": 5000, "nice": 5}
    async with launching(tmp_path, runtime, one_op(body, WAYS[way]), limits=limits) as team:
        wanted = {"memory": 2**31, "cpu": 0.5, "open_files": 100}
        run = await team.launch(limits=wanted)
        row = await team.ended(run)
        assert row["state"] == "success", row
        out = written(journals(tmp_path)[run])
        assert out == f"AS {2**31} {2**31}\nNOFILE 100 100\nNPROC 5000 5000\nnice 5\n"
        assert row["limits"] == {**wanted, "processes": 5000}
        assert row["limits_by"] == {
            "memory": RLIMIT,
            "cpu": UNENFORCED,
            "open_files": RLIMIT,
            "processes": UNENFORCED if os.geteuid() == 0 else RLIMIT,
        }
        with pytest.raises(UnfitOrderError) as refused:
            await team.launch(limits={"memory": 2**33})
        assert str(refused.value).startswith("memory=8 GiB is more than the 4 GiB of team, and a")
        with pytest.raises(UnfitOrderError, match="open_files=300 is more than the 200 of team"):
            await team.launch(limits={"open_files": 300})


async def test_a_limit_that_is_none_is_refused(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op("pass")) as team:
        for name, why in {
            "disk": "no limit of a run is named 'disk'",
            "memory": "the limit memory must be a whole number from",
        }.items():
            with pytest.raises(UnfitOrderError, match=why):
                await team.launch(limits={name: 1})
