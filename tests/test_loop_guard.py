"""The guard of event loops is seen to fail: a violation of each kind, here and in a supervisor."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import types
from pathlib import Path

import loop_guard
import pytest
from loading import write
from nested import run_pytest
from supervised import GOOD, make_workspace, supervising

ROOT = Path(__file__).parent.parent


def product(source: str) -> types.ModuleType:
    """A module that passes for one of ours: it lies in supervisor/, as far as its code objects say."""
    module = types.ModuleType("supervisor.invented")
    code = compile(source, str(ROOT / "supervisor" / "invented.py"), "exec")
    exec(code, module.__dict__)
    return module


OURS = product(
    """
import glob, os, shutil, sqlite3, subprocess, sys

async def call(work, *arguments):
    return work(*arguments)

def plain(work, *arguments):
    return work(*arguments)

async def spin(clock, seconds):
    end = clock() + seconds
    while clock() < end:
        pass

def forked():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

def started():
    os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {}), 0)

VIOLATIONS = {
    "open": lambda folder: (folder / "file").read_text(),
    "os.listdir": lambda folder: os.listdir(folder),
    "os.scandir": lambda folder: os.scandir(folder).close(),
    "glob.glob": lambda folder: glob.glob(f"{folder}/*.nothing"),
    "os.mkdir": lambda folder: (folder / "made").mkdir(),
    "os.rename": lambda folder: (folder / "file").rename(folder / "other"),
    "os.remove": lambda folder: (folder / "file").unlink(),
    "shutil.rmtree": lambda folder: shutil.rmtree(folder / "inner"),
    "sqlite3.connect": lambda folder: sqlite3.connect(":memory:").close(),
    "os.fork": lambda folder: forked(),
    "os.posix_spawn": lambda folder: started(),
    "subprocess.Popen": lambda folder: subprocess.run([sys.executable, "-c", ""], check=True),
}
"""
)
VIOLATIONS = OURS.VIOLATIONS


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:This process"
)  # is multi-threaded: Python 3.12 and newer on fork
@pytest.mark.parametrize("event", VIOLATIONS)
async def test_what_blocks_is_found_where_it_is_done(tmp_path, event):
    write(tmp_path, {"file": "", "inner/file": ""})
    await asyncio.create_task(OURS.call(VIOLATIONS[event], tmp_path))
    found = loop_guard.taken()
    assert any(one.startswith(f"{event} in the event loop") for one in found), found
    assert all("supervisor/invented.py" in one for one in found)


async def test_a_thread_may_do_it_and_a_test_and_anybody_in_proc(tmp_path):
    write(tmp_path, {"file": ""})
    await asyncio.to_thread(OURS.plain, VIOLATIONS["open"], tmp_path)
    OURS.plain(VIOLATIONS["open"], tmp_path)
    (tmp_path / "file").read_text()
    await OURS.call(Path("/proc/self/stat").read_text)
    await OURS.call(os.listdir, "/proc")
    assert loop_guard.taken() == []


async def test_a_client_that_awaits_it_is_not_at_fault(tmp_path):
    write(tmp_path, {"file": ""})
    await OURS.call(VIOLATIONS["open"], tmp_path)
    assert len(loop_guard.taken()) == 1


async def test_an_import_opens_files(tmp_path, monkeypatch):
    write(tmp_path, {"never_imported_before.py": ""})
    monkeypatch.syspath_prepend(str(tmp_path))
    await OURS.call(__import__, "never_imported_before")
    assert any("never_imported_before" in one for one in loop_guard.taken())


async def test_processor_time_is_found_and_where_it_went():
    await asyncio.create_task(OURS.spin(loop_guard.time.thread_time, 0.3))
    (found,) = loop_guard.taken()
    assert "ms of processor time" in found
    assert "supervisor/invented.py" in found and "in spin" in found


async def test_time_that_others_use_does_not_count():
    """Waiting for a processor, or for anything, is no processor time."""
    await asyncio.create_task(OURS.call(loop_guard.time.sleep, 0.2))
    assert loop_guard.taken() == []


async def test_a_supervisor_here_is_watched(tmp_path, runtime, monkeypatch):
    """``status`` blocks on purpose: whoever asks, it is found in the supervisor's loop."""
    workspace = make_workspace(tmp_path / "w", {"a.py": GOOD})
    blocking = product("def look(*arguments, **more):\n    return open(__file__) and {}\n")
    blocking.__file__ = __file__
    async with supervising(workspace, runtime) as running:
        await running.ready()
        monkeypatch.setattr("supervisor.server.handlers.environment_status", blocking.look)
        with pytest.raises(KeyError), pytest.warns(ResourceWarning):
            await running.methods.environments({})
    assert any("handlers.py" in one for one in loop_guard.taken())


def test_a_supervisor_elsewhere_leaves_reports(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        f"""\
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import loop_guard
loop_guard.watch_process()
code = compile("async def look():\\n    open(__file__).close()", {str(ROOT / "supervisor/x.py")!r}, "exec")
exec(code)
asyncio.run(look())
"""
    )
    reports = tmp_path / "reports"
    reports.mkdir()
    environ = {**os.environ, loop_guard.REPORTS: str(reports)}
    subprocess.run([sys.executable, str(program)], env=environ, check=True, timeout=60)
    (found,) = loop_guard.taken(reports)
    assert found.startswith("open in the event loop: ") and "supervisor/x.py" in found
    assert loop_guard.taken(reports) == []


@pytest.mark.slow
def test_a_test_that_holds_a_loop_up_fails(tmp_path):
    """The whole way: pytest with our conftest.py, and a test that is wrong."""
    write(
        tmp_path,
        {
            "test_wrong.py": f"""\
                async def test_wrong(tmp_path):
                    code = compile(
                        "async def look(path):\\n    path.write_text('')", {str(ROOT / "envs/x.py")!r}, "exec"
                    )
                    names = {{}}
                    exec(code, names)
                    await names["look"](tmp_path / "file")

                async def test_right():
                    pass
                """,
        },
    )
    done = run_pytest(tmp_path, "test_wrong.py")
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "open in the event loop" in done.stdout
