"""Time limits that pass only while the process runs."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.running_time import RunningTime, limit


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def used_up(time_left: RunningTime, clock: Clock) -> float:
    """How long it takes from now until nothing is left, when every step takes what it should."""
    begun = clock.now
    while (step := time_left.step()) > 0:
        clock.now += step
    return clock.now - begun


def test_all_of_it_is_given_in_steps() -> None:
    clock = Clock()
    time_left = RunningTime(8.0, clock)
    first = time_left.step()
    assert first == 1.0
    clock.now += first
    assert used_up(time_left, clock) == pytest.approx(7.0, abs=0.01)
    assert time_left.step() == 0


def test_a_pause_costs_one_step_however_long_it_is() -> None:
    clock = Clock()
    time_left = RunningTime(8.0, clock)
    time_left.step()
    clock.now += 3600.0
    assert used_up(time_left, clock) == pytest.approx(7.0, abs=0.01)


def test_what_was_shorter_than_its_step_counts_as_it_was() -> None:
    clock = Clock()
    time_left = RunningTime(8.0, clock)
    for _ in range(4):
        assert time_left.step() == 1.0
        clock.now += 0.25  # another answer came
    assert used_up(time_left, clock) == pytest.approx(7.0, abs=0.01)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_none_at_all(seconds: float) -> None:
    assert RunningTime(seconds).step() == 0


async def test_it_ends_a_body_and_not_what_was_waited_for() -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    assert not await RunningTime(0.01).wait([never])
    assert not never.cancelled()
    with pytest.raises(TimeoutError):
        async with limit(0.01):
            await asyncio.shield(never)
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    assert await RunningTime(0.0).wait([done])
    async with limit(60.0):
        await done


async def test_a_cancelled_body_is_cancelled() -> None:
    begun = asyncio.Event()

    async def body() -> None:
        async with limit(60.0):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
