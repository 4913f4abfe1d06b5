"""What was loaded forked is loaded once more, fresh, in spare time: what follows from either answer."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from supervised import (
    Supervised,
    alive,
    job,
    make_workspace,
    poll,
    poll_now,
    save,
    supervising,
    supervisor_process,
)
from warmth import FORKED, method, scratch_environment, workspace_of

from supervisor.locations.verified import GivenUp, Verified
from supervisor.locations.verifier import Verifier
from supervisor.processes.spare_time import Pace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forkservers need Linux"),
]

# Sets ``forked``. A lie that no check of a forkserver can know of.
WHERE = """\
import os
with open("/proc/%d/cmdline" % os.getppid()) as file:
    forked = "boot.py" in file.read()
"""
LIES = (
    WHERE
    + """\
from runner_shim import job
def work():
    pass
work.__name__ = "forked" if forked else "fresh"
work = job(work)
"""
)
COUNTED = "open('%s.loads', 'a').write('x')\n" + job("one")
# Fresh, it says so and waits to be let go on.
WAITS = (
    WHERE
    + """\
import time
if not forked:
    open("waits.new", "w").write(str(os.getpid()))
    os.rename("waits.new", "waits")
    while not os.path.exists("go"):
        time.sleep(0.01)
"""
)


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is: it is calm at once."""
    pace(monkeypatch)


