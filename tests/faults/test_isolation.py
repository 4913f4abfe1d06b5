"""One hostile location of each kind beside two good ones, which must not notice (promise 4).

How fast the good ones are answered meanwhile is a figure of the soak; here they are answered at all,
within a deadline that a busy machine can keep, and keep their processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from textwrap import dedent

import pytest
from scene import Scene, playing
from supervised import job

from supervisor.limits import Cgroups

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

ANSWERED_WITHIN = 20.0
ROUNDS = 30

READY = "\nfrom runner_shim import job\n\n@job\ndef bad():\n    pass\n"
CHANNEL = """\
import gc, sys
Channel = sys.modules["runner_shim.channel"].Channel
wire = sys.modules["runner_shim.wire"]
(channel,) = [one for one in gc.get_objects() if isinstance(one, Channel)]
"""
HERE = "open('here', 'w').close()\n"

HOSTILE: dict[str, tuple[str, dict]] = {
    "fork bomb": (
        HERE
        + dedent(
            """\
            import os, time
            while True:
                try:
                    os.fork()
                except OSError:
                    time.sleep(0.01)
            """
        ),
        {"limits": {"processes": 40}},
    ),
    "memory hog": (
        HERE + "kept = []\nwhile True:\n    kept.append(bytearray(8 * 1024 * 1024))\n",
        {"limits": {"memory": "512MiB"}},
    ),
    "spinner": (HERE + "while True:\n    pass\n", {"limits": {"nice": 10}}),
    "holds the GIL in C": (HERE + "import itertools\nsum(itertools.repeat(1))\n", {}),
    "floods its output": (
        HERE + "import os\nwhile True:\n    os.write(1, b'x' * 65535 + b'\\n')\n",
        {},
    ),
    "floods its errors without a newline": (
        HERE + "import os\nwhile True:\n    os.write(2, b'\\x1b[31m' * 4096)\n",
        {},
    ),
    "leaks descriptors": (
        "import os\nkept = []\ntry:\n    while True:\n        kept.append(os.open('/', os.O_RDONLY))\n"
        "except OSError:\n    pass\nopen_ = kept and os.close(kept.pop())\n"
        + HERE
        + "import time\nwhile True:\n    time.sleep(100)\n",
        {"limits": {"open_files": 256}},
    ),
    "stops itself": (HERE + "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n", {}),
    "says garbage": (
        CHANNEL + HERE + "while True:\n    channel.send([b'\\xc1' * 1000])\n",
        {"restart": {"max_restarts": 1000, "initial_delay": "0.01s", "max_delay": "0.1s"}},
    ),
    "talks without end": (
        CHANNEL
        + HERE
        + "message = wire.encode({'type': 'pong', 'request': 1})\n"
        + "while True:\n    channel.send(message)\n",
        {"restart": {"max_restarts": 1000, "initial_delay": "0.01s", "max_delay": "0.1s"}},
    ),
    "sends snapshots without end": (
        CHANNEL
        + HERE
        + "document = wire.pack({'format': 1, 'definitions': [{'kind': 'job', 'name': 'j%d' % n} "
        "for n in range(20000)]})\n"
        "message = wire.encode({'type': 'loaded', 'request': 1, 'report': {}}, document, "
        "wire.pack({}))\n"
        "while True:\n    channel.send(message)\n",
        {"restart": {"max_restarts": 1000, "initial_delay": "0.01s", "max_delay": "0.1s"}},
    ),
    "answers slowly": (HERE + "import time\ntime.sleep(1000)\n", {"load_timeout": "5s"}),
    "crashes without end": (
        HERE + "import os\nos.abort()\n",
        {"restart": {"max_restarts": 1000, "initial_delay": "0.01s", "max_delay": "0.05s"}},
    ),
}


def bounded(keys: dict) -> dict | None:
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


@pytest.mark.parametrize("method", ["auto", "spawn"])
@pytest.mark.parametrize("how", HOSTILE)
def test_others_are_answered_beside_one_that(tmp_path, runtime, how, method):
    text, keys = HOSTILE[how]
    keys = bounded(keys)
    if keys is None:
        pytest.skip("no pids controller here, and the kernel counts no processes of root")
    with playing(
        tmp_path,
        runtime,
        ("a", "b"),
        texts={"bad.py": text},
        keys={"bad": keys},
        defaults={"start_method": method},
    ) as scene:
        scene.expect_ready()
        before = {name: scene.pids("shim", name) for name in scene.locations}
        scene.until((tmp_path / "here").exists, "it is hostile")
        expect_answers(scene, before)
        # And what is asked of the good ones is done.
        scene.edit("a")
        scene.connected().reload("a")
        scene.until(lambda: scene.served("a") == scene.versions["a"], "it is loaded anew")
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
    chosen = {name: HOSTILE[name] for name in HOSTILE if name not in ("fork bomb", "memory hog")}
    texts = {f"bad{number}.py": text for number, (text, _) in enumerate(chosen.values())}
    keys = {f"bad{number}": more for number, (_, more) in enumerate(chosen.values())}
    with playing(tmp_path, runtime, ("a", "b"), texts=texts, keys=keys) as scene:
        scene.expect_ready()
        before = {name: scene.pids("shim", name) for name in scene.locations}
        expect_answers(scene, before)
        expect_bounded(scene)
        scene.kill_supervisor(signal.SIGKILL)
        scene.expect_nobody()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(tmp_path / "here")


def test_a_module_that_is_good_is_still_good():
    """The hostile texts are Python: a typing error in one would make it harmless."""
    for text, _ in HOSTILE.values():
        compile(text, "hostile", "exec")
    compile(job("x"), "good", "exec")
