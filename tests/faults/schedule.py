"""Which faults there are: who is hit, at which moment, with which signal; drawn from a seed.

Owns the drawing and the playing of one fault on a ``Scene``, with what must be so afterwards. The
same seed draws the same faults in the same order; what the kernel's scheduler makes of them is its
own, so a replay repeats the schedule, not every interleaving.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass, field

from scene import Scene, SceneError
from supervised import alive

from supervisor.errors import NotRunningError, RequestError

MOMENTS = ("starting", "loading", "forking", "ready", "reloading", "stopping")
ROLES = ("supervisor", "forkserver", "shim", "warden")
VICTIMS = [*((role,) for role in ROLES), *itertools.combinations(ROLES, 2)]
# What ends a process that does not expect it. SIGSTOP first: a stopped process must be killable.
SIGNALS = ("KILL", "KILL", "KILL", "TERM", "SEGV", "ABRT", "HUP", "STOP+KILL")
LONGEST_DELAY = 0.25


@dataclass(frozen=True, slots=True)
class Fault:
    """``victims`` (roles) get ``signal_name`` in ``moment`` of ``location``, ``delay`` s after it began."""

    victims: tuple[str, ...]
    moment: str
    location: str
    signal_name: str
    delay: float

    def __str__(self) -> str:
        who = " and ".join(self.victims)
        return f"{self.signal_name} to {who} while {self.location} is {self.moment} +{self.delay:.3f} s"


@dataclass(slots=True)
class Figures:
    """What a run of faults amounted to. Times in seconds."""

    faults: int = 0
    kills: int = 0
    missed: int = 0
    supervisor_kills: int = 0
    worst_recovery: float = 0.0
    worst_orphan: float = 0.0
    recoveries: list[float] = field(default_factory=list)


def draw(seed: int, locations: tuple[str, ...]) -> itertools.chain[Fault]:
    """Faults without end. Every pair of victims and moment comes before any comes twice."""
    chance = random.Random(seed)

    def rounds():  # type: ignore[no-untyped-def]
        while True:
            pairs = list(itertools.product(VICTIMS, MOMENTS))
            chance.shuffle(pairs)
            for victims, moment in pairs:
                yield Fault(
                    victims,
                    moment,
                    chance.choice(locations),
                    chance.choice(SIGNALS),
                    chance.choice((0.0, chance.uniform(0, LONGEST_DELAY))),
                )

    return itertools.chain(rounds())


def play(scene: Scene, fault: Fault, figures: Figures) -> None:
    """Let it happen to a scene whose locations are ready; raises ``SceneError`` when a promise breaks."""
    bystanders = scene.deaths()
    before = scene.processes()
    pids: list[int] = []
    try:
        _approach(scene, fault)
        pids = _victims(scene, fault)
        figures.faults += 1
        figures.kills += len(pids)
        figures.missed += len(fault.victims) - len(pids)
        _hit(scene, fault, pids)
        if "supervisor" in fault.victims:
            figures.supervisor_kills += 1
            _without_supervisor(scene, fault, figures)
        else:
            _with_supervisor(scene, fault, figures, bystanders, pids)
    except SceneError as error:
        found = f"{fault}, pids {pids} of {before}: {error}"
        raise SceneError("\n".join([found, *scene.last_words()])) from None
    finally:
        scene.gate(fault.location).unlink(missing_ok=True)


def _approach(scene: Scene, fault: Fault) -> None:
    """Bring about the moment."""
    client, name = scene.connected(), fault.location
    before = scene.pids("shim")
    if fault.moment == "starting":
        client.restart(name)
    elif fault.moment == "loading":
        scene.gate(name).touch()
        client.reload(name)
        scene.until(lambda: scene.states()[name] == "loading", f"{name} loads")
    elif fault.moment == "forking":
        client.reload(name)
        scene.until(lambda: set(scene.pids("shim")) - set(before), "one is forked", within=30)
    elif fault.moment == "reloading":
        scene.edit(name)
        client.reload(name)
    elif fault.moment == "stopping":
        client.stop(name)
    if fault.moment != "forking":
        time.sleep(fault.delay)


def _victims(scene: Scene, fault: Fault) -> list[int]:
    found = []
    processes = scene.processes()
    for role in fault.victims:
        pids = [one.pid for one in processes if one.role == role]
        if role == "shim":
            # Of two generations the new one, which may be in the middle of something.
            named = [one.pid for one in processes if (one.role, one.name) == (role, fault.location)]
            pids = named or pids
        if pids:
            found.append(max(pids))
    return found


def _hit(scene: Scene, fault: Fault, pids: list[int]) -> None:
    names = fault.signal_name.split("+")
    for name in names:
        for pid in pids:
            scene.send(pid, signal.Signals[f"SIG{name}"])
    # A warden heeds nothing but SIGKILL, and a supervisor takes SIGTERM as an order to stop.


def _without_supervisor(scene: Scene, fault: Fault, figures: Figures) -> None:
    assert scene.process is not None
    if fault.signal_name == "HUP":  # an order to read the workspace again: it is killed meanwhile
        scene.kill_supervisor()
    try:
        # SIGTERM is an order to stop everything first.
        scene.process.wait(30)
    except subprocess.TimeoutExpired:
        raise SceneError(f"the supervisor is still there: {scene.processes()}") from None
    scene.kill_supervisor()
    figures.worst_orphan = max(figures.worst_orphan, scene.expect_nobody())
    for name in scene.locations:
        scene.gate(name).unlink(missing_ok=True)
    begun = time.monotonic()
    scene.start()
    scene.connected()
    # Before anything has been loaded: from the store.
    scene.expect_newest()
    scene.expect_ready()
    _note(figures, time.monotonic() - begun)
    scene.expect_newest()
    scene.expect_single()


def _with_supervisor(
    scene: Scene, fault: Fault, figures: Figures, bystanders: dict[str, int], pids: list[int]
) -> None:
    begun = time.monotonic()
    scene.gate(fault.location).unlink(missing_ok=True)
    client = scene.connected()
    # A process that writes its stack first is there for a moment; a warden heeds SIGKILL alone.
    wardens = scene.pids("warden")
    mortal = [pid for pid in pids if pid not in wardens]
    scene.until(lambda: not any(alive(pid) for pid in mortal), "they are dead")
    scene.until(lambda: not {*mortal} & scene.serving(), "the supervisor has noticed")
    try:
        scene.expect_newest()
        if fault.moment == "stopping":
            client.start(fault.location)
        scene.expect_ready()
    except (NotRunningError, RequestError) as error:
        raise SceneError(f"the supervisor did not survive: {error}") from None
    _note(figures, time.monotonic() - begun)
    scene.expect_newest()
    scene.expect_single()
    for name, deaths in scene.deaths().items():
        # Nobody else may have died, unless the victim was taken from among them.
        if name != fault.location and "shim" not in fault.victims and deaths != bystanders[name]:
            raise SceneError(f"{name} died, which had no part in it")


def _note(figures: Figures, seconds: float) -> None:
    figures.recoveries.append(seconds)
    figures.worst_recovery = max(figures.worst_recovery, seconds)


def seeds(default: tuple[int, ...]) -> tuple[int, ...]:
    """The seeds of a test: WS_FAULT_SEED replays one."""
    given = os.environ.get("WS_FAULT_SEED")
    return (int(given),) if given else default
