"""A run ends exactly once, whatever is killed: pairs of victims at moments of its life.

``WS_FAULT_SEED=7 pytest -m faults tests/faults/test_run_kills.py`` replays one order of them. Every
process is a real one. After each round there is one final record, nothing ran twice, and no process
is left.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest
from launched import journals
from monitored import HEAD, kinds
from supervised import DEADLINE, SupervisorProcess, make_workspace, poll_now

from supervisor.client.client import Client
from supervisor.errors import SupervisorError
from supervisor.runs.journal import Journal

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

VICTIMS = ("supervisor", "shim", "forkserver", "monitor", "run")
MOMENTS = ("queued", "starting", "in an op", "between ops", "with a child", "cancelling")
TEAM = (
    HEAD
    + """
def ran(name):
    with open("ran", "a") as file:
        file.write("%s %s\\n" % (os.environ.get("RUN", ""), name))

@op
def first():
    ran("first")
    if os.path.exists("child"):
        subprocess.Popen(["setsid", "sleep", "1000"])
    print("first", flush=True)
    if os.path.exists("hold first"):
        time.sleep(1000)

@op
def second(x):
    ran("second")
    print("second", flush=True)
    if os.path.exists("deaf"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(0.5)

@job
def nightly():
    second(first())
"""
)


class Scene:
    """A supervisor that is started again when it was killed."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder = folder
        self.runtime = runtime
        self.workspace = make_workspace(folder, {"team.py": TEAM})
        self.running = self.start()

    def start(self) -> SupervisorProcess:
        running = SupervisorProcess(self.workspace, self.runtime, str(self.folder))
        running.until(lambda told: told["team"][0] == "ready")
        return running

    def client(self) -> Client:
        return Client(self.workspace, timeout=DEADLINE, environ={**os.environ, **self.variables})

    @property
    def variables(self) -> dict[str, str]:
        return {"XDG_RUNTIME_DIR": str(self.runtime)}

    def pid(self, victim: str, journal: Journal) -> int:
        """The process id of a victim, 0 when there is none now."""
        if victim == "supervisor":
            return self.running.pid
        monitor = journal.monitor()
        if victim == "monitor":
            return max(monitor, 0)
        if victim == "run":
            with contextlib.suppress(OSError, IndexError):
                children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text()
                return int(children.split()[0]) if monitor else 0
            return 0
        wanted = "forkserver" if victim == "forkserver" else "team"
        for pid in self.running.survivors():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ").split(b"\0")
                if b"boot.py" in b" ".join(words) and words[-1].decode().split()[0] == wanted:
                    return pid
        return 0

    def flags(self, *names: str) -> None:
        for name in ("child", "hold first", "deaf"):
            (self.folder / name).unlink(missing_ok=True)
        for name in names:
            (self.folder / name).touch()


def play(scene: Scene, victims: tuple[str, str], moment: str) -> str:
    """One round; the state in which the run ended."""
    flags = {"in an op": ["hold first"], "with a child": ["child"], "cancelling": ["deaf"]}
    scene.flags(*flags.get(moment, ()))
    (scene.folder / "ran").write_text("")
    with scene.client() as client:
        if moment == "queued":
            client.stop("team")
            client.wait("team", timeout=DEADLINE)
        run = client.launch("team", "nightly").id
        journal = journals(scene.folder)[run]
        if moment in ("in an op", "with a child", "between ops", "cancelling"):
            word = "second" if moment in ("with a child", "cancelling") else "first"
            poll_now(lambda: word in journal.output("out")[0].decode(), f"{word} is written")
        if moment == "between ops":
            poll_now(lambda: "STEP_SUCCESS first" in kinds(journal), "the first op's end")
        if moment == "cancelling":
            client.run(run).cancel()
    pids = [scene.pid(victim, journal) for victim in victims]
    for pid in filter(None, pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if "supervisor" in victims:
        scene.running.kill()
        scene.running = scene.start()
    with scene.client() as client:
        if moment == "in an op":
            with contextlib.suppress(SupervisorError):
                client.run(run).cancel(now=True)
        client.start("team")
        detail = client.run(run).wait(DEADLINE)
        assert detail["ended"] is not None, detail
        client.wait("team", timeout=DEADLINE)
    assert journal.final() is not None
    poll_now(lambda: journal.monitor() == 0, "the monitor's end")
    words = Counter((scene.folder / "ran").read_text().splitlines())
    assert all(times == 1 for times in words.values()), words
    ours = ("sleep", "run ")

    def left() -> list[int]:
        found = []
        for pid in scene.running.survivors():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                if words[0] == ours[0] or any(one.startswith(ours[1]) for one in words):
                    found.append(pid)
        return found

    poll_now(lambda: not left(), "nothing of the run is left")
    return str(detail["state"])


def test_a_run_ends_once_whatever_is_killed(tmp_path, runtime, monkeypatch):
    seed = int(os.environ.get("WS_FAULT_SEED", "1"))
    print(f"seed {seed}: WS_FAULT_SEED={seed} replays this order")
    cells = list(itertools.product(itertools.combinations(VICTIMS, 2), MOMENTS))
    random.Random(seed).shuffle(cells)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    scene = Scene(tmp_path, runtime)
    states: Counter[str] = Counter()
    try:
        for victims, moment in cells:
            state = play(scene, victims, moment)
            print(f"{' and '.join(victims)} {moment}: {state}")
            states[state] += 1
    finally:
        scene.running.kill()
    print(dict(states))
    assert sum(states.values()) == len(cells) == 60
