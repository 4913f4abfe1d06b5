"""How processes end: politely, by signals, with all that user code started, and at shutdown."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from textwrap import dedent

import pytest
from supervised import (
    BEGUN,
    GOOD,
    GRANDCHILDREN,
    alive,
    environ,
    grandchildren,
    job,
    make_workspace,
    poll,
    supervising,
)

from supervisor.server.daemon import Daemon
from supervisor.workspace_files import Selection


async def test_a_polite_stop_runs_what_user_code_registered(tmp_path, runtime):
    text = "import atexit\natexit.register(lambda: open('ended', 'w').close())\n"
    workspace = make_workspace(tmp_path, {"a.py": text + job("nightly")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        running["a"].stop()
        await running.settled()
        assert (tmp_path / "ended").exists()
        assert "stopped by the operator (it exited when asked to)" in await running.log("a")


async def test_the_ladder_one_that_does_not_exit_gets_sigterm(tmp_path, runtime):
    text = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    workspace = make_workspace(
        tmp_path, {"a.py": text + job("nightly")}, {"a": {"stop_timeout": "1s"}}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        running["a"].stop()
        assert await running.settled() == {"a": "stopped"}
        assert "stopped by the operator (by SIGTERM)" in await running.log("a")


async def test_the_ladder_one_that_ignores_sigterm_gets_sigkill(tmp_path, runtime):
    text = """\
        import signal, time
        signal.signal(signal.SIGTERM, lambda number, frame: print("ignored", flush=True))
        open("loading", "w").close()
        while True:
            time.sleep(100)
        """
    workspace = make_workspace(tmp_path, {"a.py": text}, {"a": {"stop_timeout": "1s"}})
    async with supervising(workspace, runtime) as running:
        await poll((tmp_path / "loading").exists, "loading")
        pid = running.pid("a")
        running["a"].stop()
        assert await running.settled() == {"a": "stopped"}
        assert not alive(pid)
        log = await running.log("a")
        assert "ignored" in log
        assert "stopped by the operator (by SIGKILL: it had not ended" in log


@pytest.mark.parametrize("how", ["stop", "reload", "kill", "segfault", "shutdown"])
async def test_what_user_code_started_goes_with_its_process(tmp_path, runtime, how):
    workspace = make_workspace(tmp_path, {"a.py": dedent(GRANDCHILDREN) + job("nightly")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        pids = grandchildren(tmp_path)
        leader = running.pid("a")
        assert all(alive(pid) for pid in pids)
        if how == "stop":
            running["a"].stop()
        elif how == "reload":
            running["a"].reload()
        elif how == "shutdown":
            running.daemon.shutdown()
        else:
            os.kill(leader, signal.SIGKILL if how == "kill" else signal.SIGSEGV)
        await poll(lambda: not any(alive(pid) for pid in [leader, *pids]), "all are gone")


async def test_what_a_failed_load_started_goes_too(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": dedent(GRANDCHILDREN) + "raise ValueError\n"})
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "failed"}
        pids = grandchildren(tmp_path)
        await poll(lambda: not any(alive(pid) for pid in pids), "all are gone")


async def test_a_descendant_that_keeps_the_pipes_open_delays_nothing(tmp_path, runtime):
    # It left the session, so it lives on; that must not be taken for the shim's living on.
    text = """\
        import os, signal, subprocess, sys
        one = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"],
                               start_new_session=True)
        open("pid", "w").write(str(one.pid))
        """
    workspace = make_workspace(tmp_path, {"a.py": dedent(text) + job("nightly")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        running["a"].stop()
        assert await running.settled() == {"a": "stopped"}
    with_pid = int((tmp_path / "pid").read_text())
    if alive(with_pid):
        os.kill(with_pid, signal.SIGKILL)


async def test_shutdown_ends_everything_and_leaves_nothing(tmp_path, runtime):
    files = {
        "ready.py": GOOD,
        "loading.py": "open('loading', 'w').close()\nwhile True:\n    pass\n",
        "failed.py": "x = 1\n",
        "crashed.py": "import os\nos._exit(1)\n",
    }
    workspace = make_workspace(
        tmp_path,
        files,
        {
            "ready": {},
            "loading": {"stop_timeout": "1s"},
            "failed": {},
            "crashed": {"restart": {"max_restarts": 0}},
        },
    )
    daemon = Daemon(Selection(files=(workspace,)), cwd=tmp_path, environ=environ(runtime))
    run = asyncio.create_task(daemon.run())
    await daemon.started.wait()
    await daemon.fleet.news.wait(
        lambda: (
            [one.state for one in daemon.fleet.ordered()]
            == ["ready", "loading", "failed", "crashed"]
        ),
        60,
    )
    await poll((tmp_path / "loading").exists, "loading")
    pids = [daemon.fleet.locations[name].newest.process.pid for name in ("ready", "loading")]
    socket = Path(daemon.runtime_directory.control_address.removeprefix("ipc://"))
    await poll(socket.exists, "the socket is there")
    daemon.shutdown()
    await asyncio.wait_for(run, 30)
    assert not any(alive(pid) for pid in pids)
    assert {one.state.value for one in daemon.fleet.ordered()} == {"stopped"}
    await poll(lambda: not socket.exists(), "the socket is gone")
    # And the workspace is free again.
    async with supervising(workspace, runtime) as running:
        await running.ready("ready")


async def test_shutdown_at_once_does_not_ask(tmp_path, runtime):
    text = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    text += "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    workspace = make_workspace(
        tmp_path, {"a.py": text + job("nightly")}, {"a": {"stop_timeout": "100s"}}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        pid = running.pid("a")
        running.daemon.shutdown()
        await running.until(lambda: running["a"].state == "stopping", "stopping")
        running.daemon.shutdown(at_once=True)
        await running.until(lambda: running["a"].state == "stopped", "stopped", 30)
        assert not alive(pid)


# Says that it has begun, and heeds nothing while it waits to be let go on.
DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + BEGUN


async def test_the_log_says_why_we_ended_a_process(tmp_path, runtime):
    """None of these is told as if the process had died by itself."""
    files = {"a.py": job("one"), "bad.py": "raise ValueError\n", "deaf.py": DEAF + job("deaf")}
    locations = {"a": {}, "bad": {}, "deaf": {"stop_timeout": 1}}
    workspace = make_workspace(tmp_path, files, locations)
    async with supervising(workspace, runtime) as running:
        await running.until(lambda: running["bad"].state == "failed", "failed")
        await running.ready("a")
        running["a"].reload()
        await running.until(lambda: running["a"].generation == 2, "reloaded")
        await running.ready("a")
        await poll((tmp_path / "begun").exists, "it loads")
        running["deaf"].stop()
        for name in ("a", "bad", "deaf"):
            await running[name].stopped()
        running["a"].stop()
        await running["a"].stopped()
        told = {name: await running.log(name) for name in ("a", "bad", "deaf")}
    ended = "was ended by the supervisor"
    assert f") {ended}: its load failed (by SIGTERM)" in told["bad"]
    assert f") {ended}: generation 2 took its place (it exited when asked to)" in told["a"]
    assert f") {ended}: stopped by the operator (it exited when asked to)" in told["a"]
    deaf = "(by SIGKILL: it had not ended 0.5 s after SIGTERM)"
    assert f") {ended}: stopped by the operator {deaf}" in told["deaf"]
    for text in told.values():
        assert "was killed by" not in text and "was stopped" not in text


async def test_the_log_says_that_we_killed_what_did_not_answer(tmp_path, runtime):
    keys = {"ping_interval": "0.2s", "ping_timeout": "1s", "restart": "never"}
    workspace = make_workspace(tmp_path, {"a.py": job("one")}, {"a": keys})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        os.kill(running.pid("a"), signal.SIGSTOP)
        await running.until(lambda: running["a"].state == "stopped", "ended")
        assert ") was ended by the supervisor: it did not answer" in await running.log("a")


async def test_the_log_says_how_one_ended_that_was_to_end_and_did_so_badly(tmp_path, runtime):
    crash = "import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGSEGV)\n"
    workspace = make_workspace(tmp_path, {"a.py": crash + job("one")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        running["a"].stop()
        await running["a"].stopped()
        wanted = "ended by the supervisor: stopped by the operator (it was killed by SIGSEGV)"
        assert wanted in await running.log("a")
