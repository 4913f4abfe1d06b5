"""One hostile location of each kind beside two good ones, which must not notice (promise 4).

How fast the good ones are answered meanwhile is a figure of the soak; here they are answered at all,
within a deadline that a busy machine can keep, and keep their processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from scene import Scene, playing
from supervised import is_stopped

from supervisor.client.client import Client
from supervisor.errors import SupervisorError
from supervisor.processes.limits import Cgroups

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

ANSWERED_WITHIN = 20.0
ROUNDS = 30

READY = "\nfrom runner_shim import job\n\n@job\ndef bad():\n    pass\n"
CHANNEL = """\
import gc, sys
Channel = sys.modules["runner_shim.process.channel"].Channel
wire = sys.modules["runner_shim.wire"]
(channel,) = [one for one in gc.get_objects() if isinstance(one, Channel)]
"""
# Once it has loaded, so that it is one that serves which misbehaves: it is started again each time.
AFTER_LOADING = READY + dedent(
    """\
    send = channel.send
    def first(frames):
        send(frames)
        while True:
            send(message)
    channel.send = first
    """
)
# Each says by a file of its own that it is at it.
HERE = "import os\nopen('here-' + os.path.basename(__file__)[:-3], 'w').close()\n"
AGAIN = {"restart": {"max_restarts": 10_000, "initial_delay": "0.01s", "max_delay": "0.1s"}}


@dataclass(frozen=True, slots=True)
class Hostile:
    """The file and the keys of one, and by what it is known that it still is hostile:

    ``busy`` uses the processor, ``dies`` is started again and again, ``holds`` uses it and has a lot
    of memory, ``full`` has all the descriptors that it may have, ``stopped`` is, ``loads`` goes on
    loading, ``slow`` answers when it is asked, after a long time.
    """

    text: str
    still: str
    keys: dict[str, Any] = field(default_factory=dict)


HOSTILE: dict[str, Hostile] = {
    "fork bomb": Hostile(
        HERE
        + dedent(
            """\
            import time
            while True:
                try:
                    os.fork()
                except OSError:
                    time.sleep(0.01)
            """
        ),
        "busy",
        {"limits": {"processes": 40}},
    ),
    "memory hog": Hostile(
        dedent(
            """\
            kept = []
            try:
                while len(kept) < 60:
                    kept.append(bytearray(8 * 1024 * 1024))
            except MemoryError:
                kept.pop()
            """
        )
        + HERE
        + "page = bytes(len(kept[0]) // 4096)\n"
        + "while True:\n    for one in kept:\n        one[::4096] = page\n",
        "holds",
        {"limits": {"memory": "512MiB"}},
    ),
    "spinner": Hostile(HERE + "while True:\n    pass\n", "busy", {"limits": {"nice": 10}}),
    "holds the GIL in C": Hostile(HERE + "import itertools\nsum(itertools.repeat(1))\n", "busy"),
    "floods its output": Hostile(
        HERE + "while True:\n    os.write(1, b'x' * 65535 + b'\\n')\n", "busy"
    ),
    "floods its errors without a newline": Hostile(
        HERE + "while True:\n    os.write(2, b'\\x1b[31m' * 4096)\n", "busy"
    ),
    "leaks descriptors": Hostile(
        "import os\nkept = []\ntry:\n    while True:\n        kept.append(os.open('/', os.O_RDONLY))\n"
        "except OSError:\n    os.close(kept.pop())\n"
        + HERE
        + "import time\nwhile True:\n    time.sleep(100)\n",
        "full",
        {"limits": {"open_files": 256}},
    ),
    "stops itself": Hostile(
        HERE + "import signal\nos.kill(os.getpid(), signal.SIGSTOP)\n", "stopped"
    ),
    "says garbage": Hostile(
        CHANNEL + HERE + "message = [b'\\xc1' * 1000]\n" + AFTER_LOADING, "dies", AGAIN
    ),
    "talks without end": Hostile(
        CHANNEL + HERE + "message = wire.encode({'type': 'pong', 'request': 1})\n" + AFTER_LOADING,
        "dies",
        AGAIN,
    ),
    "sends snapshots without end": Hostile(
        CHANNEL
        + HERE
        + "document = wire.pack({'format': 1, 'definitions': [{'kind': 'job', 'name': 'j%d' % n} "
        "for n in range(20000)]})\n"
        "message = wire.encode({'type': 'loaded', 'request': 1, 'report': {}}, document, "
        "wire.pack({}))\n"
        "while True:\n    channel.send(message)\n",
        "dies",
        AGAIN,
    ),
    "never ends loading": Hostile(HERE + "import time\ntime.sleep(1000)\n", "loads"),
    "answers slowly": Hostile(
        HERE
        + dedent(
            """\
            import time
            from runner_shim import job, repository

            def slowly(name):
                def construct():
                    time.sleep(1.5)
                    @job(name=name)
                    def made():
                        pass
                    return made
                return construct

            @repository
            def things():
                return {"jobs": {"slow%d" % n: slowly("slow%d" % n) for n in range(1000)}}
            """
        ),
        "slow",
    ),
    "crashes without end": Hostile(HERE + "os.abort()\n", "dies", AGAIN),
}


def bounded(keys: dict[str, Any]) -> dict[str, Any] | None:
    """``keys`` with a limit of processes that means what it says; None where there can be none."""
    if "processes" not in keys.get("limits", {}) or "processes" in Cgroups()._found():
        return keys
    # Without a cgroup the limit counts all processes of the user: above what runs now. And root may
    # start as many as it likes (setrlimit(2)): a bomb without a limit is one.
    if os.getuid() == 0:
        return None
    mine = sum(
        1
        for one in os.listdir("/proc")
        if one.isdecimal() and Path(f"/proc/{one}").stat().st_uid == os.getuid()
    )
    return {**keys, "limits": {"processes": mine + 40}}


class Watch:
    """Whether ``bad`` was hostile from now on to ``expect_still``."""

    def __init__(self, scene: Scene, how: str, name: str = "bad") -> None:
        self._scene = scene
        self._name = name
        self._how = how
        self._still = HOSTILE[how].still
        scene.until((scene.folder / f"here-{name}").exists, f"{how}: it is hostile")
        if self._still == "slow":
            scene.expect_ready(name)
        self._cpu = self._ticks()
        self._deaths = scene.deaths()[name]
        self._asking = Asking(scene, name) if self._still == "slow" else None

    def expect_still(self) -> None:
        """It is as hostile as before; raises when it is not."""
        self._scene.until(self._is_hostile, f"{self._how}: it is still hostile")
        if self._asking is not None:
            self._asking.close()

    def _is_hostile(self) -> bool:
        pids = self._scene.pids("shim", self._name)
        if self._still == "dies":
            return self._scene.deaths()[self._name] >= self._deaths + 2
        if self._still == "slow":
            assert self._asking is not None
            return self._asking.slowest > 1
        if self._still == "loads":
            return bool(pids) and self._scene.states()[self._name] == "loading"
        if self._still == "stopped":
            return any(is_stopped(pid) for pid in pids)
        if self._still == "full":
            return any(len(os.listdir(f"/proc/{pid}/fd")) >= 250 for pid in pids)
        if self._still == "holds" and not any(resident(pid) > 150 * 2**20 for pid in pids):
            return False
        return self._ticks() >= self._cpu + 5  # hundredths of a second

    def _ticks(self) -> int:
        total = 0
        for pid in self._scene.pids("shim", self._name):
            with contextlib.suppress(OSError, IndexError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total


class Asking(threading.Thread):
    """Asks one that answers slowly without pause; ``slowest`` is how long an answer took (seconds)."""

    def __init__(self, scene: Scene, name: str) -> None:
        super().__init__(daemon=True)
        self._workspace, self._runtime, self._name = scene.workspace, scene.runtime, name
        self._done = threading.Event()
        self.slowest = 0.0
        self.start()

    def run(self) -> None:
        with Client(
            self._workspace, environ={"XDG_RUNTIME_DIR": str(self._runtime)}, timeout=60
        ) as client:
            for number in range(1000):
                if self._done.is_set():
                    break
                begun = time.monotonic()
                try:
                    shown = client.show(self._name, f"slow{number}")
                except SupervisorError:
                    return  # then it has not been slow, which is found out
                if shown["definition"]["name"] == f"slow{number}":
                    self.slowest = max(self.slowest, time.monotonic() - begun)

    def close(self) -> None:
        """Ask no more."""
        self._done.set()
        self.join()


def resident(pid: int) -> int:
    """Bytes of memory that a process has; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@pytest.mark.parametrize("method", ["auto", "spawn"])
