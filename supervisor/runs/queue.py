"""Which queued runs start, and why the others wait: the limits of work as a transition function.

Owns the order of the queue and the count of each limit. ``handle`` takes an event and returns the
runs that start now, which count from then on. The rules:

- Runs start in the order of their keys. A run that waits for a limit or for its location does not
  block those behind it.
- A limit is never exceeded by a start. Runs that an earlier supervisor started count, too, even above the limit.
- A run that needs several limits could be overtaken for ever by those that need one of them. Once
  ``OVERTAKEN`` later runs have taken a place that it needs, a place of each of its limits is kept for
  it. The limit of the whole workspace needs no reservation, because every run counts for it.

Runs that need the same limits wait in one line, and only the first of each line is looked at. Knows no
clock, no file and no process.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from supervisor.run_settings import NONE, RunSettings, TagLimit

__all__ = [
    "OVERTAKEN",
    "Ended",
    "Event",
    "Held",
    "Limits",
    "Queue",
    "Queued",
    "Started",
    "Waiting",
]

OVERTAKEN = 100
"""So many later runs may take what a waiting one needs."""

Key = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits or goes on. ``key`` orders runs, the smallest first."""

    id: str
    key: Key
    location: str
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the workspace, and of locations that have their own."""

    workspace: RunSettings = field(default_factory=RunSettings)
    locations: Mapping[str, RunSettings] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Queued:
    """A run wants to start."""

    run: Waiting


@dataclass(frozen=True, slots=True)
class Started:
    """A run goes on that this queue has not started, or no longer waits."""

    run: Waiting


@dataclass(frozen=True, slots=True)
class Ended:
    """A run has ended, or waits no more."""

    id: str


@dataclass(frozen=True, slots=True)
class Held:
    """Locations that can start no run now, each with the reason; all others can."""

    locations: Mapping[str, str] = field(default_factory=dict, hash=False)


Event = Queued | Started | Ended | Held | Limits


@dataclass(frozen=True, slots=True)
class _Limit:
    """At most ``most`` runs at once; of ``location`` alone unless "", with ``tag`` unless ""."""

    location: str
    tag: str
    most: float

    def says(self, count: int) -> str:
        """Why a run waits for it."""
        whose = f"of {self.location}" if self.location else "of the workspace"
        what = whose
        if self.tag:
            what = f"with tag {self.tag}" + (f" {whose}" if self.location else "")
        if self.most <= 0:
            return f"no runs {what} are started"
        under_way = f"1 run {what} is" if count == 1 else f"{count} runs {what} are"
        return f"waits: {under_way} under way, and at most {self.most:g} may be"


class _Line:
    """Runs that need the same limits, in order."""

    __slots__ = ("keys", "limits", "location", "overtaken")

    def __init__(self, location: str, limits: tuple[_Limit, ...]) -> None:
        self.location = location
        self.limits = limits
        self.keys: list[Key] = []
        self.overtaken = 0  # its first


class Queue:
    """``most`` is the limit of a workspace that says nothing."""

    def __init__(
        self, limits: Limits | None = None, *, most: float = NONE, overtaken: int = OVERTAKEN
    ) -> None:
        self._most = most
        self._overtaken = overtaken
        self._limits = limits or Limits()
        self._held: Mapping[str, str] = {}
        self._waiting: dict[str, Waiting] = {}
        self._going: dict[str, Waiting] = {}
        self._lines: dict[tuple[str, tuple[_Limit, ...]], _Line] = {}
        self._counts: Counter[_Limit] = Counter()
        self._places: dict[str, int] | None = None

    # Questions.

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, run: str) -> bool:
        return run in self._waiting

    @property
    def going(self) -> int:
        """How many runs count."""
        return len(self._going)

    def locations(self) -> set[str]:
        """Those of the runs that wait."""
        return {line.location for line in self._lines.values()}

    def place(self, run: str) -> int:
        """Its place in the queue, from 1; 0 when it does not wait."""
        if self._places is None:
            ordered = sorted(self._waiting.values(), key=lambda one: one.key)
            self._places = {one.id: place for place, one in enumerate(ordered, 1)}
        return self._places.get(run, 0)

    def why(self, run: str) -> str:
        """Why it waits; "" when it does not."""
        one = self._waiting.get(run)
        if one is None:
            return ""
        if one.location in self._held:
            return self._held[one.location]
        for limit in (self._whole(), *self._needs(one)):
            if self._counts[limit] >= limit.most:
                return limit.says(self._counts[limit])
        return "waits for runs before it that need the same"

    # Events.

    def handle(self, event: Event) -> list[str]:
        """The ids of the runs that start now, in order."""
        match event:
            case Queued(run):
                if run.id in self._waiting or run.id in self._going:
                    return []
                self._enter(run)
            case Started(run):
                self._leave(run.id)
                if run.id not in self._going:
                    self._count(run)
                return []
            case Ended(name):
                if not self._leave(name) and not self._uncount(name):
                    return []
            case Held(locations):
                self._held = locations
            case Limits():
                self._configure(event)
        return self._start()

    def _configure(self, limits: Limits) -> None:
        self._limits = limits
        going, waiting = list(self._going.values()), list(self._waiting.values())
        for table in (self._counts, self._going, self._waiting, self._lines):
            table.clear()
        for one in going:
            self._count(one)
        for one in sorted(waiting, key=lambda one: one.key):
            self._enter(one)

    def _enter(self, run: Waiting) -> None:
        self._waiting[run.id] = run
        self._places = None
        limits = self._needs(run)
        line = self._lines.setdefault((run.location, limits), _Line(run.location, limits))
        first = line.keys[0] if line.keys else None
        insort(line.keys, run.key)
        if line.keys[0] != first:
            line.overtaken = 0

    def _leave(self, name: str) -> bool:
        run = self._waiting.pop(name, None)
        if run is None:
            return False
        self._places = None
        which = run.location, self._needs(run)
        line = self._lines[which]
        if line.keys[0] == run.key:
            line.overtaken = 0
        line.keys.remove(run.key)
        if not line.keys:
            del self._lines[which]
        return True

    def _count(self, run: Waiting) -> None:
        self._going[run.id] = run
        self._counts.update((self._whole(), *self._needs(run)))

    def _uncount(self, name: str) -> bool:
        run = self._going.pop(name, None)
        if run is None:
            return False
        for limit in (self._whole(), *self._needs(run)):
            self._counts[limit] -= 1
            if not self._counts[limit]:
                del self._counts[limit]
        return True

    def _start(self) -> list[str]:
        whole = self._whole()
        if self._counts[whole] >= whole.most:
            return []
        started = []
        kept: Counter[_Limit] = Counter()  # for those that were overtaken too often
        passed: list[_Line] = []
        heads = [
            (line.keys[0], number, line)
            for number, line in enumerate(self._lines.values())
            if line.location not in self._held
        ]
        heapq.heapify(heads)
        while heads and self._counts[whole] < whole.most:
            key, number, line = heads[0]
            if any(self._counts[one] + kept[one] >= one.most for one in line.limits):
                heapq.heappop(heads)
                if len(line.limits) > 1 and all(one.most > 0 for one in line.limits):
                    passed.append(line)
                    if line.overtaken >= self._overtaken:
                        kept.update(line.limits)
                continue
            run = self._waiting[key[1]]
            self._leave(run.id)
            self._count(run)
            started.append(run.id)
            for other in passed:
                if not set(other.limits).isdisjoint(line.limits):
                    other.overtaken += 1
                    if other.overtaken == self._overtaken:
                        kept.update(other.limits)
            if line.keys:
                heapq.heapreplace(heads, (line.keys[0], number, line))
            else:
                heapq.heappop(heads)
        return started

    # Limits.

    def _whole(self) -> _Limit:
        said = self._limits.workspace.max_concurrent
        return _Limit("", "", self._most if said is None else said)

    def _needs(self, run: Waiting) -> tuple[_Limit, ...]:
        """The limits of a run beside that of the workspace."""
        found = list(_by_tags("", self._limits.workspace.tag_concurrency, run.tags))
        own = self._limits.locations.get(run.location)
        if own is not None:
            if own.max_concurrent not in (None, NONE):
                found.append(_Limit(run.location, "", own.max_concurrent))
            found += _by_tags(run.location, own.tag_concurrency, run.tags)
        return tuple(dict.fromkeys(found))


def _by_tags(
    location: str, limits: tuple[TagLimit, ...] | None, tags: Mapping[str, str]
) -> Iterable[_Limit]:
    for one in limits or ():
        value = tags.get(one.key)
        if value is None or one.value not in (None, value):
            continue
        yield _Limit(location, f"{one.key}={value}" if one.each else str(one), one.limit)
