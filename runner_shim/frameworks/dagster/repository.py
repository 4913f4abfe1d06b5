"""One Dagster repository, or several, as the definitions of a snapshot.

Owns the order of things: which names a repository has, which of them are lazy and stay so, and the
call that describes each. A name in a dict repository whose function has not been called is listed
by name alone. Whatever else Dagster computes when it loads a repository is computed here too, so
that what it refuses to load is a load failure (its own exception, which ``judge`` judges)
and not a half snapshot.
"""

import warnings

from runner_shim.frameworks.dagster.assets import asset_check_definitions, asset_definitions
from runner_shim.frameworks.dagster.jobs import is_job, job_definition, node_places
from runner_shim.frameworks.dagster.partitions import (
    component_definitions,
    partition_set_definition,
    partition_set_of_job,
    partitions_data,
    resource_definition,
)
from runner_shim.frameworks.dagster.read import (
    Reader,
    is_a,
    is_dagster_function,
    is_hidden_job,
    key_path,
    module_named,
    peek,
)
from runner_shim.frameworks.dagster.triggers import schedule_definition, sensor_definition
from runner_shim.loading.load_failure import LoadFailure
from runner_shim.plain_data import add_node_places, definition, key_of, text

__all__ = [
    "as_repository",
    "collect",
    "describe",
    "included_names",
    "judge",
]

_MISSING = object()


# --- from what was found to a repository ----------------------------------------------------------


def as_repository(target):
    """The RepositoryDefinition that Dagster makes of a target.

    Raises what the user's function or Dagster raises, and LoadFailure ``bad_attribute``.
    """
    module = module_named("definitions.reconstruct", "definitions.reconstructable")
    convert = getattr(module, "repository_def_from_target_def", None)
    if is_a(target, "LazyDefinitions"):
        target = target()
    if is_a(target, "PendingRepositoryDefinition"):
        return target.compute_repository_definition()
    if is_a(target, "RepositoryDefinition"):
        return target
    if is_a(target, "Definitions") and hasattr(target, "get_repository_def"):
        # What the conversion comes to, less its import of Dagster's testing helpers (1.10 and
        # later): those bring 460 modules, half a second and 35 MiB to every location.
        return target.get_repository_def()
    found = convert(target) if convert is not None else None
    if found is None:
        raise LoadFailure(
            "bad_attribute",
            "a %s is not something that dagster can load" % type(target).__name__,
            hint="name a Definitions, repository, job or graph",
        )
    return found


_DUPLICATE_SIGNS = (
    "duplicate",
    "conflicting definitions",
    "conflicting versions",
    "with the same name",
    "defined multiple times",
    "more than one definition",
)
_CHECK_PREFIX = "Invariant failed. Description: "


def judge(exception):
    """(load failure kind, sentence) for an error that Dagster raised about a definition, or None."""
    if not is_a(exception, "DagsterError", "CheckError"):
        return None
    if is_a(exception, "DagsterUserCodeExecutionError", "DagsterImportError"):
        return None
    said = " ".join(str(exception).split())
    if said.startswith(_CHECK_PREFIX):
        said = said[len(_CHECK_PREFIX) :]
    words = said.lower()
    kind = "invalid_definition"
    if any(sign in words for sign in _DUPLICATE_SIGNS):
        kind = "duplicate_definition"
    if exception.__cause__ is not None:
        cause = judge(exception.__cause__)
        if cause is not None:
            said += ": " + cause[1]
    return kind, said


# --- what a repository lists ----------------------------------------------------------------------


class _Entries:
    """The names of one kind in a repository, each with its definition or as lazy.

    ``constructed`` are definitions sorted by name; ``lazy`` names sorted.
    """

    def __init__(self, constructed=(), lazy=()):
        self.constructed = sorted(constructed, key=lambda found: found.name)
        self.lazy = sorted(lazy)


def _data(repository):
    return getattr(repository, "_repository_data", None)


def _index(repository, attribute):
    """Dagster's index of one kind, where it is the kind of repository that has one."""
    index = getattr(_data(repository), attribute, None)
    if hasattr(index, "_definitions") and hasattr(index, "get_definition"):
        return index
    return None


def _is_pending(index, name):
    """True for a name whose definition is a function of the user that has not been called."""
    if name in getattr(index, "_definition_cache", ()):
        return False
    source = index._definitions.get(name)
    if isinstance(source, index._definition_class) or not callable(source):
        return False
    # Dagster itself defers the resolution of asset jobs with functions of its own.
    return not is_dagster_function(source)


def _read_index(index):
    constructed, lazy = [], []
    for name in list(index._definitions):
        if _is_pending(index, name):
            lazy.append(name)
        else:
            constructed.append(index.get_definition(name))
    return _Entries(constructed, lazy)


