"""What shows only when forked locations are restarted, reloaded or looked at from outside."""

from __future__ import annotations

import asyncio
import io
import sys
import zipfile
from pathlib import Path

import pytest
from supervised import Supervised, job, make_workspace, poll, save, supervising
from warmth import FORKED, method, methods, scratch_environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forkservers need Linux")

LIBRARIES = {
    "temporary_library.py": "import tempfile\nfolder = tempfile.TemporaryDirectory()\n",
    "exit_library.py": """\
        import atexit, os
        def note():
            open(os.path.join(PLACE, "ended-%s" % os.getpid()), "w").close()
        PLACE = "/"
        atexit.register(note)
        """,
    "finalizing_library.py": """\
        import weakref
        class Thing(object): pass
        thing = Thing()
        weakref.finalize(thing, print, "of the library")
        """,
    "conflicting_user.py": "import conflicting\nWHOSE = conflicting.WHOSE\n",
    "conflicting.py": "WHOSE = 'installed'\n",
    "noted.py": "import os\nPID = os.getpid()\n",
}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("over-time") / "environment"
    return scratch_environment(folder, sys.executable, LIBRARIES)


async def again(running: Supervised, name: str) -> None:
    """Reload a location and wait until it is ready."""
    generation = running[name].generation
    running[name].reload()
    await running.until(lambda: running[name].generation > generation, "another generation")
    await running.ready(name)


def described(running: Supervised, name: str) -> str:
    snapshot = running[name].snapshot
    assert snapshot is not None
    return snapshot.definitions.decode("utf-8", "replace")


def noting(expression: str) -> str:
    return f"from runner_shim import job\n\n@job(description=str({expression}))\ndef one():\n    pass\n"


