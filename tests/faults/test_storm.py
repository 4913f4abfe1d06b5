"""Many kills in a row leak nothing, and nobody waits needlessly (promise 2).

The soak does the same ten thousand times; its figures are in docs/reliability.md. How fast is a
figure of the soak too: here only that it happens.
"""

from __future__ import annotations

import signal

import pytest
from scene import playing
from storm import STABLE, storm

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

KILLS = 200
PLAIN = "from runner_shim import job\n\n@job\ndef v1():\n    pass\n"


@pytest.mark.parametrize("method", ["auto", "spawn"])
def test_hundreds_of_kills_leak_nothing(tmp_path, runtime, method):
    with playing(
        tmp_path,
        runtime,
        (),
        texts={"plain.py": PLAIN},
        defaults={"start_method": method, "restart": STABLE},
    ) as scene:
        scene.expect_ready("plain")
        figures = storm(scene, "plain", KILLS)
        assert figures.kills == KILLS
        before, after = figures.before, figures.after
        assert after.descriptors <= before.descriptors + 2
        assert after.threads <= before.threads + 2
        # Generations that are kept and caches that fill up are bounded; a leak per kill is not.
        assert after.memory - before.memory < KILLS * 32 * 1024
        assert after.files <= before.files + 3
        scene.kill_supervisor(signal.SIGTERM)
        scene.expect_nobody()


def test_a_restarted_supervisor_runs_nothing_twice(tmp_path, runtime):
    with playing(tmp_path, runtime, tuple("abcdefgh")) as scene:
        scene.expect_ready()
        for _ in range(3):
            scene.kill_supervisor()
            scene.start()  # at once: what the first one left may still be ending
            scene.expect_ready()
            scene.expect_single()
            scene.expect_newest()
