"""The whole curve of restarts in real time: at once, then longer and longer, then given up.

The arithmetic is tested without a clock in ``test_restart``; here a real process dies of itself and
writes down when it ran.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from supervised import job, make_workspace, supervising

# What docs/workspace.md says of these keys, without the jitter.
CURVE = [0.0, 0.2, 0.4, 0.8, 0.8]
JITTER = 1.25
KEYS = {
    "start_method": "spawn",
    "restart": {"initial_delay": "0.2s", "max_delay": "0.8s", "max_restarts": len(CURVE)},
}
# Not a file that it was loaded from: making it is no edit that has the location loaded again.
DYING = """\
import os, time
with open("runs", "a") as file:
    file.write("%r\\n" % time.monotonic())
if not os.path.exists("mended"):
    os._exit(3)
"""


def runs(folder: Path) -> list[float]:
    return [float(line) for line in (folder / "runs").read_text().split()]


def announced(folder: Path) -> list[tuple[int, float]]:
    """The restarts as the supervisor's log tells of them: number and delay in tenths of a second."""
    (log,) = folder.rglob("supervisor.log")
    found = re.findall(r"a: backoff: .*restart (\d+) in ([\d.]+) s", log.read_text())
    return [(int(number), float(delay)) for number, delay in found]


def expect_the_curve(moments: list[float], told: list[tuple[int, float]]) -> None:
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert len(gaps) == len(CURVE)
    for number, (gap, wanted) in enumerate(zip(gaps, CURVE, strict=True), 1):
        assert gap >= wanted, f"restart {number} came after {gap:.3f} s: {gaps}"
    assert [number for number, _ in told] == list(range(1, len(CURVE) + 1))
    for (number, delay), wanted in zip(told, CURVE, strict=True):
        assert wanted - 0.05 <= delay <= wanted * JITTER + 0.05, f"restart {number}: {told}"


@pytest.mark.slow
async def test_the_whole_curve_and_back(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": DYING + job("nightly")}, {"a": KEYS})
    async with supervising(workspace, runtime) as running:
        await running.until(lambda: running["a"].state == "crashed", "given up")
        assert running["a"].restarts == len(CURVE)
        assert running["a"].reason.startswith("died 6 times within 60 s; the last time ")
        first = len(runs(tmp_path))
        expect_the_curve(runs(tmp_path), announced(tmp_path))

        # An order gives it all its chances again.
        assert running["a"].start() == "starting"
        await running.until(lambda: running["a"].state == "crashed", "given up once more")
        expect_the_curve(runs(tmp_path)[first:], announced(tmp_path)[len(CURVE) :])

        (tmp_path / "mended").touch()
        assert running["a"].start() == "starting"
        await running.ready()
        assert running.definitions("a") == ["job:nightly"]
        assert running["a"].failure is None


@pytest.mark.slow
async def test_a_mended_file_is_loaded_after_giving_up(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": DYING}, {"a": KEYS})
    async with supervising(workspace, runtime) as running:
        await running.until(lambda: running["a"].state == "crashed", "given up")
        await running.watched()
        (tmp_path / "a.py").write_text(job("nightly"))
        await running.ready()
        assert len(runs(tmp_path)) == len(CURVE) + 1
