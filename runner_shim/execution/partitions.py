"""Whether a partition key is one of what is to run.

Owns that check for native definitions. The keys of a time window are not computed: what has the shape
of one is taken.
"""

from runner_shim.definitions.partitions import (
    DynamicPartitionsDefinition,
    StaticPartitionsDefinition,
    TimeWindowPartitionsDefinition,
)
from runner_shim.execution.refusal import Refusal
from runner_shim.imported import standard
from runner_shim.loading.load_failure import near

__all__ = ["check"]

_FORMATS = ("%Y-%m-%d", "%Y-%m-%d-%H:%M")


def check(things, key):
    """Raise Refusal ``partition`` unless ``key`` (or None) fits all ``things``: (words, partitions)."""
    partitioned = [(what, one) for what, one in things if one is not None]
    if not partitioned:
        if key is not None:
            raise Refusal(
                "partition", "%s has no partitions, and %r was given" % (things[0][0], key)
            )
        return
    for what, one in partitioned:
        if not isinstance(key, str) or not key:
            raise Refusal(
                "partition",
                "%s has partitions, and none was given" % what,
                hint=_some(one),
            )
        if not _fits(one, key):
            raise Refusal("partition", "%s has no partition %r" % (what, key), hint=_some(one, key))


def _keys(partitions):
    if isinstance(partitions, StaticPartitionsDefinition):
        return list(partitions.partition_keys)
    return list(partitions) if isinstance(partitions, (list, tuple)) else None


def _fits(partitions, key):
    keys = _keys(partitions)
    if keys is not None:
        return key in keys
    if isinstance(partitions, (str, DynamicPartitionsDefinition)):
        return True
    for form in [partitions.fmt] if partitions.fmt else _FORMATS:
        try:
            standard("datetime").datetime.strptime(key, form)
        except ValueError:
            continue
        return True
    return False


def _some(partitions, key=""):
    keys = _keys(partitions)
    if keys is not None:
        return near(key, keys)
    if isinstance(partitions, TimeWindowPartitionsDefinition):
        return "its keys are times in the form %s" % (partitions.fmt or " or ".join(_FORMATS))
    return None
