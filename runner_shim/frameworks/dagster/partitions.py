"""What is partitioned and how, as snapshot data; partition sets, resources and components.

Owns ``partitions`` of docs/snapshot.md and the three kinds that hang on it least. Lists the keys of
static partitions alone: the keys of a time window change with the day, those of a function are the
user's code, and those of dynamic partitions live in Dagster's database; none of them is asked for.
"""

import os

from runner_shim.frameworks.dagster.jobs import bound_config_fields
from runner_shim.frameworks.dagster.read import COMPONENT_FILES, enum_word, is_a, peek
from runner_shim.plain_data import definition, dotted_name, place, plain, text

__all__ = [
    "component_definitions",
    "component_files",
    "partition_set_definition",
    "partition_set_of_job",
    "partitions_data",
    "resource_definition",
    "yaml_files",
]

_MAX_KEYS = 1000
_MAX_FILES = 10000
_MAX_FOLDERS = 2000
_PARTITION_SET_SUFFIX = "_partition_set"


def partitions_data(reader, partitions):
    """A partitions definition as a dict, or None."""
    if partitions is None:
        return None
    return reader.attempt("partitions", _partitions_data, partitions)


def _partitions_data(partitions):
    if is_a(partitions, "MultiPartitionsDefinition"):
        dimensions = {}
        for dimension in partitions.partitions_defs:
            dimensions[text(dimension.name)] = _partitions_data(dimension.partitions_def)
        return {"type": "multi", "dimensions": dimensions}
    if is_a(partitions, "StaticPartitionsDefinition"):
        return _static(partitions)
    if is_a(partitions, "TimeWindowPartitionsDefinition", "ScheduleTimeBasedPartitionsDefinition"):
        return _time_window(partitions)
    if is_a(partitions, "DynamicPartitionsDefinition"):
        # Before 1.2 a dynamic definition was a function that returns partitions.
        name = getattr(partitions, "name", None)
        if isinstance(name, str):
            return {"type": "dynamic", "name": text(name)}
        return {"type": "function"}
    return {"type": type(partitions).__name__}


def _static(partitions):
    if hasattr(partitions, "get_partition_keys"):
        keys = list(partitions.get_partition_keys())
    else:
        keys = [partition.name for partition in partitions.get_partitions()]
    result = {"type": "static", "count": len(keys)}
    if keys:
        result["keys"] = [text(key) for key in keys[:_MAX_KEYS]]
    return result


def _time_window(partitions):
    result = {"type": "time_window"}
    for key, value in (
        ("cron_schedule", getattr(partitions, "cron_schedule", None)),
        ("timezone", getattr(partitions, "timezone", None)),
        ("format", getattr(partitions, "fmt", None)),
        ("start", _moment(getattr(partitions, "start", None))),
        ("end", _moment(getattr(partitions, "end", None))),
    ):
        if value:
            result[key] = text(value)
    kind = enum_word(getattr(partitions, "schedule_type", None))
    offset = getattr(partitions, "end_offset", None) or getattr(partitions, "offset", None)
    words = []
    if kind and "cron_schedule" not in result:
        words.append(kind)
    if offset:
        words.append("end offset %d" % offset)
    if words:
        result["description"] = ", ".join(words)
    return result


def _moment(value):
    """A start or an end as ISO text; fixed by the definition, so it does not change with the day."""
    return value.isoformat() if hasattr(value, "isoformat") else None


def partition_set_definition(reader, found):
    """A PartitionSetDefinition (0.9 to 1.4) as (definition, source)."""
    partitions = peek(found, "_partitions_def")
    function = getattr(found, "partition_fn", None) or getattr(partitions, "partition_fn", None)
    if partitions is None:
        data = {"type": "function"}
    else:
        data = partitions_data(reader, partitions)
    place = reader.source(
        getattr(found, "user_defined_partition_fn", None),
        function,
        getattr(found, "user_defined_run_config_fn_for_partition", None),
        getattr(found, "_user_defined_run_config_fn_for_partition", None),
    )
    result = definition(
        "partition_set",
        found.name,
        job=reader.text(found, "pipeline_or_job_name", "pipeline_name", "job_name"),
        mode=_mode(reader.text(found, "mode")),
        op_selection=plain(reader.peek(found, "solid_selection")),
        partitions=data,
    )
    return result, place


