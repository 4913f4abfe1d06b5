"""Schedules of Dagster 0.9: config, tags, and one that does not want to run."""

from dagster import Field, Int, pipeline, repository, schedule, solid


@solid(config_schema={"n": Field(Int, default_value=2, is_required=False)})
def load(context):
    return context.solid_config["n"]


@pipeline
def nightly():
    load()


@schedule(
    cron_schedule="0 5 * * *",
    pipeline_name="nightly",
    execution_timezone="Europe/Berlin",
    tags_fn=lambda context: {"day": context.scheduled_execution_time.strftime("%Y-%m-%d")},
)
def early(context):
    return {"solids": {"load": {"config": {"n": context.scheduled_execution_time.hour}}}}


@schedule(cron_schedule="0 5 * * *", pipeline_name="nightly", should_execute=lambda _: False)
def never(context):
    return {}


@schedule(cron_schedule="0 5 * * *", pipeline_name="nightly")
def bad(context):
    raise KeyError("bucket")


@repository
def defs():
    return [nightly, early, never, bad]
