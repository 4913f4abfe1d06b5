"""Partitions of jobs and assets, and the checks of cron strings and time zones.

Owns the three kinds of native partitions and their plain data. The keys of a time window are never
computed: they change with the day, and a snapshot must not.
"""

from runner_shim import plain_data
from runner_shim.definitions.base import check_strings, refuse

__all__ = [
    "DynamicPartitionsDefinition",
    "StaticPartitionsDefinition",
    "TimeWindowPartitionsDefinition",
    "check_cron",
    "check_timezone",
    "partitions_data",
]

MAX_PARTITION_KEYS = 1000  # of a snapshot; `count` tells how many there are


def check_cron(definition, value):
    from runner_shim.definitions.cron import cron_problem

    problem = cron_problem(value)
    if problem:
        refuse(definition, "is wrong: cron string %r %s" % (plain_data.plain(value), problem))


def check_timezone(definition, name):
    if name is None:
        return
    from runner_shim.definitions.cron import timezone_problem

    problem = timezone_problem(name)
    if problem:
        refuse(definition, "is wrong: time zone %r %s" % (plain_data.plain(name), problem))


class StaticPartitionsDefinition:
    """A fixed list of partition keys."""

    def __init__(self, partition_keys):
        self.partition_keys = partition_keys

    def data(self, definition):
        keys = check_strings(definition, "partition keys", self.partition_keys)
        if len(set(keys)) != len(keys):
            twice = sorted(key for key in set(keys) if keys.count(key) > 1)[0]
            refuse(definition, "has the partition key %r twice" % twice)
        return {"type": "static", "keys": keys[:MAX_PARTITION_KEYS], "count": len(keys)}


class DynamicPartitionsDefinition:
    """Partition keys that are added at run time, under a name."""

    def __init__(self, name):
        self.name = name

    def data(self, definition):
        if not isinstance(self.name, str) or not self.name:
            refuse(definition, "has dynamic partitions without a name")
        return {"type": "dynamic", "name": plain_data.text(self.name)}


class TimeWindowPartitionsDefinition:
    """One partition for each tick of a cron string from ``start`` (text or a date) on."""

    def __init__(self, cron_schedule, start, end=None, timezone=None, fmt=None):
        self.cron_schedule = cron_schedule
        self.start = start
        self.end = end
        self.timezone = timezone
        self.fmt = fmt

    def data(self, definition):
        check_cron(definition, self.cron_schedule)
        check_timezone(definition, self.timezone)
        result = {"type": "time_window", "cron_schedule": self.cron_schedule}
        for key, value in (
            ("start", self.start),
            ("end", self.end),
            ("timezone", self.timezone),
            ("format", self.fmt),
        ):
            if value is not None:
                result[key] = plain_data.text(str(plain_data.plain(value)))
        return result


def partitions_data(definition, partitions):
    """Partitions as in docs/snapshot.md.

    ``partitions`` is one of the three classes above, a list of keys, or a name (dynamic).
    """
    if isinstance(partitions, str):
        partitions = DynamicPartitionsDefinition(partitions)
    elif isinstance(partitions, (list, tuple)):
        partitions = StaticPartitionsDefinition(partitions)
    if not isinstance(
        partitions,
        (StaticPartitionsDefinition, DynamicPartitionsDefinition, TimeWindowPartitionsDefinition),
    ):
        refuse(
            definition,
            "has partitions of type %s" % plain_data.dotted_name(type(partitions)),
            hint="partitions are a list of keys, a name, or a partitions definition",
        )
    return partitions.data(definition)
