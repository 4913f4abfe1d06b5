"""Runs real supervisors for tests: in the test's own event loop, or as a process of its own.

Nothing here waits by sleeping when the supervisor can tell: ``until`` looks again whenever the
supervisor has news. What only the kernel knows (which processes live) is looked at until it is so
or the deadline passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from loading import write

from runner_shim import wire
from supervisor import procfs
from supervisor.dagster.face import Face
from supervisor.fleet.source import Source
from supervisor.locations.location import Location
from supervisor.locations.log_files import MOST_LINES
from supervisor.processes.launcher import ShimProcess
from supervisor.server.daemon import Daemon
from supervisor.server.handlers import Handlers
from supervisor.server.rpc import Packed
from supervisor.workspace_files import Selection

DRIVER = Path(__file__).parent / "programs" / "run_supervisor.py"
DEADLINE = 60.0

GOOD = """\
    from runner_shim import job

    @job
    def nightly():
        pass
    """

# Says that it has begun to import, and waits to be let go on; more of the module follows.
BEGUN = "import os, time\nopen('begun', 'w').close()\nwhile not os.path.exists('go'):\n"
BEGUN += "    time.sleep(0.01)\n"

# Children that end in different ways: their process ids are in ``pids``.
GRANDCHILDREN = """\
    import os, signal, subprocess, sys

    def child(code, **more):
        program = "import os, signal, time; %s; print(flush=True); time.sleep(1000)" % code
        one = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, **more)
        one.stdout.readline()
        return one.pid

    def leave():
        os.setpgid(0, 0)

    pids = [
        child("pass"),
        child("signal.signal(signal.SIGTERM, signal.SIG_IGN)"),
        child("os.setpgid(0, 0)"),
        child("os.setpgid(0, 0); signal.signal(signal.SIGTERM, signal.SIG_IGN)"),
    ]
    with open("pids.new", "w") as file:
        file.write(" ".join(str(pid) for pid in pids))
    os.rename("pids.new", "pids")
    """


def job(name: str) -> str:
    """A module with one job."""
    return f"from runner_shim import job\n\n@job\ndef {name}():\n    pass\n"


def environ(runtime: Path, **extra: str) -> dict[str, str]:
    """The test's own variables with ``runtime`` as the runtime directory."""
    return {**os.environ, "XDG_RUNTIME_DIR": str(runtime), **extra}


def make_workspace(
    folder: Path,
    files: Mapping[str, str],
    locations: Mapping[str, Mapping[str, Any]] | None = None,
    **top: Any,
) -> Path:
    """Write ``files`` and a ``workspace.yaml`` into ``folder``.

    ``locations`` maps names to a selector's map; a map without a selector's key gets its
    ``relative_path`` from the name: ``{"risk": {}}`` loads ``risk.py``. Without it every ``.py``
    file at the top is a location.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, dict(files))
    if locations is None:
        locations = {name[:-3]: {} for name in files if name.endswith(".py") and "/" not in name}
    path = folder / "workspace.yaml"
    save(path, yaml.safe_dump(workspace_text(locations, **top), sort_keys=False))
    return path


def workspace_text(locations: Mapping[str, Mapping[str, Any]], **top: Any) -> dict[str, Any]:
    """The workspace file's content as data."""
    items = []
    for name, keys in locations.items():
        given = dict(keys)
        if "module_name" in given:
            kind = "python_module"
        elif "package_name" in given:
            kind = "python_package"
        else:
            kind = "python_file"
            given.setdefault("relative_path", f"{name}.py")
        items.append({kind: {"location_name": name, **given}})
    return {"load_from": items, **top}


