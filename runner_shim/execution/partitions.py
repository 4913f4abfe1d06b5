"""Whether a partition key is one of what is to run, and which keys there are.

Owns that check for native definitions, and for all frameworks the words of a key that does not fit and
what a range of keys is.
"""

from runner_shim.definitions.partitions import (
    DynamicPartitionsDefinition,
    StaticPartitionsDefinition,
    TimeWindowPartitionsDefinition,
)
from runner_shim.execution import time_windows
from runner_shim.execution.refusal import Refusal
from runner_shim.loading.load_failure import near

__all__ = ["between", "check", "keys_of", "misfit"]

_MOST_COMPARED = 2000  # of which the nearest is looked for


def misfit(what, key, keys):
    """The Refusal of a ``key`` that is none of ``keys``, or of none where there are some.

    ``keys`` is None for what has no partitions.
    """
    if keys is None:
        return Refusal("partition", "%s has no partitions, and %r was given" % (what, key))
    if key is None:
        many = "%d partitions" % len(keys) if keys else "partitions"
        hint = "give one of them, such as --partition %s" % (keys[-1] if keys else "KEY")
        return Refusal("partition", "%s has %s, and none was given" % (what, many), hint=hint)
    hint = near(key, keys[-_MOST_COMPARED:])
    return Refusal("unknown_partition", "%s has no partition %r" % (what, key), hint=hint)


def between(what, keys, first, last, most):
    """Those of ``keys`` from ``first`` to ``last``, both included; raises Refusal for other than 1 to ``most``."""
    for one in (first, last):
        if one not in keys:
            raise misfit(what, one, keys or None)
    start, end = keys.index(first), keys.index(last)
    if start > end:
        raise Refusal(
            "partition",
            "the range %s..%s of %s is empty: %s comes after %s" % (first, last, what, first, last),
            hint="write %s..%s" % (last, first),
        )
    if end - start >= most:
        raise Refusal(
            "partition",
            "the range %s..%s of %s has %d partitions, and at most %d are launched at once"
            % (first, last, what, end - start + 1, most),
            hint="launch it in parts, such as %s..%s" % (first, keys[start + most - 1]),
        )
    return keys[start : end + 1]


def check(things, key):
    """Raise Refusal unless ``key`` (or None) fits all ``things``: (words, partitions)."""
    partitioned = [(what, one) for what, one in things if one is not None]
    if not partitioned:
        if key is not None:
            raise misfit(things[0][0], key, None)
        return
    for what, one in partitioned:
        keys = _keys(one)
        if key is None or (key not in keys if keys is not None else not _fits(one, key)):
            raise misfit(what, key, keys or [])


def keys_of(things):
    """All keys of the first of ``things`` that has partitions; [] where none has."""
    for what, one in things:
        if one is None:
            continue
        keys = _keys(one)
        if keys is None:
            raise Refusal(
                "partition",
                "the partitions of %s cannot be listed: %s" % (what, _why_not(one)),
                hint="launch them one by one, with --partition",
            )
        return keys
    return []


def _keys(partitions):
    """All keys; None where they are not known here."""
    if isinstance(partitions, StaticPartitionsDefinition):
        return list(partitions.partition_keys)
    if isinstance(partitions, TimeWindowPartitionsDefinition):
        return time_windows.keys(partitions)
    return list(partitions) if isinstance(partitions, (list, tuple)) else None


def _fits(partitions, key):
    """Whether a text may be a key where the keys are not known."""
    if not isinstance(key, str) or not key:
        return False
    if isinstance(partitions, TimeWindowPartitionsDefinition):
        return time_windows.moment(key, partitions.fmt) is not None
    return True


def _why_not(partitions):
    if isinstance(partitions, (str, DynamicPartitionsDefinition)):
        return "they are dynamic"
    return "their schedule %r is not one that is counted here" % partitions.cron_schedule
