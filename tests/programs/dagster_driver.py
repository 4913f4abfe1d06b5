"""What Dagster itself lists for a file: ``python dagster_driver.py FILE`` prints {kind: [names]}.

Uses Dagster's own discovery and the data that its own server would send, whatever the version; the
jobs that it hides from people are left out. The measure for our adapter, so it shares no code with
it.
"""

import importlib
import json
import os
import sys


def first_module(*names):
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise SystemExit("none of " + ", ".join(names))


path = sys.argv[1]
sys.path.insert(0, os.path.dirname(path))
os.chdir(os.path.dirname(path))

discovery = first_module(
    "dagster._core.workspace.autodiscovery",
    "dagster.core.workspace.autodiscovery",
    "dagster.cli.workspace.autodiscovery",
)
reconstruct = first_module(
    "dagster._core.definitions.reconstruct",
    "dagster.core.definitions.reconstruct",
    "dagster.core.definitions.reconstructable",
)
external = first_module(
    "dagster._core.remote_representation.external_data",
    "dagster._core.host_representation.external_data",
    "dagster.core.host_representation.external_data",
)


def listing(repository):
    if hasattr(external, "RepositorySnap"):
        data = external.RepositorySnap.from_def(repository)
    else:
        data = external.external_repository_data_from_def(repository)
    get = lambda *names: next((getattr(data, n) for n in names if getattr(data, n, None)), [])  # noqa: E731
    result = {}

    def add(kind, name):
        if not name.startswith(("__ASSET_JOB", "__ASSET_GROUP", "__anonymous_asset_job_")):
            result.setdefault(kind, set()).add(name)

    for found in get("job_datas", "external_pipeline_datas"):
        # 0.15 and 1.1 had both at a time; before there were pipelines, after there are jobs.
        is_job = getattr(found, "is_job", hasattr(data, "job_datas"))
        add("job" if is_job else "pipeline", found.name)
    for kind, names in (
        ("job", ("external_job_datas",)),
        ("schedule", ("schedules", "external_schedule_datas")),
        ("sensor", ("sensors", "external_sensor_datas")),
        ("partition_set", ("partition_sets", "external_partition_set_datas")),
        ("resource", ("resources", "external_resource_data")),
    ):
        for found in get(*names):
            add(kind, found.name)
    for found in get("asset_nodes", "external_asset_graph_data"):
        add("asset", "/".join(found.asset_key.path))
    for found in get("asset_check_nodes", "external_asset_checks"):
        add("asset_check", "{}:{}".format("/".join(found.asset_key.path), found.name))
    tree = getattr(data, "component_tree", None)
    for found in tree.leaf_instances if tree else ():
        add("component", found.key)
    return result


answer = {}
for target in discovery.loadable_targets_from_python_file(path, os.path.dirname(path)):
    definition = target.target_definition
    repository = reconstruct.repository_def_from_target_def(definition)
    for kind, names in listing(repository).items():
        answer.setdefault(kind, set()).update(names)
print(json.dumps({kind: sorted(names) for kind, names in answer.items()}))
