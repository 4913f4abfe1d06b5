"""Every target of the fuzzer for a while, always from the same seed; longer runs: tests/faults/fuzz.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

FUZZER = Path(__file__).with_name("fuzz.py")
RUNS = {
    "messages": 60_000,
    "frames": 200_000,
    "snapshots": 200_000,
    "requests": 100_000,
    "yaml": 8_000,
    "toml": 8_000,
}
FACTOR = int(os.environ.get("WS_FUZZ_FACTOR", "1"))


@pytest.mark.parametrize("target", RUNS)
def test_nothing_else_is_raised(tmp_path, target):
    pytest.importorskip("atheris", reason="install the extra `fuzz`")
    done = subprocess.run(
        [sys.executable, FUZZER, target, f"-runs={RUNS[target] * FACTOR}", "-seed=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {RUNS[target] * FACTOR} runs" in done.stderr
