"""StartLimiter: how many at once, who is next, and what happens to those who give up."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from supervisor.processes.start_limiter import StartLimiter


class Taker:
    """Takes a slot in a task of its own, and holds it until told."""

    def __init__(self, slots: StartLimiter, rank: float = 0.0) -> None:
        self.has = asyncio.Event()
        self.done = asyncio.Event()
        self.task = asyncio.create_task(self._take(slots, rank))

    async def _take(self, slots: StartLimiter, rank: float) -> None:
        async with slots.take(lambda: rank):
            self.has.set()
            await self.done.wait()


async def turns() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_than_there_are():
    slots = StartLimiter(2)
    takers = [Taker(slots) for _ in range(5)]
    await turns()
    assert [one.has.is_set() for one in takers] == [True, True, False, False, False]
    takers[1].done.set()
    await turns()
    assert [one.has.is_set() for one in takers] == [True, True, True, False, False]
    for one in takers:
        one.done.set()
    await asyncio.gather(*(one.task for one in takers))


async def test_the_highest_rank_is_next_and_the_first_of_equals():
    slots = StartLimiter(1)
    first = Taker(slots)
    await turns()
    low, high, equal = Taker(slots, 1), Taker(slots, 2), Taker(slots, 2)
    await turns()
    order = []
    for _ in range(3):
        for one in (first, low, high, equal):
            if one.has.is_set() and not one.done.is_set():
                one.done.set()
        await turns()
        order.append([one.has.is_set() for one in (low, high, equal)])
    assert order == [[False, True, False], [False, True, True], [True, True, True]]
    for one in (first, low, high, equal):
        one.done.set()
        await one.task


async def test_one_that_hangs_keeps_nobody_from_starting():
    slots = StartLimiter(1, lease=0.01)
    hangs = Taker(slots)
    others = [Taker(slots) for _ in range(3)]
    await asyncio.gather(*(one.has.wait() for one in others))
    assert hangs.has.is_set()
    for one in (hangs, *others):
        one.done.set()
        await one.task
    # What was given back early is not given back twice.
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(slots.take())
        late = Taker(slots)
        await turns()
        assert not late.has.is_set()
    await late.has.wait()
    late.done.set()
    await late.task


async def test_those_who_give_up_take_nothing_with_them():
    slots = StartLimiter(1)
    first = Taker(slots)
    await turns()
    waiting = [Taker(slots) for _ in range(3)]
    await turns()
    waiting[0].task.cancel()
    await turns()
    first.done.set()
    await turns()
    assert waiting[1].has.is_set()
    for one in waiting[1:]:
        one.done.set()
        await one.task
    async with slots.take():
        pass


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_holder_and_those_who_wait_are_cancelled_together(order):
    slots = StartLimiter(1)
    takers = [Taker(slots), Taker(slots), Taker(slots)]
    await turns()
    for number in order:
        takers[number].task.cancel()
    await turns()
    assert all(takers[number].task.cancelled() for number in order)
    assert takers[2].has.is_set()
    takers[2].done.set()
    await takers[2].task
    async with slots.take():
        pass


async def test_one_that_is_cancelled_when_its_turn_comes_passes_it_on():
    slots = StartLimiter(1)
    takers = [Taker(slots), Taker(slots), Taker(slots)]
    await turns()
    takers[0].done.set()
    await asyncio.sleep(0)
    takers[1].task.cancel()
    await turns()
    assert takers[2].has.is_set()
    takers[2].done.set()
    await takers[2].task
