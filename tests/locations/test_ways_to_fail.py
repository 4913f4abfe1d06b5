"""Every way in which a location can fail, each with real processes, each costing only itself.

Each test has a neighbour that must get ready, and expects a message that names what is wrong.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from places import PROGRAMS
from supervised import GOOD, job, make_workspace, supervising

from runner_shim import wire

HOSTILE_BOOT = PROGRAMS / "hostile_boot.py"


async def fail(
    tmp_path: Path,
    runtime: Path,
    files: dict[str, str],
    keys: dict[str, object] | None = None,
    *,
    may_serve: bool = False,
) -> tuple[dict, str]:
    """Load ``bad.py`` beside a good neighbour; the failure and the log of the bad one."""
    given = {"restart": "never", "stop_timeout": "1s", **(keys or {})}
    workspace = make_workspace(tmp_path, {"good.py": GOOD, **files}, {"good": {}, "bad": given})
    async with supervising(workspace, runtime) as running:
        states = await running.settled()
        assert states["good"] == "ready", running.states()
        await running.until(lambda: running["bad"].failure is not None, "it fails")
        assert running.definitions("good") == ["job:nightly"]
        entry = await running.status("bad")
        assert entry["failure"], entry
        assert entry["serving"] is None or may_serve
        await running["bad"].stopped()
        assert (await running.status("bad"))["process"] is None
        # A reason is one line; a syntax error's message shows the source below its sentence.
        assert entry["failure"]["message"].partition("\n")[0] in entry["reason"]
        entry["failure"]["state"] = entry["state"]
        return entry["failure"], await running.log("bad")


# Interpreters.


async def test_no_such_interpreter(tmp_path, runtime):
    path = tmp_path / "gone" / "bin" / "python"
    failure, _ = await fail(tmp_path, runtime, {"bad.py": GOOD}, {"executable_path": str(path)})
    assert failure["kind"] == "interpreter"
    assert failure["message"] == f"{path} does not exist"
    assert "correct the path" in failure["hint"]


async def test_an_interpreter_that_is_no_python(tmp_path, runtime):
    failure, _ = await fail(tmp_path, runtime, {"bad.py": GOOD}, {"executable_path": "/bin/true"})
    assert failure["kind"] == "interpreter"
    assert failure["message"] == "/bin/true is not a python interpreter"


async def test_an_interpreter_that_is_not_executable(tmp_path, runtime):
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\n")
    failure, _ = await fail(tmp_path, runtime, {"bad.py": GOOD}, {"executable_path": str(path)})
    assert failure["message"] == f"{path} is not executable"
    assert "chmod +x" in failure["hint"]


async def test_python_2(tmp_path, runtime):
    python = next((Path.home() / ".pyenv" / "versions").glob("2.7.*/bin/python"), None)
    if python is None:
        pytest.skip("no python 2.7 on this machine")
    failure, _ = await fail(tmp_path, runtime, {"bad.py": GOOD}, {"executable_path": str(python)})
    assert failure["kind"] == "interpreter"
    assert "is python 2.7" in failure["message"]
    assert "python 2 is not supported" in failure["message"]
    assert failure["hint"] == "use a python 3.6 or newer"


# Targets.


async def test_missing_file(tmp_path, runtime):
    failure, _ = await fail(tmp_path, runtime, {"bat.py": GOOD})
    assert failure["kind"] == "missing_file"
    assert failure["message"] == "file bad.py does not exist"
    assert failure["hint"] == "did you mean bat.py?"


async def test_missing_module(tmp_path, runtime):
    keys = {"module_name": "nowhere.defs", "working_directory": str(tmp_path)}
    failure, _ = await fail(tmp_path, runtime, {}, keys)
    assert failure["kind"] == "missing_module"
    assert "nowhere" in failure["message"]


async def test_missing_attribute(tmp_path, runtime):
    failure, _ = await fail(tmp_path, runtime, {"bad.py": GOOD}, {"attribute": "nightli"})
    assert failure["kind"] == "missing_attribute"
    assert failure["message"] == "bad has no attribute nightli"
    assert failure["hint"] == "did you mean nightly?"


async def test_missing_working_directory(tmp_path, runtime):
    keys = {"working_directory": str(tmp_path / "gone")}
    failure, _ = await fail(tmp_path, runtime, {"bad.py": GOOD}, keys)
    assert failure["kind"] == "missing_working_directory"
    assert str(tmp_path / "gone") in failure["message"]


async def test_syntax_error(tmp_path, runtime):
    failure, _ = await fail(tmp_path, runtime, {"bad.py": "x = 1\ndef broken(:\n    pass\n"})
    assert failure["kind"] == "syntax_error"
    assert failure["file"] == "bad.py"
    assert failure["line"] == 2


async def test_import_error_three_modules_deep(tmp_path, runtime):
    files = {
        "bad.py": "import first\n",
        "first.py": "import second\n",
        "second.py": "def load():\n    import pandas_of_old\nload()\n",
    }
    failure, _ = await fail(tmp_path, runtime, files)
    assert failure["kind"] == "import_error"
    assert "pandas_of_old" in failure["message"]
    assert failure["exception"]["type"] == "ModuleNotFoundError"
    frames = [(Path(one["file"]).name, one["line"]) for one in failure["frames"] if one["user"]]
    assert frames == [("bad.py", 1), ("first.py", 1), ("second.py", 3), ("second.py", 2)]


async def test_an_exception(tmp_path, runtime):
    failure, _ = await fail(tmp_path, runtime, {"bad.py": "limits = {}\nlimits['daily']\n"})
    assert failure["kind"] == "exception"
    assert "KeyError" in failure["message"]
    assert "daily" in failure["message"]
    assert failure["line"] == 2


async def test_no_definitions(tmp_path, runtime):
    failure, _ = await fail(tmp_path, runtime, {"bad.py": "x = 1\n"})
    assert failure["kind"] == "no_definitions"
    assert failure["message"] == "no definitions found in bad"


async def test_two_definitions(tmp_path, runtime):
    text = "from runner_shim import Definitions\none = Definitions()\ntwo = Definitions()\n"
    failure, _ = await fail(tmp_path, runtime, {"bad.py": text})
    assert failure["kind"] == "ambiguous_definitions"
    assert "one" in failure["message"]
    assert "two" in failure["message"]


async def test_duplicate_names(tmp_path, runtime):
    text = """\
        from runner_shim import Definitions, job

        def make():
            @job(name="nightly")
            def inner():
                pass
            return inner

        defs = Definitions(jobs=[make(), make()])
        """
    failure, _ = await fail(tmp_path, runtime, {"bad.py": text})
    assert failure["kind"] == "duplicate_definition"
    assert "nightly" in failure["message"]


# Endings.


async def test_sys_exit(tmp_path, runtime):
    failure, _ = await fail(tmp_path, runtime, {"bad.py": "import sys\nsys.exit(3)\n"})
    assert failure["kind"] == "system_exit"
    assert failure["exception"]["code"] == 3
    assert failure["line"] == 2
    assert failure["state"] == "failed"


async def test_os_exit(tmp_path, runtime):
    text = "import os\nprint('last words', flush=True)\nos._exit(3)\n"
    failure, log = await fail(tmp_path, runtime, {"bad.py": text})
    assert failure["kind"] == "died"
    assert failure["message"] == "the process exited with status 3 while loading"
    assert "os._exit" in failure["hint"]
    assert failure["status"] == 3
    assert "last words" in log


@pytest.mark.parametrize(("name", "number"), [("SIGSEGV", 11), ("SIGKILL", 9), ("SIGABRT", 6)])
async def test_a_signal(tmp_path, runtime, name, number):
    text = f"import os, signal\nos.kill(os.getpid(), signal.{name})\n"
    failure, _ = await fail(tmp_path, runtime, {"bad.py": text})
    assert failure["kind"] == "died"
    assert failure["message"] == f"the process was killed by {name} while loading"
    assert failure["signal"] == number


HANGS = {
    "python": "while True:\n    pass\n",
    "sleep": "import time\ntime.sleep(1000)\n",
    # One C call that keeps the interpreter lock: no Python code can run, in any thread.
    "c": "import itertools\nsum(itertools.repeat(1))\n",
    "signals": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
    "while True:\n    signal.sigwait([signal.SIGUSR2])\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("how", HANGS)
async def test_an_import_that_hangs(tmp_path, runtime, how):
    text = "def forever():\n" + "".join(f"    {one}\n" for one in HANGS[how].splitlines())
    failure, log = await fail(
        tmp_path, runtime, {"bad.py": text + "forever()\n"}, {"load_timeout": "5s"}
    )
    assert failure["kind"] == "timeout"
    place = f"{tmp_path / 'bad.py'}:"
    assert failure["message"].startswith(f"loading bad took longer than 5 s; it was at {place}")
    assert "load_timeout" in failure["hint"]
    assert [one["function"] for one in failure["frames"] if one["user"]] == ["<module>", "forever"]
    assert "bad.py" in log and "in forever" in log, "the stack is in the log"


# Odd behaviour that is no failure.


async def odd(tmp_path: Path, runtime: Path, text: str) -> str:
    """Load ``bad.py`` beside a good neighbour; both must get ready. The log of the odd one."""
    workspace = make_workspace(tmp_path, {"good.py": GOOD, "odd.py": text + "\n" + job("weekly")})
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"good": "ready", "odd": "ready"}, running.states()
        assert running.definitions("odd") == ["job:weekly"]
        return await running.log("odd")


async def test_one_that_forks_and_returns_in_the_child(tmp_path, runtime):
    await odd(tmp_path, runtime, "import os\nos.fork()\n")


async def test_one_that_reads_standard_input(tmp_path, runtime):
    log = await odd(tmp_path, runtime, "import sys\nprint('read', repr(sys.stdin.read()))\n")
    assert "read ''" in log


async def test_one_that_closes_its_standard_streams(tmp_path, runtime):
    await odd(tmp_path, runtime, "import os\nfor one in (0, 1, 2):\n    os.close(one)\n")


async def test_one_that_closes_its_standard_streams_as_objects(tmp_path, runtime):
    await odd(tmp_path, runtime, "import sys\nsys.stdout.close()\nsys.stderr = None\n")


async def test_one_that_prints_binary_garbage(tmp_path, runtime):
    log = await odd(
        tmp_path,
        runtime,
        "import os\nos.write(1, bytes(range(256)) * 40)\nos.write(2, b'\\xff' * 20000)\n"
        "os.write(1, b'\\nlegible\\n')\n",
    )
    assert "legible" in log.splitlines()


async def test_one_that_changes_the_process_it_lives_in(tmp_path, runtime):
    await odd(
        tmp_path,
        runtime,
        "import os, signal, socket, sys, threading\n"
        "os.environ.clear()\nos.chdir('/')\nos.umask(0)\n"
        "sys.path[:] = []\nsys.argv = None\nsys.setrecursionlimit(60)\n"
        "socket.setdefaulttimeout(0.001)\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "sys.setrecursionlimit(1000)\nimport runner_shim\n",
    )


async def test_one_that_closes_every_descriptor(tmp_path, runtime):
    text = "import os\nos.closerange(3, 1024)\n" + job("nightly")
    failure, _ = await fail(tmp_path, runtime, {"bad.py": text})
    assert failure["kind"] in ("died", "protocol")


# Messages that break the protocol.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("version", "the shim speaks protocol 99, this supervisor speaks 1"),
        ("garbage", "the shim sent not msgpack"),
        ("empty", "the shim sent not msgpack"),
        ("frames", "the shim sent 5 frames where 1 to 4 are allowed"),
        ("oversized", "where at most 8388608 are allowed"),
        ("deep", "nested"),
        ("deep_bomb", "the shim sent"),
        ("list", "the shim sent the header is no map"),
        ("no_type", "the shim sent the header has no type"),
        ("no_version", "the shim sent the header has no version"),
        ("bytes", "the shim sent not msgpack"),
        ("timestamp", "the shim sent not msgpack"),
        ("unasked", "the shim answered a request that was not made (loaded)"),
        ("answers_twice", "the shim answered a request that was not made (loaded)"),
        ("hello_twice", "the shim said hello twice"),
        ("no_payload", "a snapshot came in 0 parts instead of 2"),
        ("bad_snapshot", "the snapshot is not valid: the definitions are no map"),
        ("bad_format", "the snapshot is not valid: format 7 is unknown, 1 was expected"),
        ("bad_report", "the snapshot is not valid: the report is no map"),
        ("bad_failure", "the shim reported a failure that cannot be read"),
        ("silent", "starting the interpreter took longer than 1 s"),
        ("nothing", "loading bad took longer than 5 s"),
        ("stranger", "starting the interpreter took longer than 1 s"),
    ],
)
async def test_a_shim_that_breaks_the_protocol(tmp_path, runtime, monkeypatch, what, expected):
    monkeypatch.setattr("supervisor.processes.spawn.BOOT", HOSTILE_BOOT)
    # Short only where it must run out; a fresh interpreter may take a while to start.
    timeout = {"silent": "1s", "stranger": "1s", "nothing": "5s"}.get(what, "30s")
    keys = {"env": {"HOSTILE": what}, "load_timeout": timeout, "start_method": "spawn"}
    # Its first answer may be served before the second comes.
    twice = what == "answers_twice"
    failure, _ = await fail(tmp_path, runtime, {"bad.py": GOOD}, keys, may_serve=twice)
    assert expected in failure["message"]
    assert failure["kind"] in ("protocol", "snapshot", "timeout")
    if what == "version":
        assert "restart the supervisor" in failure["hint"]


async def test_a_ready_shim_that_breaks_the_protocol_is_replaced(tmp_path, runtime):
    text = """\
        import gc, signal
        from runner_shim import job
        from runner_shim.process import channel

        def disturb(number, frame):
            for one in gc.get_objects():
                if isinstance(one, channel.Channel):
                    one.send([b"\\xc1\\xc1"])

        signal.signal(signal.SIGUSR1, disturb)

        @job
        def nightly():
            pass
        """
    workspace = make_workspace(tmp_path, {"good.py": GOOD, "bad.py": text})
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"good": "ready", "bad": "ready"}
        first, good = running.pid("bad"), running.pid("good")
        os.kill(running.pid("bad"), signal.SIGUSR1)
        await running.until(
            lambda: running["bad"].generation == 2 and running["bad"].state == "ready", "replaced"
        )
        assert running.pid("bad") != first
        assert running.pid("good") == good
        assert "the shim sent not msgpack" in await running.log("bad")


# Much.


FLOODS = {
    "lines": "block = b'0123456789abcde\\n' * 4096\n",
    "one line": "block = b'0123456789abcdef' * 4096\n",
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", FLOODS)
async def test_a_gigabyte_of_output(tmp_path, runtime, how):
    flood = f"import os\n{FLOODS[how]}for _ in range(16 * 1024):\n    os.write(1, block)\n"
    text = flood + "print()\nprint('at last', flush=True)\n" + job("nightly")
    files = {"bad.py": text, **{f"good{n}.py": GOOD for n in range(4)}}
    workspace = make_workspace(tmp_path, files)
    async with supervising(workspace, runtime) as running:
        answers = 0
        settled = asyncio.create_task(running.settled(240))
        while not settled.done():
            await running.status("good0")
            answers += not settled.done()
            await asyncio.sleep(0.01)
        assert set(settled.result().values()) == {"ready"}, running.states()
        folder = running["bad"].log.path.parent
        size = sum(path.stat().st_size for path in folder.iterdir())
        assert size < 12 * 1024 * 1024
        tail = running["bad"].log
        await running.until(lambda: "at last" in tail.tail[-1].text, "the end of it has come")
        assert "of output suppressed" in await running.log("bad")
        assert answers > 1, "others are answered while it goes on"


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_two_hundred_locations_of_which_half_are_broken(tmp_path, runtime):
    ways = (
        "import nowhere_to_be_found\n",
        "def broken(:\n",
        "raise RuntimeError('no')\n",
        "import os\nos._exit(3)\n",
        "import sys\nsys.exit('enough')\n",
    )
    files = {f"good{n:03}.py": job(f"job_{n}") for n in range(100)}
    files.update({f"bad{n:03}.py": ways[n % len(ways)] for n in range(100)})
    workspace = make_workspace(tmp_path, files, defaults={"restart": "never"})
    async with supervising(workspace, runtime) as running:
        states = await running.settled(240)
        assert {name for name, state in states.items() if state == "ready"} == {
            f"good{n:03}" for n in range(100)
        }
        assert running.definitions("good042") == ["job:job_42"]
        kinds = {running[f"bad{n:03}"].failure.kind for n in range(100)}
        assert kinds == {"import_error", "syntax_error", "exception", "died", "system_exit"}


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_fifty_thousand_definitions(tmp_path, runtime):
    text = """\
        from runner_shim import Definitions, job

        def make(number):
            @job(name="job_%d" % number, description="the job number %d" % number)
            def one():
                pass
            return one

        defs = Definitions(jobs=[make(number) for number in range(50000)])
        """
    workspace = make_workspace(tmp_path, {"good.py": GOOD, "many.py": text})
    async with supervising(workspace, runtime) as running:
        assert await running.settled(240) == {"good": "ready", "many": "ready"}, running.states()
        entry = await running.status("many")
        assert entry["serving"]["counts"] == {"job": 50000}
        found, _ = await running.methods.list({"location": "many"})
        assert len(wire.unpack(b"".join(found.pieces))["definitions"]) == 50000
        shown, _ = await running.methods.show({"location": "many", "name": "job_49999"})
        assert shown["definition"]["description"] == "the job number 49999"