def _mode(mode):
    return None if mode == "default" else mode


def partition_set_of_job(reader, job, place):
    """The partition set that newer versions list for a partitioned job, or None."""
    partitions = reader.peek(job, "partitions_def")
    if partitions is None:
        return None
    return definition(
        "partition_set",
        job.name + _PARTITION_SET_SUFFIX,
        job=text(job.name),
        partitions=partitions_data(reader, partitions),
    ), place


def resource_definition(reader, name, found, names_by_id):
    """A top-level resource as (definition, source). ``names_by_id``: id of resource to its name."""
    found = getattr(found, "wrapped_resource", found)
    configurable = reader.peek(found, "configurable_resource_cls")
    nested = []
    inner = reader.peek(found, "nested_resources")
    if inner:
        for attribute in inner:
            nested.append(names_by_id.get(id(inner[attribute]), attribute))
    else:
        nested = reader.peek(found, "required_resource_keys") or ()
    function = reader.peek(found, "resource_fn")
    place = reader.source(getattr(found, "__wrapped__", None), configurable, function)
    if configurable is not None:
        type_name = dotted_name(configurable)
    elif place is not None and hasattr(function, "__qualname__"):
        type_name = dotted_name(function)
    else:
        type_name = dotted_name(type(found))
    maintained = None
    if hasattr(found, "_is_dagster_maintained"):
        maintained = bool(reader.attempt("maintainer", found._is_dagster_maintained)) or None
    result = definition(
        "resource",
        name,
        description=reader.text(found, "description"),
        type=type_name,
        config=bound_config_fields(reader, found),
        nested=reader.strings(nested),
        dagster_maintained=maintained,
    )
    return result, place


def component_definitions(reader, repository):
    """The components of a defs folder, as a list of (definition, source)."""
    tree = _component_tree(reader, repository)
    if tree is None:
        return []
    import importlib

    try:
        module = importlib.import_module("dagster._core.remote_representation.external_data")
        snapshot = module.ComponentTreeSnap
    except (ImportError, AttributeError):  # before 1.12 Dagster does not list its components
        return []
    found = reader.attempt("listing", snapshot.from_tree, tree)
    folder = str(getattr(tree, "defs_module_path", ""))
    result = []
    for leaf in getattr(found, "leaf_instances", None) or ():
        item = definition("component", leaf.key, key=text(leaf.key), type=text(leaf.full_type_name))
        result.append((item, _component_place(folder, leaf.key)))
    return result


def _component_tree(reader, repository):
    if not hasattr(repository, "get_component_tree"):
        return None
    return reader.attempt("component tree", repository.get_component_tree)


def _component_place(folder, key):
    """The file of a component: its key is a path below the defs folder, perhaps with ``[n]``."""
    path = os.path.join(folder, key.split("[")[0])
    for candidate in [path] + [os.path.join(path, name) for name in COMPONENT_FILES]:
        if folder and os.path.isfile(candidate):
            return place(candidate, 1)
    return None


def component_files(reader, repository):
    """The files of a defs folder that are no Python modules: what its components are made from."""
    tree = _component_tree(reader, repository)
    folder = getattr(tree, "defs_module_path", None)
    return yaml_files(str(folder), (".yaml", ".yml")) if folder is not None else []


def yaml_files(folder, endings=COMPONENT_FILES):
    """Files below ``folder`` whose names end so; hidden folders and virtualenvs are left out."""
    found = []
    for visited, (directory, folders, names) in enumerate(os.walk(folder)):
        folders[:] = sorted(
            name
            for name in folders
            if name[:1] not in "._" and name not in ("node_modules", "site-packages")
        )
        if "pyvenv.cfg" in names:
            del folders[:]
            continue
        found.extend(os.path.join(directory, name) for name in names if name.endswith(endings))
        # A working directory may be somebody's home.
        if len(found) >= _MAX_FILES or visited >= _MAX_FOLDERS:
            break
    return sorted(found[:_MAX_FILES])
