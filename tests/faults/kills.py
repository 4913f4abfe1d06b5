"""Kills of pairs of processes at moments of a run, each moment held open from outside.

Owns the rounds: the run of a round is brought to its moment and held there by files that the team's own
code waits for, both victims are seen to be there, and are killed by pidfd one right after the other. A
round counts for its cell only when both were really there and really killed at that moment; else the
cell is played again. Then everything is let go, and it is looked at what became: one final record, an
end that fits what was killed, nothing ran twice, no process without a run and no run without a process.

How a moment is held:

================  ==============================================================================
``queued``        The supervisor knows of no process of it. Of its monitor and run: both have been
                  forked, and the shim has not yet answered so (its standard output waits). Else,
                  every other time: the location still imports, and the supervisor says ``queued``.
``starting``      The run's process has been forked and waits in the team's hook for that. Its
                  monitor has begun; no event is there.
``in an op``      The second of three ops waits.
``between ops``   It has succeeded, and the value that it took waits to be dropped. The third
                  has not begun.
``with a child``  As in an op, and it has started a program with a session and an environment of its
                  own, whose streams lead nowhere.
``cancelling``    It was asked to end, and ignores all signals for that.
================  ==============================================================================
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import select
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launched import journals
from monitored import HEAD, kinds
from scene import RECOVERY_LIMIT, RESTARTS, Scene, SceneError, playing
from supervised import alive

from supervisor.client.runs import Run
from supervisor.runs.journal import Journal

__all__ = ["CELLS", "Cell", "Figures", "coverage", "play_rounds"]

VICTIMS = ("supervisor", "shim", "forkserver", "monitor", "run")
MOMENTS = ("queued", "starting", "in an op", "between ops", "with a child", "cancelling")
Cell = tuple[tuple[str, str], str]
"""Two victims and a moment."""
CELLS: list[Cell] = list(itertools.product(itertools.combinations(VICTIMS, 2), MOMENTS))
_TRIES = 5  # for one cell in a row
_ENDS = ("RUN_SUCCESS", "RUN_FAILURE", "RUN_CANCELED")

# "hold WHAT" is a gate, "held WHAT" says that somebody waits at it. What is written to ``ran`` is one line
# for each call of an op.
_TEAM = (
    HEAD
    + """
import resource
LOADED_BY = os.getpid()

def gate(what):
    if os.path.exists("hold " + what):
        with open("held " + what, "w") as file:
            file.write(str(os.getpid()))
        while os.path.exists("hold " + what):
            time.sleep(0.002)

def ended_children():
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt

class Output:
    '''Standard output; its flush waits where a child of this process has ended since the last one.'''
    def __init__(self, stream):
        self._stream, self._before = stream, ended_children()

    def flush(self):
        self._stream.flush()
        now = ended_children()
        if now != self._before and os.getpid() == LOADED_BY:
            gate("answer")
        self._before = now

    def __getattr__(self, name):
        return getattr(self._stream, name)

class Value:
    def __del__(self):
        gate("between")

def ran(context, name):
    file = os.open("ran", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, ("%s %s\\n" % (context.run_id, name)).encode())
    os.close(file)

@op
def first(context):
    ran(context, "first")
    return Value()

@op
def second(context, value):
    ran(context, "second")
    deaf = os.path.exists("deaf")
    if deaf:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.path.exists("child"):
        number = open("child").read()
        nowhere = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        subprocess.Popen(["env", "-i", "setsid", "sleep", number], cwd="/", **nowhere)
    gate("op")
    if deaf:
        time.sleep(1000)

@op
def third(context, done):
    ran(context, "third")

@job
def nightly():
    third(second(first()))

