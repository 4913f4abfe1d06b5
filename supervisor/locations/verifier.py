"""Loads what was loaded forked once more, fresh, in the background, and compares.

Owns when that is done (one at a time in the whole supervisor, in spare time), and the judgement. A
fork is given up only when two fresh loads agree, two forked ones agree, and the one are not as the
other; what differs from load to load is news for the team, and changes nothing. A fresh load that
fails serves nothing and convicts nothing. Runs generations of its own and never touches a location's:
the location is asked to load again.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from supervisor.locations.conversation import retrieve
from supervisor.locations.failures import Failure
from supervisor.locations.generation import Generation, LoadFailedError, ProcessDiedError
from supervisor.locations.location_log import MarkedLog
from supervisor.locations.phases import Serving
from supervisor.locations.services import Services
from supervisor.locations.verification import (
    Case,
    ChangedError,
    Host,
    Outcome,
    Verification,
    case_of,
)
from supervisor.locations.verified import Verified
from supervisor.processes.spare_time import Pace, SpareTime
from supervisor.processes.start_limiter import StartLimiter
from supervisor.snapshots.snapshot import Snapshot, SnapshotDiff, comparing
from supervisor.specs import KillScope, LocationSpec
from supervisor.time_slices import in_turns

__all__ = ["Verifier"]

_log = logging.getLogger(__name__)

_NICE = 19
# It is looked so often whether nothing starts or loads any more (seconds).
_LOOK = 0.1
# Processor time of a load is looked at so often (seconds).
_SAMPLE = 0.25
# A file's times are those of the kernel's clock, which may be a tick behind (ns); a death is heard
# of a little later.
_TICK = 100_000_000
_SHOWN = 3
_MAX_SHOWN = 100

_FRESH = "to be compared with a forked one"
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,16}")


class _DroppedError(Exception):
    """It cannot be told now; the text says why."""


class Verifier:
    """Verifies one load after the other, while ``busy()`` is False and there is spare time.

    What was found out is kept in the state directory ``folder``.
    """

    pace = Pace()

    def __init__(self, services: Services, folder: Path, busy: Callable[[], bool]) -> None:
        self.verified = Verified(folder / "verified.json")
        # StartLimiter of its own: nothing that starts has to wait for a verification.
        self._services = replace(services, slots=StartLimiter(1))
        self._busy = busy
        self._looking = asyncio.Lock()
        self._spare = SpareTime(self.pace)
        self._queue: dict[Verification, Case] = {}
        self._large: set[str] = set()
        self._why = ""
        self._wanted = asyncio.Event()
        self._current: tuple[Verification, Case] | None = None
        self._generation: Generation | None = None
        self._job: asyncio.Task[Outcome] | None = None
        self._latest: Verification | None = None
        self._span: tuple[int, int | None] = (0, None)
        self._task = asyncio.create_task(self._run(), name="verifier")

    async def open(self) -> None:
        """Read what an earlier supervisor found out."""
        await self.verified.open()

    async def look_into(self, spec: LocationSpec, serving: Serving) -> Case:
        """``case_of`` these, once nothing starts or loads; one at a time."""
        async with self._looking:
            while self._busy():  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(_LOOK)
            return await asyncio.to_thread(case_of, spec, serving)

    def want(self, verification: Verification, case: Case) -> None:
        """Verify ``case`` when there is time."""
        self._queue[verification] = case
        self._wanted.set()

    def forget(self, verification: Verification) -> None:
        """Verify it no more; a process that runs for it is ended."""
        case = self._queue.pop(verification, None)
        if self._current is not None and self._current[0] is verification:
            case = self._current[1]
            self._cancel()
        if case is not None:
            self._large.discard(case.key)

    def look(self) -> None:
        """A location has changed: what runs is put off when one starts or loads."""
        if self._current is not None and self._busy():
            verification, case = self._current
            self._cancel()
            self._queue = {verification: case, **self._queue}

    def waiting_for(self, verification: Verification) -> str:
        """Why ``verification`` is still pending; "" when it is not among those that wait."""
        if self._current is not None and self._current[0] is verification:
            return "it is being loaded once more"
        return self._why if verification in self._queue else ""

    def latest(self, verification: Verification) -> tuple[int, int | None] | None:
        """When the last one began and ended (Unix nanoseconds), if it was of ``verification``.

        The end is None while it runs.
        """
        return self._span if self._latest is verification else None

    async def close(self) -> None:
        """Verify nothing any more; what runs is ended by its location."""
        self._queue.clear()
        self._cancel()
        self._task.cancel()
        await asyncio.wait([self._task])
        self.verified.close()

    def _cancel(self) -> None:
        self._end_generation(at_once=True)
        self._current = None
        if self._job is not None:
            self._job.cancel()

    def _end_generation(self, *, at_once: bool) -> None:
        generation, self._generation = self._generation, None
        if generation is not None and self._current is not None:
            self._current[0].host.end_beside(generation, at_once=at_once)

    async def _run(self) -> None:
        while True:
            if not self._queue:
                self._wanted.clear()
                await self._wanted.wait()
                self._spare.unknown()
            found = self._next()
            if found is None:
                await asyncio.sleep(self.pace.every)
                continue
            try:
                await self._verify(*found)
            except Exception:
                # A defect of ours ends neither the supervisor nor the verifying of others.
                _log.exception("verification of %s", found[0].host.spec.name)

    def _next(self) -> tuple[Verification, Case] | None:
        """What to verify now; None when it is not the time, and ``_why`` says why not."""
        busy = self._busy()
        if not self._spare.look(busy=busy):
            self._why = (
                "it waits until nothing starts or loads"
                if busy
                else "it waits until the machine has been idle for a while"
            )
            return None
        self._why = "the processor time for verifying is used up for now"
        left = self._spare.left
        for verification, case in self._queue.items():
            if left >= self.pace.allowance if case.key in self._large else left > 0:
                self._why = "it waits for its turn"
                return verification, case
        return None

    async def _verify(self, verification: Verification, case: Case) -> None:
        del self._queue[verification]
        self._current = verification, case
        self._latest, self._span = verification, (time.time_ns() - _TICK, None)
        verification.begun()
        self._job = asyncio.create_task(self._outcome(verification.host, case))
        try:
            await asyncio.wait([self._job])
        finally:
            job, self._job = self._job, None
            current, self._current = self._current, None
            self._span = self._span[0], time.time_ns() + _TICK
        if current is None or job.cancelled():
            return  # forgotten or put off
        outcome = job.result()
        if outcome.state == "pending" and case.key in self._large:
            self._queue[verification] = case
        else:
            self._large.discard(case.key)
        verification.settle(case, outcome)

    async def _outcome(self, host: Host, case: Case) -> Outcome:
        try:
            await self._unchanged(case)
            outcome = await self._judge(host, case)
            await self._unchanged(case)
        except _DroppedError as why:
            return Outcome("pending", str(why))
        except LoadFailedError as error:
            return Outcome("failed", error.failure.message.partition("\n")[0])
        except ProcessDiedError as error:
            return Outcome("failed", f"the process {error.ended} while {error.doing}")
        return outcome

    async def _judge(self, host: Host, case: Case) -> Outcome:
        served = case.snapshot
        fresh = await self._fresh(host, case, 1)
        if fresh.fingerprint == served.fingerprint:
            return Outcome("verified")
        again = await self._fresh(host, case, 2)
        if again.fingerprint != fresh.fingerprint:
            return Outcome("differs", _names(await _difference(fresh, again)))
        difference = await _difference(served, fresh)
        if not case.hash_seed or _by_addresses(difference):
            # The order of sets; addresses, which need not be others in each fresh process.
            return Outcome("differs", _names(difference))
        forked, profile = await self._forked(host, case)
        if profile != case.profile:
            # What is preloaded has changed since: what would be served from now on counts.
            if forked.fingerprint == fresh.fingerprint:
                why = "what is preloaded has changed, and its definitions with it"
                return Outcome("pending", why, again=why)
            served, difference = forked, await _difference(forked, fresh)
            forked, _profile = await self._forked(host, case)
        if forked.fingerprint != served.fingerprint:
            return Outcome("differs", _names(await _difference(served, forked)))
        why = f"its definitions are others when forked: {_names(difference, 'forked')}"
        return Outcome("fork_condemned", why, again=f"{why}: loaded in a fresh process")

    async def _unchanged(self, case: Case) -> None:
        try:
            now = await asyncio.to_thread(case_of, case.spec, case.serving)
        except ChangedError:
            now = None
        if now is None or now.key != case.key:
            raise _DroppedError("its files have changed: it is verified when it is loaded again")

    async def _fresh(self, host: Host, case: Case, count: int) -> Snapshot:
        """The fresh load number ``count``; those that were made before are not made again."""
        while len(case.fresh) < count:
            fresh = await self._load(host, case, _FRESH)
            case.fresh.append(fresh.snapshot)
        return case.fresh[count - 1]

    async def _forked(self, host: Host, case: Case) -> tuple[Snapshot, str]:
        """Another forked load, and what was preloaded where it was forked."""
        forked = await self._load(host, case)
        if not forked.process.forked:
            raise _DroppedError("it cannot be forked any more")
        return forked.snapshot, forked.process.profile

    async def _load(self, host: Host, case: Case, fresh_because: str = "") -> Serving:
        """Load and end it; raises ``_DroppedError`` when that takes more time than there is."""
        spec = replace(
            case.spec, limits=replace(case.spec.limits, nice=_NICE), kill=KillScope.TREE
        )  # what it starts as a daemon must not be there twice
        generation = self._generation = Generation(
            spec, case.snapshot.generation, self._services, MarkedLog(host.log)
        )
        seed = case.hash_seed if fresh_because else ""
        whole = self._spare.left >= self.pace.allowance
        loading = asyncio.create_task(
            generation.load(
                case.serving.launch.prepared, fresh_because=fresh_because, hash_seed=seed
            )
        )
        loading.add_done_callback(retrieve)
        used, finished = 0.0, False
        try:
            while not loading.done():
                await asyncio.wait([loading], timeout=_SAMPLE)
                used = await self._charge(generation, used)
                if self._spare.left <= 0 and not loading.done():
                    self._too_large(case, whole=whole)
            serving, finished = loading.result(), True
        finally:
            loading.cancel()
            await self._charge(generation, used)
            self._end_generation(at_once=not finished)
        await asyncio.wait([serving.process.exited])
        return serving

    async def _charge(self, generation: Generation, charged: float) -> float:
        """Put what it used beyond ``charged`` to the account; what it used in all."""
        if generation.process is None or not generation.alive:
            return charged
        used = max(await generation.process.spent(), charged)
        self._spare.spend(used - charged)
        return used

    def _too_large(self, case: Case, *, whole: bool) -> None:
        seconds = f"{self.pace.allowance:g} s of processor time"
        if whole:
            failure = Failure("timeout", f"loading it takes more than {seconds}")
            raise LoadFailedError(failure)
        self._large.add(case.key)
        raise _DroppedError(f"it waits until it may use {seconds}")


async def _difference(one: Snapshot, other: Snapshot) -> SnapshotDiff:
    return await in_turns(comparing(one, other))


def _by_addresses(difference: SnapshotDiff) -> bool:
    """True when nothing but objects' addresses differs."""
    return not (difference.added or difference.removed) and all(
        _ADDRESS.sub("0x", repr(one.before)) == _ADDRESS.sub("0x", repr(one.after))
        for one in difference.changed
    )


def _names(difference: SnapshotDiff, first: str = "") -> str:
    """The definitions that differ, a few of them; ``first`` says what the first of the two was."""
    when = [f"only when {first}", f"not when {first}"] if first else ["not always there"] * 2
    found = [(one.key, ", ".join(one.fields[:_SHOWN])) for one in difference.changed]
    found += [(key, when[0]) for key in difference.removed]
    found += [(key, when[1]) for key in difference.added]
    shown = [f"{key[:_MAX_SHOWN]} ({what})" for key, what in found[:_SHOWN]]
    more = len(found) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