async def test_a_temporary_directory_of_a_library_is_each_locations_own(tmp_path, runtime, scratch):
    text = "import os, temporary_library\nopen('of-' + __name__, 'w').write(temporary_library.folder.name)\n"
    keys = {"executable_path": str(scratch), "preload": ["temporary_library", "noted"]}
    workspace = make_workspace(
        tmp_path, {"a.py": text + job("one"), "b.py": text + job("one")}, {"a": keys, "b": keys}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        for name in "ab":
            how, why = await method(running, name)
            assert how == "forkserver"
            assert why == (
                "not preloaded: temporary_library, which makes a temporary file or directory"
            )
        a, b = (Path((tmp_path / f"of-{name}").read_text()) for name in "ab")
        assert a != b
        await again(running, "a")
        assert b.exists()
        for name in "ab":
            running[name].stop()
            await running[name].stopped()
        assert not b.exists()


async def test_exit_handlers_run_where_their_library_was_imported(tmp_path, runtime, scratch):
    uses = "import os, exit_library, finalizing_library\nexit_library.PLACE = os.getcwd()\n"
    uses += "import atexit\natexit.register(print, 'of the user')\n"
    keys = {
        "executable_path": str(scratch),
        "preload": ["exit_library", "finalizing_library", "logging", "noted"],
    }
    workspace = make_workspace(
        tmp_path, {"a.py": uses + job("one"), "b.py": job("one")}, {"a": keys, "b": keys}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await methods(running, "ab") == {FORKED}
        pids = {name: running.pid(name) for name in "ab"}
        for name in "ab":
            running[name].stop()
            await running[name].stopped()
        assert (tmp_path / f"ended-{pids['a']}").exists()
        assert not (tmp_path / f"ended-{pids['b']}").exists()
        assert "of the user" in await running.log("a")
        assert "of the library" not in await running.log("b")


async def test_an_archive_on_pythonpath_is_read_anew_and_its_change_is_noticed(
    tmp_path, runtime, scratch
):
    archive = tmp_path / "bundle.zip"

    def pack(whose: str) -> None:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as file:
            file.writestr("zipped/__init__.py", f"WHOSE = {whose!r}\n{'# longer' * len(whose)}\n")
            file.writestr("zipped/part.py", f"WHOSE = {whose!r}\n")
        temporary = archive.with_suffix(".new")
        temporary.write_bytes(content.getvalue())
        temporary.replace(archive)

    pack("first")
    text = "import zipped.part\n" + noting("zipped.WHOSE + zipped.part.WHOSE")
    keys = {"executable_path": str(scratch), "env": {"PYTHONPATH": str(archive)}}
    workspace = make_workspace(
        tmp_path,
        {"a.py": text, "b.py": text},
        {"a": keys, "b": {**keys, "start_method": "spawn"}},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await method(running, "a") == FORKED
        await running.watched()
        for whose in ("second, and longer", "third"):
            pack(whose)
            for name in "ab":
                await running.until(
                    lambda name=name, whose=whose: whose in described(running, name),
                    f"{name} has {whose}",
                )
        assert await method(running, "a") == FORKED


async def test_forked_processes_have_the_hash_seed_that_is_told(tmp_path, runtime, scratch):
    text = "import os\n" + noting("[hash('a text'), os.environ.get('PYTHONHASHSEED')]")
    keys = {"executable_path": str(scratch)}
    workspace = make_workspace(
        tmp_path,
        {"a.py": text, "b.py": text, "c.py": text},
        {"a": keys, "b": keys, "c": {**keys, "env": {"PYTHONHASHSEED": "77"}}},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await methods(running, "abc") == {FORKED}
        seeds = {}
        for name in "abc":
            seeds[name] = running.process(name).hash_seed
        assert seeds["a"] == seeds["b"] != "77"
        assert seeds["c"] == "77"
        assert described(running, "a") == described(running, "b")
        assert "'77'" in described(running, "c")
        assert "None" in described(running, "a")
        # A fresh process with that seed hashes alike.
        process = await asyncio.create_subprocess_exec(
            scratch,
            *("-c", "print(hash('a text'))"),
            env={"PYTHONHASHSEED": seeds["a"]},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert output.decode().strip() in described(running, "a")


async def test_what_cannot_be_handed_out_is_loaded_fresh_and_that_is_known(
    tmp_path, runtime, scratch
):
    text = (
        "open('begun', 'a').write('x')\nimport sys, os\n"
        "sys.path.insert(0, os.path.abspath('vendor'))\n"
        "import conflicting_user\n" + noting("conflicting_user.WHOSE")
    )
    keys = {"executable_path": str(scratch), "preload": ["conflicting_user", "noted"]}
    workspace = make_workspace(
        tmp_path,
        {
            "a.py": text,
            "b.py": "import conflicting_user\n" + noting("conflicting_user.WHOSE"),
            "vendor/conflicting.py": "WHOSE = 'vendored'\n",
        },
        {"a": keys, "b": keys},
    )
    reason = "finds another conflicting than is preloaded, and conflicting_user is preloaded"
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await method(running, "a") == ("spawn", reason)
        assert running["a"].generation == 1
        assert (tmp_path / "begun").read_text() == "xx"
        assert "vendored" in described(running, "a")
        assert await method(running, "b") == FORKED
        assert "installed" in described(running, "b")
        assert (
            f"the forked process cannot go on: {reason}; a fresh one starts"
            in await running.log("a")
        )
        await again(running, "a")
        assert (tmp_path / "begun").read_text() == "xxx"
        assert await method(running, "a") == ("spawn", reason)
        save(tmp_path / "b.py", "import conflicting_user, noted\n" + noting("noted.PID"))
        await running.until(lambda: running["b"].generation == 2, "b is loaded again")
        await running.ready("b")
        assert await method(running, "b") == FORKED


async def test_a_serving_process_that_cannot_be_handed_a_module_is_replaced_by_a_fresh_one(
    tmp_path, runtime, scratch
):
    text = (
        "import os, sys, threading, time\n\n"
        "def later():\n"
        "    while not os.path.exists('go'):\n        time.sleep(0.01)\n"
        "    sys.path.insert(0, os.path.abspath('vendor'))\n"
        "    import conflicting_user\n"
        "    open('of-' + conflicting_user.WHOSE, 'w').close()\n\n"
        "threading.Thread(target=later, daemon=True).start()\n"
    )
    keys = {"executable_path": str(scratch), "preload": ["conflicting_user"]}
    workspace = make_workspace(
        tmp_path,
        {"a.py": text + job("one"), "vendor/conflicting.py": "WHOSE = 'vendored'\n"},
        {"a": keys},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await method(running, "a") == FORKED
        (tmp_path / "go").touch()
        await running.until(lambda: running["a"].generation == 2, "another process")
        await running.ready("a")
        how, why = await method(running, "a")
        assert how == "spawn"
        assert why.startswith("finds another conflicting than is preloaded")
        await poll((tmp_path / "of-vendored").exists, "it was imported")
        assert not (tmp_path / "of-installed").exists()