sys.stdout = Output(sys.stdout)
os.register_at_fork(after_in_child=lambda: gate("birth"))
gate("import")
"""
)


@dataclass
class Figures:
    """What the rounds have amounted to. ``hits`` count only rounds in which both were killed in time."""

    hits: Counter[Cell] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    last: str = ""

    @property
    def rounds(self) -> int:
        """Those that counted."""
        return sum(self.hits.values())


class _MissedError(Exception):
    """The moment had passed before both were killed."""


class _Stage:
    """A supervisor with one location, and the runs of the rounds."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.folder = scene.folder
        self.finals: dict[str, bytes] = {}
        self.children: list[str] = []

    def until(self, true: Any, what: str) -> None:
        self.scene.until(true, what)

    def hold(self, *names: str) -> None:
        for name in names:
            (self.folder / f"hold {name}").touch()

    def let_go(self) -> None:
        """Open all gates."""
        for pattern in ("hold *", "held *"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)
        for name in ("deaf", "child"):
            (self.folder / name).unlink(missing_ok=True)

    def held(self, name: str) -> int:
        """The process that waits at a gate, 0 when none does."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.folder / f"held {name}").read_text())
        return 0

    def process(self) -> int:
        """The location's process, 0 when there is none."""
        (entry,) = self.scene.connected().status("team")["locations"]
        found = entry["process"]
        return int(found["pid"]) if found else 0

    def ready(self) -> None:
        """Well again: the location is ready, and forked from a forkserver."""
        client = self.scene.connected()
        if self.scene.pids("forkserver"):
            client.start("team")
        else:
            client.reload("team")  # it is started with the first process that is to be forked

        def well() -> bool:
            (entry,) = client.status("team")["locations"]
            return bool(
                entry["state"] == "ready"
                and entry["serving"]["alive"]
                and self.scene.pids("forkserver")
                and self.scene.pids("shim", "team") == [entry["process"]["pid"]]
            )

        self.until(well, "the location and its forkserver are there")

    def reach(self, moment: str, *, early: bool) -> tuple[Run, Journal]:
        """Launch a run and hold it at ``moment``; ``early``: no process of it is there yet."""
        client = self.scene.connected()
        gates = {
            "queued": ("import",) if early else ("birth", "answer"),
            "starting": ("birth",),
            "between ops": ("between",),
        }.get(moment, ("op",))
        self.hold(*gates)
        if moment == "cancelling":
            (self.folder / "deaf").touch()
        if moment == "with a child":
            self.children.append(f"1000.{os.getpid()}{len(self.children):04}")
            (self.folder / "child").write_text(self.children[-1])
        if moment == "queued" and early:
            client.reload("team")
            self.until(lambda: self.held("import"), "the import waits")
            client.stop("team")
            self.until(lambda: self.scene.states()["team"] == "stopped", "stopped")
            (self.folder / "held import").unlink()
            client.start("team")
            self.until(lambda: self.held("import") == self.process(), "the import waits again")
        run = client.launch("team", "nightly")
        journal = journals(self.folder)[run.id]
        if not early:
            self.until(lambda: journal.monitor(), "a monitor")
        for name in gates:
            self.until(lambda name=name: self.held(name), f"something waits at {name}")
        if moment in ("in an op", "with a child", "cancelling"):
            self.until(lambda: "STEP_START second" in kinds(journal), "the second op's start")
        if moment == "between ops":
            self.until(lambda: "STEP_SUCCESS second" in kinds(journal), "the second op's success")
        if moment == "with a child":
            self.until(self.child, "the child")
        if moment == "cancelling":
            run.cancel(who="the test")
            self.until(lambda: "RUN_CANCELING" in kinds(journal), "it is being cancelled")
        return run, journal

    def child(self) -> list[int]:
        """The processes that ops have started with environments of their own."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdecimal():
                with contextlib.suppress(OSError):
                    words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
                    if words[0] == b"sleep" and words[1].decode() in self.children:
                        found.append(int(name))
        return found

    def pid(self, victim: str, run: int, journal: Journal) -> int:
        """The process id of a victim; raises when there is none."""
        if victim == "forkserver":
            return next(iter(self.scene.pids("forkserver")), 0)
        return {
            "supervisor": lambda: self.scene.pid,
            "shim": self.process,
            "monitor": journal.monitor,
            "run": lambda: run,
        }[victim]()

    def is_at(self, moment: str, run: Run, journal: Journal, *, early: bool) -> bool:
        """True while the run is really there."""
        events = kinds(journal)
        if moment == "queued":
            row = next(one for one in self.scene.connected().runs() if one["run"] == run.id)
            state = "queued" if early else "starting"
            return bool(row["state"] == state and not events and early == (not journal.begun()))
        if moment == "starting":
            return journal.begun() is not None and not events
        if moment == "between ops":
            return events[-1] == "STEP_SUCCESS second"
        if moment == "cancelling":
            return events[-1] == "RUN_CANCELING" and journal.final() is None
        return events[-1] == "STEP_START second" and (moment != "with a child" or any(self.child()))

    def kill(self, cell: Cell, run: Run, journal: Journal, *, early: bool, first: int) -> None:
        """Kill both at their moment; raises ``_MissedError``."""
        victims, moment = cell
        process = 0
        if not early:
            monitor = journal.monitor()
            with contextlib.suppress(OSError, IndexError):
                found = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
                process = int(found[0])
        pids = [self.pid(victim, process, journal) for victim in victims]
        if not all(pids) or not all(map(alive, pids)):
            raise _MissedError(f"of {victims} there are {pids}")
        with contextlib.ExitStack() as stack:
            pidfds = [os.pidfd_open(pid) for pid in pids]
            for pidfd in pidfds:
                stack.callback(os.close, pidfd)
            if not self.is_at(moment, run, journal, early=early) or not all(map(alive, pids)):
                raise _MissedError("the moment has passed")
            try:
                for pidfd in pidfds[first:] + pidfds[:first]:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except ProcessLookupError:
                raise _MissedError("one of them had ended") from None
            for pidfd in pidfds:
                if not select.select([pidfd], [], [], RECOVERY_LIMIT)[0]:
                    raise SceneError(f"of {pids} not all are dead")

    def play(self, cell: Cell, *, early: bool, first: int) -> str:
        """One round; the state in which its run ended. Raises ``_MissedError``, SceneError."""
        victims, moment = cell
        self.ready()
        missed = ""
        try:
            run, journal = self.reach(moment, early=early)
            try:
                self.kill(cell, run, journal, early=early, first=first)
            except _MissedError as error:
                missed = str(error)
        finally:
            self.let_go()
        if not alive(self.scene.pid):
            self.scene.kill_supervisor()  # collects it
            self.scene.start()
        client = self.scene.connected()
        run = client.run(run.id)
        if moment == "cancelling":
            run.cancel(now=True, who="the test")
        detail = run.wait(RECOVERY_LIMIT)
        if detail["ended"] is None:
            raise SceneError(f"the run did not end: {detail}")
        state = str(detail["state"])
        self._check(cell, run.id, journal, state, early=early, judged=not missed)
        if missed:
            raise _MissedError(missed)
        return state

    def _check(
        self, cell: Cell, run: str, journal: Journal, state: str, *, early: bool, judged: bool
    ) -> None:
        victims, moment = cell
        final = journal.final()
        if final is None or final["state"] != state:
            raise SceneError(f"its final record is {final}, clients were told {state}")
        self.finals[run] = (journal.path / "final").read_bytes()
        allowed = expected(victims, moment, early=early)
        if judged and state not in allowed:
            raise SceneError(f"{cell} ended as {state} ({final['reason']}), not {allowed}")
        ends = [one for one in kinds(journal) if one in _ENDS]
        if len(ends) > 1 or (state == "success" and ends != ["RUN_SUCCESS"]):
            raise SceneError(f"{cell}: the events tell of the ends {ends}")
        self.until(lambda: journal.monitor() == 0, "the monitor has ended")
        self.until(lambda: not self.left(run), f"nothing is left of the run ({cell})")
        ran = [name for one, name in self.ran() if one == run]
        if ran != ["first", "second", "third"][: len(ran)] or (state == "success") != (
            len(ran) == 3 and moment != "cancelling"
        ):
            raise SceneError(f"{cell} ended as {state}, and ran {ran}")

    def left(self, run: str) -> list[str]:
        """What lives of a run."""
        found = [str(pid) for pid in self.child()]
        for one in self.scene.processes():
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{one.pid}/cmdline").read_bytes().decode(errors="replace")
                if run in command:
                    found.append(command.replace("\0", " "))
        return found

    def ran(self) -> list[tuple[str, str]]:
        """Every call of an op: run and name."""
        try:
            lines = (self.folder / "ran").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [(one, name) for one, _, name in (line.partition(" ") for line in lines)]

    def check_all(self) -> None:
        """What must be so after all rounds."""
        twice = [one for one, times in Counter(self.ran()).items() if times > 1]
        if twice:
            raise SceneError(f"ran twice: {twice}")
        for run, journal in journals(self.folder).items():
            if run not in self.finals or (journal.path / "final").read_bytes() != self.finals[run]:
                raise SceneError(f"the final record of {run} was written again")
            if list(journal.path.glob(".final*")):
                raise SceneError(f"{run} has more than one final record")
        unknown = {run for run, _ in self.ran()} - self.finals.keys()
        told = {one["run"]: one["state"] for one in self.scene.connected().runs(limit=1000)}
        living = {run for run, state in told.items() if state not in _FINAL}
        if unknown or living:
            raise SceneError(f"without a journal: {unknown}; without an end: {living}")
        self.scene.kill_supervisor(signal.SIGTERM)
        self.scene.expect_nobody()
        if self.child():
            raise SceneError(f"left: {self.child()}")


_FINAL = ("success", "failure", "cancelled", "timed_out", "lost")


def expected(victims: tuple[str, str], moment: str, *, early: bool) -> tuple[str, ...]:
    """How a run may end of which these were killed."""
    if early:
        return ("success",)
    hurt = {"monitor", "run"} & set(victims)
    if hurt == {"monitor", "run"}:  # the monitor may have seen the run's end before its own
        return ("lost", "cancelled" if moment == "cancelling" else "failure")
    if hurt == {"monitor"}:
        return ("lost",)
    if moment == "cancelling":
        return ("cancelled",)
    return ("failure",) if hurt else ("success",)


def play_rounds(folder: Path, runtime: Path, seed: int, rounds: int) -> Iterator[Figures]:
    """Play ``rounds`` that count, each cell in turn in an order drawn from ``seed``; the figures after each.

    Raises SceneError for the first promise that is broken.
    """
    chance = random.Random(seed)
    figures = Figures()
    keys = {"team": {"start_method": "forkserver"}}
    with playing(
        folder, runtime, (), texts={"team.py": _TEAM}, keys=keys, defaults={"restart": RESTARTS}
    ) as scene:
        stage = _Stage(scene)
        todo: list[Cell] = []
        while figures.rounds < rounds:
            if not todo:
                todo = CELLS.copy()
                chance.shuffle(todo)
            cell = todo.pop()
            begun = time.monotonic()
            early = not {"monitor", "run"} & set(cell[0]) and figures.hits[cell] % 2 == 0
            early = early and cell[1] == "queued"
            first = chance.randrange(2)
            for _ in range(_TRIES):
                try:
                    state = stage.play(cell, early=early, first=first)
                except _MissedError as error:
                    figures.missed[str(error)] += 1
                    continue
                except SceneError as error:
                    words = "\n".join(scene.last_words())
                    raise SceneError(f"{cell}, early: {early}: {error}\n{words}") from None
                figures.hits[cell] += 1
                figures.ends[state] += 1
                break
            else:
                raise SceneError(f"{cell} was not hit in {_TRIES} tries: {figures.missed}")
            seconds = time.monotonic() - begun
            figures.last = f"{' + '.join(cell[0])}, {cell[1]}: {state} in {seconds:.1f} s"
            yield figures
        stage.check_all()


def coverage(figures: Figures) -> str:
    """The table of hits."""
    width = max(len(" + ".join(pair)) for pair, _ in CELLS)
    lines = [" " * width + "".join(f"{moment:>14}" for moment in MOMENTS)]
    for pair in itertools.combinations(VICTIMS, 2):
        hits = "".join(f"{figures.hits[pair, moment]:>14}" for moment in MOMENTS)
        lines.append(f"{' + '.join(pair):{width}}{hits}")
    lines.append(f"ends: {json.dumps(figures.ends)}; played again: {sum(figures.missed.values())}")
    return "\n".join(lines)
