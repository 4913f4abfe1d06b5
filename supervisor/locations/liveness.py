"""Whether idle processes still answer: one task asks them all, each in its turn.

Owns when each is asked and how long an answer may take. A busy one is not asked: the timeout
of its request counts. The caller decides what follows from a missing answer.

However many are watched, the task wakes once a second at most, and asks all that are due by then; a
supervisor with one idle process wakes once in its ``ping_interval``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

from supervisor.running_time import RunningTime

__all__ = ["LivenessProbe", "Patient"]

# Those that are due within so many seconds of each other are asked together.
_SLICE = 1.0
_NONE_DUE = 3600.0


class Patient(Protocol):
    """What can be asked for a sign of life."""

    @property
    def ping_interval(self) -> float:
        """Seconds from one question to the next; 0 for none."""

    @property
    def ping_timeout(self) -> float:
        """How long an answer may take, in seconds."""

    @property
    def alive(self) -> bool:
        """False once it has ended."""

    @property
    def idle(self) -> bool:
        """True while nothing else was asked of it."""

    async def ping(self) -> asyncio.Future[Any]:
        """Ask; the future is done when it has answered, or has ended."""


_P = TypeVar("_P", bound=Patient)


class LivenessProbe(Generic[_P]):
    """Asks those it watches; ``unresponsive`` of each is awaited when it does not answer."""

    def __init__(self) -> None:
        self._due: dict[_P, float] = {}
        self._unresponsive: dict[_P, Callable[[_P], Awaitable[None]]] = {}
        self._next = 0.0  # when the task looks again
        self._earlier = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def watched(self) -> list[_P]:
        """Those that are asked."""
        return list(self._due)

    def watch(self, patient: _P, unresponsive: Callable[[_P], Awaitable[None]]) -> None:
        """Ask ``patient`` every ``ping_interval`` seconds, until it ends; never if that is 0."""
        if patient.ping_interval > 0:
            self._unresponsive[patient] = unresponsive
            # Those that began together are not asked together.
            first = patient.ping_interval * (0.5 + 0.5 * random.random())  # noqa: S311
            due = self._due[patient] = asyncio.get_running_loop().time() + first
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="liveness")
            elif due < self._next:
                self._earlier.set()

    def forget(self, patient: _P) -> None:
        """Ask it no more."""
        self._due.pop(patient, None)
        self._unresponsive.pop(patient, None)

    async def close(self) -> None:
        """Ask none any more."""
        tasks = [*self._asking, *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._next = min(self._due.values(), default=loop.time() + _NONE_DUE)
            self._earlier.clear()
            try:
                async with asyncio.timeout_at(self._next):
                    await self._earlier.wait()
                continue
            except TimeoutError:
                pass
            now = loop.time()
            groups: dict[float, list[_P]] = {}
            for patient, due in list(self._due.items()):
                if not patient.alive:
                    self.forget(patient)
                elif due <= now + min(_SLICE, patient.ping_interval / 2):
                    self._due[patient] = now + patient.ping_interval
                    if patient.idle:
                        groups.setdefault(patient.ping_timeout, []).append(patient)
            for timeout, patients in groups.items():
                task = asyncio.create_task(self._ask(patients, timeout))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)

    async def _ask(self, patients: list[_P], timeout: float) -> None:
        asked = {patient: await patient.ping() for patient in patients}
        await RunningTime(timeout).wait(asked.values())
        silent = [patient for patient, answer in asked.items() if not answer.done()]
        await asyncio.gather(
            *(self._unresponsive[one](one) for one in silent if one in self._unresponsive)
        )
