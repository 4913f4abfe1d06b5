"""Pipelines of Dagster 0.9 that are run: config, a failure, a partition set."""

from dagster import Field, Int, Partition, PartitionSetDefinition, pipeline, repository, solid


@solid(config_schema={"n": Field(Int, default_value=2, is_required=False)})
def load(context):
    context.log.info("loading {} rows".format(context.solid_config["n"]))
    return context.solid_config["n"]


@solid
def publish(context, rows):
    context.log.info(f"publishing {rows}")
    return rows * 10


def helper(rows):
    raise ValueError("no such table")


@solid
def explode(_, rows):
    try:
        helper(rows)
    except ValueError as error:
        raise RuntimeError("rows cannot be read") from error


@solid
def sleep(context):
    import time

    try:
        context.log.info("asleep")
        time.sleep(60)
    finally:
        context.log.info("cleaned up")


@pipeline
def nightly():
    publish(load())


@pipeline
def broken():
    publish(explode(load()))


@pipeline
def sleeper():
    sleep()


days = PartitionSetDefinition(
    name="days",
    pipeline_name="nightly",
    partition_fn=lambda: [Partition("2024-01-01"), Partition("2024-01-02")],
    run_config_fn_for_partition=lambda _: {"solids": {"load": {"config": {"n": 31}}}},
)


@repository
def defs():
    return [nightly, broken, sleeper, days]
