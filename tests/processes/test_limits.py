"""Resource limits: what enforces them, what is said when one is met, and that nothing is left."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from supervised import child_process, job, make_workspace, supervising

from supervisor.processes.limits import CGROUP, RLIMIT, UNENFORCED, Cgroups, confine
from supervisor.specs import Limits

METHODS = ["spawn", "auto"]
HOG = """\
    import signal

    def grow(number, frame):
        kept = []
        while True:
            kept.append(bytearray(4 * 1024 * 1024))

    signal.signal(signal.SIGUSR1, grow)
    """


@pytest.fixture(scope="module")
def cgroups():
    """The limits that this machine enforces by cgroups; skips where there are none."""
    found = set(Cgroups().available())
    if not found:
        pytest.skip("no cgroup is ours here")
    return found


def cpu_group(pid: int) -> Path:
    """The cgroup in which the processor time of a process is shared out."""
    (found,) = (
        file.parent
        for file in Path("/sys/fs/cgroup").rglob("cgroup.procs")
        if (file.parent / "cpu.max").exists() or (file.parent / "cpu.cfs_quota_us").exists()
        if str(pid) in file.read_text().split()
    )
    return found


def groups_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


# In cgroups.


@pytest.mark.parametrize("method", METHODS)
async def test_one_that_is_killed_at_its_memory_limit(tmp_path, runtime, cgroups, method):
    if "memory" not in cgroups:
        pytest.skip("no memory controller here")
    text = "\n".join(line[4:] for line in HOG.splitlines()) + "\n" + job("nightly")
    keys = {"limits": {"memory": "96MiB"}, "restart": "never", "start_method": method}
    workspace = make_workspace(tmp_path, {"a.py": text, "b.py": job("b")}, {"a": keys, "b": {}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        entry = await running.status("a")
        assert entry["process"]["limits"] == {"memory": CGROUP}
        assert entry["limits"] == {"memory": 96 * 2**20}
        assert "workspace-supervisor-" in groups_of(running.pid("a"))
        assert "workspace-supervisor-" not in groups_of(running.pid("b")).replace("-itself", "")
        os.kill(running.pid("a"), signal.SIGUSR1)
        await running.until(lambda: running["a"].state == "stopped", "killed")
        failure = await running.failure("a")
        text = "the process was killed at its 96 MiB memory limit while serving"
        assert failure["message"] == text
        assert failure["hint"] == "raise limits.memory if it needs more"
        assert "was killed at its 96 MiB memory limit" in await running.log("a")
        assert running["b"].generation == 1


async def test_a_bomb_of_processes_stays_within_its_limit(tmp_path, runtime, cgroups):
    if "processes" not in cgroups:
        pytest.skip("no pids controller here")
    text = "import os, time\nwhile True:\n    if os.fork() == 0:\n        time.sleep(1000)\n"
    workspace = make_workspace(
        tmp_path, {"a.py": text, "b.py": job("b")}, {"a": {"limits": {"processes": 40}}, "b": {}}
    )
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "failed", "b": "ready"}
        failure = await running.failure("a")
        assert failure["exception"]["type"] == "BlockingIOError"
        assert failure["hint"] == "its limit is 40 processes and threads: raise limits.processes"


@pytest.mark.parametrize("method", METHODS)
async def test_cpu_is_shared_out(tmp_path, runtime, cgroups, method):
    if "cpu" not in cgroups:
        pytest.skip("no cpu controller here")
    keys = {"limits": {"cpu": 0.25}, "start_method": method}
    workspace = make_workspace(tmp_path, {"a.py": job("a")}, {"a": keys})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert (await running.status("a"))["process"]["limits"] == {"cpu": CGROUP}
        group = cpu_group(running.pid("a"))
        quota = [group / name for name in ("cpu.max", "cpu.cfs_quota_us")]
        assert [one.read_text().split()[0] for one in quota if one.exists()] == ["25000"]
        assert str(running.pid("a")) in (group / "cgroup.procs").read_text().split()
        running["a"].stop()
        await running.until(lambda: running["a"].state == "stopped", "stopped")
        assert not group.exists()


# By rlimits.


@pytest.mark.parametrize("method", METHODS)
async def test_without_cgroups_rlimits_do(tmp_path, runtime, no_cgroups, method):
    limits = {"memory": "4GiB", "cpu": 0.5, "open_files": 100, "processes": 5000, "nice": 7}
    workspace = make_workspace(
        tmp_path, {"a.py": job("a")}, {"a": {"limits": limits, "start_method": method}}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        entry = await running.status("a")
        assert entry["process"]["limits"] == {
            "memory": RLIMIT,
            "cpu": UNENFORCED,
            "open_files": RLIMIT,
            "processes": UNENFORCED if os.geteuid() == 0 else RLIMIT,
            "nice": RLIMIT,
        }
        pid = running.pid("a")
        assert resource.prlimit(pid, resource.RLIMIT_AS) == (2**32, 2**32)
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (100, 100)
        assert resource.prlimit(pid, resource.RLIMIT_NPROC) == (5000, 5000)
        assert os.getpriority(os.PRIO_PROCESS, pid) == 7
        assert "limits.cpu is not enforced here" in await running.log("a")


@pytest.mark.parametrize("method", METHODS)
async def test_what_meets_a_limit_is_told_which(tmp_path, runtime, no_cgroups, method):
    files = {
        "memory.py": "kept = bytearray(8 * 2**30)\n",
        "native.py": "import mmap\nmmap.mmap(-1, 8 * 2**30)\n",
        "files.py": "kept = [open('/dev/null') for _ in range(200)]\n",
        "unrelated.py": "raise ValueError('no')\n",
    }
    limits = {"memory": "1GiB", "open_files": 100}
    workspace = make_workspace(tmp_path, files, defaults={"limits": limits, "start_method": method})
    async with supervising(workspace, runtime) as running:
        await running.settled()
        assert set(running.states().values()) and {
            one.state.value for one in running.daemon.fleet.locations.values()
        } == {"failed"}
        hints = {
            name: (await running.failure(name)).get("hint")
            for name in running.daemon.fleet.locations
        }
        too_little = "its limit of memory is 1 GiB: raise limits.memory if it needs more"
        assert hints["memory"] == hints["native"] == too_little
        assert hints["files"] == "it may have 100 open files: raise limits.open_files"
        assert hints["unrelated"] is None


def test_a_process_that_ended_before_its_limits_came():
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    limits = Limits(2**30, 0.5, 100, 100, 1)
    confinement = confine(child.pid, limits, Cgroups(), None)
    assert confinement.fatal() == ""
    confinement.release()


# cgroup v2, on a tree of plain files: the kernel's own is not everywhere.


def unified(tmp_path: Path, *, processes: str = "", controllers: str = "cpu memory pids") -> Path:
    """A delegated cgroup as its files look, and what proc(5) says of it; the directory of both."""
    group = tmp_path / "mount" / "unit.service"
    group.mkdir(parents=True)
    (group / "cgroup.controllers").write_text(controllers + "\n")
    (group / "cgroup.subtree_control").write_text("\n")
    (group / "cgroup.procs").write_text(processes or f"{os.getpid()}\n")
    (tmp_path / "cgroup").write_text("0::/system.slice/unit.service\n")
    (tmp_path / "mountinfo").write_text(
        "22 1 0:5 / /proc rw - proc proc rw\n"
        f"30 23 0:26 /system.slice {tmp_path}/mount rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
    )
    return group


def test_a_delegated_cgroup_of_version_2(tmp_path):
    group = unified(tmp_path)
    cgroups = Cgroups(tmp_path)
    confinement = confine(
        os.getpid(), Limits(memory=512 * 2**20, cpu=1.5, processes=64), cgroups, None
    )
    assert cgroups.why_not == {}
    assert confinement.how == dict.fromkeys(("memory", "cpu", "processes"), CGROUP)
    (leaf,) = group.glob("*-itself")
    assert (leaf / "cgroup.procs").read_text() == str(os.getpid())
    (made,) = (one for one in group.glob("workspace-supervisor-*") if one != leaf)
    written = {one.name: one.read_text() for one in made.iterdir()}
    assert written == {
        "memory.max": str(512 * 2**20),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "cpu.max": "150000 100000",
        "pids.max": "64",
        "cgroup.procs": str(os.getpid()),
    }
    assert confinement.fatal() == ""
    (made / "memory.events").write_text(
        "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 1\n"
    )
    assert confinement.fatal() == "512 MiB memory limit"


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"processes": f"{os.getpid()}\n1\n"}, "holds processes of others, such as pid 1"),
        ({"controllers": "cpu"}, "has no memory controller"),
    ],
)
def test_a_cgroup_that_is_not_ours_is_left_alone(tmp_path, how, why):
    group = unified(tmp_path, **how)
    before = sorted(tmp_path.rglob("*"))
    cgroups = Cgroups(tmp_path)
    with child_process([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        confinement = confine(child.pid, Limits(memory=2**32), cgroups, None)
    assert confinement.how == {"memory": RLIMIT}
    assert why in cgroups.why_not["memory"]
    assert sorted(tmp_path.rglob("*")) == before or "cpu" in how.get("controllers", "")
    assert (group / "cgroup.procs").read_text().split()[0] == str(os.getpid())


@pytest.mark.parametrize("way", ["a leaf of ours", "a subgroup of systemd's"])
def test_a_supervisor_that_was_put_below_what_is_delegated(tmp_path, way):
    """By an earlier supervisor of the container, or by systemd (DelegateSubgroup=)."""
    group = unified(tmp_path)
    name = "workspace-supervisor-itself" if way == "a leaf of ours" else "supervisor"
    (tmp_path / "cgroup").write_text(f"0::/system.slice/unit.service/{name}\n")
    inner = group / name
    inner.mkdir()
    (group / "cgroup.procs").write_text("")
    (inner / "cgroup.procs").write_text(f"{os.getpid()}\n1\n")
    if name == "supervisor":
        try:
            os.setxattr(group, "user.delegate", b"1")
        except OSError:
            pytest.skip("no extended attributes here")
    cgroups = Cgroups(tmp_path)
    made = cgroups.make("run-1", Limits(memory=2**29))
    assert made == {"memory": group / "workspace-supervisor-run-1"}
    assert cgroups.own() == [inner]
    assert (made["memory"] / "memory.max").read_text() == str(2**29)
    for file in made["memory"].iterdir():  # as the kernel's have none
        file.unlink()
    cgroups.remove("run-1")
    assert not made["memory"].exists()


def test_what_monitors_enter_is_the_leaf_of_the_supervisor(tmp_path):
    group = unified(tmp_path)
    assert Cgroups(tmp_path).own() == [group / "workspace-supervisor-itself"]


def test_the_cgroups_of_a_supervisor_that_lives_are_left_to_it(tmp_path):
    group = unified(tmp_path)
    with child_process([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        theirs = group / f"workspace-supervisor-{child.pid}-1"
        killed = group / f"workspace-supervisor-{2**30}-1"  # no process has that id
        theirs.mkdir()
        killed.mkdir()
        Cgroups(tmp_path).available()
        assert theirs.exists()
        assert not killed.exists()
