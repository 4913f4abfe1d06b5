"""Warm environments end to end: which process is forked, which is fresh and why, and what is learned."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

import pytest
from forkservers import (
    FORKED,
    bad_environment,
    children,
    forkservers,
    method,
    methods,
    site_packages,
    using,
    workspace_of,
)
from supervised import GOOD, alive, job, make_workspace, poll, save, supervising

from supervisor import procfs
from supervisor.processes.forkserver import Patience
from supervisor.processes.forkserver_pool import ForkserverPool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forkservers need Linux")

scratch = pytest.fixture(bad_environment, scope="module")


def parent(pid: int) -> int:
    return int(procfs.stat(pid)[1])


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
        shown = [
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()  # noqa: ASYNC240
            for pid in (server, running.pid("short"))
        ]
        lines = [line.rstrip().rpartition("/boot.py ")[2] for line in shown]
        assert lines[0].startswith("forkserver ")
        assert lines[1] == "short"


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
        assert (nice, plain) == (5, os.nice(0))
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
        import os, sys
        assert "good_library" not in sys.modules

        import good_library
        open("%s.%s" % (__name__, good_library.PID != os.getpid()), "w").close()
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "reason"),
    [
        ("thread_library", "thread_library, which leaves threads running: ticker"),
        ("ending_library", "ending_library, which ended the forkserver (it exited"),
        ("raising_library", "raising_library, which cannot be imported (RuntimeError: no licence"),
        ("hanging_library", "hanging_library, which took longer than 3 s"),
    ],
)
async def test_a_bad_library_alone_is_left_out(
    tmp_path, runtime, scratch, library, reason, monkeypatch
):
    monkeypatch.setattr(ForkserverPool, "patience", Patience(preload=3.0))
    # It stands in the source, where it is found, and is not imported when the location is loaded.
    guarded = f"import good_library\nif len([]):\n    import {library}\n" + job("one")
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
            assert how == "forkserver"
            assert why.startswith(f"not preloaded: {reason}")
        how, why = await method(running, "c")
        assert how == "forkserver"
        assert running.definitions("a") == ["job:one"]
        # It is not tried again each time.
        servers = forkservers(running)
        first = running.pid("a")
        running["a"].reload()
        await running.until(lambda: running["a"].generation == 2, "second")
        await running.ready("a")
        assert running.pid("a") != first
        assert (await method(running, "a"))[1].startswith(f"not preloaded: {reason}")
        assert forkservers(running) == servers
    kept = json.loads((running.daemon.state.path / "preload.json").read_text())
    (environment,) = kept["environments"].values()
    assert list(environment["left_out"]) == [library]


async def test_a_location_that_imports_an_unfit_library_imports_it_itself(
    tmp_path, runtime, scratch
):
    uses = "import thread_user_user, threading\n" + job("one")
    uses += "assert [one.name for one in threading.enumerate()] == ['MainThread', 'ticker']\n"
    none = "import good_library, threading\nassert len(threading.enumerate()) == 1\n" + job("one")
    preload = {"preload": ["good_library", "thread_user_user"]}
    workspace = workspace_of(
        tmp_path, scratch, {"a.py": uses, "b.py": none}, {"a": preload, "b": preload}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        for name in "ab":
            how, why = await method(running, name)
            assert how == "forkserver"
            assert why == (
                "not preloaded: thread_library, which leaves threads running: ticker; "
                "thread_user, which imports thread_library, which leaves threads running: ticker; "
                "thread_user_user, which imports thread_library, which leaves threads running: "
                "ticker"
            )


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
        assert await methods(running, ("one", "two")) == {FORKED}
        assert running.definitions("one") == ["job:one"]
        assert running.definitions("two") == ["job:two"]


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


@pytest.mark.slow
@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_forked_load_that_fails_where_a_fresh_one_does_not(tmp_path, runtime, scratch, how):
    text = f"import pid_library\npid_library.{how}()\n" + job("one")
    workspace = workspace_of(tmp_path, scratch, {"a.py": text}, {"a": {"load_timeout": "5s"}})
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


async def test_what_fails_in_its_own_code_convicts_no_library(tmp_path, runtime, scratch):
    text = "import pid_library\nopen('begun', 'a').write('x')\n1 / 0\n"
    workspace = workspace_of(
        tmp_path, scratch, {"a.py": text + job("one"), "b.py": using("pid_library")}
    )
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "failed", "b": "ready"}
        assert (tmp_path / "begun").read_text() == "xx"  # forked, and fresh
        assert await method(running, "b") == FORKED


# Learning.


async def test_the_first_start_guesses_and_the_next_one_knows(tmp_path, runtime, scratch):
    before = set(children(os.getpid(), "Z"))
    text = """\
        import importlib, os
        part = importlib.import_module("good_" + "library.part")
        with open("seen", "a") as file:
            file.write("%s\\n" % (part.PID != os.getpid()))

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
        assert {"good_library.part"} <= learned(state)["a"].keys()
        await poll(lambda: not set(children(os.getpid(), "Z")) - before, "no zombie is left")
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await method(running, "a") == FORKED
    lines = (tmp_path / "seen").read_text().split("\n")
    assert lines[:3] == ["False", "True", "True"]


async def test_what_is_not_imported_any_more_is_not_preloaded(tmp_path, runtime, scratch):
    late = "def later():\n    import good_library\n"
    workspace = workspace_of(
        tmp_path, scratch, {"a.py": using("good_library"), "b.py": late + job("one")}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        state = running.daemon.state.path / "preload.json"
        await poll(
            lambda: state.exists() and "good_library" in learned(state)["a"], "it is learned"
        )
        assert "good_library" not in learned(state).get("b", {})
        for number in range(2, 5):
            save(tmp_path / "a.py", f"# {number}\n" + job("one"))
            await running.until(lambda n=number: running["a"].generation >= n, "loaded again")
            await running.ready("a")
        await poll(lambda: "good_library" not in learned(state)["a"], "it is forgotten")


def learned(state: Path) -> dict[str, dict[str, int]]:
    """What each location of the only environment was seen to import."""
    (environment,) = json.loads(state.read_text())["environments"].values()
    return {name: one["modules"] for name, one in environment["locations"].items()}


async def test_a_module_that_is_gone_is_forgotten(tmp_path, runtime, scratch):
    part = site_packages(scratch.parent.parent) / "good_library" / "fleeting.py"
    part.write_text("")
    workspace = workspace_of(tmp_path, scratch, {"a.py": using("good_library.fleeting")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        state = running.daemon.state.path / "preload.json"
        await poll(
            lambda: state.exists() and "good_library.fleeting" in state.read_text(), "learned"
        )
    part.unlink()
    save(tmp_path / "a.py", using("good_library"))
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await method(running, "a") == FORKED
        await poll(lambda: "good_library.fleeting" not in state.read_text(), "it is forgotten")
