"""One evaluation of a loaded Dagster schedule or sensor, in this process, in any release from 0.9.

Owns the context that each is told, and what is read from its result. Launches nothing, and keeps no cursor:
Dagster's own daemon does both. No version is compared: what arguments a context has is asked of it. The
instance is that of the order, so a sensor that looks at events sees those of the location's runs.
"""

import importlib
import inspect
import os
from datetime import datetime, timedelta, timezone
from time import time

from runner_shim import plain_data
from runner_shim.execution import ticks
from runner_shim.frameworks.dagster import console, instances
from runner_shim.frameworks.dagster.instances import first
from runner_shim.frameworks.dagster.read import asset_name, is_hidden_job, peek
from runner_shim.loading.load_failure import LoadFailure

__all__ = ["tick"]

# What Dagster adds for its own daemon, or says with a partition.
_OWN_TAGS = ("dagster/schedule_name", "dagster/sensor_name", "dagster/partition")


def tick(repositories, order):
    """What ``frameworks/adapter`` says of ``tick``; None where nothing has that name."""
    for repository in repositories:
        if order.get("repository") not in (None, repository.name):
            continue
        found, kind = _find(repository, order)
        if found is not None:
            return _evaluate(repository, found, kind, order)
    return None


def _find(repository, order):
    name = order["name"]
    for kind in ("schedule", "sensor"):
        if order.get("kind") not in (None, kind):
            continue
        for has, get in (
            ("has_%s_def" % kind, "get_%s_def" % kind),
            ("has_%s" % kind, "get_%s" % kind),
        ):
            if not hasattr(repository, get):
                continue
            if not hasattr(repository, has) or getattr(repository, has)(name):
                return getattr(repository, get)(name), kind
        for one in getattr(repository, "%s_defs" % kind, ()):  # the oldest have no lookup
            if one.name == name:
                return one, kind
    return None, None


def _evaluate(repository, found, kind, order):
    os.environ.pop("DAGSTER_HOME", None)
    if order.get("instance"):
        os.environ["DAGSTER_HOME"] = order["instance"]
    with console.without_events(), instances.opened(order) as instance:
        if kind == "schedule":
            result = _schedule(repository, found, order, instance)
        else:
            result = _sensor(repository, found, order, instance)
    ticks.too_many("%s %s" % (kind, found.name), len(result["requests"]))
    return result


def _schedule(repository, found, order, instance):
    moment = _moment(order, getattr(found, "execution_timezone", None))
    kind = first(
        "definitions.schedule_definition.ScheduleEvaluationContext",
        "definitions.run_request.ScheduleEvaluationContext",
        "definitions.schedule.ScheduleEvaluationContext",
        "definitions.schedule.ScheduleExecutionContext",
    )
    if not hasattr(found, "evaluate_tick"):  # before 0.11
        context = kind(instance, moment)
        if not found.should_execute(context):
            return _result([], "its should_execute returned false")
        request = {
            "job": peek(found, "job_name", "pipeline_name"),
            "config": ticks.exact(found.get_run_config(context) or {}, "its run config"),
            "tags": _others(_tags(found.get_tags(context))),
        }
        return _result([dict(_NONE, **request)], None)
    with _context(kind, instance, order, scheduled_execution_time=moment, repository_def=repository,
                  repository_name=repository.name, schedule_name=found.name,
                  resources=_resources(repository, found)) as context:  # fmt: skip
        return _read(repository, found, found.evaluate_tick(context))


def _sensor(repository, found, order, instance):
    kind = first(
        "definitions.sensor_definition.SensorEvaluationContext",
        "definitions.sensor.SensorEvaluationContext",
        "definitions.sensor.SensorExecutionContext",
    )
    with _context(kind, instance, order, last_completion_time=order.get("last_tick"),
                  last_tick_completion_time=order.get("last_tick"), last_run_key=order.get("last_run_key"),
                  cursor=order.get("cursor"), repository_def=repository,
                  repository_name=repository.name, sensor_name=found.name,
                  resources=_resources(repository, found)) as context:  # fmt: skip
        result = _read(repository, found, found.evaluate_tick(context))
    if result["cursor"] == order.get("cursor"):
        result["cursor"] = None  # it stays
    return result


