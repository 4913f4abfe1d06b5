"""Definitions as teams wrote them for Dagster 0.15: ops and jobs beside solids, first assets."""

from dagster import (
    AssetIn,
    AssetKey,
    DailyPartitionsDefinition,
    DefaultSensorStatus,
    DynamicOut,
    DynamicOutput,
    Field,
    In,
    Nothing,
    Out,
    ScheduleDefinition,
    SourceAsset,
    StaticPartitionsDefinition,
    asset,
    asset_sensor,
    build_schedule_from_partitioned_job,
    daily_partitioned_config,
    define_asset_job,
    graph,
    in_process_executor,
    job,
    op,
    repository,
    resource,
    schedule,
    sensor,
    static_partitioned_config,
)
from dagster._legacy import pipeline, solid


@resource(config_schema={"host": str})
def database(_context):
    return None


@op(
    config_schema={"path": str, "limit": Field(int, default_value=10), "nested": {"deep": [str]}},
    required_resource_keys={"database"},
    out=Out(str, description="the raw rows"),
)
def fetch(context):
    """Reads the payments of a day."""
    return "x"


@op(ins={"rows": In(str)}, tags={"kind": "pandas"})
def clean(rows):
    return rows


@op(ins={"after": In(Nothing)})
def announce():
    pass


@op(out=DynamicOut(str))
def fan_out():
    yield DynamicOutput("a", mapping_key="a")


@graph
def tidy(rows):
    return clean.alias("clean_again")(clean(rows))


@job(
    resource_defs={"database": database},
    executor_def=in_process_executor,
    tags={"team": "payments"},
    description="Settles the day.",
)
def settle():
    announce(after=tidy(fetch()))


@job
def spread():
    fan_out().map(clean)


@daily_partitioned_config(start_date="2022-01-01", timezone="Europe/Paris")
def by_day(start, _end):
    return {}


@job(config=by_day)
def daily_settle():
    announce()


@static_partitioned_config(partition_keys=["eu", "us"])
def by_region(region):
    return {}


@job(config=by_region)
def regional():
    announce()


@solid
def old_solid(_context):
    pass


@pipeline
def old_pipeline():
    old_solid()


@schedule(cron_schedule="0 3 * * *", job=settle, execution_timezone="UTC")
def nightly(_context):
    return {}


weekly = ScheduleDefinition(job=spread, cron_schedule="0 0 * * 0", description="once a week")
daily = build_schedule_from_partitioned_job(daily_settle)


@sensor(job=settle, minimum_interval_seconds=45, default_status=DefaultSensorStatus.RUNNING)
def on_file(_context):
    """Looks for a file."""


@asset_sensor(asset_key=AssetKey(["raw", "payments"]), job=settle)
def on_payments(_context, _event):
    pass


raw = SourceAsset(key=AssetKey(["raw", "payments"]), description="from the bank")


@asset(
    key_prefix="core",
    ins={"payments": AssetIn(key=AssetKey(["raw", "payments"]))},
    group_name="settlement",
    compute_kind="pandas",
    metadata={"owner": "pay"},
)
def positions(payments):
    """Positions per account."""
    return payments


@asset(
    ins={"positions": AssetIn(key=AssetKey(["core", "positions"]))},
    partitions_def=DailyPartitionsDefinition(start_date="2022-01-01"),
)
def report(positions):
    return positions


@asset(partitions_def=StaticPartitionsDefinition(["a", "b"]))
def by_letter():
    return 1


@repository
def payments():
    """Everything of the payments team."""
    return [
        settle,
        spread,
        daily_settle,
        regional,
        old_pipeline,
        nightly,
        weekly,
        daily,
        on_file,
        on_payments,
        raw,
        positions,
        report,
        by_letter,
        define_asset_job("report_job", selection="report"),
    ]
