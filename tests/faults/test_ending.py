"""Killed while it ends: a supervisor that has been told to stop, and is killed before it has."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from scene import playing
from schedule import seeds

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

KILLS = 6
LONGEST_DELAY = 0.2
# It heeds no signal, never ends by itself, and has children in its group and out of it.
STUBBORN = """\
import atexit, os, signal, subprocess, sys, threading
from runner_shim import job

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
subprocess.Popen(["sleep", "1000"])
subprocess.Popen(["sleep", "1000"], preexec_fn=os.setpgrp)
atexit.register(threading.Event().wait)

@job
def stubborn():
    pass
"""


@pytest.mark.parametrize("method", ["auto", "spawn"])
@pytest.mark.parametrize("seed", seeds((1, 2)))
def test_a_supervisor_that_is_killed_while_it_ends(tmp_path, runtime, seed, method):
    print(f"seed {seed}: WS_FAULT_SEED={seed} plays this again")
    chance = random.Random(seed)
    with playing(
        tmp_path,
        runtime,
        ("a", "tree"),
        texts={"stubborn.py": STUBBORN},
        keys={"stubborn": {"stop_timeout": "100s"}},
        trees=("tree",),
        defaults={"start_method": method},
    ) as scene:
        for _ in range(KILLS):
            scene.expect_ready("a", "tree", "stubborn")
            scene.expect_single()
            delay = chance.choice((0.0, chance.uniform(0, LONGEST_DELAY)))
            print(f"SIGKILL {delay:.3f} s after SIGTERM")
            os.kill(scene.pid, signal.SIGTERM)
            time.sleep(delay)
            assert scene.process is not None and scene.process.poll() is None, "it waits for one"
            scene.kill_supervisor()
            scene.expect_nobody()
            scene.start()
        scene.expect_ready("a", "tree", "stubborn")
        scene.expect_newest()
