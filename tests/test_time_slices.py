"""Long work in steps: its result, its errors, and the turns of everybody else."""

from __future__ import annotations

import asyncio
import time

import pytest

from supervisor.time_slices import at_once, in_turns


def counting(steps, seconds=0.0):
    for _ in range(steps):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
        yield
    return steps


def failing():
    yield
    raise ValueError("in the second step")


async def test_the_result_is_what_it_returns():
    for steps in (0, 1, 1000):
        assert at_once(counting(steps)) == steps
        assert await in_turns(counting(steps)) == steps


async def test_an_error_is_whoever_waits_for_its():
    with pytest.raises(ValueError, match="second step"):
        at_once(failing())
    with pytest.raises(ValueError, match="second step"):
        await in_turns(failing())


async def test_others_have_their_turn_in_between():
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await asyncio.gather(*(in_turns(counting(100, 0.001)) for _ in range(3)))
    task.cancel()
    # Each of the 300 steps is longer than a turn may take.
    assert turns >= 100


async def test_who_is_cancelled_stops_in_the_middle():
    begun, ended = asyncio.Event(), []

    def endless():
        try:
            while True:
                begun.set()
                yield
        finally:
            ended.append(True)

    task = asyncio.create_task(in_turns(endless()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    assert ended == [True]
