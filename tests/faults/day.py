"""An operator's day on one supervisor: edits, kills, pauses, lost state, silent connections, new releases.

Owns the drawing of such a day from a seed, its playing on a ``Scene``, and the judge, who knows only what
this program did itself: which version of which file was saved when. The same seed draws the same day;
what the kernel's scheduler makes of it is its own.

A day is made of rounds. In a round several things happen at once: during a pause files are edited,
processes are killed and state is deleted. At the end of each round everything must be well again.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scene import COMMAND, TEAM, Scene, SceneError, place
from supervised import environ, is_stopped, save

from supervisor.client.client import Client
from supervisor.errors import NotRunningError, RequestError, SupervisorError, UnreachableError

__all__ = ["KINDS", "Day", "DayFigures", "Judge", "draw", "play"]

KINDS = ("edit", "kill", "pause", "state", "silence", "release")
VICTIMS = ("supervisor", "shim", "shim", "forkserver", "reaper")
PAUSED = ("supervisor", "supervisor", "everything", "shim", "forkserver")
LOSSES = (
    "state",
    "workspace state",
    "lock",
    "database truncated",
    "database removed",
    "database replaced",
    "journal removed",
    "runtime",
    "runtime files",
    "logs",
)
# How many things of each kind happen in a round, on average.
SHARE = 0.6
SHORTEST_PAUSE = 1.0
# So few that silent connections alone would use them up.
OPEN_FILES = 512
SILENT = 600
# How long everything may take to be well again (seconds); a machine may be busy.
SETTLES_WITHIN = 120.0


@dataclass(frozen=True, slots=True)
class Round:
    """What happens in a round. ``pause`` is who is paused and for how many seconds."""

    number: int
    kinds: frozenset[str]
    pause: tuple[str, float]
    victim: str
    loss: str
    location: str
    edits: int

    def __str__(self) -> str:
        words = {
            "edit": f"{self.edits} edits of {self.location}",
            "kill": f"SIGKILL to {self.victim}",
            "pause": f"{self.pause[0]} paused for {self.pause[1]:.1f} s",
            "state": f"{self.loss} lost",
            "silence": "silent connections",
            "release": "another release",
        }
        said = ", ".join(text for kind, text in words.items() if kind in self.kinds)
        return f"round {self.number}: {said or 'nothing'}"


@dataclass(slots=True)
class DayFigures:
    """What a day amounted to. ``counts`` is how often each kind happened; times in seconds."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    rounds: int = 0
    refused: int = 0
    doubles: int = 0
    orphans: int = 0
    worst_recovery: float = 0.0
    recoveries: list[float] = field(default_factory=list)


def draw(seed: int, locations: tuple[str, ...], longest_pause: float) -> Iterator[Round]:
    """Rounds without end. Pauses are from one second to ``longest_pause``, short ones more often."""
    chance = random.Random(seed)
    number = 0
    while True:
        number += 1
        kinds = frozenset(kind for kind in KINDS if chance.random() < SHARE)
        yield Round(
            number,
            kinds,
            (
                chance.choice(PAUSED),
                SHORTEST_PAUSE
                * math.exp(chance.uniform(0, math.log(longest_pause / SHORTEST_PAUSE))),
            ),
            chance.choice(VICTIMS),
            chance.choice(LOSSES),
            chance.choice(locations),
            chance.choice((1, 1, 2, 20)),
        )


class Day(Scene):
    """A scene whose location ``rel`` is reached through the link ``current``, and that listens on TCP."""

    def __init__(
        self, folder: Path, runtime: Path, locations: tuple[str, ...] = ("a", "b")
    ) -> None:
        self.releases = 0
        self.saved: dict[str, int] = {}
        super().__init__(
            folder,
            runtime,
            locations,
            texts={"rel.py": ""},
            keys={"rel": {"relative_path": "current/rel.py", "location_name": "rel"}},
        )
        self.locations = (*locations, "rel")
        self.versions["rel"] = self.announced["rel"] = 0
        (folder / "rel.py").unlink()
        self.port = _free_port()
        self.release_anew()

    def command(self) -> list[str]:
        """As a shell with a small limit of open files would start it."""
        return [
            *("/bin/sh", "-c", f'ulimit -n {OPEN_FILES}; exec "$@"', "sh"),
            *super().command(),
            *("--listen", f"tcp://127.0.0.1:{self.port}"),
        ]

    def edit(self, name: str) -> int:
        """Save the next version of a location's file."""
        if name == "rel":
            return self._save(self.folder / "current" / "rel.py", name)
        return self._save(self.folder / f"{name}.py", name)

    def release_anew(self) -> int:
        """Make another release of ``rel`` and swap the link; the old release is kept."""
        self.releases += 1
        release = self.folder / "releases" / str(self.releases)
        release.mkdir(parents=True)
        version = self._save(release / "rel.py", "rel")
        link = self.folder / "current.new"
        link.symlink_to(Path("releases") / str(self.releases))
        link.replace(self.folder / "current")
        return version

    def _save(self, path: Path, name: str) -> int:
        version = self.versions[name] + 1
        # The judge must not hear of a version later than the supervisor does.
        self.versions[name] = version
        text = TEAM.format(
            gate=str(self.gate(name)), ending=str(self.gate(name, "end")), version=version, more=""
        )
        save(path, text)
        return version

    @property
    def state(self) -> Path:
        """The workspace's state directory."""
        return self.folder / ".supervise" / self.workspace.name

    def try_another(self) -> subprocess.CompletedProcess[bytes]:
        """Run a second supervisor on the same workspace; it must say that one runs."""
        return subprocess.run(
            [*COMMAND, "-w", str(self.workspace)],
            cwd=self.folder,
            env=environ(self.runtime, WS_TEST_MARKER=self.marker),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SETTLES_WITHIN,
            check=False,
        )


