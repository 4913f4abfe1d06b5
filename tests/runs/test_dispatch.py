"""Runs of schedules that are due at one moment start once all of them are ordered, or a moment later."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from supervised import DEADLINE

from supervisor.runs.dispatch import Dispatch
from supervisor.runs.journal import Journal
from supervisor.runs.moment import Moment
from supervisor.runs.run import Run


class Started:
    """The ids of the runs that were started, in order."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.changed = asyncio.Event()
        self.dispatch = Dispatch(lambda location: "", self._start, lambda run, why: None)
        self.dispatch.resume()

    def _start(self, run: Run) -> None:
        self.runs.append(run.id)
        self.changed.set()


def run(name: str, **order: Any) -> Run:
    return Run({"run": name, "location": "team", "sequence": 1, **order}, Journal(Path(name)))


def of_schedule(name: str) -> Run:
    return run(name, automation={"name": "hourly"})


async def test_the_first_waits_for_the_order_of_the_last() -> None:
    started = Started()
    moment = Moment(started.dispatch.together)
    moment.begin()
    moment.begin()
    first, last = of_schedule("first"), of_schedule("last")
    started.dispatch.add(first)
    assert first in started.dispatch
    assert started.dispatch.standing(first) == (
        "others that are due at this moment are ordered first",
        0,
    )
    started.dispatch.add(run("by a user"))
    assert started.runs == ["by a user"]
    moment.end()
    started.dispatch.add(last)
    cancelled = of_schedule("cancelled")
    started.dispatch.add(cancelled)
    started.dispatch.remove(cancelled)
    started.changed.clear()
    moment.end()
    async with asyncio.timeout(DEADLINE):
        while len(started.runs) < 3:
            started.changed.clear()
            await started.changed.wait()
    assert started.runs == ["by a user", "first", "last"]
    assert first not in started.dispatch


async def test_it_does_not_wait_for_one_whose_function_hangs() -> None:
    started = Started()
    moment = Moment(started.dispatch.together)
    moment.begin()
    moment.begin()
    started.dispatch.add(of_schedule("first"))
    async with asyncio.timeout(DEADLINE):
        await started.changed.wait()
    assert started.runs == ["first"]
    started.dispatch.add(of_schedule("second"))  # the moment is over
    assert started.runs == ["first", "second"]
    moment.end()
    moment.end()


@pytest.mark.parametrize("count", [0, 1])
async def test_one_alone_waits_for_nothing(count: int) -> None:
    started = Started()
    moment = Moment(started.dispatch.together)
    for _ in range(count):
        moment.begin()
    started.dispatch.add(of_schedule("first"))
    assert started.runs == ["first"]
