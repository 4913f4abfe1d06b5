"""Many kills in a row of one supervisor's shims or forkservers, and what it has lost by them.

Owns the counting: descriptors, memory, zombies, threads and files before and after, and how long
each location took to be back. Used by the tests with a few hundred kills and by the soak with ten
thousand.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scene import Scene, SceneError

# A log begins a second file when the first is full, and the store a journal when it is written to.
LOGS_AND_JOURNALS = 3
# What is ended in the background has ended by then (seconds).
SETTLES_WITHIN = 30.0
# More than this in the second half of a storm is a leak (bytes a kill).
MAY_GROW = 4096
# What an allocator asks for at a time: no figure of a few kills says less (bytes).
GRAIN = 3 * 1024 * 1024
# A shim that was stable is started again without delay; here one is after a tenth of a second.
WINDOW = 0.1
STABLE = {"max_restarts": 1_000_000, "window": f"{WINDOW}s", "initial_delay": "0.1s"}


@dataclass(frozen=True, slots=True)
class Held:
    """What a supervisor holds at one moment. ``memory`` in bytes."""

    descriptors: int
    memory: int
    threads: int
    processes: int
    files: int


@dataclass(slots=True)
class StormFigures:
    """What a storm amounted to; ``seconds`` has one figure a kill, from the signal to ready.

    ``middle`` is what was held after the first half: what it filled up once, caches and generations
    that are kept, the second half fills up no more.
    """

    kills: int = 0
    before: Held | None = None
    middle: Held | None = None
    after: Held | None = None
    zombies: int = 0
    seconds: list[float] = field(default_factory=list)

    def percentile(self, part: float) -> float:
        """The recovery time that ``part`` of all kills stayed below, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    def growth(self) -> float:
        """Bytes of memory a kill by which the second half has grown."""
        assert self.middle is not None and self.after is not None
        return (self.after.memory - self.middle.memory) / max(1, self.kills - self.kills // 2)

    def leaks(self) -> list[str]:
        """What is left over of each kill, in words."""
        assert self.before is not None and self.middle is not None and self.after is not None
        found = {
            # A thread and a descriptor may be those of a pool that was not needed before.
            "descriptors": self.after.descriptors - self.before.descriptors - 2,
            "threads": self.after.threads - self.before.threads - 2,
            "processes": self.after.processes - self.before.processes,
            "files": self.after.files - self.before.files - LOGS_AND_JOURNALS,
            "zombies": self.zombies,
        }
        left = [f"{count} {what} leaked" for what, count in found.items() if count > 0]
        if self.after.memory - self.middle.memory > max(GRAIN, MAY_GROW * (self.kills // 2)):
            left.append(f"memory grew by {self.growth():.0f} bytes a kill in the second half")
        return left


def held(scene: Scene) -> Held:
    """What the supervisor of ``scene`` holds now."""
    return Held(
        descriptors=len(scene.descriptors()),
        memory=scene.memory(),
        threads=len(os.listdir(f"/proc/{scene.pid}/task")),
        processes=len(scene.processes()),
        files=sum(len(files) for _, _, files in os.walk(scene.folder / ".supervise")),
    )


def storm(scene: Scene, name: str, kills: int, warm_up: int = 20) -> StormFigures:
    """Kill the shim of ``name`` ``kills`` times, each time when it is ready again.

    What is held is looked at after ``warm_up`` more kills, in the middle, and at the end.
    """
    figures = StormFigures()
    for _ in range(warm_up):
        _kill_once(scene, name)
    figures.before = _settled(scene, None)
    for number in range(kills):
        if number == kills // 2:
            figures.middle = _settled(scene, figures.before)
        took = _kill_once(scene, name)
        figures.seconds.append(took)
        figures.kills += 1
        time.sleep(max(0.0, 1.1 * WINDOW - took))
    figures.after = _settled(scene, figures.before)
    figures.zombies = len(scene.zombies())
    return figures


def storm_of_forkservers(scene: Scene, name: str, kills: int, warm_up: int = 20) -> StormFigures:
    """Kill the forkserver ``kills`` times, and have ``name`` want another each time."""
    figures = StormFigures()
    for number in range(-warm_up, kills):
        if number == 0:
            figures.before = _settled(scene, None)
        if number == kills // 2:
            figures.middle = _settled(scene, figures.before)
        pid = _forkserver(scene)
        before = scene.pids("shim", name)
        begun = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        scene.connected().reload(name)
        scene.until(
            lambda pid=pid: pid not in (found := scene.pids("forkserver")) and found, "another"
        )
        scene.expect_ready(name)
        scene.until(
            lambda before=before: not {*before} & {*scene.pids("shim", name)}, "another shim"
        )
        if number >= 0:
            figures.seconds.append(time.monotonic() - begun)
            figures.kills += 1
    figures.after = _settled(scene, figures.before)
    figures.zombies = len(scene.zombies())
    return figures


def _forkserver(scene: Scene) -> int:
    """The only one there is, once one that has learned more has taken the place of another."""
    found: list[int] = []

    def single() -> bool:
        found[:] = scene.pids("forkserver")
        return len(found) == 1

    scene.until(single, "there is one forkserver")
    return found[0]


def _settled(scene: Scene, before: Held | None) -> Held:
    """What is held once nothing that was to end is ending any more; no longer waited for than that
    may take."""
    with contextlib.suppress(SceneError):
        scene.until(lambda: not scene.zombies(), "no zombie is left over", SETTLES_WITHIN)
    if before is not None:
        with contextlib.suppress(SceneError):
            scene.until(
                lambda: (
                    len(scene.processes()) <= before.processes
                    and len(scene.descriptors()) <= before.descriptors + 2
                ),
                "no process and no descriptor is left over",
                SETTLES_WITHIN,
            )
    return held(scene)


def _kill_once(scene: Scene, name: str) -> float:
    client = scene.connected()
    entry, revision = _entry(scene, name)
    pid = entry["process"]["pid"]
    begun = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    deadline = begun + 60
    while time.monotonic() < deadline:
        document = client.status(since=revision, timeout=5)
        revision = document["revision"]
        (entry,) = [one for one in document["locations"] if one["name"] == name]
        process = entry["process"]
        if entry["state"] == "ready" and process is not None and process["pid"] != pid:
            return time.monotonic() - begun
    raise SceneError(f"{name} was not back within 60 s: {entry['state']} {entry['reason']}")


def _entry(scene: Scene, name: str) -> tuple[dict[str, Any], int]:
    document: Any = scene.connected().status()
    (entry,) = [one for one in document["locations"] if one["name"] == name]
    return entry, document["revision"]


def log_bytes(scene: Scene) -> int:
    """Bytes of all logs of the scene."""
    return sum(path.stat().st_size for path in Path(scene.folder).glob(".supervise/**/*.log*"))