class Judge(threading.Thread):
    """Asks for every snapshot without pause and compares it with what was announced and saved before.

    An answer is right when its generation is at least the one that ``status`` named before the
    question, when the same generation never has other definitions, when a later generation never has
    an earlier version of the file, and when its version is one that was saved by then.
    """

    def __init__(self, day: Day) -> None:
        super().__init__(daemon=True)
        self._day = day
        self._done = threading.Event()
        self._served: dict[str, dict[int, tuple[int, str]]] = {name: {} for name in day.locations}
        self.answers = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self._done.is_set() and not self.wrong:
            try:
                self._sit()
            except (NotRunningError, RequestError, UnreachableError):
                # It is being started, has loaded nothing yet, or is paused and has lost its sockets.
                self._done.wait(0.02)
            except SupervisorError as error:
                self.wrong.append(f"{type(error).__name__}: {error}")

    def _sit(self) -> None:
        with Client(
            self._day.workspace,
            environ={"XDG_RUNTIME_DIR": str(self._day.runtime)},
            timeout=SETTLES_WITHIN,
        ) as client:
            while not self._done.is_set() and not self.wrong:
                announced = {
                    one["name"]: one["serving"]["generation"]
                    for one in client.status()["locations"]
                    if one["serving"] is not None
                }
                for name, generation in announced.items():
                    self._ask(client, name, generation)
                self._done.wait(0.02)

    def _ask(self, client: Client, name: str, announced: int) -> None:
        snapshot = client.snapshot(name)
        saved = self._day.versions[name]
        self.answers += 1
        (definition,) = snapshot.document()["definitions"]
        version = int(definition["name"].removeprefix("v"))
        known = self._served[name]
        seen = (version, snapshot.fingerprint)
        if snapshot.generation < announced:
            self._object(name, f"generation {snapshot.generation} after {announced} was announced")
        before = known.setdefault(snapshot.generation, seen)
        if before != seen:
            text = f"generation {snapshot.generation} has other definitions than before"
            self._object(name, f"{text}: {before}, now {seen}; version {saved} is the newest")
        if version > saved:
            self._object(name, f"version {version}, of which {saved} is the newest")
        later = [one for number, one in known.items() if number < snapshot.generation]
        if later and max(later)[0] > version:
            self._object(name, f"version {version} after version {max(later)[0]}")

    def _object(self, name: str, text: str) -> None:
        self.wrong.append(f"{name} was served {text}")

    def close(self) -> None:
        """Stop asking."""
        self._done.set()
        self.join()


def play(day: Day, what: Round, figures: DayFigures) -> None:
    """Play one round on a day that is well, and wait until it is well again; raises ``SceneError``."""
    stopped: list[int] = []
    silent: list[socket.socket] = []
    figures.rounds += 1
    for kind in what.kinds:
        figures.counts[kind] += 1
    until = time.monotonic()
    try:
        if "pause" in what.kinds:
            who, seconds = what.pause
            until += seconds
            stopped = _stop(day, who)
        if "silence" in what.kinds:
            silent = _connect_silently(day)
        if "state" in what.kinds:
            _lose(day, what.loss)
            _expect_refusal(day, figures)
        if "release" in what.kinds:
            day.release_anew()
        if "edit" in what.kinds:
            for _ in range(what.edits):
                day.edit(what.location)
        # What was announced and is lost before the supervisor could look is lost.
        later = what.victim == "supervisor" and "state" in what.kinds
        if "kill" in what.kinds and not later:
            _kill(day, what.victim, figures, stopped)
        time.sleep(max(0.0, until - time.monotonic()))
        for pid in stopped:
            day.send(pid, signal.SIGCONT)
        begun = time.monotonic()
        _expect_well(day)
        if "kill" in what.kinds and later:
            _kill(day, what.victim, figures)
            _expect_well(day)
        took = time.monotonic() - begun
        figures.recoveries.append(took)
        figures.worst_recovery = max(figures.worst_recovery, took)
    except SceneError as error:
        raise SceneError("\n".join([f"{what}: {error}", *day.last_words()])) from None
    finally:
        for pid in stopped:
            day.send(pid, signal.SIGCONT)
        for one in silent:
            one.close()


def _stop(day: Day, who: str) -> list[int]:
    if who == "everything":
        pids = [one.pid for one in day.processes()]
    elif who == "supervisor":
        pids = [day.pid]
    else:
        pids = day.pids(who)[:1]
    for pid in pids:
        day.send(pid, signal.SIGSTOP)
    return pids