def _context(kind, instance, order, **given):
    """A context manager with a context of ``kind``, of those of ``given`` that it takes."""
    given.update(log_key=None, instance=instance, instance_ref=None)
    if order.get("instance"):
        given["instance_ref"] = instance.get_ref()
    known = inspect.signature(kind.__init__).parameters
    if "last_tick_completion_time" in known:
        given.pop("last_completion_time", None)  # its old name: with both it refuses
    context = kind(**{key: value for key, value in given.items() if key in known})
    if "instance" not in known and hasattr(context, "_instance"):
        context._instance = instance
    return context if hasattr(context, "__enter__") else _Plain(context)


class _Plain(object):
    """A context manager with what is none."""

    def __init__(self, value):
        self._value = value

    def __enter__(self):
        return self._value

    def __exit__(self, *_):
        return False


def _resources(repository, found):
    """The resources that it needs, where this release has such; None elsewhere."""
    try:
        need = first("execution.resources_init.get_transitive_required_resource_keys")
        defined = repository.get_top_level_resources()
        keys = need(found.required_resource_keys, defined)
    except (AttributeError, LoadFailure):
        return None
    return {key: value for key, value in defined.items() if key in keys}


def _moment(order, zone):
    """The time of the order as the release has times: pendulum's where that is there."""
    at = time() if order.get("time") is None else order["time"]
    try:
        pendulum = importlib.import_module("pendulum")
        return pendulum.from_timestamp(at, tz=zone or "UTC")
    except (ImportError, AttributeError):
        pass
    try:
        zoneinfo = importlib.import_module("zoneinfo")
        return datetime.fromtimestamp(at, zoneinfo.ZoneInfo(zone or "UTC"))
    except (ImportError, KeyError, ValueError):
        return datetime.fromtimestamp(at, timezone(timedelta(seconds=order.get("offset") or 0)))


# --- what it says

_NONE = {
    "job": None,
    "assets": None,
    "run_key": None,
    "config": {},
    "tags": {},
    "partition": None,
}


def _result(requests, skipped, cursor=None):
    if not requests and not skipped:
        skipped = "it returned nothing to run"
    return {
        "requests": requests,
        "skipped": None if requests else plain_data.text(skipped),
        "cursor": cursor,
        "logs": [],
    }


def _read(repository, found, data):
    """The result in what ``evaluate_tick`` returned: an object of run requests, or a list of both kinds."""
    if not hasattr(data, "run_requests"):  # a list, in 0.11
        requests = [one for one in data if hasattr(one, "run_key")]
        skips = [one.skip_message for one in data if hasattr(one, "skip_message")]
        skip, cursor = (skips or [None])[0], None
    else:
        requests = getattr(data, "run_requests", None) or ()
        skip, cursor = getattr(data, "skip_message", None), getattr(data, "cursor", None)
    requests = [_request(repository, found, one) for one in requests]
    return _result(requests, skip, None if cursor is None else str(cursor))


def _request(repository, found, one):
    job = getattr(one, "job_name", None) or peek(found, "job_name", "pipeline_name")
    keys = getattr(one, "asset_selection", None)
    assets = [asset_name(key) for key in keys] if keys else None
    if assets is None and (job is None or is_hidden_job(job)):
        assets = _assets_of(repository, found, job)
    config = getattr(one, "run_config", None) or {}
    config = config.to_config_dict() if hasattr(config, "to_config_dict") else config
    tags = _tags(getattr(one, "tags", None))
    partition = getattr(one, "partition_key", None) or tags.get("dagster/partition")
    return {
        "job": None if assets else job,
        "assets": assets,
        "run_key": None if one.run_key is None else str(one.run_key),
        "config": ticks.exact(config, "the run config of %s" % found.name),
        "tags": _others(tags),
        "partition": None if partition is None else str(partition),
    }


def _tags(tags):
    return {str(key): str(value) for key, value in (tags or {}).items()}


def _others(tags):
    return {key: value for key, value in tags.items() if key not in _OWN_TAGS}


def _assets_of(repository, found, job):
    """The assets of a target that is no job of the team's: those that its hidden job has."""
    selection = getattr(found, "asset_selection", None)
    keys = None
    if selection is not None and hasattr(selection, "resolve"):
        keys = selection.resolve(repository.asset_graph)
    if keys is None and job is not None:
        layer = getattr(repository.get_job(job), "asset_layer", None)
        for name in ("selected_asset_keys", "executable_asset_keys", "asset_keys"):
            keys = keys or getattr(layer, name, None)
    if not keys:
        raise LoadFailure(
            "bad_tick",
            "%s asks for a run, and names no job and no assets" % found.name,
            hint="give the RunRequest a job_name or an asset_selection",
        )
    return sorted(asset_name(key) for key in keys)
