"""What Dagster itself finds in a target: run by a team's interpreter, and prints JSON.

Owns asking Dagster, of any release from 0.15 on, for the data that its own page shows
(``external_repository_data_from_def``, later ``RepositorySnap``). Knows nothing of ours: it uses neither a shim
nor an adapter, and runs on Python 3.6 with what the team has installed.
"""

import importlib
import json
import os
import sys

__all__ = []


def module_of(*names):
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ImportError(names[0])


def attribute_of(module, *names):
    return next(getattr(module, name) for name in names if hasattr(module, name))


def repositories(kind, name, attribute, directory):
    """The repositories of a target, by Dagster's own discovery."""
    autodiscovery = module_of(
        "dagster._core.workspace.autodiscovery", "dagster.core.workspace.autodiscovery"
    )
    pointers = module_of("dagster._core.code_pointer", "dagster.core.code_pointer")
    reconstruct = module_of(
        "dagster._core.definitions.reconstruct", "dagster.core.definitions.reconstruct"
    )
    if kind == "autoload_defs_module":
        load = importlib.import_module("dagster.components").load_defs
        found = [load(importlib.import_module(name))]
    elif kind == "python_file":
        module = pointers.load_python_file(name, directory)
        targets = autodiscovery.loadable_targets_from_loaded_module
        found = [getattr(module, attribute)] if attribute else targets(module)
    else:
        module = pointers.load_python_module(name, directory)
        targets = autodiscovery.loadable_targets_from_loaded_module
        found = [getattr(module, attribute)] if attribute else targets(module)
    for one in found:
        target = getattr(one, "target_definition", one)
        lazy = type(target).__name__ == "LazyDefinitions"
        if callable(target) and (lazy or not type(target).__module__.startswith("dagster")):
            target = target()
        repository = reconstruct.repository_def_from_target_def(target)
        if hasattr(repository, "compute_repository_definition"):
            repository = repository.compute_repository_definition()
        yield repository


def data_of(repository):
    external = module_of(
        "dagster._core.remote_representation.external_data",
        "dagster._core.host_representation.external_data",
        "dagster.core.host_representation.external_data",
    )
    if hasattr(external, "RepositorySnap"):
        return external.RepositorySnap.from_def(repository)
    return external.external_repository_data_from_def(repository)


def listed(data, *names):
    for name in names:
        found = getattr(data, name, None)
        if found is not None:
            return list(found)
    return []


def field(value, *names):
    for name in names:
        found = getattr(value, name, None)
        if found is not None:
            return found
    return None


def key(found):
    return "/".join(found.path)


def word(value):
    return value.name.lower() if hasattr(value, "name") else value


def assets(data):
    for one in listed(data, "asset_nodes", "external_asset_graph_data"):
        parents = listed(one, "parent_edges", "dependencies")
        upstream = sorted(
            {key(field(each, "parent_asset_key", "upstream_asset_key")) for each in parents}
        )
        yield (
            key(one.asset_key),
            {
                "group": field(one, "group_name"),
                "dependencies": upstream,
                "partitioned": field(one, "partitions", "partitions_def_data") is not None,
                "description": (field(one, "description", "op_description") or "").strip(),
            },
        )


def shown(name):
    """False for the jobs that Dagster makes by itself, which its page does not show."""
    return not name.startswith(("__ASSET_JOB", "__anonymous_asset_job_", "__ASSET_GROUP"))


def jobs(data):
    for one in listed(data, "job_datas", "external_job_datas", "external_pipeline_datas") or listed(
        data, "job_refs"
    ):
        if shown(one.name):
            yield one.name, {}


def schedules(data):
    for one in listed(data, "schedules", "external_schedule_datas"):
        job = field(one, "job_name", "pipeline_name")
        yield (
            one.name,
            {
                "cron_schedule": one.cron_schedule,
                "execution_timezone": field(one, "execution_timezone"),
                "job": job if job and shown(job) else None,
                "default_status": (word(field(one, "default_status")) or "stopped").replace(
                    "declared_", ""
                ),
            },
        )


def sensors(data):
    for one in listed(data, "sensors", "external_sensor_datas"):
        yield (
            one.name,
            {
                "jobs": sorted(filter(shown, field(one, "target_dict") or {})),
                "minimum_interval_seconds": field(one, "min_interval"),
                "sensor_type": word(field(one, "sensor_type")),
            },
        )


def checks(data):
    for one in listed(data, "asset_check_nodes", "external_asset_checks"):
        yield key(one.asset_key) + ":" + one.name, {"blocking": bool(field(one, "blocking"))}


def resources(data):
    for one in listed(data, "resources", "external_resource_data"):
        if getattr(one, "is_top_level", True):
            yield one.name, {}


KINDS = {
    "asset": assets,
    "asset_check": checks,
    "job": jobs,
    "resource": resources,
    "schedule": schedules,
    "sensor": sensors,
}


def main():
    target = json.loads(sys.argv[1])
    os.chdir(target["working_directory"])
    sys.path.insert(0, target["working_directory"])
    # What the team's code prints does not belong to the answer.
    answer, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr
    os.dup2(2, 1)
    version = importlib.import_module("dagster").__version__
    found = {kind: {} for kind in KINDS}
    for repository in repositories(
        target["kind"], target["name"], target["attribute"], target["working_directory"]
    ):
        data = data_of(repository)
        for kind, function in KINDS.items():
            found[kind].update(function(data))
    json.dump({"version": version, "found": found}, answer, default=str)
    answer.flush()


if __name__ == "__main__":
    main()
