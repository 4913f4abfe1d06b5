"""Warm environments end to end: which process is forked, which is fresh and why; what survives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from supervised import (
    GOOD,
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
from warmth import (
    BAD_LIBRARIES,
    forkservers,
    launcher,
    method,
    methods,
    scratch_environment,
    site_packages,
)

from supervisor.forkserver import Patience
from supervisor.warm import WarmLauncher

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forkservers need Linux")

FORKED = ("forkserver", "")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scratch_environment(
        tmp_path_factory.mktemp("scratch") / "environment", sys.executable, BAD_LIBRARIES
    )


def workspace_of(
    folder: Path,
    scratch: Path,
    files: dict[str, str],
    keys: dict[str, dict[str, Any]] | None = None,
) -> Path:
    """Every ``.py`` file at the top is a location in the scratch environment."""
    names = [name[:-3] for name in files if "/" not in name]
    locations = {
        name: {"executable_path": str(scratch), **(keys or {}).get(name, {})} for name in names
    }
    return make_workspace(folder, files, locations)


def using(library: str, name: str = "one") -> str:
    """A location that imports a library."""
    return f"import {library}\n" + job(name)


def zombies(parent: int) -> list[int]:
    """The children of ``parent`` that nobody has collected."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                if fields[0] == "Z" and int(fields[1]) == parent:
                    found.append(int(entry))
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# Which are forked.


