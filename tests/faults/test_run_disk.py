"""A run on a disk that is full: it goes on, and how it ended is on the disk all the same."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from monitored import HEAD, ended, kinds, loaded

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

MODULE = (
    HEAD
    + """
@op
def fill(context):
    with open("runs/ballast", "wb") as file:
        try:
            while True:
                file.write(b"x" * 65536)
                file.flush()
        except OSError:
            pass
    for number in range(200):
        context.log.info("event %d" % number)
    print("x" * 100000, flush=True)
    if os.path.exists("room again"):
        os.unlink("runs/ballast")
        time.sleep(2.5)

@job
def nightly():
    fill()
"""
)


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[None]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("again", [False, True])
def test_a_full_disk_takes_neither_the_run_nor_its_end(tmp_path, again):
    folder = tmp_path / "team"
    folder.mkdir()
    if again:
        (folder / "room again").touch()
    with small_disk(folder / "runs"), loaded(folder, MODULE) as team:
        journal = team.launch()
        final = ended(journal)
        assert final["state"] == "success"
        if again:
            found = kinds(journal)
            assert found[:2] == ["RUN_START", "STEP_START fill"]
            assert found[-1] == "RUN_SUCCESS"
            assert found.count("LOGS fill") == 200
            assert final["dropped"] == 0
        else:
            assert final["dropped"] > 0
            assert final["lost_output"] > 0
