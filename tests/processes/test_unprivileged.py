"""A whole supervisor that is not root: where there is no cgroup a limit of processes is an rlimit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from loading import ROOT
from places import TESTS
from supervised import job, make_workspace, marked

# Nobody else's, not even that of another worker: the limit counts all processes of a user.
USER = 40_000 + os.getpid() % 20_000
# Only root can become somebody whose processes nobody else starts.
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")

# Becomes another user, then supervises once all is settled and tells of the failure of the bomb.
PROGRAM = """\
import asyncio, json, os, sys
from functools import partial
from pathlib import Path
workspace, user = Path(sys.argv[1]), int(sys.argv[2])
os.setgroups([]); os.setgid(user); os.setuid(user)
from supervised import supervising
from supervisor.processes.limits import Cgroups
import supervisor.server.daemon

async def main():
    supervisor.server.daemon.Cgroups = partial(Cgroups, workspace.parent / "none")
    async with supervising(workspace, Path(os.environ["XDG_RUNTIME_DIR"])) as running:
        states = await running.settled()
        print(json.dumps({
            "states": states,
            "failure": (await running.status("bomb"))["failure"],
            "limits": dict(running.process("good").limits),
        }))

asyncio.run(main())
"""
BOMB = """\
import os, time
kept = []
while True:
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
    kept.append(pid)
"""
ROOM = 60


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory of that user's own."""
    path = Path(tempfile.mkdtemp(prefix="wsn", dir="/tmp"))
    os.chown(path, USER, USER)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "auto"])
def test_a_bomb_meets_its_limit_and_is_told_which(folder: Path, method: str) -> None:
    # Those of the user that run already count as well, threads included.
    limit = ROOM + processes_of(USER)
    workspace = make_workspace(
        folder / "w",
        {"good.py": job("good"), "bomb.py": BOMB},
        {"good": {"limits": {"processes": limit + 100}}, "bomb": {"limits": {"processes": limit}}},
        defaults={"start_method": method},
    )
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER)
    marker = uuid.uuid4().hex
    done = subprocess.run(
        [interpreter(), "-c", PROGRAM, str(workspace), str(USER)],
        env={
            **{name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_RUNTIME_DIR": str(folder),
            "PYTHONPATH": os.pathsep.join(own_modules()),
            "PYTHONDONTWRITEBYTECODE": "1",
            "WS_TEST_MARKER": marker,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["states"] == {"good": "ready", "bomb": "failed"}
    assert found["limits"] == {"processes": "rlimit"}
    failure = found["failure"]
    assert failure["exception"]["type"] == "BlockingIOError"
    assert failure["hint"] == (
        f"its limit is {limit} processes and threads: raise limits.processes"
    )
    assert marked(marker) == []


def own_modules() -> list[str]:
    """Where the supervisor and what it imports are, without the standard library."""
    return [str(TESTS), str(ROOT), *(one for one in sys.path if "-packages" in one)]


def interpreter() -> str:
    """A Python of our version that another user can run with our modules; skips without."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    check = (
        "import os, sys; os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))\n"
        "import json, venv, asyncio, zmq, yaml, supervised\n"
        "import subprocess; subprocess.run([sys.executable, '-S', '-c', ''], check=True)\n"
    )
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        if Path(candidate).exists():
            done = subprocess.run(
                [candidate, "-c", check, str(USER)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(own_modules())},
                cwd="/",
                capture_output=True,
            )
            if done.returncode == 0:
                return candidate
    pytest.skip("another user can run no Python of our version")


def processes_of(user: int) -> int:
    """How many processes and threads a user has."""
    count = 0
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                if os.stat(f"/proc/{entry}").st_uid == user:
                    count += len(os.listdir(f"/proc/{entry}/task"))
            except OSError:
                continue
    return count