def _kill(day: Day, victim: str, figures: DayFigures, stopped: Sequence[int] = ()) -> None:
    if victim == "supervisor":
        day.kill_supervisor()
        for pid in stopped:  # what is stopped cannot end what is left
            day.send(pid, signal.SIGCONT)
        try:
            day.expect_nobody()
        except SceneError:
            figures.orphans += 1
            raise
        day.start()
        return
    pids = day.pids(victim)
    if pids:
        belongings = day.belongings(pids[0]) if victim == "shim" else {pids[0]}
        day.send(pids[0], signal.SIGKILL)
        if victim == "shim" and not is_stopped(day.pid):
            day.expect_gone(belongings)


def _lose(day: Day, loss: str) -> None:
    """Take something away that the supervisor keeps; what is gone already stays so."""
    database = day.state / "snapshots.db"
    runtime = place(day).path

    def remove(*paths: Path) -> None:
        for path in paths:
            path.unlink(missing_ok=True)

    def replaced() -> None:
        with contextlib.suppress(OSError):
            save(database, "not a database")

    def truncated() -> None:
        with contextlib.suppress(OSError):
            os.truncate(database, 0)

    def tree(path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)

    ways: dict[str, Callable[[], Any]] = {
        "state": lambda: tree(day.folder / ".supervise"),
        "workspace state": lambda: tree(day.state),
        "lock": lambda: remove(day.state / "lock"),
        "logs": lambda: tree(day.state / "logs"),
        "database truncated": truncated,
        "database removed": lambda: remove(
            database, *(database.with_name(database.name + end) for end in ("-wal", "-shm"))
        ),
        "database replaced": replaced,
        "journal removed": lambda: remove(
            *(database.with_name(database.name + end) for end in ("-wal", "-shm"))
        ),
        "runtime": lambda: tree(runtime),
        "runtime files": lambda: remove(*(path for path in runtime.glob("*"))),
    }
    ways[loss]()


def _expect_refusal(day: Day, figures: DayFigures) -> None:
    """A second supervisor never runs beside the first, whatever the first has lost."""
    done = day.try_another()
    said = done.stderr.decode(errors="replace")
    if done.returncode == 0 or f"pid {day.pid}" not in said:
        figures.doubles += 1
        raise SceneError(f"a second supervisor ended with status {done.returncode}: {said}")
    figures.refused += 1


def _expect_well(day: Day) -> None:
    """Everything is ready with the newest files, is there once, and nothing is said to be wrong."""

    def well() -> bool:
        if not all((day.state / name).exists() for name in ("lock", "snapshots.db", "logs")):
            return False  # it was not noticed yet
        # A client of its own: it must be possible to find the supervisor anew.
        try:
            with Client(
                day.workspace, environ={"XDG_RUNTIME_DIR": str(day.runtime)}, timeout=SETTLES_WITHIN
            ) as client:
                document = client.status()
                if any(one["state"] != "ready" for one in document["locations"]):
                    return False
                if _troubles(document):
                    return False
                kept = _kept(day)
                if any(
                    kept.get(one["name"], 0) < one["serving"]["generation"]
                    for one in document["locations"]
                ):
                    return False  # truncated or replaced, and not noticed yet
                return all(_version(client, name) == day.versions[name] for name in day.locations)
        except (NotRunningError, RequestError, UnreachableError):
            return False

    try:
        day.until(well, "everything is well", within=SETTLES_WITHIN)
    except SceneError as error:
        with contextlib.suppress(SupervisorError):
            seen = day.connected().status()
            raise SceneError(
                f"{error}; {_troubles(seen)}; saved {day.versions}; "
                f"served { {name: day.served(name) for name in day.locations} }"
            ) from None
        raise
    day.expect_single()
    if others := [one for one in day.processes() if "supervisor.cli" in one.name]:
        raise SceneError(f"another supervisor runs: {others}")


def _kept(day: Day) -> dict[str, int]:
    """The newest generation on disk of each location, of which all is lost with the supervisor."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{day.state / 'snapshots.db'}?mode=ro", uri=True)
        ) as database:
            query = "SELECT location, MAX(generation) FROM snapshots GROUP BY location"
            return dict(database.execute(query).fetchall())
    except sqlite3.Error:
        return {}


def _troubles(document: Any) -> list[str]:
    # While silent connections are open it may say that few files are left, and that history was lost it
    # says until it ends: both are true.
    return [
        one["message"]
        for one in document["supervisor"]["conditions"]
        if not one["key"].startswith("open_files") and one["key"] != "store_damaged"
    ]


def _version(client: Client, name: str) -> int:
    (definition,) = client.snapshot(name).document()["definitions"]
    return int(definition["name"].removeprefix("v"))


def _connect_silently(day: Day) -> list[socket.socket]:
    found = []
    for _ in range(SILENT):
        one = socket.socket()
        one.setblocking(False)
        with contextlib.suppress(OSError):
            one.connect(("127.0.0.1", day.port))
        found.append(one)
    return found


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port
