"""The same four accidents for us, supervisord, circus and Dagster's code servers, side by side.

``python -m benchmarks.peers`` installs the peers into a virtualenv beside our other caches and
prints the table of docs/reliability.md. Each runs the least that it can supervise, with its own
defaults: a worker that sleeps, and for Dagster and us a code location with one definition. What is
looked at is what the kernel shows, every few milliseconds; nobody is asked.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import envs
from envs.interpreters import cache_directory
from supervisor import procfs

__all__ = ["main"]

WORKERS = 10
# After the kill of a parent, its workers have so long to go (seconds).
ORPHAN_WAIT = 5.0
# A worker that has run so long counts as stable by all of their defaults; and how long one may take to be back.
STABLE_PAUSE = 3.0
RECOVERY_WAIT = 30.0
LOOP_SECONDS = 20.0

SLEEPER = "import os, time\nopen({starts!r}, 'a').write('x')\ntime.sleep(10000)\n"
CRASHER = "import os\nopen({starts!r}, 'a').write('x')\nos._exit(3)\n"
OURS = (
    "open({starts!r}, 'a').write('x')\nfrom runner_shim import job\n\n@job\ndef one():\n    pass\n"
)
DAGSTER = (
    "open({starts!r}, 'a').write('x')\nfrom dagster import Definitions, job, op\n\n"
    "@op\ndef two():\n    pass\n\n@job\ndef one():\n    two()\n\ndefs = Definitions(jobs=[one])\n"
)


@dataclass(frozen=True, slots=True)
class Peer:
    """``command(folder, workers)`` is what runs ``workers`` copies of the file ``worker(number)``.

    ``is_worker`` tells a worker by its command line. ``count`` is how many run beside each other.
    """

    name: str
    text: str
    command: Callable[[Path, int], Sequence[Sequence[str]]]
    is_worker: Callable[[str], bool]
    count: int = WORKERS


@dataclass(slots=True)
class Row:
    """What became of one peer."""

    name: str
    orphans: str = ""
    recovery: list[float | None] = field(default_factory=list)
    loop_starts: int = 0
    duplicates: str = ""


class Run:
    """The processes of one peer, found by a word in their environment."""

    def __init__(self, peer: Peer, folder: Path, count: int) -> None:
        self.peer = peer
        self.folder = folder
        self.count = count
        self.word = uuid.uuid4().hex
        self.parents: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the parent, or one for each worker where that is the way."""
        environ = {
            **os.environ,
            "PEERS_MARKER": self.word,
            "XDG_RUNTIME_DIR": str(self.folder),
            "DAGSTER_DISABLE_TELEMETRY": "1",
        }
        with (self.folder / "said").open("ab") as said:
            self.parents = [
                subprocess.Popen(
                    list(command),
                    cwd=self.folder,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                )
                for command in self.peer.command(self.folder, self.count)
            ]

    def workers(self) -> list[int]:
        """The live workers, oldest process id first."""
        found = []
        for pid, line in self._processes():
            if self.peer.is_worker(line) and pid not in {one.pid for one in self.parents}:
                found.append(pid)
        return sorted(found)

    def kill_parents(self) -> None:
        """SIGKILL."""
        for one in self.parents:
            one.kill()
            one.wait()

    def close(self) -> None:
        """End everything."""
        for one in self.parents:
            one.kill()
            one.wait()
        for _ in range(50):
            left = [pid for pid, _ in self._processes()]
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not left:
                break
            time.sleep(0.05)

    def _processes(self) -> Iterator[tuple[int, str]]:
        wanted = f"PEERS_MARKER={self.word}".encode()
        for name in os.listdir("/proc"):
            if not name.isdecimal():
                continue
            with contextlib.suppress(OSError):
                place = Path("/proc", name)
                if wanted not in (place / "environ").read_bytes().split(b"\0"):
                    continue
                if procfs.state(int(name)) in "ZX":
                    continue
                line = (place / "cmdline").read_bytes().replace(b"\0", b" ")
                yield int(name), line.decode(errors="replace")


@contextlib.contextmanager
def running(peer: Peer, text: str, count: int) -> Iterator[Run]:
    """A started peer with ``count`` workers of ``text``, of which nothing is left at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pe", dir="/tmp"))
    for number in range(count):
        starts = str(folder / "starts")
        (folder / f"worker{number}.py").write_text(text.format(starts=starts))
    run = Run(peer, folder, count)
    try:
        run.start()
        yield run
    finally:
        run.close()
        shutil.rmtree(folder, ignore_errors=True)


def until(true: Callable[[], object], seconds: float) -> float | None:
    """Seconds until it was so, or None when it was not in time."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if true():
            return time.monotonic() - begun
        time.sleep(0.002)
    return None


def orphans(peer: Peer) -> str:
    """Kill the parent: how many workers live on."""
    with running(peer, peer.text, peer.count) as run:
        started(run)
        run.kill_parents()
        time.sleep(ORPHAN_WAIT)
        return f"{len(run.workers())} of {run.count}"


def duplicates(peer: Peer) -> str:
    """Kill the parent and start it again at once: how many workers run beside those wanted."""
    with running(peer, peer.text, peer.count) as run:
        started(run)
        run.kill_parents()
        run.start()
        until(lambda: len(set(run.workers())) > run.count, 10)
        time.sleep(ORPHAN_WAIT)
        return f"{max(0, len(run.workers()) - run.count)} of {run.count}"