def _jobs(repository):
    """All jobs and pipelines."""
    indexes = [_index(repository, name) for name in ("_pipelines", "_jobs")]
    indexes = [index for index in indexes if index is not None]
    if not indexes:
        found = _call(repository, "get_all_jobs") or []
        found = list(found) + list(_call(repository, "get_all_pipelines") or [])
        return _Entries(_distinct(item for item in found if is_job(item)))
    constructed, lazy = [], []
    for index in indexes:
        entries = _read_index(index)
        constructed.extend(item for item in entries.constructed if is_job(item))
        lazy.extend(entries.lazy)
    entries = _Entries(_distinct(constructed), set(lazy))
    if not entries.lazy:
        # Dagster checks that no two jobs bring different ops of one name when it lists them all.
        _call(repository, "get_all_pipelines")
        _call(repository, "get_all_jobs")
    return entries


def _lazy_kinds(repository):
    """{name: kind} of the pending jobs and pipelines."""
    kinds = {}
    for attribute, kind in (("_pipelines", "pipeline"), ("_jobs", "job")):
        index = _index(repository, attribute)
        for name in index._definitions if index is not None else ():
            if _is_pending(index, name):
                kinds[name] = kind
    return kinds


def _distinct(found):
    """The definitions without those that share a name: an old job is a pipeline as well."""
    return list({item.name: item for item in found}.values())


def _call(repository, name):
    method = getattr(repository, name, None)
    return method() if callable(method) else None


def _triggers(repository, attribute, listed):
    index = _index(repository, attribute)
    if index is not None:
        return _read_index(index)
    return _Entries(_distinct(peek(repository, listed) or ()))


def _partition_sets(repository, jobs):
    """Partition sets that are definitions of their own (0.9 to 1.4), and None where there are none.

    Asking for all of them constructs every lazy job, so with lazy jobs only those are listed that
    stand in the repository themselves.
    """
    if _index(repository, "_partition_sets") is None:
        if not hasattr(type(repository), "partition_set_defs"):
            return None
        return _Entries(_distinct(repository.partition_set_defs))
    if jobs.lazy:
        return _read_index(_index(repository, "_partition_sets"))
    return _Entries(_distinct(repository.partition_set_defs))


def _preset_jobs(repository):
    """The definitions that 0.9 called jobs: a pipeline with run config, mode and tags."""
    index = _index(repository, "_jobs")
    if index is None:
        return _Entries()
    entries = _read_index(index)
    found = [item for item in entries.constructed if not is_job(item)]
    return _Entries(found)


# --- the whole ------------------------------------------------------------------------------------


def collect(repositories, warn):
    """(repositories, definitions, sources) of docs/snapshot.md.

    Raises what Dagster raises for a definition that it refuses only when it is asked for.
    """
    several = len(repositories) > 1
    reader = Reader(warn)
    listed, definitions, sources, nodes = [], [], {}, []
    for repository in repositories:
        found = []
        for item, place in _definitions(reader, repository, found):
            if several:
                item["repository"] = text(repository.name)
            definitions.append(item)
            if place is not None:
                sources[key_of(item)] = place
        for node, place in found:
            if several:
                node["repository"] = text(repository.name)
            nodes.append((key_of(node), place))
        listed.append(_repository_data(reader, repository))
    add_node_places(sources, nodes)
    return listed, definitions, sources


def _repository_data(reader, repository):
    data = definition(
        "repository",
        repository.name,
        description=reader.text(repository, "description"),
        metadata=reader.metadata(reader.peek(repository, "metadata")),
    )
    del data["kind"]
    return data


def _definitions(reader, repository, nodes):
    """All (definition, source) of one repository."""
    jobs = _jobs(repository)
    schedules = _triggers(repository, "_schedules", "schedule_defs")
    sensors = _triggers(repository, "_sensors", "sensor_defs")
    partition_sets = _partition_sets(repository, jobs)
    with warnings.catch_warnings():
        # Deprecations of attributes are between Dagster and us, not the user's concern.
        warnings.simplefilter("ignore")
        for job in jobs.constructed:
            if not is_hidden_job(job.name):
                for item in _job(reader, job, partition_sets is None):
                    # An asset's op stands where the asset does.
                    if item[0]["kind"] in ("job", "pipeline") and "asset_keys" not in item[0]:
                        nodes += (
                            reader.attempt("places of its nodes", node_places, reader, job) or ()
                        )
                    yield item
        for found in _preset_jobs(repository).constructed:
            yield _preset_job(reader, found)
        for schedule in schedules.constructed:
            yield _described(reader, "schedule", schedule, schedule_definition, repository)
        for sensor in sensors.constructed:
            yield _described(reader, "sensor", sensor, sensor_definition, repository)
        for found in partition_sets.constructed if partition_sets is not None else ():
            if not is_hidden_job(peek(found, "pipeline_name", "job_name")):
                yield _described(reader, "partition_set", found, partition_set_definition)
        # A repository with lazy jobs is a dict, and those have no assets but what its jobs bring:
        # nothing that is worth constructing them all.
        if not jobs.lazy:
            for item in asset_definitions(reader, repository, jobs.constructed):
                yield item
            for item in asset_check_definitions(reader, repository, jobs.constructed):
                yield item
        for item in _resources(reader, repository):
            yield item
        reader.begin("component", "tree")
        for item in component_definitions(reader, repository):
            yield item
        reader.end()
    kinds = _lazy_kinds(repository)
    for name in jobs.lazy:
        yield _lazy(kinds[name], name)
    for kind, entries in (
        ("schedule", schedules),
        ("sensor", sensors),
        ("partition_set", partition_sets),
    ):
        for name in entries.lazy if entries is not None else ():
            yield _lazy(kind, name)


