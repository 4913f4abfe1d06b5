"""Processes kept alive, restarted and given up, by order and by accident, and what they are given."""

from __future__ import annotations

import os
import signal

import pytest
from supervised import BEGUN, GOOD, job, make_workspace, poll, save, supervising

from supervisor.errors import RequestError, UnknownDefinitionError, UnknownLocationError

QUICK = {"initial_delay": "0.01s", "max_delay": "0.01s"}


def dies_on_signal(status: int) -> str:
    """A module whose process exits with ``status`` when it gets SIGUSR1."""
    return (
        "import os, signal\n"
        f"signal.signal(signal.SIGUSR1, lambda number, frame: os._exit({status}))\n"
        + job("nightly")
    )


# Restarts.


async def test_a_process_that_dies_is_replaced_at_once(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        first, neighbour = running.pid("a"), running.pid("b")
        os.kill(first, signal.SIGKILL)
        await running.until(lambda: running["a"].generation == 2, "noticed")
        await running.ready("a")
        entry = await running.status("a")
        assert entry["restarts"] == 1
        assert entry["restart_reason"] == "the process was killed by SIGKILL while serving"
        assert entry["failure"] is None
        assert entry["serving"]["generation"] == 2
        assert running.pid("a") != first
        assert running.pid("b") == neighbour
        assert running["b"].generation == 1
        log = await running.log("a")
        assert f"generation 1 (pid {first}) was killed by SIGKILL" in log


async def test_the_snapshot_outlives_its_process(tmp_path, runtime):
    workspace = make_workspace(
        tmp_path, {"a.py": GOOD}, {"a": {"restart": {"initial_delay": "60s", "max_delay": "60s"}}}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        os.kill(running.pid("a"), signal.SIGKILL)
        await running.until(lambda: running["a"].generation == 2, "first restart")
        await running.ready()
        os.kill(running.pid("a"), signal.SIGSEGV)
        await running.until(lambda: running["a"].state == "backoff", "second restart waits")
        entry = await running.status("a")
        assert entry["next_restart"] > entry["since"] + 50
        assert entry["serving"]["alive"] is False
        assert entry["serving"]["generation"] == 2
        assert entry["process"] is None
        assert entry["reason"].startswith(
            "the process was killed by SIGSEGV while serving; restart 2"
        )
        assert running.definitions("a") == ["job:nightly"]
        # An order does not wait for the delay.
        assert running["a"].start() == "starting"
        await running.ready()
        assert (await running.status("a"))["next_restart"] is None


async def test_one_that_dies_too_often_is_given_up_and_can_be_mended(tmp_path, runtime):
    workspace = make_workspace(
        tmp_path,
        {"good.py": GOOD, "bad.py": "import os\nos._exit(7)\n"},
        {"good": {}, "bad": {"restart": {"max_restarts": 3, **QUICK}}},
    )
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"good": "ready", "bad": "crashed"}
        entry = await running.status("bad")
        assert entry["reason"] == (
            "died 4 times within 60 s; the last time the process exited with status 7 while loading"
        )
        assert entry["restarts"] == 3
        # It could have been the forking: one more, that counts for no death, was a fresh process.
        assert entry["generation"] == 5
        assert entry["failure"]["kind"] == "died"
        assert running["good"].generation == 1
        # An order gives it all its chances again.
        assert running["bad"].reload() == "reloading"
        assert (await running.settled())["bad"] == "crashed"
        assert running["bad"].generation == 10
        await running.watched("bad")
        save(tmp_path / "bad.py", job("mended"))
        await running.ready("bad")
        assert running.definitions("bad") == ["job:mended"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "status", "expected"),
    [
        ("always", 0, "ready"),
        ("on-failure", 0, "stopped"),
        ("on-failure", 1, "ready"),
        ("never", 0, "stopped"),
        ("never", 1, "stopped"),
    ],
)
async def test_policies(tmp_path, runtime, policy, status, expected):
    workspace = make_workspace(
        tmp_path, {"a.py": dies_on_signal(status)}, {"a": {"restart": policy}}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        serving = running["a"].serving
        os.kill(running.pid("a"), signal.SIGUSR1)
        await running.until(lambda: running["a"].serving is not serving, "noticed")
        assert await running.settled() == {"a": expected}
        if expected == "stopped":
            assert running["a"].reason == (
                f"the process exited with status {status} while serving; restart policy {policy}"
            )
            assert running["a"].start() == "starting"
            await running.ready()
        else:
            assert running["a"].generation == 2


async def test_a_clean_exit_while_loading_is_no_clean_end(tmp_path, runtime):
    text = "import os\nos._exit(0)\n"
    workspace = make_workspace(
        tmp_path, {"a.py": text}, {"a": {"restart": {"max_restarts": 1, **QUICK}}}
    )
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "crashed"}