async def test_locations_of_one_environment_share_one_forkserver(tmp_path, runtime, scratch):
    names = [f"l{number}" for number in range(20)]
    workspace = workspace_of(
        tmp_path, scratch, {f"{name}.py": using("good_library", name) for name in names}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await methods(running, names) == {FORKED}
        assert len({parent(running.pid(name)) for name in names}) == 1
        assert len(forkservers(running)) == 1
        assert parent(running.pid("l0")) == forkservers(running)[0]
        for name in names:
            assert running.definitions(name) == [f"job:{name}"]


async def test_ps_shows_which_is_which(tmp_path, runtime, scratch):
    workspace = workspace_of(tmp_path, scratch, {"short.py": GOOD, "b.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        (server,) = forkservers(running)
        shown = await asyncio.to_thread(
            subprocess.run,
            ["ps", "-ww", "-o", "args=", "-p", f"{server},{running.pid('short')}"],
            capture_output=True,
            text=True,
            check=True,
        )
        lines = sorted(
            line.rstrip().rpartition("/boot.py ")[2] for line in shown.stdout.split("\n")
        )
        assert lines[1].startswith("forkserver ")
        assert lines[2] == "short"


async def test_different_variables_have_different_forkservers(tmp_path, runtime, scratch):
    text = "import os\n" + job("one") + "open(os.environ['REGION'], 'w').close()\n"
    workspace = workspace_of(
        tmp_path,
        scratch,
        {"a.py": text, "b.py": text, "c.py": text},
        {
            "a": {"env": {"REGION": "eu"}},
            "b": {"env": {"REGION": "us"}},
            "c": {"env": {"REGION": "us"}},
        },
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await methods(running, "abc") == {FORKED}
        a, b, c = (parent(running.pid(name)) for name in "abc")
        assert a != b == c
        assert (tmp_path / "eu").exists()
        assert (tmp_path / "us").exists()


async def test_limits_of_one_do_not_touch_others(tmp_path, runtime, scratch, no_cgroups):
    text = """\
        import json, os, resource
        limits = resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_NOFILE)
        with open("%s.json" % __name__, "w") as file:
            json.dump([limits, os.nice(0)], file)

        from runner_shim import job

        @job
        def one():
            pass
        """
    workspace = workspace_of(
        tmp_path,
        scratch,
        {"a.py": text, "b.py": text},
        {"a": {"limits": {"memory": "900MiB", "open_files": 77, "nice": 5}}},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await methods(running, "ab") == {FORKED}
        assert parent(running.pid("a")) == parent(running.pid("b"))
        (limited, nice), (free, plain) = (
            json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab"
        )
        mebi = 1024 * 1024
        assert limited == [[900 * mebi, 900 * mebi], [77, 77]]
        assert nice == plain + 5
        assert free[0] == list(resource.getrlimit(resource.RLIMIT_AS))
        server = forkservers(running)[0]
        assert resource.prlimit(server, resource.RLIMIT_AS) == tuple(free[0])


# Which are not, and why.


async def test_start_method_spawn(tmp_path, runtime, scratch):
    workspace = workspace_of(
        tmp_path, scratch, {"a.py": GOOD, "b.py": GOOD}, {"a": {"start_method": "spawn"}}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await method(running, "a") == ("spawn", "start_method: spawn")
        assert await method(running, "b") == FORKED


async def test_preload_as_the_operator_says(tmp_path, runtime, scratch):
    text = """\
        import sys
        open("%s.%s" % (__name__, "good_library" in sys.modules), "w").close()

        import good_library
        from runner_shim import job

        @job
        def one():
            pass
        """
    workspace = workspace_of(
        tmp_path,
        scratch,
        {"a.py": text, "b.py": text, "c.py": text},
        {"a": {"preload": False}, "b": {"preload": ["good_library.part"]}},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await methods(running, "abc") == {FORKED}
        found = sorted(path.name for path in tmp_path.glob("?.*") if path.suffix != ".py")
        assert found == ["a.False", "b.True", "c.True"]


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        ("thread_library", "preloaded libraries left threads running: ticker"),
        ("ending_library", "preloading ending_library ended the forkserver: it exited"),
        ("raising_library", "preloading raising_library failed: RuntimeError: no licence"),
        ("hanging_library", "preloading hanging_library took longer than 1 s"),
    ],
)
async def test_a_bad_preload_costs_nothing_but_time(
    tmp_path, runtime, scratch, library, reason, monkeypatch
):
    monkeypatch.setattr(WarmLauncher, "patience", Patience(preload=1.0))
    # It stands in the source, where it is found, and is not imported when the location is loaded.
    guarded = f"if False:\n    import {library}\n" + job("one")
    workspace = workspace_of(
        tmp_path,
        scratch,
        {"a.py": guarded, "b.py": guarded, "c.py": guarded},
        {"c": {"env": {"ANOTHER": "environment"}, "preload": False}},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        for name in "ab":
            how, why = await method(running, name)
            assert how == "spawn"
            assert why.startswith(reason)
        assert await method(running, "c") == FORKED
        assert len(forkservers(running)) == 1
        assert running.definitions("a") == ["job:one"]
        # It is not tried again each time.
        first = running.pid("a")
        running["a"].reload()
        await running.until(lambda: running["a"].generation == 2, "second")
        await running.ready("a")
        assert running.pid("a") != first
        assert (await method(running, "a"))[0] == "spawn"


async def test_a_location_with_a_module_of_a_preloaded_name(tmp_path, runtime, scratch):
    common = {"executable_path": str(scratch), "preload": ["good_library", "decimal"]}
    workspace = make_workspace(
        tmp_path,
        {
            "one/defs.py": "import good_library\nassert good_library.MINE\n" + job("one"),
            "one/good_library.py": "MINE = True\n",
            "two/defs.py": "import good_library\nassert good_library.VALUE\n" + job("two"),
            "two/decimal/data.csv": "",
        },
        {
            name: {"relative_path": f"{name}/defs.py", "working_directory": name, **common}
            for name in ("one", "two")
        },
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await method(running, "two") == FORKED
        assert await method(running, "one") == (
            "spawn",
            "its own module 'good_library' has the name of one that is preloaded",
        )
        assert running.definitions("one") == ["job:one"]


@pytest.mark.parametrize("once", [False, True])
async def test_a_forked_load_that_dies_where_a_fresh_one_does_not(tmp_path, runtime, scratch, once):
    dies = "import pid_library\npid_library.check()\n" + job("one")
    workspace = workspace_of(tmp_path, scratch, {"a.py": dies}, {"a": {"restart": "never"}})
    async with supervising(workspace, runtime, once=once) as running:
        assert await running.settled() == {"a": "ready"}
        reason = "a forked load was killed by SIGABRT; a fresh process loads it"
        assert await method(running, "a") == ("spawn", reason)
        assert running.definitions("a") == ["job:one"]
        assert running["a"].restarts == 0
        await poll(lambda: not forkservers(running), "no forkserver is left")
        running["a"].reload()
        assert await running.settled() == {"a": "ready"}
        assert running["a"].generation == 3
        assert await method(running, "a") == ("spawn", reason)


async def test_what_dies_fresh_too_is_tried_fresh_once(tmp_path, runtime, scratch):
    text = "import os\nopen('begun', 'a').write('x')\nif os.path.exists('bad'):\n    os._exit(3)\n"
    workspace = workspace_of(
        tmp_path,
        scratch,
        {"a.py": text + job("one"), "b.py": GOOD},
        {"a": {"restart": {"max_restarts": 1}}},
    )
    (tmp_path / "bad").touch()
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "crashed", "b": "ready"}
        # Forked, fresh, and the one restart.
        assert (tmp_path / "begun").read_text() == "xxx"
        assert await method(running, "b") == FORKED
        # An order gives it all its chances again.
        running["a"].reload()
        assert (await running.settled())["a"] == "crashed"
        assert (tmp_path / "begun").read_text() == "xxxxxx"
        (tmp_path / "bad").unlink()
        running["a"].reload()
        assert await running.settled() == {"a": "ready", "b": "ready"}
        assert await method(running, "a") == FORKED


@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_forked_load_that_fails_where_a_fresh_one_does_not(tmp_path, runtime, scratch, how):
    text = f"import pid_library\npid_library.{how}()\n" + job("one")
    workspace = workspace_of(tmp_path, scratch, {"a.py": text}, {"a": {"load_timeout": "2s"}})
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "ready"}
        happened = {"raises": "RuntimeError raised", "hangs": "it hung"}[how]
        reason = f"a forked load failed: {happened} in pid_library.py; a fresh process loads it"
        assert await method(running, "a") == ("spawn", reason)
        assert running.definitions("a") == ["job:one"]
        assert running["a"].failure is None


async def test_what_fails_fresh_too_is_tried_fresh_once(tmp_path, runtime, scratch):
    text = (
        "import os, pid_library\nopen('begun', 'a').write('x')\n"
        "if os.path.exists('bad'):\n    pid_library.always()\n"
    )
    workspace = workspace_of(tmp_path, scratch, {"a.py": text + job("one"), "b.py": GOOD})
    (tmp_path / "bad").touch()
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "failed", "b": "ready"}
        assert "always wrong" in running["a"].failure.message
        assert (tmp_path / "begun").read_text() == "xx"
        # It is known by now that forking is not to blame.
        running["a"].reload()
        assert (await running.settled())["a"] == "failed"
        assert (tmp_path / "begun").read_text() == "xxx"
        (tmp_path / "bad").unlink()
        running["a"].reload()
        assert await running.settled() == {"a": "ready", "b": "ready"}
        assert await method(running, "a") == FORKED


async def test_what_fails_in_its_own_code_is_not_tried_fresh(tmp_path, runtime, scratch):
    text = "import pid_library\nopen('begun', 'a').write('x')\n1 / 0\n"
    workspace = workspace_of(tmp_path, scratch, {"a.py": text + job("one")})
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "failed"}
        assert (tmp_path / "begun").read_text() == "x"


# Learning.


async def test_the_first_start_guesses_and_the_next_one_knows(tmp_path, runtime, scratch):
    before = set(zombies(os.getpid()))
    text = """\
        import importlib, sys
        seen = sorted(one for one in ("good_library", "good_library.part") if one in sys.modules)
        importlib.import_module("good_" + "library.part")
        with open("seen", "a") as file:
            file.write(" ".join(seen) + "\\n")

        from runner_shim import job

        @job
        def one():
            pass
        """
    workspace = workspace_of(tmp_path, scratch, {"a.py": text})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        first = forkservers(running)
        await running.watched()
        # Once it is calm, another forkserver has what was learned; who was forked goes on.
        pid = running.pid("a")
        await poll(lambda: forkservers(running) not in ([], first), "a forkserver that knows more")
        await poll(lambda: not alive(first[0]), "the first one is gone")
        assert running.pid("a") == pid
        assert alive(pid)
        running["a"].reload()
        await running.until(lambda: running["a"].generation == 2, "second")
        await running.ready("a")
        assert await method(running, "a") == FORKED
        await poll(lambda: not alive(pid), "the first process is gone")
        os.kill(running.pid("a"), 0)
        state = running.daemon.state.path / "preload.json"
        (names,) = json.loads(state.read_text()).values()
        assert names[-2:] == ["good_library", "good_library.part"]
        await poll(lambda: not set(zombies(os.getpid())) - before, "no zombie is left")
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await method(running, "a") == FORKED
    lines = (tmp_path / "seen").read_text().split("\n")
    assert lines[:3] == ["", "good_library good_library.part", "good_library good_library.part"]


async def test_a_module_that_is_gone_is_forgotten(tmp_path, runtime, scratch):
    part = site_packages(scratch.parent.parent) / "good_library" / "fleeting.py"
    part.write_text("")
    workspace = workspace_of(tmp_path, scratch, {"a.py": using("good_library.fleeting")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        state = running.daemon.state.path / "preload.json"
        await poll(lambda: "good_library.fleeting" in state.read_text(), "learned")
    part.unlink()
    save(tmp_path / "a.py", using("good_library"))
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await method(running, "a") == FORKED
        assert "good_library.fleeting" not in state.read_text()


# What survives.


async def test_children_survive_a_killed_forkserver(tmp_path, runtime, scratch):
    before = set(zombies(os.getpid()))
    names = ["a", "b", "c"]
    workspace = workspace_of(
        tmp_path,
        scratch,
        {f"{name}.py": using("good_library") for name in names},
        {name: {"restart": "never"} for name in names},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        pids = {name: running.pid(name) for name in names}
        (server,) = forkservers(running)
        os.kill(server, signal.SIGKILL)
        await poll(lambda: not forkservers(running), "its end is noticed")
        assert all(alive(pid) for pid in pids.values())
        assert {name: running.pid(name) for name in names} == pids
        # Who dies now is the supervisor's own to collect.
        os.kill(pids["a"], signal.SIGUSR1)
        await running.until(lambda: running["a"].state not in ("ready",), "noticed")
        assert "was killed by SIGUSR1" in running["a"].reason
        # The next one is forked by a new one.
        running["b"].reload()
        await running.until(lambda: running["b"].generation == 2, "second")
        await running.ready("b")
        assert await method(running, "b") == FORKED
        assert len(forkservers(running)) == 1
        assert forkservers(running) != [server]
        await poll(lambda: not alive(pids["b"]), "the old one is gone")
        assert running.pid("c") == pids["c"]
        running["c"].stop()
        await running["c"].stopped()
        await poll(lambda: not set(zombies(os.getpid())) - before, "no zombie is left")


async def test_a_forkserver_killed_while_it_preloads(tmp_path, runtime, scratch):
    workspace = workspace_of(
        tmp_path, scratch, {"a.py": "if False:\n    import hanging_library\n" + job("one")}
    )
    async with supervising(workspace, runtime) as running:
        await poll(lambda: forkservers(running), "it was started")
        (server,) = forkservers(running)
        os.kill(server, signal.SIGKILL)
        await running.ready()
        how, why = await method(running, "a")
        assert how == "spawn"
        assert why.endswith("ended the forkserver: it was killed by SIGKILL")


async def test_a_stopped_forkserver_holds_nothing_up(tmp_path, runtime, scratch, monkeypatch):
    monkeypatch.setattr(WarmLauncher, "patience", Patience(answer=1.0))
    before = set(zombies(os.getpid()))
    workspace = workspace_of(tmp_path, scratch, {"a.py": GOOD, "b.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        (server,) = forkservers(running)
        os.kill(server, signal.SIGSTOP)
        running["a"].reload()
        await running.until(lambda: running["a"].generation == 2, "second")
        await running.ready("a")
        assert await method(running, "a") == ("spawn", "the forkserver does not answer")
        await poll(lambda: not alive(server), "it is given up")
        assert await method(running, "b") == FORKED
        running["b"].stop()
        await running["b"].stopped()
        await poll(lambda: not set(zombies(os.getpid())) - before, "no zombie is left")


async def test_a_child_that_closes_all_descriptors(tmp_path, runtime, scratch):
    closes = "import os\nos.closerange(0, 200)\n" + job("one")
    workspace = workspace_of(
        tmp_path,
        scratch,
        {"a.py": GOOD, "b.py": closes},
        {"b": {"restart": "never", "load_timeout": "5s"}},
    )
    async with supervising(workspace, runtime) as running:
        states = await running.settled()
        assert states["a"] == "ready"
        assert states["b"] in ("crashed", "failed", "stopped")
        assert await method(running, "a") == FORKED
        running["a"].reload()
        await running.until(lambda: running["a"].generation == 2, "second")
        await running.ready("a")


async def test_shutdown_does_not_wait_for_a_preload(tmp_path, runtime, scratch):
    workspace = workspace_of(
        tmp_path, scratch, {"a.py": "if False:\n    import hanging_library\n" + job("one")}
    )
    async with supervising(workspace, runtime) as running:
        await poll(lambda: forkservers(running), "it was started")
        (server,) = forkservers(running)
        running.daemon.shutdown()
        await poll(lambda: not alive(server), "it is gone", timeout=20)


def test_a_killed_supervisor_takes_all_with_it(tmp_path, runtime, scratch):
    spawning = "import good_library, subprocess\nsubprocess.Popen(['sleep', '600'])\n"
    workspace = workspace_of(
        tmp_path,
        scratch,
        {
            "a.py": spawning + job("one"),
            "b.py": GOOD,
            "c.py": "if False:\n    import hanging_library\n" + job("one"),
        },
        {"c": {"env": {"ANOTHER": "1"}}},
    )
    with supervisor_process(workspace, runtime, f"warm-{os.getpid()}") as running:
        running.until(lambda states: states["a"][0] == states["b"][0] == "ready")
        # supervisor, warden, two forkservers, two shims, a grandchild
        poll_now(lambda: len(running.survivors()) >= 7, "all are there")
        running.kill()
        poll_now(lambda: not running.survivors(), "all are gone", timeout=20)


async def test_the_launcher_is_closed_with_nothing_left(tmp_path, runtime, scratch):
    before = set(zombies(os.getpid()))  # what a killed supervisor leaves is given to us, too
    workspace = workspace_of(tmp_path, scratch, {"a.py": using("good_library"), "b.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        servers = forkservers(running)
        used: Supervised = running
    assert not any(alive(server) for server in servers)
    assert not launcher(used)._servers
    assert set(zombies(os.getpid())) <= before


async def test_a_child_of_a_forkserver_that_was_killed_in_the_middle_is_nobody(
    tmp_path, runtime, scratch
):
    # It forked, and was killed before it could say so: what it forked says hello all the same.
    workspace = workspace_of(tmp_path, scratch, {"a.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready("a")
        attempt = running["a"].serving
        before = attempt.instance
        heard = running.daemon._services.transport._receivers
        assert attempt.request.anew() != before
        assert before.encode() not in heard
        assert attempt.instance.encode() in heard
        assert not attempt._hello.done()
        running["a"].reload("it was given another name")
        await running.until(lambda: running["a"].serving is not attempt, "reloaded")
        await running.ready("a")
