"""Which partitions a job or assets have that are to be run, and what one of them brings to the run.

Owns the check of a partition's key, the list of all keys, and the config, tags and mode of one: of a
partitioned job, of assets, and of the partition sets that stood beside jobs before there were partitioned
ones. Compares no versions. Dynamic keys are read from the order's instance.
"""

import inspect

from runner_shim.execution.partitions import misfit
from runner_shim.frameworks.dagster.assets import partitions_of
from runner_shim.frameworks.dagster.read import asset_name, is_a

__all__ = ["RANGE", "keys_of", "use"]

RANGE = "dagster/asset_partition_range_start"
"""The tag of a run of several partitions, which needs no key."""


def keys_of(repository, job, keys, what, open_instance):
    """All partition keys of the job or of the assets ``keys``, in order; [] where it has none."""
    for _what, partitions in _partitioned(repository, job, keys, what):
        return _keys_of(partitions, open_instance)
    for one in _sets_of(repository, job):
        return list(one.get_partition_names())
    return []


def use(repository, job, keys, what, order, open_instance):
    """``(config, tags, mode)`` of the order's partition; raises Refusal for one that does not fit."""
    key = order.get("partition_key")
    partitioned = _partitioned(repository, job, keys, what)
    if key is None:
        if partitioned and RANGE not in (order.get("tags") or {}):
            raise misfit(partitioned[0][0], None, _keys_of(partitioned[0][1], open_instance))
        return {}, {}, None
    if not partitioned:
        return _of_set(repository, job, what, key)
    for name, partitions in partitioned:
        known = _keys_of(partitions, open_instance)
        if key not in known:
            raise misfit(name, key, known)
    config, tags = _of_partition(job, partitioned[0][1], key)
    return config, dict(tags, **{"dagster/partition": key}), None


def _partitioned(repository, job, keys, what):
    """(words, partitions) of all that has some."""
    if keys:
        found = [
            ("asset " + asset_name(key), partitions_of(repository, [job], key)) for key in keys
        ]
    else:
        found = [(what, getattr(job, "partitions_def", None))]
    return [(name, one) for name, one in found if one is not None]


def _keys_of(partitions, open_instance):
    get = partitions.get_partition_keys
    in_instance = is_a(partitions, "DynamicPartitionsDefinition", "MultiPartitionsDefinition")
    if in_instance and "dynamic_partitions_store" in inspect.signature(get).parameters:
        with open_instance() as instance:
            return list(get(dynamic_partitions_store=instance))
    return list(get())


def _sets_of(repository, job):
    for one in getattr(repository, "partition_set_defs", ()):
        if getattr(one, "pipeline_name", getattr(one, "job_name", None)) == job.name:
            yield one


def _of_set(repository, job, what, key):
    """As ``use``, of a partition set of its own, as Dagster had them before partitioned jobs."""
    for one in _sets_of(repository, job):
        names = list(one.get_partition_names())
        if key not in names:
            raise misfit(what, key, names)
        partition = one.get_partition(key)
        config, tags = one.run_config_for_partition(partition), one.tags_for_partition(partition)
        return dict(config), dict(tags), getattr(one, "mode", None)
    raise misfit(what, key, None)


def _of_partition(job, partitions, key):
    """(config, tags) of one partition of a job or of assets."""
    config = getattr(job, "partitioned_config", None)
    if hasattr(config, "get_tags_for_partition_key"):
        tags = config.get_tags_for_partition_key(key, job_name=job.name)
        return dict(config.get_run_config_for_partition_key(key)), dict(tags)
    found = job.get_partition_set_def() if hasattr(job, "get_partition_set_def") else None
    if found is not None:
        partition = found.get_partition(key)
        return dict(found.run_config_for_partition(partition)), dict(
            found.tags_for_partition(partition)
        )
    if hasattr(partitions, "get_tags_for_partition_key"):
        return {}, dict(partitions.get_tags_for_partition_key(key))
    return {}, {}
