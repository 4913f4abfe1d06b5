"""A run on a disk that is full: it goes on, and how it ended is on the disk all the same."""

from __future__ import annotations

import contextlib
import socket
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


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as opened, contextlib.suppress(OSError):
        while True:
            opened.write(b"x" * 4096)


def test_an_end_that_the_disk_does_not_take_is_told_of_and_written_when_there_is_room(tmp_path):
    """Not even at its beginning was there room for the final record."""
    folder = tmp_path / "team"
    folder.mkdir()
    with (
        small_disk(folder / "runs"),
        loaded(folder, MODULE) as team,
        contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as heard,
    ):
        heard.bind(str(tmp_path / "heard"))
        heard.settimeout(60)
        journal, request = team.order(notify=str(tmp_path / "heard"))
        ballast = folder / "runs" / "first"
        fill(ballast)
        with ballast.open("r+b") as opened:  # a few small files, and no more
            opened.truncate(ballast.stat().st_size - 40960)
        assert team.fork(request) == ""
        said = b""
        while b"trouble" not in said:
            said = heard.recv(500)
        assert said == b"run1 trouble its end cannot be written: no space left on device"
        assert journal.final() is None
        assert journal.monitor() > 0
        ballast.unlink()
        assert ended(journal)["state"] == "success"
