"""A run ends exactly once, whatever is killed: pairs of victims at moments of its life.

``WS_FAULT_SEED=7 pytest -m faults tests/faults/test_run_kills.py`` replays one order of them,
``WS_RUN_ROUNDS=500`` plays more. ``kills`` says what a round is; ``make soak`` plays 500.
"""

from __future__ import annotations

import os

import pytest
from kills import CELLS, coverage, play_rounds

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def test_a_run_ends_once_whatever_is_killed(tmp_path, runtime):
    seed = int(os.environ.get("WS_FAULT_SEED", "1"))
    rounds = int(os.environ.get("WS_RUN_ROUNDS", "120"))
    print(f"seed {seed}: WS_FAULT_SEED={seed} replays this order")
    figures = None
    for figures in play_rounds(tmp_path, runtime, seed, rounds):
        print(figures.last)
    assert figures is not None
    print(coverage(figures))
    assert figures.rounds == rounds
    least = rounds // len(CELLS)
    assert not [cell for cell in CELLS if figures.hits[cell] < least]
