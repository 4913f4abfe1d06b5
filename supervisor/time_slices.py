"""Long work in the event loop, a step at a time.

Owns how long such work may hold the loop up. It is a generator that yields after each step and
returns its result. Not a thread: that would hold the interpreter whenever the loop wants it back,
which is after each of its system calls.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["TURN", "Steps", "at_once", "in_turns", "turns"]

_T = TypeVar("_T")
Steps = Generator[None, None, _T]

TURN = 0.0005
"""How long the loop is held up between two of its turns, by all such work (seconds)."""

_under_way = 0
# A turn of the loop shorter than this did nothing for anybody; and for how long others go first,
# turn after turn, while they have something to do (seconds).
_IDLE = 0.00005
_PATIENCE = 0.004


def at_once(steps: Steps[_T]) -> _T:
    """What ``steps`` return, where nobody waits."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result


async def in_turns(steps: Steps[_T]) -> _T:
    """What ``steps`` return; the event loop has its turn in between."""
    global _under_way
    _under_way += 1
    try:
        while True:
            end = time.perf_counter() + TURN / _under_way
            try:
                while time.perf_counter() < end:
                    next(steps)
            except StopIteration as done:
                result: _T = done.value
                return result
            await _others()
    finally:
        _under_way -= 1
        steps.close()


@contextmanager
def turns() -> Iterator[Callable[[], Awaitable[None]]]:
    """For long work that awaits others itself: what is to be awaited after each of its steps."""
    global _under_way
    _under_way += 1
    end = time.perf_counter() + TURN / _under_way

    async def step() -> None:
        nonlocal end
        if time.perf_counter() >= end:
            await _others()
            end = time.perf_counter() + TURN / _under_way

    try:
        yield step
    finally:
        _under_way -= 1


async def _others() -> None:
    """Let others finish: an answer takes several turns of the loop, and comes first."""
    from asyncio import sleep  # who only reads snapshots has no need of it

    begun = now = time.perf_counter()
    while now - begun < _PATIENCE:
        before = now
        await sleep(0)
        now = time.perf_counter()
        if now - before < _IDLE:
            return
