"""Other packages are installed into an environment: its forkserver is replaced, its locations load."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from forkservers import forkservers, launcher, method, scratch_environment, site_packages
from supervised import Supervised, job, make_workspace, poll, supervising

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forkservers need Linux")

FORKED = ("forkserver", "")
# The job is named after what the library says.
USER = """\
import some_library
from runner_shim import job

@job(name="value_%d" % some_library.VALUE)
def told():
    pass
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtualenv of the test's own, with one library; its directory."""
    folder = tmp_path / "environment"
    scratch_environment(folder, sys.executable, {"some_library.py": "VALUE = 1\n"})
    (site_packages(folder) / "some_library-1.0.dist-info").mkdir()
    return folder


def install(environment: Path, version: int, text: str) -> None:
    """As an installer does: the files, and another metadata directory."""
    site = site_packages(environment)
    # Of another size each time: bytecode is known by its source's size and second.
    (site / "some_library.py").write_text(text + "#" * version)
    for old in site.glob("some_library-*.dist-info"):
        old.rmdir()
    (site / f"some_library-{version}.0.dist-info").mkdir()


def workspace_in(folder: Path, environment: Path, **more: str) -> Path:
    """``one`` and ``two`` use the environment, ``other`` our own."""
    there = {"executable_path": str(environment / "bin" / "python")}
    return make_workspace(
        folder,
        {"one.py": USER, "two.py": USER, "other.py": job("nightly"), **more},
        {"one": there, "two": there, "other": {}},
    )


async def packages_watched(running: Supervised, environment: Path) -> None:
    """Wait until a change of what is installed would be noticed."""
    await poll(lambda: running.daemon.packages.watched, "watched, and were looked at")


@pytest.mark.slow
async def test_another_version_is_loaded_by_another_forkserver(tmp_path, runtime, environment):
    async with supervising(workspace_in(tmp_path / "w", environment), runtime) as running:
        await running.ready()
        await packages_watched(running, environment)
        assert await method(running, "one") == FORKED
        (ours,) = (
            server
            for key, server in launcher(running).servers.items()
            if str(environment) in key[0]
        )
        before, pid_of_other = ours.pid, running.pid("other")
        assert before in forkservers(running)

        install(environment, 2, "VALUE = 2\n")
        for name in ("one", "two"):
            await running.until(lambda name=name: running[name].generation == 2, "it loads anew")
            await running.until(
                lambda name=name: running.definitions(name) == ["job:value_2"], "the new version"
            )
        await running.ready()
        for name in ("one", "two"):
            assert await method(running, name) == FORKED
            assert running[name].generation == 2, "once, however many use the environment"
        assert before not in forkservers(running)
        # Whose environment it is not is not concerned.
        assert (running.pid("other"), running["other"].generation) == (pid_of_other, 1)


@pytest.mark.slow
async def test_a_mended_library_is_forked_again(tmp_path, runtime, environment):
    """Not preloaded because its import failed in the forkserver: until the packages change."""
    # Only in a forkserver: the locations themselves load.
    spoilt = (
        "import sys\n"
        "if any(word.startswith('forkserver ') for word in sys.orig_argv):\n"
        "    raise RuntimeError('no licence')\n"
        "VALUE = 1\n"
    )
    (site_packages(environment) / "some_library.py").write_text(spoilt)
    async with supervising(workspace_in(tmp_path / "w", environment), runtime) as running:
        await running.ready()
        await packages_watched(running, environment)
        for name in ("one", "two"):
            started, reason = await method(running, name)
            assert started == "forkserver"
            assert reason == (
                "not preloaded: some_library, which cannot be imported (RuntimeError: no licence)"
            )

        install(environment, 2, "VALUE = 2\n")
        for name in ("one", "two"):
            await running.until(
                lambda name=name: running.definitions(name) == ["job:value_2"], "the new version"
            )
        await running.ready()
        for name in ("one", "two"):
            assert await method(running, name) == FORKED


async def test_what_is_no_package_changes_nothing(tmp_path, runtime, environment):
    """Only the list of distributions counts: a file beside them is somebody's cache."""
    async with supervising(workspace_in(tmp_path / "w", environment), runtime) as running:
        await running.ready()
        await packages_watched(running, environment)
        servers = sorted(forkservers(running))
        (site_packages(environment) / "nobody_imports_it.py").write_text("VALUE = 3\n")
        # A later change of the right kind, elsewhere, has been dealt with: so has this one.
        (tmp_path / "w" / "other.py").write_text(job("hourly"))
        await running.until(lambda: running.definitions("other") == ["job:hourly"], "seen")
        assert {running["one"].generation, running["two"].generation} == {1}
        assert running.daemon.packages.watched, "nor is it looked into"
        assert sorted(forkservers(running)) == servers


@pytest.mark.slow
async def test_what_is_installed_at_once_is_not_missed(tmp_path, runtime, environment):
    async with supervising(workspace_in(tmp_path / "w", environment), runtime) as running:
        await running.ready("one")
        install(environment, 2, "VALUE = 2\n")
        await running.until(lambda: running.definitions("one") == ["job:value_2"], "noticed")


@pytest.mark.slow
async def test_one_that_loads_without_end_keeps_no_other_from_hearing(
    tmp_path, runtime, environment
):
    endless = "import threading\nthreading.Event().wait()\n"
    workspace = workspace_in(tmp_path / "w", environment)
    make_workspace(tmp_path / "endless", {"slow.py": endless})
    with workspace.open("a") as file:
        file.write(f"- python_file: {tmp_path / 'endless' / 'slow.py'}\n")
    async with supervising(workspace, runtime) as running:
        await running.ready("one", "two")
        install(environment, 2, "VALUE = 2\n")
        await running.until(lambda: running.definitions("one") == ["job:value_2"], "noticed")
        assert running["slow.py"].state == "loading"