async def test_a_failed_load_is_not_tried_again(tmp_path, runtime):
    text = "open('tries', 'a').write('x')\nraise RuntimeError('no')\n"
    workspace = make_workspace(
        tmp_path, {"a.py": text, "b.py": GOOD}, {"a": {"start_method": "spawn"}, "b": {}}
    )
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "failed", "b": "ready"}
        await running.watched()
        save(tmp_path / "b.py", job("other"))
        await running.until(lambda: running.definitions("b") == ["job:other"], "b reloaded")
        assert running["a"].generation == 1
        assert running["a"].restarts == 0
        assert (tmp_path / "tries").read_text() == "x"


async def test_the_failure_of_an_older_generation_is_not_told_while_a_newer_one_loads(
    tmp_path, runtime
):
    workspace = make_workspace(tmp_path, {"a.py": "import\n"})
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "failed"}
        assert (await running.failure("a"))["generation"] == 1
        save(tmp_path / "a.py", BEGUN + job("nightly"))
        running["a"].reload("mended")
        await poll((tmp_path / "begun").exists, "it loads")
        entry = await running.status("a")
        assert (entry["state"], entry["generation"], entry["failure"]) == ("loading", 2, None)
        assert "syntax" not in entry["reason"]
        (tmp_path / "go").touch()
        await running.ready()


# Orders.


async def test_orders_are_idempotent(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        one = running["a"]
        assert one.start() == "already ready"
        assert one.generation == 1
        assert one.stop() == "stopping"
        assert one.stop() == "already stopping"
        assert await running.settled() == {"a": "stopped"}
        assert one.stop() == "already stopped"
        assert one.reload() == "is stopped: use start"
        assert one.state == "stopped"
        assert running.definitions("a") == ["job:nightly"], "still known"
        assert one.start() == "starting"
        assert one.start() == "already starting"
        await running.ready()
        assert one.restart() == "restarting"
        await running.until(lambda: one.generation == 3, "restarted")
        await running.ready()
        assert one.stop() == "stopping"
        await running.settled()
        assert one.restart() == "starting"
        await running.ready()


async def test_the_last_order_wins(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD})
    async with supervising(workspace, runtime) as running:
        one = running["a"]
        one.stop()
        one.start()
        one.stop()
        assert await running.settled() == {"a": "stopped"}
        one.start()
        one.stop()
        one.start()
        assert await running.settled() == {"a": "ready"}
        one.restart()
        one.restart()
        one.reload()
        assert await running.settled() == {"a": "ready"}
        one.reload()
        one.stop()
        assert await running.settled() == {"a": "stopped"}


async def test_orders_through_the_method_table(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"apple.py": GOOD, "pear.py": GOOD})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        methods = running.methods
        reply, _ = await methods.stop({"locations": ["apple"]})
        assert reply == {"locations": {"apple": "stopping"}}
        reply, _ = await methods.wait({"timeout": 30})
        assert reply == {
            "ready": False,
            "settled": True,
            "locations": {"apple": "stopped", "pear": "ready"},
        }
        reply, _ = await methods.start({})
        assert reply == {"locations": {"apple": "starting", "pear": "already ready"}}
        reply, _ = await methods.wait({"locations": ["apple"], "timeout": 30})
        assert reply == {"ready": True, "settled": True, "locations": {"apple": "ready"}}
        with pytest.raises(UnknownLocationError) as caught:
            await methods.stop({"locations": ["pear", "aple"]})
        assert caught.value.hint == "did you mean apple?"
        assert running["pear"].state == "ready", "nothing was done"


