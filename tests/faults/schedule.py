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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scene import OrphansError, Scene, SceneError, born

from supervisor.errors import NotRunningError, RequestError

MOMENTS = ("starting", "loading", "forking", "ready", "reloading", "stopping")
# What ends a process that does not expect it. SIGSTOP first: a stopped process must be killable.
SIGNALS = ("KILL", "KILL", "KILL", "TERM", "SEGV", "ABRT", "HUP", "STOP+KILL")
CERTAIN = ("KILL", "STOP+KILL")
LONGEST_DELAY = 0.25


def roles(method: str) -> tuple[str, ...]:
    """Who can be hit where locations are started by ``method``."""
    there = ("supervisor", "shim", "reaper")
    return there if method == "spawn" else (*there, "forkserver")


def deadly(role: str, signal_name: str) -> bool:
    """False for what is ignored, or taken as an order, by design."""
    if role == "reaper":
        return signal_name in CERTAIN
    return role != "supervisor" or signal_name != "HUP"


@dataclass(frozen=True, slots=True)
class Fault:
    """``victims`` (roles) get ``signal_name`` in ``moment`` of ``location``, ``delay`` s after it began."""

    victims: tuple[str, ...]
    moment: str
    location: str
    signal_name: str
    delay: float

    @property
    def held(self) -> bool:
        """True when it is hit for certain in that moment, and not at any time after it began."""
        return self.delay == 0

    def __str__(self) -> str:
        who = " and ".join(self.victims)
        return f"{self.signal_name} to {who} while {self.location} is {self.moment} +{self.delay:.3f} s"


@dataclass(slots=True)
class Figures:
    """What a run of faults amounted to. Times in seconds.

    ``kills`` counts what must end whom it is sent to; ``missed`` victims that ought to have been
    there and were not.
    """

    faults: int = 0
    kills: int = 0
    missed: int = 0
    supervisor_kills: int = 0
    worst_recovery: float = 0.0
    worst_orphan: float = 0.0
    orphans: int = 0
    recoveries: list[float] = field(default_factory=list)


def victims(method: str) -> list[tuple[str, ...]]:
    """One role, or two."""
    there = roles(method)
    return [*((role,) for role in there), *itertools.combinations(there, 2)]


def pairs(method: str, part: int) -> list[tuple[tuple[str, ...], str]]:
    """A half of all victims in all moments; ``part`` 0 and 1 together are all."""
    everything = itertools.product(enumerate(victims(method)), enumerate(MOMENTS))
    return [
        (who, moment) for (row, who), (column, moment) in everything if (row + column) % 2 == part
    ]


def draw(seed: int, locations: tuple[str, ...], method: str = "auto") -> Iterator[Fault]:
    """Faults without end: the half of all pairs that is the seed's, the other half, and so on."""
    chance = random.Random(seed)
    for part in itertools.count(seed):
        half = pairs(method, part % 2)
        chance.shuffle(half)
        for who, moment in half:
            yield Fault(
                who,
                moment,
                chance.choice(locations),
                chance.choice(CERTAIN if who == ("reaper",) else SIGNALS),
                chance.choice((0.0, chance.uniform(0.001, LONGEST_DELAY))),
            )


def play(scene: Scene, fault: Fault, figures: Figures) -> None:
    """Let it happen to a scene whose locations are ready; raises ``SceneError`` when a promise breaks."""
    if scene.method != "spawn":
        _expect_forkserver(scene, fault.location)
    bystanders = scene.deaths()
    before = scene.processes()
    pids: dict[int, str] = {}
    try:
        _approach(scene, fault)
        pids = _victims(scene, fault)
        figures.faults += 1
        figures.kills += sum(deadly(role, fault.signal_name) for role in pids.values())
        if fault.held:
            figures.missed += len(fault.victims) - len(pids)
        doomed = _belongings(scene, fault, pids)
        _hit(scene, fault, pids)
        _go_on(scene, fault)
        if "supervisor" in fault.victims:
            figures.supervisor_kills += 1
            _without_supervisor(scene, fault, figures)
        else:
            figures.worst_orphan = max(figures.worst_orphan, scene.expect_gone(doomed))
            _with_supervisor(scene, fault, figures, bystanders, pids)
    except SceneError as error:
        found = f"{fault}, pids {pids} of {before}: {error}"
        text = "\n".join([found, *scene.last_words()])
        if isinstance(error, OrphansError):
            figures.orphans += error.count
            raise OrphansError(text, error.count) from None
        raise SceneError(text) from None
    finally:
        scene.release()


def _expect_forkserver(scene: Scene, name: str) -> None:
    if scene.pids("forkserver"):
        return
    scene.connected().reload(name)  # nobody has wanted one since the last was hit
    scene.expect_ready()
    if not scene.pids("forkserver"):
        # A forked load died and a fresh one did not: that is remembered until a restart.
        scene.kill_supervisor(signal.SIGTERM)
        scene.expect_nobody()
        scene.start().expect_ready()


