"""Nothing grows: clients that ask and do not listen, or ask without end (promise 8).

The supervisor is a process of its own, so that what is measured is its memory alone. How much it
took at worst is printed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from scene import Scene, place

from runner_shim import wire
from supervisor.client.requests import VERSION

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

MIB = 1024 * 1024
MAY_GROW = 200 * MIB
# What an allocator keeps of what was given back, and caches that have filled up meanwhile.
MAY_STAY = 64 * MIB
ANSWERED_WITHIN = 20.0

# About a megabyte when packed.
BIG = """\
from runner_shim import Definitions, job

def made(number):
    @job(name="j%d" % number, description="x" * 10000)
    def one():
        pass
    return one

defs = Definitions(jobs=[made(number) for number in range(100)])
"""
COUNTED = Path(__file__).with_name("counted_supervisor.py")


class Counted(Scene):
    """A scene whose supervisor counts its tasks when asked."""

    def command(self) -> list[str]:
        return [sys.executable, str(COUNTED), str(self.workspace), str(self.folder / "counted")]

    def tasks(self) -> int:
        """How many tasks it has now."""
        file = self.folder / "counted"
        before = file.read_text().splitlines() if file.exists() else []
        os.kill(self.pid, signal.SIGUSR2)
        self.until(
            lambda: file.exists() and len(file.read_text().splitlines()) > len(before),
            "it has counted",
        )
        return int(file.read_text().splitlines()[-1])


class Watched:
    """The memory of a supervisor, looked at all the while by a thread; ``worst`` is its growth."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.before = self.worst = scene.memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._done.wait(0.05):
            with contextlib.suppress(OSError):
                self.worst = max(self.worst, self._scene.memory())

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def grew(self) -> int:
        """Bytes."""
        return self.worst - self.before


@pytest.fixture
def scene(tmp_path: Path, runtime: Path) -> Iterator[Counted]:
    """One location that is ready and has a large snapshot, and one that loads for ever."""
    made = Counted(tmp_path, runtime, ("a",), texts={"big.py": BIG})
    made.gate("a").touch()
    try:
        made.start()
        made.expect_ready("big")
        assert 0.8 * MIB < len(made.connected().snapshot("big").definitions) < 3 * MIB
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def greedy(address: str) -> Iterator[zmq.Socket]:
    """A connection that sends as much as it is let, and whose messages nobody reads."""
    context = zmq.Context()
    try:
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.RCVHWM, 1)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.SNDTIMEO, 200)
        socket.connect(address)
        yield socket
    finally:
        context.destroy(linger=0)


def expect_answers(scene: Counted) -> None:
    """Somebody else is answered: status, and a snapshot."""
    begun = time.monotonic()
    assert scene.states()["big"] == "ready"
    assert len(scene.connected().snapshot("big").index()) == 100
    assert time.monotonic() - begun < ANSWERED_WITHIN


def expect_as_before(scene: Counted, tasks: int, descriptors: int) -> None:
    """All that the client cost comes back once it is gone."""
    scene.until(lambda: scene.tasks() <= tasks + 2, "its tasks are gone")
    scene.until(lambda: len(scene.descriptors()) <= descriptors + 2, "its descriptors are gone")


@contextlib.contextmanager
def nothing_grows(scene: Counted, what: str) -> Iterator[Watched]:
    """Bounded while it lasts; the caller does the same twice, which costs no more than once."""
    with Watched(scene) as memory:
        yield memory
    left = scene.memory() - memory.before
    said = f"{what}: + {memory.grew / MIB:.0f} MiB at worst, + {left / MIB:.0f} MiB afterwards"
    print(said)
    assert memory.grew < MAY_GROW, said


def twice(scene: Counted, what: str, talk: Callable[[], None]) -> None:
    """Let ``talk`` happen two times: what the first cost comes back, or is used again."""
    tasks, descriptors = scene.tasks(), len(scene.descriptors())
    with nothing_grows(scene, what):
        talk()
        expect_as_before(scene, tasks, descriptors)
    with nothing_grows(scene, f"{what}, once more") as again:
        talk()
        expect_as_before(scene, tasks, descriptors)
    assert again.grew < MAY_STAY, f"{what}: {again.grew / MIB:.0f} MiB more the second time"


def asking(scene: Counted, request: dict[str, Any], times: int) -> None:
    """One client sends ``request`` so often and reads nothing, while another is answered."""
    with greedy(place(scene).control_address) as socket:
        for _ in range(times):
            with contextlib.suppress(zmq.Again):  # it may be held up: that is one way to be bounded
                socket.send(wire.pack({"v": VERSION, "id": 1, **request}))
        for _ in range(5):
            expect_answers(scene)
            time.sleep(0.2)  # it is busy with them


def test_a_client_that_asks_and_never_reads(scene):
    request = {"method": "snapshot", "params": {"location": "big"}}
    twice(scene, "1,000 snapshots, never read", lambda: asking(scene, request, 1000))


def test_a_client_that_waits_many_times(scene):
    # What it asks for is held back for so long, whether or not it is still there.
    request = {"method": "wait", "params": {"timeout": 10}}
    twice(scene, "20,000 waits", lambda: asking(scene, request, 20_000))


def test_a_stranger_that_talks_to_the_shims_socket(scene):
    message = bytes(MIB)

    def talk() -> None:
        sent = 0
        with greedy(place(scene).shim_address) as socket:
            socket.setsockopt(zmq.SNDHWM, 10)
            until = time.monotonic() + 5
            while time.monotonic() < until:
                with contextlib.suppress(zmq.Again):
                    socket.send(message)
                    sent += 1
            expect_answers(scene)
        print(sent, "messages of 1 MiB")

    twice(scene, "1 MiB messages for 5 s", talk)
