"""A disk that will not have an environment: the message says which one, and what is used up."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from envs_support import make_wheel
from places import PROGRAMS

from envs import disk

PROGRAM = PROGRAMS / "fill_disk.py"


def fails_on(
    tmp_path: Path, options: str, what: str, *requirements: str, then: str = "true", **env: str
) -> tuple[str, str, str]:
    """Kind, message and hint of making ``what`` on a tmpfs of ``options``, in a namespace."""
    prefix = ["unshare", "--mount", *(["--map-root-user"] if os.getuid() else [])]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"]).returncode:
        pytest.skip("no mount namespaces here")
    place = tmp_path / "disk"
    place.mkdir()
    steps = f'mount -t tmpfs -o {options} tmpfs {place} && ({then}) && exec "$@"'
    command = [sys.executable, str(PROGRAM), what, str(place), *requirements]
    done = subprocess.run(
        [*prefix, "sh", "-c", steps, "sh", *command],
        cwd=tmp_path,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout, done.stderr
    kind, message, hint = json.loads(done.stdout)
    return kind, message, hint or ""


def test_a_disk_with_no_room_for_a_virtualenv(tmp_path: Path) -> None:
    kind, message, hint = fails_on(tmp_path, "size=8k", "environment")
    assert kind == "storage"
    assert f"the file system at {tmp_path}/disk is full (" in message
    assert message.endswith("of 8 KiB are free)")
    assert hint == f"make room below {tmp_path}/disk"


def test_a_disk_with_no_room_for_what_is_installed(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "wheels", "lemon", source="# a line of a large module\n" * 50_000)
    env = {"UV_CACHE_DIR": str(tmp_path / "cache")}
    kind, message, hint = fails_on(tmp_path, "size=1m", "environment", str(wheel), **env)
    assert kind == "storage", message
    assert f"the file system at {tmp_path}/disk " in message and "of 1 MiB are free" in message
    assert "python3-venv" not in hint


def test_a_disk_without_inodes(tmp_path: Path) -> None:
    kind, message, hint = fails_on(tmp_path, "size=50m,nr_inodes=12", "environment")
    assert kind == "storage"
    assert f"the file system at {tmp_path}/disk is out of inodes (0 of 12 are free)" in message
    assert hint.startswith(f"remove files below {tmp_path}/disk")


def test_a_disk_that_is_read_only(tmp_path: Path) -> None:
    read_only = f"mkdir -p disk/.supervise/envs && mount -o remount,ro {tmp_path}/disk"
    kind, message, _ = fails_on(tmp_path, "size=1m", "environment", then=read_only)
    assert kind == "storage"
    assert message.endswith(f"the file system at {tmp_path}/disk is mounted read-only")


def test_a_cache_with_no_room_for_the_overlay(tmp_path: Path) -> None:
    kind, message, _ = fails_on(tmp_path, "size=200k", "overlay")
    assert kind == "storage"
    assert message.startswith("the runtime overlay (pyzmq and msgpack)")
    assert f"the file system at {tmp_path}/disk is full (" in message


def test_a_limit_of_file_sizes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "overlay", str(tmp_path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_480, 20_480)),
        capture_output=True,
        text=True,
        timeout=100,
    )
    kind, message, hint = json.loads(done.stdout)
    assert kind == "storage"
    assert message.endswith("no file may be larger than 20 KiB here")
    assert "ulimit -f" in hint


@pytest.mark.parametrize(
    "said",
    [
        "error: failed\n  cause: failed to write to file `{0}/a b/x.so`: No space left on device "
        "(os error 28)",
        "error: failed to copy file from /nowhere/x to {0}/x: Kein Speicherplatz (os error 28)",
        "ERROR: Could not install packages due to an OSError: [Errno 28] Auf dem Gerät ist kein "
        "Speicherplatz mehr verfügbar: '{0}/x'",
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    ],
)
def test_the_words_of_tools(tmp_path: Path, said: str) -> None:
    error = disk.refused_in(said.format(tmp_path), "environment ml", [tmp_path / "not" / "yet"])
    assert error is not None
    mount = tmp_path
    while not mount.is_mount():
        mount = mount.parent
    assert error.kind == "storage"
    assert error.message.startswith(f"environment ml cannot be written: the file system at {mount}")
    assert error.detail == said.format(tmp_path)


def test_a_quota_and_what_is_not_of_the_disk(tmp_path: Path) -> None:
    error = disk.refused(OSError(errno.EDQUOT, "Disk quota exceeded"), tmp_path, "environment ml")
    assert error is not None
    assert "the disk quota on the file system at" in error.message
    assert disk.refused(PermissionError(errno.EACCES, "no"), tmp_path, "environment ml") is None
    assert disk.refused_in("No solution found", "environment ml", [tmp_path]) is None