def save(path: Path, text: str) -> None:
    """Replace a file as editors do: write another one and rename it over the first."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)


class Methods:
    """The methods of ``daemon``, asked as the control socket does: parameters are checked, and filled."""

    def __init__(self, daemon: Daemon) -> None:
        self._table = Handlers(daemon).table()

    def __getattr__(self, name: str) -> Callable[[Mapping[str, Any]], Any]:
        method, handler = self._table[{"definitions": "list"}.get(name, name)]
        return lambda params: handler(method.read(params))


class Supervised:
    """A running ``daemon`` and its methods."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.methods = Methods(daemon)

    def __getitem__(self, name: str) -> Location:
        return self.daemon.fleet.locations[name]

    async def until(
        self, true: Callable[[], Any], what: str = "", timeout: float = DEADLINE
    ) -> None:
        """Wait until ``true()``; the supervisor's news make it look again."""
        if not await self.daemon.fleet.news.wait(lambda: bool(true()), timeout):
            raise AssertionError(f"not within {timeout:g} s: {what}; {self.states()}")

    async def settled(self, timeout: float = DEADLINE) -> dict[str, str]:
        """The states once no location is under way."""
        reply, _ = await self.methods.wait({"timeout": timeout})
        states: dict[str, str] = reply["locations"]
        return states

    async def ready(self, *names: str) -> None:
        """Wait until these locations (default: all) are ready."""
        chosen = names or tuple(self.daemon.fleet.locations)
        await self.until(lambda: all(self[name].state == "ready" for name in chosen), "ready")

    async def status(self, name: str) -> dict[str, Any]:
        """The whole entry of one location."""
        document, _ = await self.methods.status({"location": name})
        assert isinstance(document, dict)
        entry: dict[str, Any] = document["locations"][0]
        return entry

    async def document(self) -> dict[str, Any]:
        """The status document of all locations."""
        packed, _ = await self.methods.status({})
        assert isinstance(packed, Packed)
        document: dict[str, Any] = wire.unpack(b"".join(packed.pieces))
        return document

    async def failure(self, name: str) -> dict[str, Any]:
        """The failure of one location, which must be there."""
        entry = await self.status(name)
        assert entry["failure"], entry
        failure: dict[str, Any] = entry["failure"]
        return failure

    def states(self) -> dict[str, tuple[str, str]]:
        """State and reason of every location."""
        return {
            name: (one.state.value, one.reason) for name, one in self.daemon.fleet.locations.items()
        }

    def definitions(self, name: str) -> list[str]:
        """The keys of the definitions that ``name`` serves."""
        snapshot = self[name].snapshot
        return [] if snapshot is None else sorted(snapshot.index())

    async def log(self, name: str) -> str:
        """What ``name`` printed, and the supervisor's remarks."""
        log = self[name].log
        chunk = await log.read(lines=MOST_LINES)
        lines = chunk.lines
        while chunk.before is not None and len(lines) < 10_000:
            chunk = await log.read(lines=MOST_LINES, before=chunk.before)
            lines = [*chunk.lines, *lines]
        return "\n".join(line.text for line in lines)

    def pid(self, name: str) -> int:
        """The process that serves ``name``, or that tries to."""
        return self.process(name).pid

    def process(self, name: str) -> ShimProcess:
        """The process that serves ``name``, or that tries to."""
        generation = self[name].serving or self[name].newest
        assert generation is not None and generation.process is not None
        return generation.process

    async def watched(self, *names: str) -> None:
        """Wait until the files of these locations and of the workspace are really watched."""
        chosen = names or tuple(self.daemon.fleet.locations)

        def armed() -> bool:
            files = [self.daemon.files, *(self[name].files for name in chosen)]
            return all(one is not None and one.watched for one in files)

        await poll(armed, "watched")