def _approach(scene: Scene, fault: Fault) -> None:
    """Bring about the moment, and stay in it or leave it to its own devices for ``delay`` seconds."""
    client, name = scene.connected(), fault.location
    before = set(scene.pids("shim"))
    if fault.moment == "starting":
        _start_slowly(scene, name)
    elif fault.moment == "loading":
        scene.gate(name).touch()
        client.reload(name)
        scene.until(lambda: scene.states()[name] == "loading", f"{name} loads")
    elif fault.moment == "forking":
        client.reload(name)
        scene.until(lambda: set(scene.pids("shim")) - before, "one is forked", within=30)
    elif fault.moment == "reloading":
        scene.edit(name)
        client.reload(name)
    elif fault.moment == "stopping":
        scene.gate(name, "end").touch()
        client.stop(name)
        scene.until(Path(f"{scene.gate(name, 'end')}-here").exists, "it ends")
        assert scene.states()[name] == "stopping"
    if not fault.held:
        _go_on(scene, fault)
        time.sleep(fault.delay)


def _start_slowly(scene: Scene, name: str) -> None:
    """Have a location start and not get to its hello."""
    client = scene.connected()
    before = set(scene.pids("shim", name))
    if scene.method == "spawn":
        scene.gate(name, "start").touch()
        client.restart(name)
        scene.until(lambda: set(scene.pids("shim", name)) - before, "it starts")
    else:
        # What is to fork it does not: its earlier process is there meanwhile.
        for pid in scene.pids("forkserver"):
            scene.send(pid, signal.SIGSTOP)
        client.reload(name)
    scene.until(lambda: scene.states()[name] == "starting", f"{name} starts")


def _go_on(scene: Scene, fault: Fault) -> None:
    """Let go of what was held; a load is held for as long as the test wants."""
    if fault.moment == "starting":
        scene.gate(fault.location, "start").unlink(missing_ok=True)
        for pid in scene.pids("forkserver"):
            scene.send(pid, signal.SIGCONT)
    elif fault.moment == "stopping":
        scene.gate(fault.location, "end").unlink(missing_ok=True)


def _victims(scene: Scene, fault: Fault) -> dict[int, str]:
    """The processes to be hit and their roles."""
    found = {}
    processes = scene.processes()
    for role in fault.victims:
        pids = [one.pid for one in processes if one.role == role]
        if role == "shim":
            # Of two generations the new one, which may be in the middle of something.
            pids = [one.pid for one in processes if (one.role, one.name) == (role, fault.location)]
        if pids:
            found[max(pids, key=lambda pid: (born(pid), pid))] = role
    return found


def _belongings(scene: Scene, fault: Fault, pids: dict[int, str]) -> set[int]:
    """What must go with those that are hit, themselves included."""
    dying = {pid for pid, role in pids.items() if deadly(role, fault.signal_name)}
    return dying.union(*(scene.belongings(pid) for pid in dying))


def _hit(scene: Scene, fault: Fault, pids: dict[int, str]) -> None:
    names = fault.signal_name.split("+")
    for name in names:
        for pid in pids:
            scene.send(pid, signal.Signals[f"SIG{name}"])
    # A reaper heeds nothing but SIGKILL, and a supervisor takes SIGTERM as an order to stop.


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
    scene.release()
    # What is served now comes from the store: nothing can have been loaded.
    for name in scene.locations:
        scene.gate(name).touch()
    begun = time.monotonic()
    scene.start()
    scene.connected()
    scene.expect_newest()
    states = scene.states()
    if not {states[name] for name in scene.locations} <= {"starting", "loading"}:
        raise SceneError(f"loads that are held back are over: {states}")
    scene.release()
    scene.expect_ready()
    _note(figures, time.monotonic() - begun)
    scene.expect_newest()
    scene.expect_single()


def _with_supervisor(
    scene: Scene,
    fault: Fault,
    figures: Figures,
    bystanders: dict[str, int],
    pids: dict[int, str],
) -> None:
    begun = time.monotonic()
    scene.release(fault.location)
    client = scene.connected()
    dying = {pid for pid, role in pids.items() if deadly(role, fault.signal_name)}
    scene.until(lambda: not dying & scene.serving(), "the supervisor has noticed")
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
        # Nobody else may have died.
        if name != fault.location and deaths != bystanders[name]:
            raise SceneError(f"{name} died, which had no part in it")


def _note(figures: Figures, seconds: float) -> None:
    figures.recoveries.append(seconds)
    figures.worst_recovery = max(figures.worst_recovery, seconds)


def seeds(default: tuple[int, ...]) -> tuple[int, ...]:
    """The seeds of a test: WS_FAULT_SEED replays one."""
    given = os.environ.get("WS_FAULT_SEED")
    return (int(given),) if given else default
