"""Schedules and sensors as a snapshot has them: what fires, when, and what becomes of missed ticks.

Owns the reading of their definitions. Pure: what is switched and remembered is ``automations``'.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from supervisor import kinds
from supervisor.runs.firing import CatchUp, Overlap, Schedule
from supervisor.runs.timetable import Timetable, UnknownTimeError
from supervisor.snapshots.snapshot import Snapshot
from supervisor.time_slices import Steps

__all__ = ["DEFAULT_INTERVAL", "Automation", "definitions_of", "of_definition"]

DEFAULT_INTERVAL = 30.0
"""Seconds between two ticks of a sensor that says nothing."""
_LEAST_INTERVAL = 1.0
_NATIVE = "native"

_T = TypeVar("_T", CatchUp, Overlap)


@dataclass(frozen=True, slots=True)
class Automation:
    """``framework`` is whose it is. ``interval`` is seconds; ``trouble`` says why it has no times."""

    location: str
    name: str
    kind: str
    repository: str | None
    framework: str
    jobs: tuple[str, ...]
    crons: tuple[str, ...]
    zone: str | None
    interval: float
    default_on: bool
    catch_up: CatchUp
    overlap: Overlap
    lazy: bool
    schedule: Schedule | None = None
    trouble: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """By what it is remembered."""
        return self.location, self.name

    @property
    def ours(self) -> bool:
        """True where the supervisor fires it; Dagster's own daemon fires Dagster's."""
        return self.framework == _NATIVE


def definitions_of(snapshot: Snapshot) -> Steps[list[dict[str, Any]]]:
    """The definitions of all schedules and sensors of a snapshot, by name."""
    found = []
    if any(snapshot.counts.get(kind) for kind in kinds.AUTOMATIONS):
        for one in snapshot.each():
            if one["kind"] in kinds.AUTOMATIONS:
                found.append(one)
            yield
    return sorted(found, key=lambda one: (one["name"], one.get("repository") or ""))


def of_definition(snapshot: Snapshot, one: Mapping[str, Any]) -> Automation:
    """That of a definition (docs/snapshot.md) of ``snapshot``; may read the file of a time zone."""
    cron, jobs = one.get("cron_schedule"), one.get("jobs") or one.get("job")
    crons = tuple(str(each) for each in (cron if isinstance(cron, list) else [cron]) if each)
    zone = one.get("execution_timezone")
    zone = zone if isinstance(zone, str) else None
    interval = one.get("minimum_interval_seconds")
    seconds = float(interval) if isinstance(interval, int | float) else DEFAULT_INTERVAL
    catch_up = _member(CatchUp, one.get("catch_up"), CatchUp.LAST)
    overlap = _member(Overlap, one.get("overlap"), Overlap.SKIP)
    schedule, trouble = None, ""
    if one["kind"] == "schedule" and crons:
        said = hashlib.sha256(repr((crons, zone)).encode()).hexdigest()[:16]
        try:
            schedule = Schedule(Timetable(crons, zone), said, catch_up, overlap)
        except UnknownTimeError as error:
            trouble = f"it has no times: {error}"
    return Automation(
        location=snapshot.location,
        name=one["name"],
        kind=one["kind"],
        repository=one.get("repository"),
        framework=_framework(snapshot, one),
        jobs=tuple(str(each) for each in (jobs if isinstance(jobs, list) else [jobs]) if each),
        crons=crons,
        zone=zone,
        interval=max(seconds, _LEAST_INTERVAL),
        default_on=one.get("default_status") == "running",
        catch_up=catch_up,
        overlap=overlap,
        lazy=bool(one.get("lazy")),
        schedule=schedule,
        trouble=trouble,
    )


def _framework(snapshot: Snapshot, one: Mapping[str, Any]) -> str:
    """Whose it is: of a location of several frameworks the definition tells."""
    frameworks = [str(each.get("name")) for each in snapshot.report.get("frameworks") or ()]
    return str(one.get("framework") or next(iter(frameworks), _NATIVE))


def _member(kind: type[_T], value: Any, default: _T) -> _T:
    try:
        return kind(value)
    except ValueError:
        return default
