"""Whether a cron string can mean anything, and which field of it cannot.

Owns the five-field format that croniter accepts (names, steps, ranges, lists, ``L`` for the last day
of a month, ``#`` for the nth weekday) and the ``@daily`` words. Computes no times, and says what it takes to
compute them.
"""

from runner_shim.cron_words import CRON_WORDS
from runner_shim.imported import standard
from runner_shim.nearest import nearest

__all__ = ["cron_problem", "fields", "timezone_problem"]

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

# (what it is called, lowest, highest, names standing for numbers from `lowest` on)
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def cron_problem(text):
    """What is wrong with a cron string, as the end of a sentence about it; None when nothing is."""
    if not isinstance(text, str):
        return "is of type %s, not a string" % type(text).__name__
    text = text.strip().lower()
    if text.startswith("@"):
        if text in CRON_WORDS:
            return None
        return "is no cron word; there is %s" % ", ".join(CRON_WORDS)
    parts = text.split()
    if len(parts) != 5:
        return "has %d fields, not 5 (minute, hour, day of month, month, day of week)" % len(parts)
    values = []
    for part, (name, low, high, names) in zip(parts, _FIELDS):  # noqa: B905 - needs Python 3.10
        allowed = set()
        for item in part.split(","):
            problem = _item_problem(item, name, low, high, names, allowed)
            if problem:
                return "has the %s %r: %s" % (name, part, problem)
        values.append(allowed)
    days, months = values[2], values[3]
    if parts[4] == "*" and days and min(days) > max(_LONGEST_MONTH[month - 1] for month in months):
        return "never comes: no such month has a day %d" % min(days)
    return None


def fields(text):
    """``(minutes, hours, days, months, weekdays, any_day, any_weekday)`` of a sound cron string.

    Sorted lists of integers, Sunday being 0, and whether days of the month or of the week are left open.
    None for one with ``L`` or ``#``.
    """
    parts = CRON_WORDS.get(text.strip().lower(), text.strip().lower()).split()
    if "#" in text or "l" in parts[2] or "l" in parts[4]:
        return None
    found = []
    for part, (name, low, high, names) in zip(parts, _FIELDS):  # noqa: B905 - needs Python 3.10
        allowed = set()
        for item in part.split(","):
            _item_problem(item, name, low, high, names, allowed)
        found.append(sorted({value % 7 for value in allowed} if names is _DAYS else allowed))
    return tuple(found) + (parts[2] in ("*", "?"), parts[4] in ("*", "?"))


def _item_problem(item, name, low, high, names, allowed):
    """Checks one item of a comma-separated list and adds its values to ``allowed``."""
    if not item:
        return "an empty item in the list"
    span, slash, step = item.partition("/")
    if slash and (not _is_number(step) or int(step) == 0):
        return "the step %r is not a positive number" % step
    if slash and int(step) > high:
        return "the step %s is more than %d" % (step, high)
    stride = int(step) if slash else 1
    if span in ("*", "?"):
        if span == "?" and name not in ("day of month", "day of week"):
            return "? stands for a day only"
        allowed.update(range(low, high + 1, stride))
        return None
    if name == "day of month" and span == "l" and not slash:
        allowed.add(28)
        return None
    if name == "day of week":
        is_last = len(span) > 1 and span[0] == "l"
        if is_last:
            span = span[1:]
        span, hash_sign, nth = span.partition("#")
        if hash_sign and is_last:
            return "it is either the last or the nth of a month"
        if hash_sign and not (_is_number(nth) and 1 <= int(nth) <= 5):
            return "# is followed by 1 to 5"
    first, dash, last = span.partition("-")
    bounds = []
    for word in (first, last) if dash else (first,):
        if word in names:
            bounds.append(low + names.index(word))
        elif not _is_number(word):
            known = " or a name (%s to %s)" % (names[0], names[-1]) if names else ""
            return "%r is not a number%s" % (word, known)
        elif not low <= int(word) <= high:
            return "%s is not within %d to %d" % (word, low, high)
        else:
            bounds.append(int(word))
    start, end = bounds[0], bounds[-1]
    if slash and not dash:
        end = high
    if dash and start > end:
        # croniter reads 22-2 as a range around midnight.
        allowed.update(range(start, high + 1, stride))
        allowed.update(range(low, end + 1, stride))
    else:
        allowed.update(range(start, end + 1, stride))
    return None


def _is_number(word):
    return bool(word) and all(digit in "0123456789" for digit in word)


def timezone_problem(name):
    """What is wrong with a time zone's name, as the end of a sentence; None when nothing is.

    Names are looked up where Python has time zones (3.9) and the machine has their data;
    elsewhere only their shape is checked.
    """
    if not isinstance(name, str):
        return "is of type %s, not a string" % type(name).__name__
    parts = name.split("/")
    if not all(part.replace("_", "").replace("-", "").replace("+", "").isalnum() for part in parts):
        return "is no time zone name such as Europe/Berlin"
    try:
        zoneinfo = standard("zoneinfo")
    except ImportError:
        return None
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return _unknown_zone(zoneinfo, name)
    return None


def _unknown_zone(zoneinfo, name):
    known = zoneinfo.available_timezones()
    if not known:  # no time zone data on this machine: nothing can be said
        return None
    meant = nearest(name, known)
    return "is not known here" + ("; did you mean %s?" % meant if meant else "")
