"""The times of a schedule: moments at which its cron strings come, in its time zone.

Pure: the moment asked about is an argument, in Unix seconds, and so are the answers. A time on the clock
on the wall comes exactly once a day. One that the clock skips in spring comes when the clock goes on; one
that it repeats in autumn comes the first time. A schedule of every hour goes by hours instead: it has 23
hours on the one day and 25 on the other. Making a time zone may read a file, the first time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from croniter import CroniterBadCronError, CroniterBadDateError, croniter

from runner_shim.cron_words import CRON_WORDS

__all__ = ["Timetable", "UnknownTimeError"]

_YEARS = 30  # between two matches of what comes on few days: February 29 on a Monday takes 28
# No clock is moved by more: Samoa has left out a day.
_FURTHEST = timedelta(hours=26)
_HOURS = 24


class UnknownTimeError(ValueError):
    """A cron string or a time zone that means nothing; the text names it."""


class Timetable:
    """The times of ``crons`` together, on the clocks of ``zone`` (a name, UTC for None).

    Raises ``UnknownTimeError``.
    """

    def __init__(self, crons: Sequence[str], zone: str | None = None) -> None:
        self.zone = _zone(zone)
        self._rules = [_Rule(cron, self.zone) for cron in crons]

    def after(self, moment: float) -> float | None:
        """The first time after ``moment``, or None when there is none."""
        found = [one for rule in self._rules if (one := rule.after(moment)) is not None]
        return min(found, default=None)

    def between(self, moment: float, last: float) -> Iterator[float]:
        """All times after ``moment`` up to and including ``last``, one by one."""
        following = self.after(moment)
        while following is not None and following <= last:
            yield following
            following = self.after(following)


class _Rule:
    """One cron string in a zone."""

    def __init__(self, cron: str, zone: tzinfo) -> None:
        text = cron.strip().lower()
        self._cron = CRON_WORDS.get(text, text)
        self._zone = zone
        try:
            minutes_hours = croniter.expand(self._cron)[0]
        except (CroniterBadCronError, ValueError, KeyError, AttributeError, TypeError):
            raise UnknownTimeError(f"{cron!r} is no cron string") from None
        # Once: it takes apart the string each time it is made.
        self._following = croniter(
            self._cron, datetime(2000, 1, 1), max_years_between_matches=_YEARS
        )
        hours = minutes_hours[1]
        self._hourly = hours == ["*"] or len(set(hours)) == _HOURS

    def after(self, moment: float) -> float | None:
        """The first time after ``moment``."""
        here = datetime.fromtimestamp(moment, self._zone)
        wall = here.replace(tzinfo=None)
        slack = self._moved_by(here)
        best: float | None = None
        for each in self._walls(wall - slack):
            moments = self._moments(each)
            if best is not None and (not moments or moments[0] >= best):
                if moments or not slack:
                    return best
                continue
            later = [one for one in moments if one > moment]
            if later:
                best = min(later[0], best) if best is not None else later[0]
                if not slack:
                    return best
        return best

    def _walls(self, begin: datetime) -> Iterator[datetime]:
        """Times on the wall after ``begin``, as if no clock was ever moved."""
        following = self._following
        following.set_current(begin, force=True)
        while True:
            try:
                found = following.get_next(datetime)
            except (CroniterBadDateError, OverflowError, ValueError):
                return
            yield found

    def _moved_by(self, here: datetime) -> timedelta:
        """By how much the clock is moved about this time, 0 where that is too far away to matter."""
        step = self._differing(here, _FURTHEST)
        return self._differing(here, step) if step else step

    def _differing(self, here: datetime, around: timedelta) -> timedelta:
        """The difference of the offsets before, at and after this time."""
        offsets = {
            offset
            for each in (-around, timedelta(0), around)
            if (offset := _at(here.timestamp() + each.total_seconds(), self._zone).utcoffset())
            is not None
        }
        return max(offsets) - min(offsets)

    def _moments(self, wall: datetime) -> list[float]:
        """When the clock on the wall shows ``wall``, as far as that counts; in order."""
        first = wall.replace(tzinfo=self._zone, fold=0).timestamp()
        second = wall.replace(tzinfo=self._zone, fold=1).timestamp()
        if first == second:
            return [first]
        if first < second:  # it shows it twice
            return [first, second] if self._hourly else [first]
        return [] if self._hourly else [self._end_of_gap(second, first)]

    def _end_of_gap(self, before: float, after: float) -> float:
        """The moment between the two from which on the clock shows another offset."""
        offset = _at(before, self._zone).utcoffset()
        low, high = int(before), int(after)
        while high - low > 1:
            middle = (low + high) // 2
            if _at(middle, self._zone).utcoffset() == offset:
                low = middle
            else:
                high = middle
        return float(high)


def _at(moment: float, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(moment, zone)


def _zone(name: str | None) -> tzinfo:
    if not name or name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UnknownTimeError(f"{name!r} is no time zone that this machine knows") from None
