"""Assets of two jobs and two groups of Dagster 0.15 and later, some with partitions, one with a check."""

import dagster as dg
from dagster import asset, define_asset_job, repository

days = dg.DailyPartitionsDefinition(start_date="2024-01-01")


def key_of(context):
    if hasattr(context, "partition_key"):
        return context.partition_key
    return context.asset_partition_key_for_output()


@asset(partitions_def=days, group_name="ingest")
def raw(context):
    context.log.info("raw of " + key_of(context))
    return key_of(context)


@asset(partitions_def=days, group_name="finance")
def report(context, raw):
    context.log.info("report of " + raw)


@asset
def plain(context):
    context.log.info("plain")


source = dg.SourceAsset("source")
found = [raw, report, plain, source]

if hasattr(dg, "asset_check"):

    @dg.asset_check(asset=plain)
    def is_plain():
        return dg.AssetCheckResult(passed=True)

    found.append(is_plain)


@repository
def defs():
    jobs = [
        define_asset_job("first", selection=["raw"], partitions_def=days),
        define_asset_job("second", selection=["report"], partitions_def=days),
    ]
    return found + jobs
