"""The keys of native partitions by time: one for each tick of a cron string, once its window is over.

Owns that list, in wall-clock time of the partitions' zone: an hour that the clock skips has a key, one
that it repeats has one. Where Python has no time zones (before 3.9), the newest keys are told in UTC.
"""

from runner_shim.definitions.cron import fields
from runner_shim.imported import standard

__all__ = ["keys", "moment"]

_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d-%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
)
_MOST = 100_000


def moment(text, form=None):
    """The naive time that ``text`` stands for, or None; in the form ``form``, or in one of the usual."""
    for one in [form] if form else _FORMATS:
        try:
            return standard("datetime").datetime.strptime(text, one)
        except ValueError:
            continue
    return None


def keys(partitions):
    """All keys until now, oldest first.

    None where start, end or schedule are of no known form, or the keys are more than 100,000.
    """
    allowed = fields(partitions.cron_schedule)
    start, end = _time(partitions.start, partitions), _now(partitions.timezone)
    if allowed is None or start is None or end is None:
        return None
    if partitions.end is not None:
        last = _time(partitions.end, partitions)
        if last is None:
            return None
        end = min(end, last)
    ticks = _ticks(allowed, start, end)
    if len(ticks) > _MOST:
        return None
    minutes, hours = allowed[:2]
    form = partitions.fmt or _FORMATS[0 if len(minutes) == len(hours) == 1 else 1]
    # A window begins at one tick and is over at the next.
    return [one.strftime(form) for one in ticks[:-1]]


def _time(value, partitions):
    if isinstance(value, str):
        found = moment(value, partitions.fmt)
        return moment(value) if found is None else found
    datetime = standard("datetime")
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)
    return None


def _now(zone):
    datetime = standard("datetime")
    try:
        where = standard("zoneinfo").ZoneInfo(zone or "UTC")
    except Exception:  # no zones in this Python, or none on this machine
        where = datetime.timezone.utc
    return datetime.datetime.now(where).replace(tzinfo=None)


def _ticks(allowed, start, end):
    datetime = standard("datetime")
    minutes, hours, days, months, weekdays, any_day, any_weekday = allowed
    found = []
    day = datetime.datetime(start.year, start.month, start.day)
    while day <= end and len(found) <= _MOST:
        in_month = day.day in days
        in_week = (day.weekday() + 1) % 7 in weekdays
        # Where both are restricted, either will do: cron's rule.
        fits = in_month or in_week if not any_day and not any_weekday else in_month and in_week
        if fits and day.month in months:
            for hour in hours:
                for minute in minutes:
                    tick = day.replace(hour=hour, minute=minute)
                    if start <= tick <= end:
                        found.append(tick)
        day += datetime.timedelta(days=1)
    return found
