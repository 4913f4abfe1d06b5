"""The steps of examples/docker/Dockerfile in a minimal Debian, and what its command does there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from chroots import Chroot, steps_of
from places import ROOT

DOCKER = ROOT / "examples" / "docker"


def test_the_compose_file_is_of_the_dockerfile() -> None:
    service = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["supervise"]
    steps = steps_of((DOCKER / "Dockerfile").read_text())
    assert (DOCKER / service["build"]["context"]).resolve() == ROOT
    assert ROOT / service["build"]["dockerfile"] == DOCKER / "Dockerfile"
    directory = next(rest for word, rest in steps if word == "WORKDIR")
    assert service["volumes"] == [f"state:{directory}/.supervise/workspace.yaml"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")
@pytest.mark.skipif(shutil.which("debootstrap") is None, reason="debootstrap is not installed")
def test_the_steps_of_the_dockerfile_and_its_command(tmp_path: Path) -> None:
    steps = steps_of((DOCKER / "Dockerfile").read_text())
    image = re.fullmatch(r"debian:(\w+)-slim", steps[0][1])
    assert image is not None
    chroot = Chroot(tmp_path, image[1])
    for word, rest in steps:
        chroot.step(word, rest, ROOT)
    process = subprocess.Popen(
        chroot.words(chroot.command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        inside = _process_one(process.pid)

        def also(*words: str) -> str:
            """A command beside it, as `docker exec` would run it."""
            enter = ["nsenter", "--target", str(inside), "--mount", "--pid", "--root"]
            pairs = [f"{name}={value}" for name, value in chroot.variables.items()]
            command = [*enter, "/usr/bin/env", "-i", "-C", chroot.directory, *pairs, *words]
            return subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=120
            ).stdout

        also("supervise", "wait", "--timeout", "60")
        assert "success" in also("supervise", "launch", "reports", "report")
        assert "reports" in also("supervise", "env", "list")
        os.kill(inside, signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
        assert "everything has stopped" in said
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        shutil.rmtree(tmp_path / "root", ignore_errors=True)


def _process_one(unshare: int) -> int:
    """The process that is the first in the namespace that ``unshare`` has made."""
    children = Path(f"/proc/{unshare}/task/{unshare}/children")
    deadline = time.monotonic() + 60
    while True:
        for child in children.read_text().split():
            # It is the shell until the chroot is entered.
            if os.readlink(f"/proc/{child}/root") != "/":
                return int(child)
        assert time.monotonic() < deadline
        time.sleep(0.05)
