"""What a run's page shows of its events and output, read on from where it was read before.

Owns the steps that the events tell of, the last events and the end of the output, each bounded: a run may
have 100,000 events and any amount of output. A page that is drawn again reads what is new. Draws nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisor.protocol.run_documents import RunDetail, RunEvent
    from supervisor.web.link import Link

__all__ = ["Record", "Records", "Step"]

_MOST_RECORDS = 16
_MOST_CHOSEN = 4  # steps of a run whose events are kept apart
_MOST_STEPS = 2000
_MOST_EVENTS = 300
_MOST_OUTPUT = 64 * 1024
_ENDS = {"STEP_SUCCESS": "success", "STEP_FAILURE": "failure", "STEP_SKIPPED": "skipped"}
_AGAIN = ("STEP_UP_FOR_RETRY", "STEP_RESTARTED")


@dataclass(slots=True)
class Step:
    """One step. ``state`` is running, retrying, success, failure or skipped; times are Unix seconds.

    ``began`` is the start of its first attempt.
    """

    name: str
    state: str
    began: float
    ended: float | None = None
    attempts: int = 1


@dataclass(eq=False, slots=True)
class OfStep:
    """The last events of one step; ``after`` is the cursor behind them, ``count`` how many there were."""

    events: deque[RunEvent] = field(default_factory=lambda: deque(maxlen=_MOST_EVENTS))
    count: int = 0
    after: int = 0


@dataclass(eq=False)
class Record:
    """What is known of one run. ``out`` and ``err`` are the ends of its output, ``count`` is how many events
    there were. ``after`` are the cursors behind them."""

    row: RunDetail
    steps: dict[str, Step] = field(default_factory=dict)
    events: deque[RunEvent] = field(default_factory=lambda: deque(maxlen=_MOST_EVENTS))
    count: int = 0
    out: str = ""
    err: str = ""
    after: dict[str, int] = field(default_factory=lambda: {"events": 0, "out": 0, "err": 0})
    of_steps: dict[str, OfStep] = field(default_factory=dict, repr=False)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def cursor(self) -> str:
        """The cursors as ``/api/v1/runs/RUN/events`` has them."""
        return "/".join(str(self.after[name]) for name in ("events", "out", "err"))

    def take(self, news: Any) -> None:
        """Add what is new."""
        for one in news.get("events", ()):
            self.events.append(one)
            self.count += 1
            if one["step"] is not None:
                self._step(one)
        self.out = (self.out + news.get("out", ""))[-_MOST_OUTPUT:]
        self.err = (self.err + news.get("err", ""))[-_MOST_OUTPUT:]
        self.after |= news["next"]

    def _step(self, event: RunEvent) -> None:
        name, kind, time = str(event["step"]), event["type"], event["time"]
        step = self.steps.get(name)
        if step is None:
            if len(self.steps) >= _MOST_STEPS or not (kind == "STEP_START" or kind in _ENDS):
                return
            step = self.steps[name] = Step(name, "running", time)
        if kind in _ENDS:
            step.state, step.ended = _ENDS[kind], time
        elif kind in _AGAIN:
            step.state = "retrying" if kind == "STEP_UP_FOR_RETRY" else "running"
            step.attempts += kind == "STEP_UP_FOR_RETRY"
            step.ended = None


class Records:
    """The records of the runs that were looked at last."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    async def read(self, link: Link, name: str) -> Record:
        """The record of the run ``name``, with what is new of it; raises what the client does."""
        run = await link.client.run(name)
        row: Any = run.row
        record = self._records.pop(run.id, None) or Record(row)
        self._records[run.id] = record
        while len(self._records) > _MOST_RECORDS:
            del self._records[next(iter(self._records))]
        async with record.lock:
            if row["partitions"] is None:
                pages = run.follow(record.after, wait=False, ahead=2)
                async with aclosing(pages) as found:
                    async for news in found:
                        record.take(news)
            # As it was before its news were read: an end is shown with all that came before it.
            record.row = row
        return record

    async def read_step(self, link: Link, record: Record, step: str) -> OfStep:
        """The events of one step of ``record``; raises what the client does."""
        async with record.lock:
            found = record.of_steps.pop(step, None) or OfStep()
            record.of_steps[step] = found
            while len(record.of_steps) > _MOST_CHOSEN:
                del record.of_steps[next(iter(record.of_steps))]
            run = await link.client.run(record.row["run"])
            pages = run.follow({"events": found.after}, wait=False, ahead=2)
            async with aclosing(pages) as pieces:
                async for news in pieces:
                    for one in news.get("events", ()):
                        if one["step"] == step:
                            found.events.append(one)
                            found.count += 1
                    found.after = news["next"].get("events", found.after)
        return found
