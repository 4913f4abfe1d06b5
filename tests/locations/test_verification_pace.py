"""When there is spare time for verifying, and how much of it is used."""

from __future__ import annotations

import sys

import pytest
from supervised import job, make_workspace, poll, supervising
from verifying import COUNTED, WHERE, conditions, pace, state_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forkservers need Linux"),
]


async def test_no_more_than_the_budget_is_used(tmp_path, runtime, monkeypatch):
    now = 1000.0
    pace(monkeypatch, allowance=1.0, clock=lambda: now)  # a third of the second, and one whole
    burns = "import time\nwhile time.process_time() < %s: pass\n"
    workspace = make_workspace(
        tmp_path,
        {"a.py": burns % 0.7 + job("one"), "b.py": burns % 0.7 + job("two")},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        one, other = running["a"].verification, running["b"].verification
        await running.until(
            lambda: {one.state, other.state} == {"verified", "pending"}, "one of the two"
        )
        late = other if other.state == "pending" else one
        waits = "the processor time for verifying is used up for now"
        await poll(lambda: late.as_data()["reason"] == waits, "cut short")
        now += 3600
        await running.until(lambda: late.state == "verified", "in the next hour")


async def test_what_takes_more_than_the_whole_budget_is_not_tried_for_ever(
    tmp_path, runtime, monkeypatch
):
    pace(monkeypatch, allowance=0.5)
    text = WHERE + "if not forked:\n    while True: pass\n" + job("one")
    workspace = make_workspace(tmp_path, {"a.py": text})
    async with supervising(workspace, runtime) as running:
        assert await state_of(running, "a") == "failed"
        assert "more than 0.5 s of processor time" in conditions(running, "a")["verify_failed"]
        log = running["a"].log
        await poll(lambda: any("SIGKILL" in line.text for line in log.tail), "ended")


async def test_nothing_is_verified_on_a_busy_machine(tmp_path, runtime, monkeypatch):
    busy, looks = True, 0

    def calm() -> bool:
        nonlocal looks
        looks += 1
        return not busy

    pace(monkeypatch, calm=calm)
    workspace = make_workspace(tmp_path, {"a.py": COUNTED % "a"})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await poll(lambda: looks > 20, "looked at")
        assert (tmp_path / "a.loads").read_text() == "x"
        reason = (await running.status("a"))["verification"]["reason"]
        assert reason == "it waits until the machine has been idle for a while"
        busy = False
        assert await state_of(running, "a") == "verified"
