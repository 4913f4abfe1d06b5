"""Many kills in a row of one supervisor's shims, and what it has lost by them.

Owns the counting: descriptors, memory, zombies, threads and files before and after, and how long
each location took to be back. Used by the tests with a few hundred kills and by the soak with ten
thousand.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scene import Scene, SceneError

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
    """What a storm amounted to; ``seconds`` has one figure a kill, from the signal to ready."""

    kills: int = 0
    before: Held | None = None
    after: Held | None = None
    zombies: int = 0
    seconds: list[float] = field(default_factory=list)

    def percentile(self, part: float) -> float:
        """The recovery time that ``part`` of all kills stayed below, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


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

    What is held is looked at after ``warm_up`` more kills, and at the end.
    """
    figures = StormFigures()
    for _ in range(warm_up):
        _kill_once(scene, name)
    figures.before = held(scene)
    for _ in range(kills):
        took = _kill_once(scene, name)
        figures.seconds.append(took)
        figures.kills += 1
        time.sleep(max(0.0, 1.1 * WINDOW - took))
    # What is ended in the background has ended once the processes are as many as before.
    scene.until(
        lambda: len(scene.processes()) <= figures.before.processes,  # type: ignore[union-attr]
        "no process is left over",
    )
    scene.until(
        lambda: len(scene.descriptors()) <= figures.before.descriptors + 2,  # type: ignore[union-attr]
        "no descriptor is left over",
    )
    scene.until(lambda: not scene.zombies(), "no zombie is left over")
    figures.after = held(scene)
    figures.zombies = len(scene.zombies())
    return figures


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