@pytest.mark.parametrize("how", HOSTILE)
def test_others_are_answered_beside_one_that(tmp_path, runtime, how, method):
    keys = bounded(HOSTILE[how].keys)
    if keys is None:
        pytest.skip("no pids controller here, and the kernel counts no processes of root")
    with playing(
        tmp_path,
        runtime,
        ("a", "b"),
        texts={"bad.py": HOSTILE[how].text},
        keys={"bad": keys},
        defaults={"start_method": method},
    ) as scene:
        scene.expect_ready()
        before = {name: scene.pids("shim", name) for name in scene.locations}
        watch = Watch(scene, how)
        expect_answers(scene, before)
        # And what is asked of the good ones is done.
        scene.edit("a")
        scene.connected().reload("a")
        scene.until(lambda: scene.served("a") == scene.versions["a"], "it is loaded anew")
        watch.expect_still()
        expect_bounded(scene)
        scene.kill_supervisor(signal.SIGTERM)
        scene.expect_nobody()


def expect_answers(scene: Scene, before: dict[str, list[int]]) -> None:
    for _ in range(ROUNDS):
        begun = time.monotonic()
        states = scene.states()
        scene.expect_newest()
        assert time.monotonic() - begun < ANSWERED_WITHIN
        assert {states["a"], states["b"]} == {"ready"}
    assert {name: scene.pids("shim", name) for name in scene.locations} == before


