"""No orphans, and back again: seeded random faults on a whole supervisor (promises 1, 2 and 3).

``WS_FAULT_SEED=7 pytest -m faults tests/faults/test_schedules.py`` replays a schedule. Every
process is a real one; after each fault all that was promised is looked at.
"""

from __future__ import annotations

import itertools

import pytest
from scene import playing
from schedule import MOMENTS, Figures, draw, pairs, play, seeds, victims

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.mark.parametrize("method", ["auto", "spawn"])
@pytest.mark.parametrize("seed", seeds((1, 2)))
def test_any_fault_at_any_moment(tmp_path, runtime, seed, method):
    """An odd seed plays one half of all victims at all moments, an even one the other half."""
    print(f"seed {seed}: WS_FAULT_SEED={seed} replays this schedule")
    figures = Figures()
    half = pairs(method, seed % 2)
    with playing(
        tmp_path,
        runtime,
        ("a", "b", "tree"),
        trees=("tree",),
        defaults={"start_method": method},
    ) as scene:
        scene.expect_ready()
        for fault in itertools.islice(draw(seed, scene.locations, method), len(half)):
            print(fault)
            play(scene, fault, figures)
    assert figures.faults == len(half)
    assert figures.missed == 0
    assert figures.kills > len(half)


def test_the_two_halves_are_all_there_is():
    everything = [(who, moment) for who in victims("auto") for moment in MOMENTS]
    assert sorted(pairs("auto", 0) + pairs("auto", 1)) == sorted(everything)
    assert not {"forkserver"} & {role for who, _ in pairs("spawn", 0) for role in who}
