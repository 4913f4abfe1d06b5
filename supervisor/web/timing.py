"""Cron expressions as people read them: in words, the next ticks, and a day on a line.

Owns the use of the two libraries and what is said when an expression or a timezone is none. ``now``
is an argument (Unix seconds). Never raises for what user code wrote. Times of one zone are compared
and subtracted as moments, in UTC: as Python does it, by the clock on the wall, the hour that comes
twice in autumn would be one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from cron_descriptor import ExpressionDescriptor, Options
from croniter import croniter

from runner_shim.cron_words import CRON_WORDS

__all__ = ["Day", "Ticks", "crons_of", "day_of", "in_words", "next_ticks", "zone"]

_MOST_TICKS = 96
"""More ticks than this in a day are drawn as a bar."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """The next times, in the schedule's own zone; ``problem`` says why there are none."""

    times: tuple[datetime, ...]
    zone: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Day:
    """Ticks as hours (0 to 24) after the beginning; ``often`` when there are too many to draw."""

    hours: tuple[float, ...]
    often: bool = False


def crons_of(definition: Mapping[str, Any]) -> tuple[str, ...]:
    """The expressions of a schedule (docs/snapshot.md: one or a list)."""
    given = definition.get("cron_schedule")
    if isinstance(given, str):
        return (given,)
    return tuple(str(one) for one in given) if isinstance(given, Sequence) else ()


def _options() -> Options:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses a locale where none is set
        found = Options()
    found.locale_code = "en_US"  # the language of the page, not of who started it
    found.use_24hour_time_format = True
    return found


_OPTIONS = _options()


def in_words(cron: str) -> str:
    """``At 01:00, Monday through Friday``; the expression itself where that cannot be said."""
    try:
        return str(
            ExpressionDescriptor(
                CRON_WORDS.get(cron.strip().lower(), cron), _OPTIONS
            ).get_description()
        )
    except Exception:  # the library raises several kinds for what is no cron expression
        return cron


def zone(name: str | None) -> tzinfo | None:
    """The timezone of that name, UTC for none given, None for an unknown one."""
    if not name or name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def next_ticks(definition: Mapping[str, Any], now: float, count: int = 5) -> Ticks:
    """The next ``count`` ticks of all the expressions of a schedule together."""
    name = str(definition.get("execution_timezone") or "UTC")
    where = zone(name)
    if where is None:
        return Ticks((), name, f"{name!r} is no timezone that this machine knows")
    start = datetime.fromtimestamp(now, where)
    times: dict[float, datetime] = {}
    for cron in crons_of(definition):
        try:
            following = croniter(
                CRON_WORDS.get(cron.strip().lower(), cron), start, max_years_between_matches=30
            )
            found = (following.get_next(datetime) for _ in range(count))
            times.update((at.timestamp(), at) for at in found)
        except (ValueError, KeyError, AttributeError, TypeError):
            return Ticks((), name, f"{cron!r} has no next tick")
    return Ticks(tuple(times[at] for at in sorted(times)[:count]), name)


def day_of(definition: Mapping[str, Any], begin: datetime) -> Day:
    """The ticks in the 24 hours from ``begin`` (aware), whatever the schedule's own zone."""
    where = zone(definition.get("execution_timezone"))
    if where is None:
        return Day(())
    begin = begin.astimezone(UTC)
    end = begin + timedelta(hours=24)
    hours: set[float] = set()
    for cron in crons_of(definition):
        try:
            start = (begin - timedelta(seconds=1)).astimezone(where)
            following = croniter(
                CRON_WORDS.get(cron.strip().lower(), cron), start, max_years_between_matches=30
            )
            for _ in range(_MOST_TICKS + 1):
                at = following.get_next(datetime).astimezone(UTC)
                if at >= end:
                    break
                hours.add(round((at - begin).total_seconds() / 3600, 3))
            else:
                return Day((), often=True)
        except (ValueError, KeyError, AttributeError, TypeError):
            continue
    return Day(tuple(sorted(hours)))