def expect_bounded(scene: Scene) -> None:
    assert scene.memory() < 600 * 1024 * 1024
    logs = [path.stat().st_size for path in (scene.folder / ".supervise").rglob("*.log*")]
    assert sum(logs) < 200 * 1024 * 1024


def test_a_ready_one_that_is_stopped_from_outside(tmp_path, runtime):
    with playing(tmp_path, runtime) as scene:
        scene.expect_ready()
        (victim,) = scene.pids("shim", "a")
        before = {name: scene.pids("shim", name) for name in ("b", "c")}
        scene.send(victim, signal.SIGSTOP)
        for _ in range(ROUNDS):
            # Its snapshot is served on: no process is needed for that.
            scene.expect_newest()
            assert scene.states()["b"] == "ready"
        assert {name: scene.pids("shim", name) for name in ("b", "c")} == before
        scene.connected().restart("a")
        scene.until(lambda: victim not in scene.pids("shim", "a"), "the stopped one is gone")
        scene.expect_ready()
        scene.expect_single()


def test_a_log_on_a_full_disk(tmp_path, runtime):
    """/dev/full takes the log's place: what is printed is lost, nobody is hurt."""
    text = "print('x' * 100_000, flush=True)" + READY
    with playing(tmp_path, runtime, ("a", "b"), texts={"bad.py": text}) as scene:
        scene.expect_ready("a", "b", "bad")
        scene.kill_supervisor(signal.SIGTERM)
        logs = [path for path in (scene.folder / ".supervise").rglob("*.log") if path.stem == "bad"]
        assert logs
        for path in logs:
            path.unlink()
            path.symlink_to("/dev/full")
        scene.start()
        scene.expect_ready("a", "b", "bad")
        scene.expect_newest()


def test_all_of_them_at_once(tmp_path, runtime):
    keys = {how: bounded(one.keys) for how, one in HOSTILE.items()}
    chosen = {how: f"bad{number}" for number, how in enumerate(HOSTILE) if keys[how] is not None}
    with playing(
        tmp_path,
        runtime,
        ("a", "b"),
        texts={f"{name}.py": HOSTILE[how].text for how, name in chosen.items()},
        keys={name: keys[how] for how, name in chosen.items()},
    ) as scene:
        scene.expect_ready()
        before = {name: scene.pids("shim", name) for name in scene.locations}
        watches = [Watch(scene, how, name) for how, name in chosen.items()]
        expect_answers(scene, before)
        for watch in watches:
            watch.expect_still()
        expect_bounded(scene)
        scene.kill_supervisor(signal.SIGKILL)
        scene.expect_nobody()


def test_the_texts_are_programs():
    """A typing error in one would make it harmless."""
    for how, one in HOSTILE.items():
        compile(one.text, how, "exec")
