"""A supervisor that is process 1 of a container: a namespace of processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from launched import FOREVER, UNTIL_GO, journals, one_op
from monitored import written
from supervised import DEADLINE, alive, environ, make_workspace, poll_now

from supervisor import procfs
from supervisor.processes.pid1 import REPLACED

COMMAND = [sys.executable, "-m", "supervisor.cli"]
_UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL")


def _can() -> bool:
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return False
    return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _can(), reason="no namespace of processes can be made here")


def children(pid: int) -> list[int]:
    return [int(one) for one in procfs.read(f"/proc/{pid}/task/{pid}/children").split()]


class Container:
    """A namespace whose process 1 is ``supervise run``."""

    def __init__(self, folder: Path, runtime: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.runtime = runtime
        self.process = process
        poll_now(lambda: children(process.pid), "process 1")
        (self.init,) = children(process.pid)

    @property
    def supervisor(self) -> int:
        """The supervisor's process, as we see it from outside; 0 while there is none."""
        found = [one for one in children(self.init) if b"supervisor.cli" in self.words(one)]
        return found[0] if found else 0

    @staticmethod
    def words(pid: int) -> bytes:
        try:
            return procfs.read(f"/proc/{pid}/cmdline")
        except OSError:
            return b""

    def inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run ``command`` inside."""
        return subprocess.run(
            ["nsenter", "-t", str(self.init), "-p", "-m", f"--wd={self.folder}", *command],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=environ(self.runtime),
            timeout=DEADLINE,
        )

    def ask(self, *arguments: str) -> Any:
        """What a command says as JSON."""
        done = self.inside(*COMMAND, *arguments, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def ready(self) -> None:
        """Wait until the location is."""
        assert self.inside(*COMMAND, "wait", "--timeout", "60").returncode == 0

    def launch(self) -> str:
        """A run that has begun."""
        run = self.ask("launch", "team", "nightly", "--detach")["run"]
        poll_now(lambda: "running" in written(journals(self.folder)[run]), "the run")
        return str(run)


@contextlib.contextmanager
def contained(folder: Path, runtime: Path, module: str) -> Iterator[Container]:
    make_workspace(folder, {"team.py": module})
    with (folder / "output").open("a") as output:
        process = subprocess.Popen(
            [*_UNSHARE, *COMMAND, "run", "-w", "workspace.yaml"],
            cwd=folder,
            env=environ(runtime),
            stdout=output,
            stderr=output,
            text=True,
        )
    container = Container(folder, runtime, process)
    try:
        container.ready()
        yield container
    finally:
        process.kill()
        process.wait()
        poll_now(lambda: not alive(container.init), "the end of the namespace")


def started_again(container: Container, before: int) -> Callable[[], bool]:
    return lambda: container.supervisor not in (0, before)


@pytest.mark.slow
def test_a_supervisor_that_is_killed_is_started_again_and_adopts(tmp_path, runtime):
    with contained(tmp_path, runtime, one_op(UNTIL_GO)) as container:
        words = container.words(container.init).split(b"\0")
        assert words[3].endswith(b"pid1.py")
        run = container.launch()
        before = container.supervisor
        os.kill(before, signal.SIGKILL)
        poll_now(started_again(container, before), "another supervisor")
        container.ready()
        row = container.ask("runs", "show", run)
        assert (row["state"], row["adopted"]) == ("running", True)
        (tmp_path / "go").touch()
        poll_now(lambda: container.ask("runs", "show", run)["state"] == "success", "its end")
        said = (tmp_path / "output").read_text()
        assert "the supervisor was killed by SIGKILL: it is started again in 0.1 s" in said


@pytest.mark.slow
def test_an_upgrade_starts_the_next_supervisor(tmp_path, runtime):
    with contained(tmp_path, runtime, one_op(UNTIL_GO)) as container:
        run = container.launch()
        before = container.supervisor
        assert container.inside(*COMMAND, "upgrade").returncode == 0
        poll_now(started_again(container, before), "another supervisor")
        container.ready()
        assert container.ask("runs", "show", run)["state"] == "running"


@pytest.mark.slow
def test_orphans_are_collected(tmp_path, runtime):
    with contained(tmp_path, runtime, one_op("pass")) as container:
        # Its parent is the namespace's process 1 once the shell has ended.
        container.inside("sh", "-c", "(sh -c 'echo $$ > pid; exit 0' &) ; true")
        poll_now(lambda: (tmp_path / "pid").exists(), "the orphan")
        zombies = lambda: [p for p in children(container.init) if procfs.state(p) == "Z"]  # noqa: E731
        poll_now(lambda: not zombies(), "that it is collected")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_passes_signals_on_and_ends_as_the_supervisor_does(tmp_path, runtime, number):
    with contained(tmp_path, runtime, one_op("pass")) as container:
        os.kill(container.init, number)
        assert container.process.wait(DEADLINE) == 0
        assert "everything has stopped" in (tmp_path / "output").read_text()


@pytest.mark.slow
def test_runs_that_end_with_their_container_are_told_so(tmp_path, runtime):
    with contained(tmp_path, runtime, one_op(FOREVER)) as container:
        run = container.launch()
        os.kill(container.init, signal.SIGKILL)
        container.process.wait(DEADLINE)
    with contained(tmp_path, runtime, one_op(FOREVER)) as container:
        row = container.ask("runs", "show", run)
        assert (row["state"], row["reason"]) == ("lost", "ended with its container")


@pytest.mark.slow
def test_a_workspace_that_cannot_be_read_ends_the_container(tmp_path, runtime):
    (tmp_path / "workspace.yaml").write_text("load_from: 3\n")
    done = subprocess.run(
        [*_UNSHARE, *COMMAND, "run", "-w", "workspace.yaml"],
        cwd=tmp_path,
        env=environ(runtime),
        capture_output=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 2


def test_the_status_of_an_upgrade_is_none_of_the_others():
    assert REPLACED not in (0, 1, 2, 3, 4)
