"""Reloads when a link is swapped: releases, mounted configuration, environments; the old ones are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from forkservers import scratch_environment, site_packages
from supervised import job, make_workspace, poll, reloaded, save, supervising


def swap(link: Path, target: str) -> None:
    """Have ``link`` lead to ``target``, at once: ``ln -s target new && mv -T new link``."""
    new = link.with_name(link.name + ".new")
    new.symlink_to(target)
    new.replace(link)


def location(name: str, lib: str = "lib") -> str:
    """A job named after the lib that is found, and after the directory that is worked in."""
    return (
        f"import os, {lib}\nfrom runner_shim import job\n"
        f"@job(name='{name}_%d_%s' % ({lib}.N, open('where').read()))\ndef a(): pass\n"
    )


def release(folder: Path, number: int) -> None:
    files = {
        "file.py": location("file"),
        "lib.py": f"N = {number}\n",
        "where": str(number),
        "team/__init__.py": location("package", "team.lib"),
        "team/lib.py": f"N = {number}\n",
        "team/defs.py": location("module", "team.lib"),
    }
    make_workspace(folder / "releases" / str(number), files, {})


WORKED_IN = {"working_directory": "current"}
LOCATIONS = {
    "file": {"relative_path": "current/file.py", **WORKED_IN},
    "module": {"module_name": "team.defs", **WORKED_IN},
    "package": {"package_name": "team", **WORKED_IN},
}


async def test_a_swapped_release_is_loaded_whatever_the_target(tmp_path, runtime):
    for number in (1, 2, 3):
        release(tmp_path, number)
    (tmp_path / "current").symlink_to("releases/1")
    workspace = make_workspace(tmp_path, {"other.py": job("other")}, {**LOCATIONS, "other": {}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        for number in (1, 2, 3):
            await running.watched()
            if number > 1:
                swap(tmp_path / "current", f"releases/{number}")
            for name in LOCATIONS:
                await reloaded(running, name, f"job:{name}_{number}_{number}")
            where = os.readlink(f"/proc/{running.pid('file')}/cwd")
            assert where == str(tmp_path / "releases" / str(number))
        assert {running[name].generation for name in LOCATIONS} == {3}
        assert running["other"].generation == 1
        # What is watched is where it leads now.
        await running.watched()
        save(tmp_path / "releases" / "2" / "lib.py", "N = 22\n")
        save(tmp_path / "releases" / "3" / "lib.py", "N = 33\n")
        await reloaded(running, "file", "job:file_33_3")
        assert running["file"].generation == 4
        assert running["module"].generation == 3


async def test_a_swap_mends_a_release_that_cannot_be_loaded(tmp_path, runtime):
    for number in (1, 2):
        release(tmp_path, number)
    (tmp_path / "releases" / "1" / "lib.py").unlink()
    save(tmp_path / "releases" / "1" / "team" / "lib.py", "import os\nos._exit(1)\n")
    (tmp_path / "current").symlink_to("releases/1")
    crash = {"restart": {"max_restarts": 0}, "start_method": "spawn"}
    locations = {**LOCATIONS, "module": {**LOCATIONS["module"], **crash}}
    del locations["package"]
    workspace = make_workspace(tmp_path, {}, locations)
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"file": "failed", "module": "crashed"}
        await running.watched()
        swap(tmp_path / "current", "releases/2")
        await reloaded(running, "file", "job:file_2_2")
        await reloaded(running, "module", "job:module_2_2")


async def test_a_release_that_is_not_there_yet_is_waited_for(tmp_path, runtime):
    (tmp_path / "current").symlink_to("releases/2")
    workspace = make_workspace(tmp_path, {}, LOCATIONS)
    async with supervising(workspace, runtime) as running:
        assert set((await running.settled()).values()) == {"failed"}
        await running.watched()
        release(tmp_path, 2)
        for name in LOCATIONS:
            await reloaded(running, name, f"job:{name}_2_2")


async def test_a_mounted_file_is_loaded_anew_when_the_mount_is_swapped(tmp_path, runtime):
    """As Kubernetes swaps a ConfigMap: ``defs.py -> ..data/defs.py``, ``..data -> ..2026_02``."""
    mount = tmp_path / "mount"
    for number in (1, 2):
        folder = mount / f"..2026_{number}"
        folder.mkdir(parents=True)
        (folder / "defs.py").write_text(job(f"v{number}"))
    (mount / "..data").symlink_to("..2026_1")
    (mount / "defs.py").symlink_to("..data/defs.py")
    locations = {"a": {"relative_path": "mount/defs.py"}}
    workspace = make_workspace(tmp_path, {}, locations)
    async with supervising(workspace, runtime) as running:
        await reloaded(running, "a", "job:v1")
        await running.watched()
        swap(mount / "..data", "..2026_2")
        await reloaded(running, "a", "job:v2")
        assert running["a"].generation == 2
        # The old one is removed, as there too.
        await running.watched()
        (mount / "..2026_1" / "defs.py").unlink()
        (mount / "..2026_1").rmdir()
        await running.watched()
        assert running["a"].generation == 2


async def test_a_workspace_file_and_what_it_names_behind_links(tmp_path, runtime):
    for number in (1, 2):
        release(tmp_path, number)
        folder = tmp_path / "releases" / str(number)
        make_workspace(
            folder,
            {},
            {"file": {"env_file": "../../env/current"}}
            | {f"only_{number}": {"relative_path": "file.py"}},
        )
        (tmp_path / "env").mkdir(exist_ok=True)
        (tmp_path / "env" / str(number)).write_text(f"X={number}\n")
    (tmp_path / "current").symlink_to("releases/1")
    (tmp_path / "env" / "current").symlink_to("1")
    async with supervising(tmp_path / "current" / "workspace.yaml", runtime) as running:
        await reloaded(running, "file", "job:file_1_1")
        await running.watched()
        swap(tmp_path / "current", "releases/2")
        await running.until(
            lambda: list(running.daemon.fleet.locations) == ["file", "only_2"], "read"
        )
        await reloaded(running, "file", "job:file_2_2")
        await running.watched()
        swap(tmp_path / "env" / "current", "2")
        await running.until(lambda: running["file"].spec.env == {"X": "2"}, "read again")
        await running.ready("file")


async def test_a_requirements_file_behind_a_link_is_an_input(tmp_path, runtime):
    for number in (1, 2):
        (tmp_path / f"requirements.{number}").write_text(f"# {number}\n")
    (tmp_path / "requirements.txt").symlink_to("requirements.1")
    workspace = make_workspace(
        tmp_path,
        {"a.py": job("a")},
        {"a": {"environment": "own"}},
        environments={"own": {"requirements_file": "requirements.txt"}},
    )
    async with supervising(workspace, runtime) as running:
        await poll(lambda: running.daemon.files.watched, "the workspace's files are watched")
        before = running["a"].generation
        swap(tmp_path / "requirements.txt", "requirements.2")
        await running.until(lambda: running["a"].generation > before, "begun anew")
        assert running["a"].reason.startswith("requirements.txt changed")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forkservers need Linux")
async def test_an_environment_behind_a_link_is_another_one_after_a_swap(tmp_path, runtime):
    for number in (1, 2):
        folder = tmp_path / "venvs" / str(number)
        folder.parent.mkdir(exist_ok=True)
        scratch_environment(folder, sys.executable, {"library.py": f"N = {number}\n"})
        (site_packages(folder) / "library-1.0.dist-info").mkdir()
    (tmp_path / "env").symlink_to("venvs/1")
    text = "import library\nfrom runner_shim import job\n@job(name='v%d' % library.N)\n"
    workspace = make_workspace(
        tmp_path,
        {"a.py": text + "def a(): pass\n", "other.py": job("other")},
        {"a": {"executable_path": "env/bin/python"}, "other": {}},
    )
    async with supervising(workspace, runtime) as running:
        await reloaded(running, "a", "job:v1")
        await running.ready()
        await poll(lambda: running.daemon.packages.watched, "packages are watched")
        swap(tmp_path / "env", "venvs/2")
        await reloaded(running, "a", "job:v2")
        assert running["a"].generation == 2
        assert running["other"].generation == 1
        # And an order right after a swap does not get what the old one had preloaded.
        swap(tmp_path / "env", "venvs/1")
        running["a"].reload()
        await running.until(lambda: running["a"].generation == 3, "begun")
        await running.ready("a")
        assert running.definitions("a") == ["job:v1"]
        assert os.readlink(tmp_path / "env") == "venvs/1"


async def test_an_interpreter_behind_a_link_is_another_one_after_a_swap(tmp_path, runtime):
    scratch_environment(tmp_path / "venv", sys.executable, {})
    base = os.readlink(tmp_path / "venv" / "bin" / "python")
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nexport WRAPPED=yes\nexec {base} "$@"\n')
    wrapper.chmod(0o755)
    (tmp_path / "python").symlink_to("venv/bin/python")
    text = "import os\nfrom runner_shim import job\n@job(name=os.environ.get('WRAPPED', 'no'))\n"
    workspace = make_workspace(
        tmp_path,
        {"a.py": text + "def a(): pass\n"},
        {"a": {"executable_path": "./python", "start_method": "spawn"}},
    )
    async with supervising(workspace, runtime) as running:
        await reloaded(running, "a", "job:no")
        await running.watched()
        swap(tmp_path / "python", "wrapper")
        await running.until(lambda: running["a"].generation == 2, "begun anew")
        await running.ready()
        assert running["a"].reason