async def test_a_location_that_is_served_elsewhere(tmp_path, runtime):
    path = tmp_path / "workspace.yaml"
    path.write_text("load_from:\n  - grpc_server: {port: 4266, location_name: far}\n")
    async with supervising(path, runtime) as running:
        entry = await running.status("far")
        assert entry["state"] == "elsewhere"
        assert entry["reason"] == (
            "served elsewhere, at grpc:localhost:4266: neither started nor watched here"
        )
        with pytest.raises(RequestError, match="far is served elsewhere"):
            await running.methods.stop({"locations": ["far"]})


# What a process is given.


async def test_limits_and_variables(tmp_path, runtime, no_cgroups):
    text = """\
        import os, resource
        from runner_shim import job

        @job(tags={
            "files": str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
            "memory": str(resource.getrlimit(resource.RLIMIT_AS)[0]),
            "nice": str(os.nice(0)),
            "region": os.environ["REGION"],
            "session": str(os.getsid(0) == os.getpid()),
            "unbuffered": os.environ["PYTHONUNBUFFERED"],
        })
        def nightly():
            pass
        """
    keys = {
        "env": {"REGION": "eu-secret"},
        "limits": {"open_files": 128, "memory": "2GiB", "nice": 5},
    }
    workspace = make_workspace(tmp_path, {"a.py": text}, {"a": keys})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        shown, _ = await running.methods.show({"location": "a", "name": "nightly"})
        assert shown["definition"]["tags"] == {
            "files": "128",
            "memory": str(2 * 1024**3),
            "nice": "5",
            "region": "eu-secret",
            "session": "True",
            "unbuffered": "1",
        }
        entry = await running.status("a")
        del entry["log"]
        assert "eu-secret" not in repr(entry)


async def test_a_memory_limit_that_is_too_small_says_so(tmp_path, runtime, no_cgroups):
    text = "block = bytearray(10**10)\n"
    workspace = make_workspace(
        tmp_path, {"a.py": text, "b.py": GOOD}, {"a": {"limits": {"memory": "1GiB"}}, "b": {}}
    )
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "failed", "b": "ready"}
        assert "MemoryError" in (await running.failure("a"))["message"]


# Lazy definitions.

LAZY = """\
    import os
    from runner_shim import job, repository

    def good():
        @job(description="made when asked for")
        def good():
            pass
        return good

    def broken():
        raise RuntimeError("the table is not there")

    def deadly():
        os._exit(9)

    @repository
    def things():
        return {"jobs": {"good": good, "broken": broken, "deadly": deadly}}
    """


async def test_lazy_definitions_are_made_by_the_shim_when_they_are_shown(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": LAZY})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        methods = running.methods
        assert running.definitions("a") == ["job:broken", "job:deadly", "job:good"]
        shown, _ = await methods.show({"location": "a", "name": "good"})
        assert shown["definition"]["description"] == "made when asked for"
        with pytest.raises(RequestError, match="the table is not there"):
            await methods.show({"location": "a", "name": "broken"})
        assert running["a"].generation == 1
        with pytest.raises(UnknownDefinitionError) as caught:
            await methods.show({"location": "a", "name": "goodd"})
        assert caught.value.hint == "did you mean good?"
        with pytest.raises(
            RequestError, match="exited with status 9 while it constructed 'deadly'"
        ):
            await methods.show({"location": "a", "name": "deadly"})
        await running.until(lambda: running["a"].generation == 2, "replaced")
        await running.ready()
        shown, _ = await methods.show({"location": "a", "name": "good"})
        assert shown["definition"]["description"] == "made when asked for"
        running["a"].stop()
        await running.settled()
        with pytest.raises(RequestError, match="no process of a runs"):
            await methods.show({"location": "a", "name": "good"})


# Once.


async def test_a_single_check_restarts_nothing_and_leaves_nothing(tmp_path, runtime):
    files = {"a.py": GOOD, "b.py": "import os\nos._exit(1)\n"}
    workspace = make_workspace(tmp_path, files, {"a": {}, "b": {"start_method": "spawn"}})
    async with supervising(workspace, runtime, once=True) as running:
        assert await running.settled() == {"a": "ready", "b": "crashed"}
        assert running["b"].restarts == 0
        kept = running.daemon.state.path
        assert kept.exists()
    assert not kept.exists()
