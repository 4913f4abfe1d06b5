"""Processes of multiprocessing that another process forks: data, descriptors and ends arrive."""

from __future__ import annotations

import json
import subprocess

import pytest
from loading import interpreter
from places import PROGRAMS, ROOT


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.6", "3.8", "3.11", "3.13"])
def test_a_process_is_handed_over(version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no python {version} on this machine")
    done = subprocess.run(
        [python, PROGRAMS / "hand_over.py", ROOT],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "alive": True,
        "forked": True,
        "length": 20_000_000,
        "rest": True,
        "exits": [0, 7, None, -9],
    }
