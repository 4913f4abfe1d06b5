"""Installed packages: a change is told once it is over, and only to those whose packages changed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from envs.installed import package_directories
from supervisor.watching.reloading import Disk
from supervisor.watching.site_packages import Packages, fingerprint
from supervisor.watching.watcher import Watcher

DEADLINE = 20.0


def environment(root: Path, name: str) -> tuple[Path, Path]:
    prefix = root / name
    site = prefix / "lib" / "python3.9" / "site-packages"
    (site / "old-1.0.dist-info").mkdir(parents=True)
    return prefix, site


async def scenario(root: Path) -> list[Path]:
    told: list[Path] = []
    heard = asyncio.Event()
    armed = asyncio.Event()

    def changed(prefix: Path) -> None:
        told.append(prefix)
        heard.set()

    packages: Packages
    disk = Disk()
    watcher = Watcher(lambda _, paths: packages.hear(paths), lambda _: armed.set(), print)
    packages = Packages(watcher, disk, changed)
    one, site = environment(root, "one")
    other, other_site = environment(root, "other")
    watcher.start()
    try:
        packages.use([one, other])
        await asyncio.wait_for(armed.wait(), DEADLINE)

        (other_site / "module.py").write_text("")  # no package
        (site / "new-2.0.dist-info").mkdir()
        (site / "more-2.0.dist-info").mkdir()
        await asyncio.wait_for(heard.wait(), DEADLINE)
        assert told == [one]

        heard.clear()
        (other_site / "old-1.0.dist-info").rename(other_site / "old-1.1.dist-info")
        await asyncio.wait_for(heard.wait(), DEADLINE)
    finally:
        packages.close()
        await watcher.close()
        disk.close()
    assert told == [one, other]
    return told


def test_a_change_is_told_once_and_for_its_own_environment(tmp_path: Path) -> None:
    assert len(asyncio.run(scenario(tmp_path))) == 2


def test_directories_of_an_environment(tmp_path: Path) -> None:
    _prefix, site = environment(tmp_path, "one")
    debian = tmp_path / "one" / "lib" / "python3" / "dist-packages"
    debian.mkdir(parents=True)
    assert package_directories(tmp_path / "one") == sorted([str(site), str(debian)])
    assert package_directories(tmp_path / "none") == []


def test_the_fingerprint_is_that_of_what_is_installed(tmp_path):
    folder = tmp_path / "lib" / "python3.11" / "site-packages"
    (folder / "one-1.0.dist-info").mkdir(parents=True)
    before = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == before
    (folder / "one").mkdir()  # no distribution: another folder beside it
    assert fingerprint(tmp_path) == before
    (folder / "two-1.0.dist-info").mkdir()
    assert fingerprint(tmp_path) != before
    assert fingerprint(tmp_path / "nowhere")
