"""What Dagster itself records of orders: ``python dagster_own_runs.py FILE JSON`` prints a list.

JSON is a list of orders as of run_orders.py; printed for each is ``{"events": [[type, step], …],
"success": bool}``. Runs each as Dagster's own command does, from the file, in one process. The measure
for our way of running, so it shares no code with it.
"""

import importlib
import inspect
import json
import os
import sys

import dagster


def first(*names):
    for name in names:
        module, _, attribute = name.rpartition(".")
        for core in ("dagster._core.", "dagster.core.", ""):
            try:
                return getattr(importlib.import_module(core + module), attribute)
            except (ImportError, AttributeError, AssertionError):
                continue
    raise SystemExit("none of " + ", ".join(names))


file, orders = sys.argv[1], json.loads(sys.argv[2])
os.environ.pop("DAGSTER_HOME", None)
sys.path.insert(0, os.path.dirname(file))
repositories = first(
    "definitions.reconstruct.ReconstructableRepository",
    "definitions.reconstructable.ReconstructableRepository",
)
execute = first(
    "dagster.execute_job", "dagster._legacy.execute_pipeline", "dagster.execute_pipeline"
)
repository = repositories.for_file(file, "defs", os.path.dirname(file))
definition = repository.get_definition()


def asset_job(keys):
    names = getattr(definition, "job_names", ())
    for name in sorted(names):
        layer = definition.get_job(name).asset_layer if name.startswith("__ASSET_JOB") else None
        known = getattr(layer, "asset_keys", None) or getattr(layer, "executable_asset_keys", ())
        if layer is not None and set(keys) <= set(known):
            return name
    raise SystemExit("no job has " + repr(keys))


def run(order):
    keys = [dagster.AssetKey(key.split("/")) for key in order.get("assets") or ()]
    name = order.get("job") or asset_job(keys)
    get = getattr(repository, "get_reconstructable_job", None)
    job = (get or repository.get_reconstructable_pipeline)(name)
    config, tags = dict(order.get("config") or {}), {}
    key = order.get("partition_key")
    if key and not keys:
        for one in getattr(definition, "partition_set_defs", ()):
            if getattr(one, "pipeline_name", getattr(one, "job_name", None)) == name:
                config = dict(one.run_config_for_partition(one.get_partition(key)))
        found = getattr(definition.get_job(name), "partitioned_config", None) if get else None
        if hasattr(found, "get_run_config_for_partition_key"):
            config = dict(found.get_run_config_for_partition_key(key))
    if key:
        tags["dagster/partition"] = key
    if hasattr(dagster, "job"):
        config["execution"] = {"config": {"in_process": {}}}
    known = inspect.signature(execute).parameters
    more = {}
    if order.get("op_selection"):
        more["op_selection" if "op_selection" in known else "solid_selection"] = order[
            "op_selection"
        ]
    if keys and "asset_selection" in known:
        more["asset_selection"] = keys
    elif keys:
        job = job.subset_for_execution(None, asset_selection=frozenset(keys))
    with dagster.DagsterInstance.ephemeral() as instance:
        result = execute(
            job, run_config=config, tags=tags, instance=instance, raise_on_error=False, **more
        )
        events = []
        for record in instance.all_logs(result.run_id):
            if record.dagster_event is None:
                events.append(["LOGS", getattr(record, "step_key", None)])
            else:
                events.append(
                    [record.dagster_event.event_type_value, record.dagster_event.step_key]
                )
        return {"events": events, "success": result.success}


print(json.dumps([run(order) for order in orders]))
