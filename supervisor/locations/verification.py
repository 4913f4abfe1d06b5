"""The verification state of one location's fork: verified, pending, given up, or off.

Owns the state that ``status`` shows, the location's conditions about it, and what makes one load the
same as another (``Case``). Loads nothing itself: that, and the judgement, is ``verifier``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from supervisor import __version__
from supervisor.conditions import Conditions
from supervisor.locations.generation import Generation
from supervisor.locations.location_log import LocationLog
from supervisor.locations.phases import Serving
from supervisor.locations.verified import GivenUp
from supervisor.processes.launcher import LaunchSpec, PreparedEnvironment
from supervisor.snapshots.snapshot import Snapshot
from supervisor.specs import LocationSpec
from supervisor.watching.digests import modified_ns
from supervisor.watching.site_packages import fingerprint

if TYPE_CHECKING:
    from supervisor.locations.verifier import Verifier
    from supervisor.protocol import documents
    from supervisor.protocol.documents import VerificationState

__all__ = ["Case", "ChangedError", "Host", "Outcome", "Verification", "case_of"]

# A result that is not kept on disk holds for so long for the same load (seconds).
_RECENT = 3600.0
_MAX_RECENT = 20
# A load that writes files of its own, others each time, would have the location loaded again and
# again, one that ends its predecessor would have it die: after so many verifications in a row that
# did such a thing, there is none for as long as a result holds.
_MAX_HARM = 2
# A death is heard of so much later at most (nanoseconds).
_HEARD_LATE = 10_000_000_000
# Larger files are told apart by size and time.
_MAX_HASHED = 64 * 1024 * 1024

_WORDS = {
    "verified": "a fresh process loads the same definitions",
    "differs": "its definitions differ from load to load",
    "failed": "failed",
    "fork_condemned": "the fork is given up",
}
_DISTURBS = "its files change, or its process ends, whenever it is loaded once more"
_SEED = re.compile(r"\d{1,10}")
_SEED_VARIABLE = "PYTHONHASHSEED"


class Host(Protocol):
    """What a verification needs of its location."""

    spec: LocationSpec
    log: LocationLog
    conditions: Conditions
    serving: Generation | None
    snapshot: Snapshot | None

    def load_again(self, reason: str) -> None:
        """Load anew beside what serves."""

    def end_beside(self, generation: Generation, *, at_once: bool) -> None:
        """End a process of verification, and wait for it where its own are waited for."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A forked load of ``spec`` to verify, which is what ``serving`` has. ``key`` is a digest of all
    that may make it another one, ``subject`` of the location's target and environment. ``fresh`` are
    the fresh loads so far."""

    spec: LocationSpec
    serving: Serving
    key: str
    subject: str
    fresh: list[Snapshot] = field(default_factory=list)

    @property
    def snapshot(self) -> Snapshot:
        """What was loaded."""
        return self.serving.snapshot

    @property
    def profile(self) -> str:
        """What was preloaded where it was forked."""
        return self.serving.process.profile

    @property
    def hash_seed(self) -> str:
        """The seed that it hashed strings with, "" when it is not known."""
        given = self.serving.launch.environ.get(_SEED_VARIABLE)
        seed = given or self.serving.process.hash_seed
        return seed if _SEED.fullmatch(seed) else ""  # "random" is none


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a verification came to. ``state`` as in docs/protocol.md; ``reason`` is one sentence;
    ``again`` says why the location has to be loaded again, "" when it need not."""

    state: VerificationState
    reason: str = ""
    again: str = ""


