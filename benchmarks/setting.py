"""The setting of a measurement: workspaces, interpreters, a running supervisor, bare processes.

Owns a temporary directory and every process that is started for a measurement; all of it is gone at
the end. Measures nothing itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import envs
import runner_shim
from supervisor import Client, NotRunningError

__all__ = [
    "BARE_IMPORTS",
    "Alternating",
    "Bare",
    "NoInterpreterError",
    "Sample",
    "Setting",
    "UnavailableError",
    "all_ready",
    "run_all",
    "setting",
]

Sample = tuple[float, ...]
"""Seconds of one round, one number for each view of it."""

BARE_IMPORTS = "import zmq, msgpack"
_DEADLINE = 120.0  # seconds, for anything that is waited for
_LOOK = 0.005  # seconds between looks for the supervisor's socket


class UnavailableError(Exception):
    """A measurement cannot be made here; the text says why."""


class NoInterpreterError(UnavailableError):
    """This machine does not have that version of Python."""


@dataclass(frozen=True, slots=True)
class Bare:
    """How to run a bare process: interpreter, variables, working directory."""

    executable: Path
    environ: Mapping[str, str]
    directory: Path

    def start(self, code: str, *, talking: bool = False) -> subprocess.Popen[bytes]:
        """Start ``python -c code``; with ``talking`` its standard streams are pipes to us."""
        return subprocess.Popen(
            [str(self.executable), "-c", code],
            env=dict(self.environ),
            cwd=self.directory,
            stdin=subprocess.PIPE if talking else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talking else None,
        )


class Alternating:
    """Runs several things side by side, round by round, in another order each time."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds

    def run(self, *measures: Callable[[], Sample]) -> list[list[Sample]]:
        """The samples of each, without those of the first round, which only warms caches."""
        samples: list[list[Sample]] = [[] for _ in measures]
        order = list(enumerate(measures))
        for number in range(self._rounds + 1):
            for which, measure in order:
                sample = measure()
                if number:
                    samples[which].append(sample)
            order.append(order.pop(0))
        return samples


class Setting:
    """A place for measurements. ``supervise`` is the command to measure (default: ours, beside this Python).

    ``locations`` are numbers of locations to measure with, for what has several of its own; none: those.
    """

    def __init__(self, root: Path, supervise: Path | None, locations: Sequence[int] = ()) -> None:
        self.root = root
        self.locations = tuple(locations)
        self.supervise = supervise or Path(sysconfig.get_path("scripts")) / "supervise"
        # No settings of Python's own: PYTHONDONTWRITEBYTECODE, say, would have every process of either
        # side compile its modules again. Sockets lie apart from those of the user's own supervisors.
        plain = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        self.environ = {**plain, "XDG_RUNTIME_DIR": str(root / "run")}
        (root / "run").mkdir(mode=0o700)
        # Bare processes import the definitions API as shims do: from this very directory.
        (root / "path").mkdir()
        (root / "path" / "runner_shim").symlink_to(Path(runner_shim.__file__).parent)

    def interpreter(self, version: str | None = None) -> envs.Interpreter:
        """An empty virtualenv of that Python version (default: ours), as a team's would be."""
        prefix = self.root / f"python-{version}"
        try:
            if version is None:
                base = envs.probe(getattr(sys, "_base_executable", ""), environ=self.environ)
            else:
                base = envs.find_interpreter(version, environ=self.environ)
        except envs.EnvError as error:
            raise NoInterpreterError(str(error)) from error
        try:
            if not prefix.exists():
                command = [str(base.executable), "-m", "venv", "--without-pip", str(prefix)]
                subprocess.run(command, env=self.environ, check=True)
            return envs.probe(prefix, environ=self.environ)
        except (envs.EnvError, subprocess.CalledProcessError) as error:
            raise UnavailableError(str(error)) from error

    def bare(self, interpreter: envs.Interpreter, directory: Path) -> Bare:
        """Bare processes of ``interpreter`` with the runtime overlay on PYTHONPATH."""
        overlay = envs.ensure_overlay(interpreter, environ=self.environ)
        environ = envs.activate(interpreter, self.environ)
        environ["PYTHONPATH"] = os.pathsep.join([str(overlay), str(self.root / "path")])
        return Bare(interpreter.executable, environ, directory)

    def workspace(
        self,
        name: str,
        interpreter: envs.Interpreter,
        modules: Mapping[str, str],
        start_method: str,
        own: Mapping[str, envs.Interpreter] | None = None,
    ) -> Path:
        """A workspace of one location for each module, named like it, in ``interpreter``.

        ``own`` are the interpreters of modules that have another one. ``start_method`` as in the workspace file: ``spawn`` or ``auto``.
        """
        folder = self.root / name
        folder.mkdir()
        lines = ["load_from:"]
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(text)
            lines += [
                "  - python_file:",
                f"      relative_path: {module}.py",
                f"      location_name: {module}",
                f"      executable_path: {(own or {}).get(module, interpreter).executable}",
                f"      start_method: {start_method}",
            ]
        path = folder / "workspace.yaml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def client(self, workspace: Path) -> Client:
        """A client of the supervisor of ``workspace``."""
        return Client(workspace, environ=self.environ, timeout=_DEADLINE)

    @contextlib.contextmanager
    def supervised(self, workspace: Path, *, anew: bool = True) -> Iterator[tuple[Client, float]]:
        """``supervise -w workspace``: a client of it, and the time it was started.

        ``anew``: from nothing; otherwise with what was known at its last end.
        """
        if anew:
            shutil.rmtree(workspace.parent / ".supervise", ignore_errors=True)
        log = workspace.with_name("supervise.log")
        with log.open("wb") as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                [str(self.supervise), "-w", str(workspace)],
                env=self.environ,
                cwd=workspace.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            with self._connect(workspace, process, log) as client:
                yield client, started
                client.shutdown()
            process.wait(_DEADLINE)
        finally:
            if process.poll() is None:
                process.kill()  # its shims follow it
                process.wait()

    def _connect(self, workspace: Path, process: subprocess.Popen[bytes], log: Path) -> Client:
        deadline = time.perf_counter() + _DEADLINE
        while True:
            try:
                return self.client(workspace)
            except NotRunningError:
                if process.poll() is not None or time.perf_counter() > deadline:
                    raise UnavailableError(
                        f"supervise did not start: {log.read_text(errors='replace')[-2000:]}"
                    ) from None
                time.sleep(_LOOK)


@contextlib.contextmanager
def setting(supervise: Path | None, locations: Sequence[int] = ()) -> Iterator[Setting]:
    """A ``Setting`` in a temporary directory that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        yield Setting(Path(root).resolve(), supervise, locations)


def all_ready(client: Client) -> None:
    """Wait until every location is ready; raises ``UnavailableError`` when one is not."""
    if client.wait(timeout=_DEADLINE)["ready"]:
        return
    for location in client.status()["locations"]:
        if location["state"] != "ready":
            raise UnavailableError(
                f"{location['name']} is {location['state']}: {location['reason']}"
            )


def run_all(bare: Bare, codes: Sequence[str], parallel: int) -> float:
    """Run every ``python -c code``, ``parallel`` at a time; the seconds that took."""
    waiting = list(reversed(codes))
    running: dict[int, subprocess.Popen[bytes]] = {}
    started = time.perf_counter()
    while waiting or running:
        while waiting and len(running) < parallel:
            child = bare.start(waiting.pop())
            running[child.pid] = child
        # Whichever ends first; reaping it is left to its own object.
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        if running.pop(ended.si_pid).wait() != 0:
            raise UnavailableError("a bare process failed")
    return time.perf_counter() - started