def recovery(peer: Peer, kills: int) -> list[float | None]:
    """Kill a worker that was stable: seconds until another has begun to run its file.

    Each time with a fresh parent, which holds no earlier death against it.
    """
    found: list[float | None] = []
    for _ in range(kills):
        with running(peer, peer.text, 1) as run:
            started(run)
            time.sleep(STABLE_PAUSE)
            starts = run.folder / "starts"
            before = starts.stat().st_size
            os.kill(run.workers()[-1], signal.SIGKILL)
            found.append(until(partial(_grown, starts, before), RECOVERY_WAIT))
        if found[-1] is None:
            break  # it has been shown once
    return found


def _grown(path: Path, size: int) -> bool:
    return path.stat().st_size > size


def crash_loop(peer: Peer) -> int:
    """How often a worker that ends as soon as it runs is started in a while."""
    with running(peer, CRASHER, 1) as run:
        time.sleep(LOOP_SECONDS)
        starts = run.folder / "starts"
        return starts.stat().st_size if starts.exists() else 0


def started(run: Run) -> None:
    """Wait until all workers run."""
    starts = run.folder / "starts"

    def all_there() -> bool:
        return (
            starts.exists()
            and starts.stat().st_size >= run.count
            and len(run.workers()) >= run.count
        )

    if until(all_there, 120) is None:
        said = (run.folder / "said").read_text(errors="replace")[-1500:]
        raise RuntimeError(f"{run.peer.name} does not start: {said}")


# The peers.


def ours() -> Peer:
    """This project, with its defaults."""

    def command(folder: Path, count: int) -> list[list[str]]:
        arguments = [word for n in range(count) for word in ("-f", f"worker{n}.py")]
        return [[sys.executable, "-m", "supervisor.cli", *arguments]]

    def is_worker(line: str) -> bool:
        return "boot.py" in line and "forkserver" not in line

    return Peer("workspace-supervisor", OURS, command, is_worker)


def supervisord(python: Path) -> Peer:
    """supervisord in the foreground, with its defaults."""

    def command(folder: Path, count: int) -> list[list[str]]:
        text = "[supervisord]\nnodaemon=true\n" + "".join(
            f"[program:w{n}]\ncommand={sys.executable} -S {folder}/worker{n}.py\n"
            for n in range(count)
        )
        (folder / "s.conf").write_text(text)
        return [[str(python.with_name("supervisord")), "-c", str(folder / "s.conf")]]

    return Peer("supervisord", SLEEPER, command, lambda line: "-S " in line and "worker" in line)


def circus(python: Path) -> Peer:
    """circusd, with its defaults but for its three ports."""

    def command(folder: Path, count: int) -> list[list[str]]:
        ends = ["endpoint", "pubsub_endpoint", "stats_endpoint"]
        text = "[circus]\n" + "".join(f"{name} = ipc://{folder}/{name}\n" for name in ends)
        text += "".join(
            f"[watcher:w{n}]\ncmd = {sys.executable} -S {folder}/worker{n}.py\ncopy_env = true\n"
            for n in range(count)
        )
        (folder / "c.ini").write_text(text)
        return [[str(python.with_name("circusd")), str(folder / "c.ini")]]

    return Peer("circus", SLEEPER, command, lambda line: "-S " in line and "worker" in line)


def dagster(python: Path) -> Peer:
    """One ``dagster code-server start`` for each location, as its documentation deploys them."""

    def command(folder: Path, count: int) -> list[list[str]]:
        return [
            [
                str(python),
                *("-m", "dagster", "code-server", "start", "--host", "127.0.0.1"),
                *("-f", f"{folder}/worker{n}.py", "--port", str(free_port())),
            ]
            for n in range(count)
        ]

    return Peer("Dagster code server", DAGSTER, command, lambda line: "api grpc" in line, count=3)


def free_port() -> int:
    """A port of the loopback interface that nobody listens at now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def install(requirements: tuple[str, ...]) -> Path:
    """The interpreter of a virtualenv that has them."""
    environ = dict(os.environ)
    store = envs.EnvironmentStore(cache_directory(environ) / "bench", environ)
    name = "-".join(one.partition("<")[0] for one in requirements)
    found = store.sync(envs.EnvironmentRequest(name=name, requirements=requirements))
    return Path(found.interpreter.executable)


def measure(peer: Peer, kills: int) -> Row:
    """All four accidents."""
    row = Row(peer.name)
    row.orphans = orphans(peer)
    row.duplicates = duplicates(peer)
    row.recovery = recovery(peer, kills)
    row.loop_starts = crash_loop(peer)
    return row


def shown(recoveries: list[float | None]) -> str:
    """``p50 / worst`` in milliseconds."""
    known = [one for one in recoveries if one is not None]
    if not known:
        return f"not within {RECOVERY_WAIT:g} s"
    text = f"{statistics.median(known) * 1000:.0f} / {max(known) * 1000:.0f} ms"
    return text if len(known) == len(recoveries) else text + ", then not at all"


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        f"| | orphans {ORPHAN_WAIT:g} s after SIGKILL of the parent | run twice after its restart "
        "| back after SIGKILL of a worker, p50 / worst "
        f"| starts of one that ends at once, in {LOOP_SECONDS:g} s |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.name} | {row.orphans} | {row.duplicates} | {shown(row.recovery)} "
            f"| {row.loop_starts} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure all, print the table."""
    parser = argparse.ArgumentParser(description="Four accidents, side by side.")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=["ours", "supervisord", "circus", "dagster"])
    chosen = parser.parse_args()
    makers: dict[str, Callable[[], Peer]] = {
        "ours": ours,
        "supervisord": lambda: supervisord(install(("supervisor", "setuptools<80"))),
        "circus": lambda: circus(install(("circus",))),
        "dagster": lambda: dagster(install(("dagster",))),
    }
    rows = []
    for name in chosen.only:
        rows.append(measure(makers[name](), chosen.kills))
        print(table(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