def pace(monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    """Verifiers that are made from now on have this pace."""
    given = {"patience": 0.0, "every": 0.01, "calm": lambda: True, **more}
    monkeypatch.setattr(Verifier, "pace", Pace(**given))


async def state_of(running: Supervised, name: str) -> str:
    """The state of its verification once it is not pending any more."""
    one = running[name]
    await running.until(
        lambda: one.state == "ready" and one.verification.state != "pending", "verified or not"
    )
    return one.verification.state


def conditions(running: Supervised, name: str) -> dict[str, str]:
    return {one.key: one.message for one in running[name].conditions}


async def test_what_agrees_is_verified_once_and_for_the_next_supervisor_too(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": COUNTED % "a"})
    loads = tmp_path / "a.loads"
    async with supervising(workspace, runtime) as running:
        assert await state_of(running, "a") == "verified"
        assert loads.read_text() == "xx"
        first = (await running.status("a"))["verification"]
        assert first["at"] > 0
        running["a"].reload()
        await running.until(lambda: running["a"].generation == 2, "reloaded")
        assert await state_of(running, "a") == "verified"
        assert (await running.status("a"))["verification"] == first
        assert await method(running, "a") == FORKED
        assert loads.read_text() == "xxx"
    async with supervising(workspace, runtime) as running:
        assert await state_of(running, "a") == "verified"
        assert loads.read_text() == "xxxx"
        await running.watched("a")
        # Other text is another load.
        save(tmp_path / "a.py", COUNTED % "a" + job("two"))
        await running.until(lambda: "job:two" in running.definitions("a"), "reloaded")
        assert await state_of(running, "a") == "verified"
        assert loads.read_text() == "x" * 6


DIFFERENT = {
    "address": "from runner_shim import job\n@job(description=repr(object()))\ndef one(): pass\n",
    "clock": "import time\nfrom runner_shim import job\n"
    "@job(description=str(time.time_ns()))\ndef one(): pass\n",
    "set": "from runner_shim import job\n"
    "@job(description=' '.join({str(n) for n in range(99)}))\ndef one(): pass\n",
    "names": "import os\nfrom runner_shim import job\n"
    "def work(): pass\nwork.__name__ = 'work_%d' % os.getpid()\nwork = job(work)\n",
}


@pytest.mark.parametrize("kind", DIFFERENT)
async def test_what_differs_from_load_to_load_keeps_its_fork_and_says_so(tmp_path, runtime, kind):
    workspace = make_workspace(
        tmp_path,
        {"a.py": DIFFERENT[kind], "quiet.py": DIFFERENT[kind]},
        # For the set: what the team wants of its hashing stands.
        {
            "a": {"env": {"PYTHONHASHSEED": "random"}},
            "quiet": {"env": {"PYTHONHASHSEED": "random"}, "verify": False},
        },
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        snapshot, pid = running["a"].snapshot, running.pid("a")
        assert await state_of(running, "a") == "differs"
        said = conditions(running, "a")["differs"]
        assert said.startswith("its definitions differ from load to load: job:"), said
        assert ("(description)" in said) == (kind != "names")
        assert running["a"].snapshot is snapshot
        assert running.pid("a") == pid
        assert (running["a"].generation, running["a"].restarts) == (1, 0)
        assert await method(running, "a") == FORKED
        # With verification off nobody would know.
        assert await state_of(running, "quiet") == "off"
        assert conditions(running, "quiet") == {}
        # It is news until it is mended.
        await running.watched("a")
        save(tmp_path / "a.py", job("one"))
        await running.until(lambda: running["a"].generation == 2, "reloaded")
        assert await state_of(running, "a") == "verified"
        assert conditions(running, "a") == {}


async def test_a_fresh_load_that_fails_serves_nothing_and_convicts_nothing(tmp_path, runtime):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = f"import socket\ntaken = socket.socket()\ntaken.bind(('127.0.0.1', {port}))\n"
    workspace = make_workspace(tmp_path, {"a.py": text + job("one"), "b.py": job("two")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        pid = running.pid("a")
        assert await state_of(running, "a") == "failed"
        assert "Address already in use" in conditions(running, "a")["verify_failed"]
        assert running.pid("a") == pid
        assert running["a"].failure is None
        assert await method(running, "a") == FORKED
        assert await state_of(running, "b") == "verified"


@pytest.mark.parametrize("ending", ["os._exit(7)", "os.kill(os.getpid(), 11)", "os.abort()"])
async def test_a_fresh_load_that_dies_is_no_death_of_the_location(tmp_path, runtime, ending):
    text = f"{WHERE}if not forked:\n    {ending}\n" + job("one")
    workspace = make_workspace(tmp_path, {"a.py": text})
    async with supervising(workspace, runtime) as running:
        assert await state_of(running, "a") == "failed"
        assert (running["a"].state, running["a"].generation, running["a"].restarts) == (
            "ready",
            1,
            0,
        )
        assert "while loading" in conditions(running, "a")["verify_failed"]


async def test_a_fork_that_lies_is_given_up_and_stays_so(tmp_path, runtime):
    seed = {"env": {"PYTHONHASHSEED": "0"}}
    keys = {"a": seed, "twin": {**seed, "verify": False}, "honest": seed}
    files = {"a.py": LIES, "twin.py": LIES, "honest.py": job("one")}
    workspace = make_workspace(tmp_path, files, keys)
    async with supervising(workspace, runtime) as running:
        assert await state_of(running, "a") == "fork_condemned"
        assert running.definitions("a") == ["job:fresh"]
        assert running["a"].generation == 2
        how, why = await method(running, "a")
        assert how == "spawn"
        assert "job:forked (only when forked), job:fresh (not when forked)" in why
        assert await state_of(running, "twin") == "off"
        assert running.definitions("twin") == ["job:forked"]  # the lie
        assert await state_of(running, "honest") == "verified"
        assert await method(running, "honest") == FORKED
        assert conditions(running, "a") == {}
        # What was announced is on disk, in order.
        assert await running.daemon.store.generations("a") == [1, 2]
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert running.definitions("a") == ["job:fresh"]
        assert await method(running, "a") == (how, why)
        assert (await running.status("a"))["verification"]["state"] == "fork_condemned"
        assert running["a"].generation == 3  # never forked
        # Its entry is another one: it has its chance again.
        make_workspace(tmp_path, {}, {**keys, "a": {**seed, "start_method": "forkserver"}})
        running.daemon.reread()
        await running.until(lambda: running["a"].generation >= 4, "loaded anew")
        assert await state_of(running, "a") == "fork_condemned"
        assert running["a"].generation == 5  # forked, found out, and fresh


LIBRARIES = {
    "base_library.py": "class Base: pass\n",
    "their_plugin.py": "import base_library\nclass Theirs(base_library.Base): pass\n",
}
ASKS = """\
import base_library
from runner_shim import job
for one in base_library.Base.__subclasses__():
    def work(): pass
    work.__name__ = one.__name__
    globals()[one.__name__] = job(work)
@job
def always(): pass
"""


async def test_what_shows_of_a_neighbour_is_found_out(tmp_path, runtime):
    scratch = scratch_environment(tmp_path / "environment", sys.executable, LIBRARIES)
    common = {
        "env": {"PYTHONHASHSEED": "0"},
        # As it is learned once both were loaded.
        "preload": ["base_library", "their_plugin"],
    }
    files = {"asks.py": ASKS, "twin.py": ASKS, "other.py": "import their_plugin\n" + job("x")}
    keys = {"asks": common, "twin": {**common, "verify": False}, "other": common}
    workspace = workspace_of(tmp_path / "w", scratch, files, keys)
    async with supervising(workspace, runtime) as running:
        assert await state_of(running, "asks") == "fork_condemned"
        assert running.definitions("asks") == ["job:always"]
        assert await state_of(running, "other") == "verified"
        assert await state_of(running, "twin") == "off"
        assert running.definitions("twin") == ["job:Theirs", "job:always"]


# Meanwhile.


async def waiting(folder: Path) -> int:
    """The process that waits to be let go on."""
    await poll((folder / "waits").exists, "it is being verified")
    return int((folder / "waits").read_text())


@pytest.mark.parametrize("order", ["stop", "reload", "edit", "shutdown"])
async def test_it_is_dropped_with_what_it_is_about(tmp_path, runtime, order):
    # What it starts in a session of its own goes, too.
    text = WAITS.replace(
        "    while",
        "    import subprocess\n"
        "    child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "    open('child.new', 'w').write(str(child.pid))\n"
        "    os.rename('child.new', 'child')\n"
        "    while",
    )
    workspace = make_workspace(tmp_path, {"a.py": text + job("one")})
    async with supervising(workspace, runtime) as running:
        pid = await waiting(tmp_path)
        await poll((tmp_path / "child").exists, "its child")
        child = int((tmp_path / "child").read_text())
        status = await running.status("a")
        assert status["verification"] == {
            "state": "pending",
            "at": None,
            "reason": "it is being loaded once more",
        }
        assert status["process"]["pid"] == running.pid("a") != pid
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19
        if order == "stop":
            running["a"].stop()
            await running.until(lambda: running["a"].state == "stopped", "stopped")
            assert not alive(pid)
        elif order == "reload":
            (tmp_path / "waits").unlink()
            running["a"].reload()
            await running.until(lambda: running["a"].generation == 2, "reloaded")
            await poll(lambda: not alive(pid), "gone")
            assert await waiting(tmp_path) != pid
        elif order == "edit":
            await running.watched("a")
            save(tmp_path / "a.py", job("two"))
            await running.until(lambda: running.definitions("a") == ["job:two"], "reloaded")
            assert await state_of(running, "a") == "verified"
            await poll(lambda: not alive(pid), "gone")
    assert not alive(pid)
    await poll(lambda: not alive(child), "its child is gone")
    assert "verification: " in (tmp_path / ".supervise/workspace.yaml/logs/a.log").read_text()


def test_it_dies_with_a_supervisor_that_is_killed(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": WAITS + job("one")})
    os.environ["WS_TEST_VERIFY"] = "1"
    try:
        with supervisor_process(workspace, runtime, "verifying") as running:
            running.until(lambda states: states["a"][0] == "ready")
            poll_now((tmp_path / "waits").exists, "it is being verified")
            pid = int((tmp_path / "waits").read_text())
            assert pid in running.survivors()
            running.kill()
            poll_now(lambda: not running.survivors(), "nothing is left")
    finally:
        del os.environ["WS_TEST_VERIFY"]


async def test_nothing_is_verified_while_another_loads(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": WAITS + job("one"), "b.py": job("two")})
    async with supervising(workspace, runtime) as running:
        pid = await waiting(tmp_path)
        (tmp_path / "waits").unlink()
        running["b"].reload()
        await running.until(lambda: running["b"].generation == 2, "under way")
        await poll(lambda: not alive(pid), "put off")
        await running.ready()
        # Taken up again, and nothing is lost.
        assert await waiting(tmp_path) != pid
        (tmp_path / "go").touch()
        assert await state_of(running, "a") == "verified"
        assert await state_of(running, "b") == "verified"
        assert running["a"].generation == 1


async def test_code_that_writes_its_own_files_is_not_loaded_for_ever(tmp_path, runtime):
    # Only the load that nobody asked for, so that nothing else has it loaded again.
    text = (
        f"{WHERE}open('loads', 'a').write('x')\n"
        "if not forked:\n"
        "    open('stamp.new', 'w').write('value = %d' % os.getpid())\n"
        "    os.rename('stamp.new', 'stamp.py')\n"
        "import stamp\n"
    )
    files = {"a.py": text + job("one"), "stamp.py": "value = 0\n"}
    workspace = make_workspace(tmp_path, files, {"a": {}})
    async with supervising(workspace, runtime) as running:
        one = running["a"]
        await running.until(
            lambda: one.state == "ready" and one.verification.state == "failed", "enough", 60
        )
        assert "whenever it is loaded" in conditions(running, "a")["verify_failed"]
        loads = (tmp_path / "loads").read_text()
        generation = one.generation
        # Nothing goes on by itself: another location's whole life passes meanwhile.
        make_workspace(tmp_path, {"b.py": job("two")}, {"a": {}, "b": {}})
        running.daemon.reread()
        await running.until(lambda: "b" in running.daemon.fleet.locations, "added")
        assert await state_of(running, "b") == "verified"
        assert (one.generation, (tmp_path / "loads").read_text()) == (generation, loads)


async def test_code_that_ends_its_predecessor_does_not_die_for_ever(tmp_path, runtime):
    text = """\
        import os
        def alive(pid):
            try:
                return os.readlink("/proc/%d/cwd" % pid) == os.getcwd()
            except OSError:
                return False
        if os.path.exists("pid"):
            pid = int(open("pid").read())
            if alive(pid):
                os.kill(pid, 9)
        open("pid.new", "w").write(str(os.getpid()))
        os.rename("pid.new", "pid")
        """
    text = textwrap.dedent(text)
    workspace = make_workspace(tmp_path, {"a.py": text + job("one")})
    async with supervising(workspace, runtime) as running:
        one = running["a"]
        await running.until(
            lambda: one.state == "ready" and one.verification.state == "failed", "enough", 60
        )
        assert "its process ends" in conditions(running, "a")["verify_failed"]
        assert one.restarts <= 3


# Spare time.


async def test_no_more_than_the_budget_is_used(tmp_path, runtime, monkeypatch):
    now = 1000.0
    pace(monkeypatch, allowance=1.0, clock=lambda: now)  # halfway through the second
    burns = "import time\nwhile time.process_time() < %s: pass\n"
    workspace = make_workspace(
        tmp_path,
        {"a.py": burns % 1.0 + job("one"), "b.py": burns % 1.0 + job("two")},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        one, other = running["a"].verification, running["b"].verification
        await running.until(
            lambda: {one.state, other.state} == {"verified", "pending"}, "one of the two"
        )
        late = other if other.state == "pending" else one
        waits = "the processor time for verifying is used up for now"
        await poll(lambda: late.as_data()["reason"] == waits, "cut short")
        now += 3600
        await running.until(lambda: late.state == "verified", "in the next hour")


async def test_what_takes_more_than_the_whole_budget_is_not_tried_for_ever(
    tmp_path, runtime, monkeypatch
):
    pace(monkeypatch, allowance=0.5)
    text = WHERE + "if not forked:\n    while True: pass\n" + job("one")
    workspace = make_workspace(tmp_path, {"a.py": text})
    async with supervising(workspace, runtime) as running:
        assert await state_of(running, "a") == "failed"
        assert "more than 0.5 s of processor time" in conditions(running, "a")["verify_failed"]
        log = running["a"].log
        await poll(lambda: any("SIGKILL" in line.text for line in log.tail), "ended")


async def test_nothing_is_verified_on_a_busy_machine(tmp_path, runtime, monkeypatch):
    busy, looks = True, 0

    def calm() -> bool:
        nonlocal looks
        looks += 1
        return not busy

    pace(monkeypatch, calm=calm)
    workspace = make_workspace(tmp_path, {"a.py": COUNTED % "a"})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await poll(lambda: looks > 20, "looked at")
        assert (tmp_path / "a.loads").read_text() == "x"
        reason = (await running.status("a"))["verification"]["reason"]
        assert reason == "it waits until the machine has been idle for a while"
        busy = False
        assert await state_of(running, "a") == "verified"


# Configuration.


async def test_it_can_be_switched_off_and_on_without_a_reload(tmp_path, runtime):
    text = DIFFERENT["clock"]
    workspace = make_workspace(tmp_path, {"a.py": text}, {"a": {}})
    async with supervising(workspace, runtime) as running:
        assert await state_of(running, "a") == "differs"
        make_workspace(tmp_path, {}, {"a": {"verify": False}})
        running.daemon.reread()
        await running.until(lambda: running["a"].verification.state == "off", "off")
        assert conditions(running, "a") == {}
        make_workspace(tmp_path, {}, {"a": {"verify": True}})
        running.daemon.reread()
        await running.until(lambda: running["a"].verification.state == "differs", "on")
        assert running["a"].generation == 1


async def test_what_is_fresh_is_not_verified(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": COUNTED % "a"}, {"a": {"start_method": "spawn"}})
    async with supervising(workspace, runtime) as running:
        assert await state_of(running, "a") == "off"
        assert (await running.status("a"))["verification"]["reason"] == "its process is a fresh one"
        running["a"].stop()
        await running.until(lambda: running["a"].state == "stopped", "stopped")
        assert running["a"].verification.state == "off"
        assert (tmp_path / "a.loads").read_text() == "x"


async def test_a_damaged_memory_is_begun_anew(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": job("one")})
    path = tmp_path / ".supervise/workspace.yaml/verified.json"
    async with supervising(workspace, runtime) as running:
        assert await state_of(running, "a") == "verified"
    kept = json.loads(path.read_text())
    assert len(kept["agreed"]) == 1
    for text in ("", "[", "[]", '{"format": 1, "agreed": 7, "given_up": {"a": {"at": "x"}}}'):
        path.write_text(text)
        async with supervising(workspace, runtime) as running:
            assert await state_of(running, "a") == "verified"
    assert json.loads(path.read_text())["agreed"].keys() == kept["agreed"].keys()


def hashed(seed: str) -> str:
    """The hash of a text in a process with that seed."""
    return subprocess.run(
        [sys.executable, "-c", "print(hash('x'))"],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


async def test_a_fresh_process_hashes_as_the_forkserver_did(tmp_path, runtime, monkeypatch):
    """The seed is there for the interpreter's start, and not among the variables of user code."""
    started = False
    pace(monkeypatch, calm=lambda: started)
    text = "import os\nprint('seed', hash('x'), os.environ.get('PYTHONHASHSEED'), flush=True)\n"
    text += "import subprocess\nprint(subprocess.getoutput('env | grep -c HASHSEED'), flush=True)\n"
    workspace = make_workspace(tmp_path, {"a.py": text + job("one")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        running.process("a").hash_seed = "7"  # as its forkserver was given
        started = True
        assert await state_of(running, "a") == "verified"
        assert f"verification: seed {hashed('7')} None\nverification: 0\n" in await running.log("a")


def test_the_memory_is_bounded_and_survives_what_cannot_be_written(tmp_path):
    async def use() -> tuple[int, int]:
        known = Verified(tmp_path / "verified.json")
        await known.open()
        try:
            for number in range(6000):
                known.agree(str(number), 1.0)
            for number in range(1200):
                known.give_up(str(number), GivenUp("s", "because", 1.0))
            known.give_up("for now", GivenUp("s", "because", 1.0, kept=False))
            known.forgive("1199")
            assert known.agreed("5999") == 1.0
            assert known.agreed("0") is None
            assert known.given_up("for now")
        finally:
            known.close()
        later = Verified(tmp_path / "verified.json")
        await later.open()
        later.close()
        assert later.given_up("for now") is None
        assert later.given_up("1199") is None
        return len(later._agreed), len(later._given_up)

    agreed, given_up = asyncio.run(use())
    assert (agreed, given_up) == (5000, 998)
    # A disk that takes nothing: it is known in memory.
    gone = Verified(tmp_path / "nowhere" / "verified.json")

    async def use_gone() -> None:
        await gone.open()
        gone.agree("a", 1.0)
        gone.close()

    asyncio.run(use_gone())
    assert gone.agreed("a") == 1.0