def _lazy(kind, name):
    return definition(kind, name, lazy=True), None


def _described(reader, kind, found, function, *arguments):
    """One definition through ``function``; by name alone where even that raises."""
    reader.begin(kind, found.name)
    item = reader.attempt("definition", function, reader, found, *arguments)
    reader.end()
    return item if item is not None else (definition(kind, found.name), None)


def _job(reader, job, with_partition_set):
    kind = "job" if is_a(job, "JobDefinition") else "pipeline"
    reader.begin(kind, job.name)
    partitions = partitions_data(reader, reader.peek(job, "partitions_def"))
    item = reader.attempt("definition", job_definition, reader, job, partitions)
    if item is None:
        item = definition(kind, job.name), None
    result, place = item
    keys = reader.attempt("asset keys", _asset_keys, job)
    if keys:
        result["asset_keys"] = keys
    yield result, place
    if with_partition_set:
        found = reader.attempt("partition set", partition_set_of_job, reader, job, place)
        if found is not None:
            yield found
    reader.end()


def _asset_keys(job):
    layer = getattr(job, "asset_layer", None)
    if layer is None:
        return None
    keys = getattr(layer, "selected_asset_keys", _MISSING)
    if keys is _MISSING:
        produced = getattr(layer, "asset_info_by_node_output_handle", None)
        keys = [info.key for info in produced.values()] if produced else ()
    return sorted(set("/".join(key_path(key)) for key in keys))


def _preset_job(reader, found):
    reader.begin("job", found.name)
    selection = reader.peek(found, "solid_selection")
    words = "runs pipeline %s" % text(found.pipeline_name)
    mode = reader.text(found, "mode")
    if mode and mode != "default":
        words += " in mode %s" % mode
    if selection:
        words += " with solids %s" % ", ".join(text(item) for item in selection)
    place = reader.source(getattr(found, "_run_config_fn", None), getattr(found, "_tags_fn", None))
    reader.end()
    return definition("job", found.name, description=words), place


def _resources(reader, repository):
    found = _call(repository, "get_top_level_resources")
    if not found:
        return
    names = {id(found[name]): name for name in found}
    for name in sorted(found):
        # A nested resource is the user's own object, its top-level definition a wrapper.
        inner = getattr(found[name], "inner_resource", None)
        if inner is not None:
            names[id(inner)] = name
    for name in sorted(found):
        reader.begin("resource", name)
        item = reader.attempt("definition", resource_definition, reader, name, found[name], names)
        reader.end()
        yield item if item is not None else (definition("resource", name), None)


# --- one ------------------------------------------------------------------------------------------


def describe(repositories, kind, name, repository, warn):
    """(definition, source) of one name, constructing it where it is lazy; None where there is none.

    Raises what the user's function raises, or Dagster about its result.
    """
    several = len(repositories) > 1
    reader = Reader(warn)
    for found in repositories:
        if repository is not None and found.name != repository:
            continue
        item = _one(reader, found, kind, name)
        if item is not None:
            if several:
                item[0]["repository"] = text(found.name)
            return item
    return None


def _one(reader, repository, kind, name):
    for attribute in _INDEXES.get(kind, ()):
        index = _index(repository, attribute)
        if index is None or name not in index._definitions:
            continue
        found = index.get_definition(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if is_job(found):  # 0.13 keeps jobs among its pipelines: only now is it known
                return next(iter(_job(reader, found, False)))
            if kind == "job":
                return _preset_job(reader, found)
            if kind == "partition_set":
                return _described(reader, kind, found, partition_set_definition)
            function = schedule_definition if kind == "schedule" else sensor_definition
            return _described(reader, kind, found, function, repository)
    for item, place in _definitions(reader, repository, []):
        if item["kind"] == kind and item["name"] == name:
            return item, place
    return None


_INDEXES = {
    "job": ("_jobs", "_pipelines"),
    "pipeline": ("_pipelines",),
    "schedule": ("_schedules",),
    "sensor": ("_sensors",),
    "partition_set": ("_partition_sets",),
}


# --- names, for what was left out -----------------------------------------------------------------


def included_names(definitions):
    """{kind: set of names} of a list of definitions; pipelines count as jobs.

    An asset counts under the ends of its key as well: what a module calls ``orders`` may have been
    loaded with a prefix.
    """
    names = {}
    for item in definitions:
        kind = "job" if item["kind"] == "pipeline" else item["kind"]
        known = names.setdefault(kind, set())
        known.add(item["name"])
        if kind == "asset":
            parts = item["name"].split("/")
            known.update("/".join(parts[first:]) for first in range(1, len(parts)))
    return names
