"""Schedules and sensors as snapshot data: what starts a run, of what, and when.

Owns their targets, whatever the version calls them (a pipeline, a job, an anonymous job over an
asset selection). Never evaluates one: a tick is the framework's business.
"""

from runner_shim.frameworks.dagster.read import asset_name, enum_word, is_hidden_job, peek
from runner_shim.plain_data import definition, text

__all__ = ["schedule_definition", "selection_text", "sensor_definition"]


def schedule_definition(reader, schedule, repository):
    """A schedule as (definition, source)."""
    metadata = reader.peek(schedule, "metadata")
    target = peek(schedule, "target", "_target")
    job = reader.text(schedule, "job_name", "pipeline_name")
    selection = None
    if job is not None and is_hidden_job(job):
        selection = _anonymous_selection(reader, schedule, repository)
        job = None
    cron = reader.peek(schedule, "cron_schedule")
    if cron is not None and not isinstance(cron, str):
        cron = [text(item) for item in cron]
    partition_set = found = None
    if hasattr(schedule, "get_partition_set"):
        found = reader.attempt("partition set", schedule.get_partition_set)
        partition_set = reader.text(found, "name") if found is not None else None
    result = definition(
        "schedule",
        schedule.name,
        description=reader.text(schedule, "description"),
        tags=reader.tags(schedule),
        owners=reader.owners(schedule),
        metadata=reader.metadata(metadata),
        markdown=reader.markdown(metadata),
        cron_schedule=cron if not isinstance(cron, str) else text(cron),
        execution_timezone=reader.text(schedule, "execution_timezone"),
        job=job,
        default_status=_status(reader, schedule),
        op_selection=_op_selection(reader, schedule, target),
        mode=_mode(reader, schedule, target),
        environment_vars=reader.tags(schedule, "environment_vars"),
        partition_set=partition_set,
        asset_selection=selection,
    )
    place = reader.source(
        getattr(schedule, "__wrapped__", None),
        getattr(schedule, "decorated_fn", None),
        getattr(schedule, "_decorated_fn", None),
        getattr(schedule, "_execution_fn", None),
        getattr(schedule, "_run_config_fn", None),
        getattr(schedule, "_should_execute", None),
        getattr(schedule, "_tags_fn", None),
        # Before 0.11 the decorators for daily schedules and the like kept the function here alone.
        getattr(found, "user_defined_run_config_fn_for_partition", None),
    ) or reader.referenced_source(metadata)
    return result, place


def sensor_definition(reader, sensor, repository):
    """A sensor as (definition, source)."""
    metadata = reader.peek(sensor, "metadata")
    targets = reader.peek(sensor, "targets")
    jobs = []
    if targets:
        for target in targets:
            jobs.append(peek(target, "job_name", "pipeline_name"))
    else:
        jobs.append(reader.text(sensor, "job_name", "pipeline_name") if targets is None else None)
    selection = reader.peek(sensor, "asset_selection")
    if selection is not None:
        selection = selection_text(reader, selection, repository)
    elif any(is_hidden_job(job) for job in jobs):
        selection = _anonymous_selection(reader, sensor, repository)
    first = targets[0] if targets else None
    result = definition(
        "sensor",
        sensor.name,
        description=reader.text(sensor, "description"),
        tags=reader.tags(sensor),
        owners=reader.owners(sensor),
        metadata=reader.metadata(metadata),
        markdown=reader.markdown(metadata),
        jobs=reader.strings([job for job in jobs if job and not is_hidden_job(job)]),
        minimum_interval_seconds=reader.peek(sensor, "minimum_interval_seconds"),
        sensor_type=_sensor_type(reader, sensor),
        default_status=_status(reader, sensor),
        op_selection=_op_selection(reader, sensor, first),
        mode=_mode(reader, sensor, first),
        asset_selection=selection,
        asset_keys=reader.attempt("asset keys", _monitored, sensor),
        run_tags=reader.tags(sensor, "run_tags") if hasattr(sensor, "run_tags") else None,
    )
    place = reader.source(
        getattr(sensor, "__wrapped__", None),
        getattr(sensor, "_run_status_sensor_fn", None),
        getattr(sensor, "_asset_materialization_fn", None),
        getattr(sensor, "_raw_asset_materialization_fn", None),
        getattr(sensor, "_raw_fn", None),
        getattr(sensor, "_evaluation_fn", None),
    ) or reader.referenced_source(metadata)
    return result, place


def _sensor_type(reader, sensor):
    # Where the enum has a member for the plain kind it is called standard.
    return enum_word(reader.peek(sensor, "sensor_type"))


def _monitored(sensor):
    key = getattr(sensor, "asset_key", None)
    if key is not None:
        return [asset_name(key)]
    # Private since its beginning in 1.0; a selection instead of keys is left to `asset_selection`.
    keys = peek(sensor, "_monitored_asset_keys", "_monitored_assets")
    if not isinstance(keys, (list, tuple)):
        return None
    return sorted(asset_name(key) for key in keys)


def _status(reader, found):
    status = enum_word(reader.peek(found, "default_status"))
    return status if status in ("running", "stopped") else None


def _op_selection(reader, found, target):
    selection = peek(target, "op_selection", "solid_selection") if target is not None else None
    if selection is None:
        # Not `solid_selection` of newer versions, which warn about it: the target is asked first.
        selection = reader.peek(found, "_solid_selection", "solid_selection")
    return [text(item) for item in selection] if selection else None


def _mode(reader, found, target):
    mode = peek(target, "mode") if target is not None else None
    if mode is None:
        mode = reader.peek(found, "mode")
    return text(mode) if isinstance(mode, str) and mode != "default" else None


def _anonymous_selection(reader, found, repository):
    job = reader.peek(found, "job")
    selection = getattr(job, "selection", None)
    return selection_text(reader, selection, repository) if selection is not None else None


def selection_text(reader, selection, repository):
    """An asset selection as Dagster writes it, or as its sorted asset keys; None if neither."""
    try:
        return text(selection.to_selection_str())
    except Exception:  # not every selection has a text, and old ones have no such method
        keys = reader.attempt("asset selection", _selected, selection, repository)
        return ", ".join(keys) if keys else None


def _selected(selection, repository):
    graph = getattr(repository, "asset_graph", None)
    if graph is None:
        keys = getattr(selection, "_keys", None)
        return sorted(asset_name(key) for key in keys) if keys else None
    return sorted(asset_name(key) for key in selection.resolve(graph))