class Verification:
    """What is known of the fork of one location, its ``host``; ``changed()`` is called after each change."""

    __slots__ = (
        "_changed", "_harmed", "_harmed_at", "_harms", "_opening", "_recent", "_verifier", "at",
        "host", "reason", "state",
    )  # fmt: skip

    def __init__(self, host: Host, verifier: Verifier | None, changed: Callable[[], None]) -> None:
        self.host = host
        self._changed = changed
        self.state: VerificationState = "off"
        self.reason = "nothing has been loaded"
        self.at: float | None = None
        self._verifier = verifier
        self._opening: asyncio.Task[None] | None = None
        self._recent: dict[str, tuple[Outcome, float]] = {}
        self._harms, self._harmed, self._harmed_at = 0, False, 0.0

    def as_data(self) -> documents.Verification:
        """As the status document has it."""
        reason = self.reason
        if self.state == "pending" and self._verifier is not None:
            reason = self._verifier.waiting_for(self) or reason
        return {"state": self.state, "at": self.at, "reason": reason}

    def loaded(self, generation: Generation, serving: Serving, *, give_up: str = "") -> None:
        """``generation`` is ``serving``. ``give_up`` says why it must not be forked again, "" if it may be."""
        self._forget()
        if self._verifier is None:
            self._note("off", "this supervisor does not verify")
        elif serving.process.forked and not self.host.spec.verify:
            self._note("off", "verify: false")
        elif not serving.process.forked and not give_up:
            self._not_forked(serving.launch)
        else:
            self._note("pending", "what was loaded is being looked at")
            self._opening = asyncio.create_task(
                self._open(self._verifier, generation.spec, serving, give_up)
            )

    def configured(self) -> None:
        """The spec says something else about ``verify``."""
        generation = self.host.serving
        if generation is not None and isinstance(generation.phase, Serving):
            self.loaded(generation, generation.phase)
        if not self.host.spec.verify:
            self._clear()

    def drop(self, *, stopped: bool) -> None:
        """What was loaded is about to be replaced, or is ``stopped``: it is verified no more."""
        self._forget()
        if stopped or self._verifier is None:
            self._note("off", "no process of it runs")
        else:
            self._note("pending", "the next generation is verified once it is loaded")

    def disturbed(self, paths: Iterable[str] = ()) -> None:
        """``paths``, files of it, have changed, or its process has died: it will be loaded again."""
        span = None if self._verifier is None else self._verifier.latest(self)
        if span is not None:
            now = time.time_ns()
            begun, ended = span[0], span[1] or now
            times = [modified_ns(path) or 0 for path in paths]
            died = not times and now <= ended + _HEARD_LATE
            if died or any(begun <= one <= ended for one in times):
                self._harms += not self._harmed
                self._harmed, self._harmed_at = True, time.time()
            elif not self._harmed:
                self._harms = 0
        self.drop(stopped=True)

    def begun(self) -> None:
        """A verification begins, whose harm is not known."""
        self._harmed = False

    async def given_up(self, prepared: PreparedEnvironment) -> str:
        """Why a load in ``prepared`` must be a fresh process; "" when nothing says so."""
        if self._verifier is None:
            return ""
        name = self.host.spec.name
        why = self._verifier.verified.given_up(name)
        if why is None:
            return ""
        if why.subject == await asyncio.to_thread(_subject, self.host.spec, prepared):
            return why.reason
        self._verifier.verified.forgive(name)
        return ""

    def settle(self, case: Case, outcome: Outcome) -> None:
        """``outcome`` is what the verification of ``case`` came to."""
        assert self._verifier is not None
        now = time.time()
        self._tell(outcome, now)
        if outcome.state == "verified":
            self._verifier.verified.agree(case.key, now)
        elif outcome.state in ("differs", "failed"):
            self._recent[case.key] = outcome, now
            while len(self._recent) > _MAX_RECENT:
                del self._recent[next(iter(self._recent))]
        elif outcome.state == "fork_condemned":
            why = GivenUp(case.subject, outcome.reason, now)
            self._verifier.verified.give_up(self.host.spec.name, why)
        text = _WORDS.get(outcome.state, "not now")
        self.host.log.remark(": ".join(filter(None, ("verification", text, outcome.reason))))
        self._changed()
        if outcome.again:
            self.host.load_again(outcome.again)

    async def _open(
        self, verifier: Verifier, spec: LocationSpec, serving: Serving, give_up: str
    ) -> None:
        """Find out what is known already of what ``serving`` has loaded."""
        try:
            if give_up:
                case = await asyncio.to_thread(case_of, spec, serving)
            else:
                case = await verifier.look_into(spec, serving)
        except RuntimeError:  # no thread can be started
            self._note("pending", "there are too few threads to look at what was loaded")
            return
        except ChangedError:
            self._note("pending", "files of it have changed since it was loaded")
            return
        self._opening = None
        now = time.time()
        if give_up:
            verifier.verified.give_up(
                self.host.spec.name, GivenUp(case.subject, give_up, now, kept=False)
            )
            self._not_forked(serving.launch, give_up)
            self._changed()
            return
        agreed = verifier.verified.agreed(case.key)
        recent, then = self._recent.get(case.key, (None, 0.0))
        if agreed is not None:
            self._clear()
            self._note("verified", at=agreed)
        elif recent is not None and now - then < _RECENT:
            self._tell(recent, then)
        elif self._harms >= _MAX_HARM and now - self._harmed_at < _RECENT:
            self._tell(Outcome("failed", _DISTURBS), now)
        else:
            if self._harms >= _MAX_HARM:
                self._harms = 0
            self._note("pending")
            verifier.want(self, case)
            return  # as before: no news
        self._changed()

    def _not_forked(self, launch: LaunchSpec, because: str = "") -> None:
        self._clear()
        why = (
            None
            if self._verifier is None
            else self._verifier.verified.given_up(self.host.spec.name)
        )
        if why is not None and why.reason == (because or launch.start_method_reason):
            self._note("fork_condemned", why.reason, at=why.at)
        else:
            self._note("off", "its process is a fresh one")

    def _tell(self, outcome: Outcome, at: float) -> None:
        self._note(outcome.state, outcome.reason, at=None if outcome.state == "pending" else at)
        conditions = self.host.conditions
        if outcome.state in ("verified", "fork_condemned"):
            self._clear()
        elif outcome.state == "failed":
            conditions.set(
                "verify_failed",
                f"it could not be verified that forking changes nothing: {outcome.reason}",
                "`verify: false` for what must not be loaded a second time",
            )
        elif outcome.state == "differs":
            conditions.clear("verify_failed")
            conditions.set(
                "differs",
                f"its definitions differ from load to load: {outcome.reason}",
                "a set's order, an object's address and the time are others in each process",
            )

    def _clear(self) -> None:
        self.host.conditions.clear("differs")
        self.host.conditions.clear("verify_failed")

    def _note(self, state: VerificationState, reason: str = "", *, at: float | None = None) -> None:
        self.state, self.reason, self.at = state, reason, at

    def _forget(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._verifier is not None:
            self._verifier.forget(self)


class ChangedError(Exception):
    """What was loaded is not what stands in the files any more."""


def case_of(spec: LocationSpec, serving: Serving) -> Case:
    """What is to be verified; reads files, for a thread. Raises ``ChangedError``."""
    subject = _subject(spec, serving.launch.prepared)
    report = serving.snapshot.report
    files = report.get("files", ())
    loaded, now = int(serving.snapshot.loaded_at * 1e9), time.time_ns()
    if any(loaded < (modified_ns(path) or 0) <= now for path in files):
        raise ChangedError
    parts = [
        subject,
        serving.process.profile,
        sorted(spec.env.items()),
        [[path, _digest(path)] for path in files],
        sorted({*report.get("installed", ()), *report.get("preloaded", ())}),
    ]
    return Case(spec, serving, _hashed(parts), subject)


def _subject(spec: LocationSpec, prepared: PreparedEnvironment) -> str:
    """A digest of the target of ``spec`` and the environment; lists packages, for a thread."""
    environment = prepared.environment
    parts = [
        __version__,
        spec.name,
        None if spec.target is None else spec.target.as_data(),
        [environment.key, str(environment.prefix), fingerprint(environment.prefix)],
        [spec.start_method, spec.preload],
    ]
    return _hashed(parts)


def _hashed(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _digest(path: str) -> str:
    """What ``path`` holds, "" for what is no file; never waits for a pipe or a device."""
    try:
        status = os.stat(path)  # noqa: PTH116  # of text, as reported
        if not stat.S_ISREG(status.st_mode):
            return ""
        if status.st_size > _MAX_HASHED:
            return f"{status.st_size} {status.st_mtime_ns}"
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # of a descriptor
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""
