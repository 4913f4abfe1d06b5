"""Many kills in a row leak nothing, and nobody waits needlessly (promise 2).

The soak does the same ten thousand times; its figures are in docs/reliability.md. How fast is a
figure of the soak too: here only that it happens.
"""

from __future__ import annotations

import signal

import pytest
from scene import playing
from storm import STABLE, StormFigures, storm, storm_of_forkservers

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

KILLS = 300
PLAIN = "from runner_shim import job\n\n@job\ndef v1():\n    pass\n"


def expect_no_leak(figures: StormFigures) -> None:
    assert figures.before and figures.middle and figures.after
    said = (
        f"{figures.kills} kills; memory {figures.before.memory}, {figures.middle.memory}, "
        f"{figures.after.memory}; {figures.growth():.0f} bytes a kill in the second half"
    )
    print(said)
    assert figures.leaks() == [], said


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
        figures = storm(scene, "plain", KILLS, warm_up=50)
        assert figures.kills == KILLS
        expect_no_leak(figures)
        scene.kill_supervisor(signal.SIGTERM)
        scene.expect_nobody()


def test_kills_of_forkservers_leak_nothing(tmp_path, runtime):
    with playing(tmp_path, runtime, (), texts={"plain.py": PLAIN, "other.py": PLAIN}) as scene:
        scene.expect_ready("plain", "other")
        bystander = scene.pids("shim", "other")
        figures = storm_of_forkservers(scene, "plain", KILLS // 2, warm_up=30)
        expect_no_leak(figures)
        # Those that were forked by one outlive it.
        assert scene.pids("shim", "other") == bystander
        assert scene.deaths() == {"plain": 0, "other": 0}
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
