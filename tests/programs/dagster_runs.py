"""Jobs and assets of Dagster 0.15 and later that are run: config, a failure, partitions."""

import time

import dagster as dg
from dagster import asset, job, op, repository


@op(config_schema={"n": dg.Field(dg.Int, default_value=2, is_required=False)})
def load(context):
    context.log.info("loading {} rows".format(context.op_config["n"]))
    return context.op_config["n"]


@op
def publish(context, rows):
    context.log.info(f"publishing {rows}")
    return rows * 10


def helper(rows):
    raise ValueError("no such table")


@op
def explode(rows):
    try:
        helper(rows)
    except ValueError as error:
        raise RuntimeError("rows cannot be read") from error


@op
def sleep(context):
    try:
        context.log.info("asleep")
        time.sleep(60)
    finally:
        context.log.info("cleaned up")


@job
def nightly():
    publish(load())


@job(tags={"team": "risk"})
def broken():
    publish(explode(load()))


attempts = []


@op
def mend(context, rows):
    attempts.append(rows)
    if len(attempts) == 1:
        raise RuntimeError("not yet")
    return rows + 1


@job
def mended():
    publish(mend(load()))


@job
def sleeper():
    sleep()


@dg.static_partitioned_config(partition_keys=["eu", "us"])
def by_region(region):
    return {"ops": {"load": {"config": {"n": len(region)}}}}


@job(config=by_region)
def regional():
    publish(load())


colors = dg.StaticPartitionsDefinition(["red", "blue"])


def key_of(context):
    if hasattr(context, "partition_key"):
        return context.partition_key
    return context.asset_partition_key_for_output()


@asset(partitions_def=colors)
def raw(context):
    context.log.info(f"raw of {key_of(context)}")
    return key_of(context)


@asset(partitions_def=colors)
def report(context, raw):
    context.log.info(f"report of {raw}")
    return raw


@repository
def defs():
    return [nightly, broken, mended, sleeper, regional, raw, report]
