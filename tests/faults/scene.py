"""A supervisor to be hurt: the real command on a real workspace, and the eyes to see what became.

Owns the processes of one scene, told apart by what the kernel knows of them (``/proc``), not by what
the supervisor says: one that lies or is dead could not be asked. Every process carries
WS_TEST_MARKER in its environment, so that those which left parents, groups and sessions are found
as well. Decides nothing about which faults there are (``schedule``) or how many (``soak``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from supervised import alive, environ, make_workspace, marked, save

from supervisor import procfs
from supervisor.client.client import Client
from supervisor.errors import NotRunningError, SupervisorError
from supervisor.runtime_dir import RuntimeDirectory

COMMAND = [sys.executable, str(Path(__file__).parent.parent / "programs" / "supervise.py")]
# A promise: what is ours, and what user code started in its session, is gone so soon (seconds).
ORPHAN_LIMIT = 2.0
RECOVERY_LIMIT = 60.0
# Kills come faster than any real fault: nobody is given up, and nobody waits for long.
RESTARTS = {
    "max_restarts": 1_000_000,
    "window": "1s",
    "initial_delay": "0.01s",
    "max_delay": "0.1s",
}

# A definition named after the version of the file, a child of its own, one that left its process
# group, and gates that keep it loading, or ending, for as long as a test wants.
TEAM = """\
import atexit, os, subprocess, sys, time
from runner_shim import job

def end():
    while os.path.exists({ending!r}):
        open({ending!r} + "-here", "w").close()
        time.sleep(0.01)

atexit.register(end)
subprocess.Popen(["sleep", "1000"])
subprocess.Popen(["sleep", "1000"], preexec_fn=os.setpgrp)
{more}
while os.path.exists({gate!r}):
    time.sleep(0.01)

@job(name="v{version}")
def versioned():
    pass
"""
# What such a location starts beyond its session, twice removed from it.
DAEMON = """subprocess.call(["sh", "-c", "sleep 2000 &"], start_new_session=True)"""
# Run by every fresh interpreter before anything else: keeps it from saying hello.
STARTING = """\
import os, sys, time
gate = os.path.join(os.path.dirname(os.path.dirname(__file__)), "start-" + sys.orig_argv[-1].strip())
while os.path.exists(gate):
    time.sleep(0.01)
"""


class SceneError(AssertionError):
    """An invariant does not hold; the text says which, and what was seen."""


class OrphansError(SceneError):
    """``count`` processes lived longer than what they belonged to, and longer than is promised."""

    def __init__(self, text: str, count: int) -> None:
        super().__init__(text)
        self.count = count


@dataclass(frozen=True, slots=True)
class Seen:
    """One process: its role (supervisor, reaper, forkserver, shim, other) and its location's name."""

    pid: int
    role: str
    name: str = ""


