"""A forked load that failed is tried in a fresh process, beside the failure that is told at once."""

from __future__ import annotations

import asyncio
import sys

import pytest
from commands import supervise
from forkservers import FORKED, method, scratch_environment, workspace_of
from supervised import job, make_workspace, poll, save, supervising

from supervisor.locations.failures import Failure, scene_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forkservers need Linux"),
]

# Notes each load: f for a forked one, x for a fresh one.
NOTED = """\
import os, time
with open("/proc/%d/cmdline" % os.getppid()) as file:
    forked = "boot.py" in file.read()
with open("loads", "a") as file:
    file.write("f" if forked else "x")
def wait():
    open("waits", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        ("raise RuntimeError('context has already been set')", "RuntimeError raised in a.py:11"),
        ("import acme.team", "ModuleNotFoundError raised in a.py:11"),
        ("raise SystemExit(3)", "SystemExit raised in a.py:11"),
        ("time.sleep(600)", "it hung in a.py:11"),
    ],
)
async def test_what_loads_fresh_serves_and_is_not_forked_again(tmp_path, runtime, fails, told):
    text = f"{NOTED}if forked:\n    {fails}\n" + job("one")
    keys = {"a": {"load_timeout": "3s" if "sleep" in fails else "60s"}, "b": {}}
    workspace = make_workspace(tmp_path, {"a.py": text, "b.py": job("two")}, keys)
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert (tmp_path / "loads").read_text() == "fx"
        how, why = await method(running, "a")
        assert (how, why) == ("spawn", f"a forked load failed: {told}; a fresh process loads it")
        assert running["a"].generation == 2
        assert running["a"].failure is None
        assert running["a"].restarts == 0
        await running.until(lambda: running["a"].verification.state == "fork_condemned", "given up")
        # The location alone.
        assert await method(running, "b") == FORKED
        running["a"].reload()
        await running.until(lambda: running["a"].generation == 3, "reloaded")
        await running.ready()
        assert await method(running, "a") == (how, why)
        assert (tmp_path / "loads").read_text() == "fxx"


async def test_the_failure_is_told_at_once_and_stays_until_it_is_known_better(tmp_path, runtime):
    text = f"{NOTED}if forked:\n    raise KeyError('no')\nwait()\n"
    workspace = make_workspace(tmp_path, {"a.py": text + job("one")})
    async with supervising(workspace, runtime) as running:
        await poll((tmp_path / "waits").exists, "the fresh one loads")
        one = running["a"]
        assert (one.state, one.generation) == ("failed", 1)
        assert (await running.failure("a"))["message"] == "KeyError: 'no' (at a.py line 11)"
        assert one.under_way
        waited = asyncio.create_task(running.settled())
        (tmp_path / "go").touch()
        assert await waited == {"a": "ready"}
        assert (one.state, one.generation, one.failure) == ("ready", 2, None)


async def test_the_same_error_at_the_same_place_is_not_tried_again(tmp_path, runtime):
    text = f"{NOTED}1 / 0\n"
    workspace = make_workspace(tmp_path, {"a.py": text})
    loads = tmp_path / "loads"
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "failed"}
        assert loads.read_text() == "fx"
        assert running["a"].generation == 1
        await running.watched("a")
        # The fresh process was generation 2.
        for number, more in enumerate(("# one", "# two\n# three"), 3):
            # Other lines, the same place.
            save(tmp_path / "a.py", f"{more}\n{text}")
            await running.until(lambda n=number: running["a"].generation == n, "loaded again")
            assert await running.settled() == {"a": "failed"}
            assert loads.read_text() == "fx" + "f" * (number - 2)
        # Another error is another question.
        save(tmp_path / "a.py", f"{NOTED}open('/nowhere')\n")
        await running.until(lambda: running["a"].generation == 5, "loaded again")
        assert await running.settled() == {"a": "failed"}
        assert loads.read_text() == "fxfffx"


async def test_what_the_source_alone_says_is_not_tried_fresh(tmp_path, runtime):
    workspace = make_workspace(
        tmp_path, {"a.py": f"{NOTED}import broken\n", "broken.py": "def ("}, {"a": {}}
    )
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "failed"}
        assert (await running.failure("a"))["kind"] == "syntax_error"
        assert (tmp_path / "loads").read_text() == "f"


async def test_the_fresh_failure_is_the_one_to_mend(tmp_path, runtime):
    text = f"{NOTED}if forked:\n    raise KeyError('fork')\nraise ValueError('mend me')\n"
    workspace = make_workspace(tmp_path, {"a.py": text})
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "failed"}
        assert "mend me" in (await running.failure("a"))["message"]
        await running.watched("a")
        # Mended, what the forked one says has not been seen of a fresh one.
        save(tmp_path / "a.py", text.replace("raise ValueError('mend me')\n", job("one")))
        await running.until(lambda: running.definitions("a") == ["job:one"], "mended")
        assert (await method(running, "a"))[0] == "spawn"


async def test_a_fresh_process_that_dies_beside_the_failure_is_no_death(tmp_path, runtime):
    text = f"{NOTED}if forked:\n    raise KeyError('told')\nos._exit(7)\n"
    workspace = make_workspace(tmp_path, {"a.py": text})
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "failed"}
        assert "told" in (await running.failure("a"))["message"]
        assert (tmp_path / "loads").read_text() == "fx"
        assert running["a"].restarts == 0


def test_check_waits_for_what_the_fresh_process_says(tmp_path, runtime):
    text = f"{NOTED}if forked:\n    raise KeyError('no')\ntime.sleep(1)\n"
    make_workspace(tmp_path, {"a.py": text + job("one")})
    done = supervise("check", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "loads").read_text() == "fx"


@pytest.mark.parametrize("order", ["edit", "stop", "restart"])
async def test_an_order_meanwhile_ends_it(tmp_path, runtime, order):
    text = f"{NOTED}if forked:\n    raise KeyError('no')\nwait()\n"
    workspace = make_workspace(tmp_path, {"a.py": text + job("one")})
    async with supervising(workspace, runtime) as running:
        await poll((tmp_path / "waits").exists, "the fresh one loads")
        await running.watched("a")
        pid = running.pid("a")
        if order == "stop":
            running["a"].stop()
            await running.until(lambda: running["a"].state == "stopped", "stopped")
        elif order == "edit":
            save(tmp_path / "a.py", job("two"))
            await running.until(lambda: running.definitions("a") == ["job:two"], "mended")
            assert await method(running, "a") == FORKED
        else:
            (tmp_path / "waits").unlink()
            running["a"].restart()
            await poll((tmp_path / "waits").exists, "the next one loads")
            assert running.pid("a") != pid
            (tmp_path / "go").touch()
            await running.ready()


async def test_once_for_a_check(tmp_path, runtime):
    text = f"{NOTED}if forked:\n    raise KeyError('no')\n"
    workspace = make_workspace(
        tmp_path, {"a.py": text + job("one"), "b.py": "1 / 0\n" + job("two")}
    )
    async with supervising(workspace, runtime, once=True) as running:
        assert await running.settled() == {"a": "ready", "b": "failed"}
        assert running["a"].verification.as_data()["state"] == "off"


async def test_the_context_that_a_library_has_set(tmp_path, runtime):
    library = "import multiprocessing\nlock = multiprocessing.Lock()\n"
    scratch = scratch_environment(
        tmp_path / "environment", sys.executable, {"locking_library.py": library}
    )
    text = "import multiprocessing\nmultiprocessing.set_start_method('spawn')\n" + job("one")
    keys = {name: {"preload": ["locking_library"]} for name in ("a", "other")}
    files = {"a.py": text, "other.py": "import locking_library\n" + job("two")}
    workspace = workspace_of(tmp_path / "w", scratch, files, keys)
    async with supervising(workspace, runtime) as running:
        await running.ready()  # the team is not blamed


def test_a_place_is_known_by_its_text_and_not_by_its_line():
    def failure(line: int, said: str = "no", code: str = "x = y[0]") -> Failure:
        frame = {"file": "/w/a.py", "line": line, "function": "f", "code": code, "user": True}
        return Failure(
            "exception", said, None, {"exception": {"type": "KeyError"}, "frames": [frame]}
        )

    assert scene_of(failure(3)) == scene_of(failure(30))
    assert scene_of(failure(3, "at 0x7f00aa pid 17")) == scene_of(failure(3, "at 0x7f11bb pid 9"))
    assert scene_of(failure(3)) != scene_of(failure(3, "another"))
    assert scene_of(failure(3)) != scene_of(failure(3, code="x = y[1]"))
    one, other = scene_of(failure(3)), scene_of(failure(3, "another"))
    assert one is not None
    assert other is not None
    assert one.alike(other)
    assert scene_of(Failure("syntax_error", "no")) is None
