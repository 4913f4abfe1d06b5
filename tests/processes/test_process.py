"""Processes as the supervisor holds them: output, ends, sessions, orphans."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest
from supervised import alive, poll
from warmth import found_environment, launch_spec

from supervisor.processes import spawn
from supervisor.processes.launcher import Exit, LaunchError
from supervisor.processes.process import adopt_orphans, reap_orphans, session_members
from supervisor.processes.reaper import Reaper
from supervisor.processes.spawn import SpawnLauncher
from supervisor.specs import Limits


class Output:
    """What a process has printed, by stream."""

    def __init__(self) -> None:
        self.text = {"out": b"", "err": b""}

    def __call__(self, stream: str, data: bytes) -> None:
        self.text[stream] += data


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts a program in the place of the shim."""
    reaper = Reaper()

    async def started(code: str, executable: str = sys.executable, **limits):
        boot = tmp_path / "boot.py"
        if not boot.exists() or boot.read_text() != code:  # one that starts may be reading it
            boot.write_text(code)
        monkeypatch.setattr(spawn, "BOOT", boot)
        output = Output()
        spec = launch_spec(
            found_environment(Path(executable), {"PATH": "/usr/bin:/bin", "MINE": "1"}),
            limits=Limits(**limits),
            output=output,
        )
        return await SpawnLauncher(reaper).start(spec), output

    yield started
    reaper.close()


async def ended(process) -> Exit:
    return await asyncio.wait_for(process.wait(), 30)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("pass", "exited with status 0"),
        ("raise SystemExit(7)", "exited with status 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV"),
        ("import os; os.kill(os.getpid(), 40)", "was killed by signal 40"),
    ],
)
async def test_how_it_ended(start, code, text):
    process, _ = await start(code)
    found = await ended(process)
    assert str(found) == text
    assert found.clean is (text == "exited with status 0")
    process.kill()
    process.kill_leader()
    process.terminate()
    process.dump()


async def test_what_it_is_given(start):
    code = (
        "import json, os, sys\n"
        "start = json.loads(sys.stdin.readline())\n"
        "print(start['instance'], start['address'], start['overlay'], sys.argv[1])\n"
        "print(sorted(set(os.environ) - {'LC_CTYPE'}), os.getcwd(), os.getsid(0) == os.getpid())\n"
    )
    process, output = await start(code)
    await ended(process)
    assert output.text["err"] == b""
    assert output.text["out"].decode().splitlines() == [
        "1-abc ipc:///nowhere None risk",
        "['MINE', 'PATH', 'SUPERVISE_PROCESS'] / True",
    ]


async def test_everything_it_printed_is_there_when_it_has_ended(start):
    code = "import os\nfor n in range(20000): os.write(1, b'line %d\\n' % n)\nos.write(2, b'last')"
    process, output = await start(code)
    await ended(process)
    lines = output.text["out"].splitlines()
    assert (len(lines), lines[-1]) == (20000, b"line 19999")
    assert output.text["err"] == b"last"


async def test_one_that_cannot_be_started_says_why(start, tmp_path):
    with pytest.raises(LaunchError, match="cannot be started: no such file or directory"):
        await start("", executable=str(tmp_path / "gone"))
    with pytest.raises(LaunchError, match="cannot be started: permission denied"):
        await start("", executable=str(tmp_path))


def descriptors() -> set[tuple[str, str]]:
    """The descriptors of kinds that are opened for a process: number and object."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{number}")
            if target.startswith(("pipe:", "socket:", "anon_inode:[pidfd]")):
                found.add((number, target))
    return found


async def test_no_descriptor_is_left_behind(start):
    await ended((await start("pass"))[0])
    before = descriptors()
    for _ in range(3):
        await ended((await start("pass"))[0])
    with pytest.raises(LaunchError):
        await start("", executable="/nowhere")
    assert descriptors() - before == set()  # what others close meanwhile is theirs


CHILDREN = """\
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for change in (lambda: None, lambda: os.setpgid(0, 0)):
    if os.fork() == 0:
        change()
        os.write(1, b"%d\\n" % os.getpid())
        time.sleep(1000)
time.sleep(1000)
"""


@pytest.mark.parametrize("who", ["session", "leader"])
async def test_a_kill_reaches_the_whole_session(start, who):
    process, output = await start(CHILDREN)
    await poll(lambda: output.text["out"].count(b"\n") == 2, "the children run")
    children = [int(line) for line in output.text["out"].split()]
    assert set(session_members(process.pid)) == {process.pid, *children}
    process.terminate()
    if who == "session":
        process.kill()
    else:
        os.kill(process.pid, signal.SIGKILL)
    assert (await ended(process)).signal == signal.SIGKILL
    await poll(lambda: not any(alive(pid) for pid in children), "the children are gone")


async def test_many_that_end_together_leave_nothing(start):
    started = [await start(CHILDREN) for _ in range(12)]
    await poll(
        lambda: all(output.text["out"].count(b"\n") == 2 for _, output in started),
        "the children run",
    )
    children = [int(line) for _, output in started for line in output.text["out"].split()]
    for process, _ in started[:-1]:
        os.kill(process.pid, signal.SIGKILL)
    for process, _ in started[:-1]:
        await ended(process)
    await poll(lambda: not any(alive(pid) for pid in children[:-2]), "the children are gone")
    assert all(alive(pid) for pid in children[-2:]), "whose leader lives, live"
    started[-1][0].kill()
    await ended(started[-1][0])


async def test_one_that_keeps_the_pipes_open_is_not_waited_for(start):
    code = (
        "import os, time\nread, write = os.pipe()\nif os.fork() == 0:\n    os.setsid()\n"
        "    print(os.getpid(), flush=True)\n    os.write(write, b'x')\n    time.sleep(1000)\n"
        "os.read(read, 1)\n"
    )
    process, output = await start(code)
    assert (await ended(process)).clean
    escaped = int(output.text["out"])
    assert alive(escaped), "who leaves the session is not ours any more"
    os.kill(escaped, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="subreapers are Linux's")
async def test_orphans_are_adopted_and_collected(start):
    adopt_orphans()
    code = (
        "import os, time\nif os.fork() == 0:\n    if os.fork() == 0:\n"
        "        os.setsid()\n        print(os.getpid(), flush=True)\n        time.sleep(0.3)\n"
        "    os._exit(0)\nos.wait()\n"
        "time.sleep(1000)\n"
    )
    process, output = await start(code)
    await poll(lambda: output.text["out"], "it told")
    orphan = int(output.text["out"])
    reaping = asyncio.create_task(reap_orphans(every=0.05))
    await poll(lambda: not Path(f"/proc/{orphan}").exists(), "it was collected")
    reaping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reaping
    process.kill()
    await ended(process)


async def test_limits_are_applied_from_outside(start):
    code = (
        "import resource as r, sys\nsys.stdin.readline()\n"
        "print(r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_AS)[0])\n"
    )
    process, output = await start(code, open_files=77, memory=2**31)
    await ended(process)
    assert output.text["out"].decode().strip() == f"(77, 77) {2**31}"
