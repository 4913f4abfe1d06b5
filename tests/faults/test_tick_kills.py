"""No run key is launched twice and none is lost, at whatever point of a tick the supervisor is killed.

``WS_FAULT_SEED=7 pytest -m faults tests/faults/test_tick_kills.py`` replays one order of the points,
``WS_TICK_ROUNDS=200`` plays more. ``tick_kills`` says what a round is; ``make soak`` plays 200.
"""

from __future__ import annotations

import os

import pytest
from tick_kills import POINTS, play_tick_rounds

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]


def test_a_run_key_is_launched_once_wherever_the_supervisor_is_killed(tmp_path, runtime):
    seed = int(os.environ.get("WS_FAULT_SEED", "1"))
    rounds = int(os.environ.get("WS_TICK_ROUNDS", "18"))
    print(f"seed {seed}: WS_FAULT_SEED={seed} replays this order")
    figures = None
    for figures in play_tick_rounds(tmp_path / "team", runtime, seed, rounds):
        pass
    assert figures is not None
    print(dict(figures.hits))
    assert figures.rounds == rounds
    assert len(figures.hits) >= min(len(POINTS), rounds) // 2