class Scene:
    """``locations`` (names) in ``folder``, each with its own file; ``start`` runs the supervisor.

    Those of them in ``trees`` start a daemon beyond their session, and have ``kill: tree``.
    """

    def __init__(
        self,
        folder: Path,
        runtime: Path,
        locations: tuple[str, ...] = ("a", "b", "c"),
        texts: dict[str, str] | None = None,
        keys: dict[str, dict[str, Any]] | None = None,
        trees: tuple[str, ...] = (),
        **top: Any,
    ) -> None:
        self.folder = folder
        self.trees = trees
        self.runtime = runtime
        self.locations = locations
        self.marker = uuid.uuid4().hex
        self.versions = dict.fromkeys(locations, 0)
        self.announced = dict.fromkeys(locations, 0)
        self.process: subprocess.Popen[bytes] | None = None
        self.client: Client | None = None
        files = {f"{name}.py": "" for name in locations} | (texts or {})
        entries = {path[:-3]: dict((keys or {}).get(path[:-3], {})) for path in files}
        for name in trees:
            entries[name]["kill"] = "tree"
        defaults = {"restart": RESTARTS, **top.pop("defaults", {})}
        self.method: str = defaults.get("start_method", "auto")
        if self.method == "spawn":
            files["site/sitecustomize.py"] = STARTING
            defaults["env"] = {"PYTHONPATH": str(folder / "site"), **defaults.get("env", {})}
        self.workspace = make_workspace(folder, files, entries, defaults=defaults, **top)
        for name in locations:
            self.edit(name)

    # What happens to it.

    def command(self) -> list[str]:
        """What is run as the supervisor."""
        return [*COMMAND, "-w", str(self.workspace)]

    def start(self) -> Self:
        """Run ``supervise``; returns at once."""
        assert self.process is None or self.process.poll() is not None
        self._disconnect()
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=environ(self.runtime, WS_TEST_MARKER=self.marker),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        return self

    def edit(self, name: str) -> int:
        """Write the next version of a location's file; nobody is told."""
        self.versions[name] += 1
        text = TEAM.format(
            gate=str(self.gate(name)),
            ending=str(self.gate(name, "end")),
            version=self.versions[name],
            more=DAEMON if name in self.trees else "",
        )
        save(self.folder / f"{name}.py", text)
        return self.versions[name]

    def gate(self, name: str, what: str = "hold") -> Path:
        """The file that keeps a location loading while it exists; with ``what`` ``start`` a fresh
        process of it starting, with ``end`` ending (the file ``…-here`` says that it is)."""
        return self.folder / f"{what}-{name}"

    def release(self, *names: str) -> None:
        """Open all gates."""
        for name in names or self.locations:
            for path in self.folder.glob(f"*-{name}*"):
                if path.name.partition("-")[0] in ("hold", "start", "end"):
                    path.unlink(missing_ok=True)

    def send(self, pid: int, number: int) -> None:
        """A signal; no error when the process is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def kill_supervisor(self, number: int = signal.SIGKILL) -> int | None:
        """End the supervisor and collect it; its exit status."""
        assert self.process is not None
        self.send(self.process.pid, number)
        status = self.process.wait(RECOVERY_LIMIT)
        self._disconnect()
        return status

    def close(self) -> None:
        """End everything, whatever the state of it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()
        self._disconnect()
        for pid in marked(self.marker):
            self.send(pid, signal.SIGKILL)

    # What can be seen.

    @property
    def pid(self) -> int:
        """The supervisor."""
        assert self.process is not None
        return self.process.pid

    def connected(self, within: float = RECOVERY_LIMIT) -> Client:
        """A client of the supervisor, waited for."""
        if self.client is None:
            self.until(self._connect, "clients can connect", within)
        assert self.client is not None
        return self.client

    def processes(self) -> list[Seen]:
        """Every live process of the scene."""
        return [seen for pid in marked(self.marker) if (seen := self._look(pid)) is not None]

    def pids(self, role: str, name: str | None = None) -> list[int]:
        """The processes of a role, or those of one location."""
        return [
            one.pid
            for one in self.processes()
            if one.role == role and (name is None or one.name == name)
        ]

    def states(self) -> dict[str, str]:
        """What the supervisor says of its locations."""
        return {one["name"]: one["state"] for one in self.connected().status()["locations"]}

    def serving(self) -> set[int]:
        """The processes that the supervisor believes to run."""
        entries = self.connected().status()["locations"]
        return {one["process"]["pid"] for one in entries if one["process"]}

    def deaths(self) -> dict[str, int]:
        """How often each location was started again because its process had died."""
        return {one["name"]: one["restarts"] for one in self.connected().status()["locations"]}

    def served(self, name: str) -> int:
        """The version of the file that a client is served."""
        (definition,) = self.connected().snapshot(name).document()["definitions"]
        return int(definition["name"].removeprefix("v"))

    def until(self, true: Callable[[], Any], what: str, within: float = RECOVERY_LIMIT) -> float:
        """Look again until it is so; the seconds it took."""
        begun = time.monotonic()
        while not true():
            if time.monotonic() - begun > within:
                raise SceneError(f"not within {within:g} s: {what}; {self.processes()}")
            if self.process is not None and self.process.poll() is not None and self.client:
                raise SceneError(f"the supervisor ended while waiting until {what}")
            time.sleep(0.005)
        return time.monotonic() - begun

    # What must be so.

    def expect_ready(self, *names: str) -> float:
        """Every location becomes ready again, served and with one process; seconds it took."""
        chosen = names or self.locations
        client = self.connected()

        def back() -> bool:
            entries = {one["name"]: one for one in client.status()["locations"]}
            return all(
                entries[name]["state"] == "ready" and entries[name]["serving"]["alive"]
                for name in chosen
            )

        took = self.until(back, f"{', '.join(chosen)} are ready")
        for name in set(chosen) & set(self.locations):
            self.announce(name)
        return took

    def announce(self, name: str) -> None:
        """A client has seen this location ready: from now on nothing older may be served."""
        self.announced[name] = max(self.announced[name], self.served(name))

    def expect_newest(self, *names: str) -> None:
        """Clients are served the newest snapshot that was ever announced, or a newer one."""
        for name in names or self.locations:
            version, announced = self.served(name), self.announced[name]
            if version < announced:
                raise SceneError(f"{name} is served as version {version}, {announced} was ready")

    def expect_single(self) -> None:
        """No location runs twice, nor what is to end with it, and there are two reapers again."""

        def single() -> bool:
            processes = self.processes()
            names = [one.name for one in processes if one.role == "shim"]
            daemons = [one for one in processes if one.name == "sleep 2000"]
            return (
                sorted(names) == sorted(set(names))
                and len(daemons) <= len(self.trees)
                and len([one for one in processes if one.role == "reaper"]) == 2
            )

        self.until(single, "no location runs twice, and both reapers are there")

    def belongings(self, pid: int) -> set[int]:
        """The session of ``pid``, and under ``kill: tree`` what has left it."""
        processes = self.processes()
        members = {one.pid for one in processes if session(one.pid) == pid}
        if any(one.pid == pid and one.name in self.trees for one in processes):
            marks = {mark(one) for one in members} - {""}
            members |= {one.pid for one in processes if mark(one.pid) in marks}
        return members

    def expect_gone(self, belongings: set[int]) -> float:
        """What belonged to a process that was killed is gone soon; seconds it took."""
        return self._within_limit(lambda: {one for one in belongings if alive(one)})

    def expect_nobody(self) -> float:
        """No process of the scene lives, and none of its sockets listens; seconds it took."""
        took = self._within_limit(lambda: set(marked(self.marker)))
        left = [line for line in listening() if line.startswith(str(self.runtime))]
        if left:
            raise SceneError(f"sockets still listen: {left}")
        return took

    def _within_limit(self, living: Callable[[], set[int]]) -> float:
        begun = time.monotonic()
        there = living()
        one_look = time.monotonic() - begun
        # Looking takes its time too: on a busy machine that is most of it.
        limit = ORPHAN_LIMIT + 20 * one_look
        while there:
            if time.monotonic() - begun > limit:
                seen = [one for one in self.processes() if one.pid in there]
                if there := living():
                    raise OrphansError(f"orphans after {limit:.1f} s: {there} {seen}", len(there))
                break
            time.sleep(0.005)
            there = living()
        return time.monotonic() - begun

    def last_words(self) -> list[str]:
        """The end of the supervisor's log, and what it says of its locations."""
        lines = []
        for path in self.folder.rglob("supervisor.log"):
            lines += path.read_text(errors="replace").splitlines()[-30:]
        with contextlib.suppress(SupervisorError):
            if self.client is not None:
                for one in self.client.status()["locations"]:
                    lines.append(f"{one['name']}: {one['state']} {one['reason']} {one['process']}")
        return lines

    def descriptors(self) -> list[str]:
        """What the supervisor has open."""
        found = []
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/{self.pid}/fd/{name}"))
        return sorted(found)

    def zombies(self) -> list[int]:
        """Children of the supervisor that have ended and were not collected."""
        found = []
        for task in os.listdir(f"/proc/{self.pid}/task"):
            for pid in Path(f"/proc/{self.pid}/task/{task}/children").read_text().split():
                if not alive(int(pid)):
                    found.append(int(pid))
        return found

    def memory(self) -> int:
        """Bytes that the supervisor has for itself alone."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return sum(
            int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Private_")
        )

    # How.

    def _connect(self) -> bool:
        try:
            self.client = Client(
                self.workspace, environ={"XDG_RUNTIME_DIR": str(self.runtime)}, timeout=60
            )
            self.client.status()
        except NotRunningError:
            if self.client is not None:
                self._disconnect()
            assert self.process is not None
            if self.process.poll() is not None:
                said = (self.folder / "said").read_text(errors="replace")[-2000:]
                raise SceneError(f"the supervisor ended by itself: {said}") from None
            return False
        return True

    def _disconnect(self) -> None:
        if self.client is not None:
            with contextlib.suppress(SupervisorError):
                self.client.close()
            self.client = None

    def _look(self, pid: int) -> Seen | None:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            parent = int(procfs.stat(pid)[1])
        except OSError:
            return None
        arguments = [word.decode(errors="replace") for word in words if word]
        if self.process is not None and pid == self.process.pid:
            return Seen(pid, "supervisor")
        script = next((word for word in arguments if word.endswith(".py")), "")
        if script.endswith("reaper.py"):
            return Seen(pid, "reaper")
        if not script.endswith("boot.py"):
            return Seen(pid, "other", " ".join(arguments))
        title = arguments[-1].strip()
        if not title.startswith("forkserver "):
            return Seen(pid, "shim", title)
        # What was just forked has not got its name yet.
        ours = self.process is not None and parent == self.process.pid
        return Seen(pid, "forkserver" if ours else "other", title)


@contextlib.contextmanager
def playing(folder: Path, runtime: Path, *arguments: Any, **keys: Any) -> Iterator[Scene]:
    """A started scene of which nothing is left at the end."""
    scene = Scene(folder, runtime, *arguments, **keys)
    try:
        yield scene.start()
    finally:
        scene.close()


def session(pid: int) -> int | None:
    """The session of a process."""
    try:
        return os.getsid(pid)
    except OSError:
        return None


def born(pid: int) -> int:
    """When a process began, in ticks of the kernel's clock; -1 when it is gone."""
    try:
        return int(procfs.stat(pid)[19])
    except OSError:
        return -1


def mark(pid: int) -> str:
    """What says to which location's process another one belongs, wherever it went."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    found = [one for one in variables if one.startswith(b"SUPERVISE_PROCESS=")]
    text = found[0].decode().partition("=")[2] if found else ""
    return text.strip("0") and text  # a forkserver's says that it has none


def listening() -> list[str]:
    """The paths of the UNIX sockets that listen on this machine (unix(7): flag 0x10000)."""
    found = []
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and int(fields[3], 16) & 0x10000:
            found.append(fields[7])
    return found


def place(scene: Scene) -> RuntimeDirectory:
    """Where the scene's supervisor and its clients meet."""
    environment = {"XDG_RUNTIME_DIR": str(scene.runtime)}
    return RuntimeDirectory.for_workspace(scene.folder, scene.workspace.name, environment)