@contextlib.asynccontextmanager
async def supervising(
    workspace: Path,
    runtime: Path,
    *,
    once: bool = False,
    env: Mapping[str, str] | None = None,
    more: Sequence[Path] = (),
    sources: Sequence[Source] = (),
    face: Face | None = None,
    dagster: bool = False,
    listen: str | None = None,
) -> AsyncIterator[Supervised]:
    """A supervisor of ``workspace`` in this event loop, ended at the end, with all its processes.

    ``more`` are further files of the workspace, ``sources`` of desired state beside its files. With
    ``dagster`` there are servers for its own client, with a ``face`` its own programs, too.
    """
    daemon = Daemon(
        Selection(files=(workspace, *more)),
        cwd=workspace.parent,
        environ=environ(runtime, **(env or {})),
        once=once,
        listen=listen,
        sources=sources,
        face=face,
        dagster=dagster,
    )
    run = asyncio.create_task(daemon.run())
    started = asyncio.create_task(daemon.started.wait())
    await asyncio.wait([run, started], return_when=asyncio.FIRST_COMPLETED)
    if not daemon.started.is_set():
        started.cancel()
        await run
    supervised = Supervised(daemon)
    try:
        yield supervised
    finally:
        daemon.shutdown(at_once=True)
        await asyncio.wait_for(run, DEADLINE)


async def reloaded(running: Supervised, name: str, *keys: str) -> None:
    """Wait until a location is ready with the definitions ``keys``, sorted, and no others."""
    wanted = list(keys)
    await running.until(lambda: running.definitions(name) == wanted, f"{name} serves {keys}", 25)
    await running.ready(name)


async def poll(true: Callable[[], Any], what: str, timeout: float = DEADLINE) -> None:
    """Wait for what nobody announces."""
    deadline = time.monotonic() + timeout
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        await asyncio.sleep(0.01)


def poll_now(true: Callable[[], Any], what: str, timeout: float = DEADLINE) -> None:
    """``poll`` outside an event loop."""
    deadline = time.monotonic() + timeout
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)


# Processes.


def alive(pid: int) -> bool:
    """True while ``pid`` runs; a zombie has ended, whoever has yet to collect it."""
    return procfs.state(pid) not in ("", "Z", "X")


def is_stopped(pid: int) -> bool:
    """True while a signal or a debugger holds ``pid``."""
    return procfs.state(pid) in ("T", "t")


def marked(marker: str) -> list[int]:
    """The live processes that have ``WS_TEST_MARKER=marker`` in their environment."""
    wanted = f"WS_TEST_MARKER={marker}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                variables = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
                if wanted in variables and alive(int(entry)):
                    found.append(int(entry))
    return found


def grandchildren(folder: Path) -> list[int]:
    """Process ids of what a location made of GRANDCHILDREN started in ``folder``."""
    return [int(word) for word in (folder / "pids").read_text().split()]


@contextlib.contextmanager
def child_process(command: list[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that is killed at the end if it still runs then; its pipes are closed."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


class SupervisorProcess:
    """A supervisor in a process of its own; what it says on standard output is JSON by line."""

    def __init__(self, workspace: Path, runtime: Path, marker: str) -> None:
        self.marker = marker
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(workspace)],
            env=environ(runtime, WS_TEST_MARKER=marker),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put("")

    @property
    def pid(self) -> int:
        return self.process.pid

    def told(self) -> dict[str, Any]:
        """The next thing it says; fails when it ends instead, or says nothing for long."""
        try:
            line = self._lines.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"the supervisor said nothing for {DEADLINE:g} s") from None
        assert line, f"the supervisor ended with status {self.process.wait()}"
        value: dict[str, Any] = json.loads(line)
        return value

    def until(self, true: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Read on until ``true(states)``."""
        while True:
            told = self.told()
            if true(told):
                return told

    def kill(self) -> None:
        """SIGKILL, and collect it."""
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def survivors(self) -> list[int]:
        """The live processes of this supervisor and its children, however far down."""
        return marked(self.marker)


@contextlib.contextmanager
def supervisor_process(workspace: Path, runtime: Path, marker: str) -> Iterator[SupervisorProcess]:
    """A ``SupervisorProcess`` that is gone at the end."""
    running = SupervisorProcess(workspace, runtime, marker)
    try:
        yield running
    finally:
        running.kill()
