"""No orphans, and back again: seeded random faults on a whole supervisor (promises 1, 2 and 3).

``WS_FAULT_SEED=7 pytest -m faults tests/faults/test_schedules.py`` replays a schedule. Every
process is a real one; after each fault all that was promised is looked at.
"""

from __future__ import annotations

import itertools

import pytest
from scene import playing
from schedule import Figures, draw, play, seeds

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

FAULTS = 30


@pytest.mark.parametrize("method", ["auto", "spawn"])
@pytest.mark.parametrize("seed", seeds((1, 2)))
def test_any_fault_at_any_moment(tmp_path, runtime, seed, method, capsys):
    print(f"seed {seed}: WS_FAULT_SEED={seed} replays this schedule")
    figures = Figures()
    with playing(tmp_path, runtime, defaults={"start_method": method}) as scene:
        scene.expect_ready()
        for fault in itertools.islice(draw(seed, scene.locations), FAULTS):
            print(fault)
            play(scene, fault, figures)
    assert figures.faults == FAULTS
    assert figures.kills >= FAULTS
