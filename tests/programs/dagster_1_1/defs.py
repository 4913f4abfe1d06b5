"""Definitions as teams wrote them for Dagster 1.1: Definitions, assets, resources bound to them."""

from dagster import (
    AssetIn,
    AssetOut,
    AssetSelection,
    DailyPartitionsDefinition,
    Definitions,
    FreshnessPolicy,
    In,
    MetadataValue,
    MultiPartitionsDefinition,
    Nothing,
    ScheduleDefinition,
    SourceAsset,
    StaticPartitionsDefinition,
    asset,
    define_asset_job,
    job,
    multi_asset,
    op,
    resource,
    run_failure_sensor,
    schedule,
    sensor,
)


@resource(config_schema={"token": str})
def api(_context):
    return None


source = SourceAsset(key="clicks", description="from the site")


@asset(
    required_resource_keys={"api"},
    group_name="web",
    code_version="3",
    freshness_policy=FreshnessPolicy(maximum_lag_minutes=60),
    metadata={"doc": MetadataValue.md("**clicks**"), "rows": 10},
    config_schema={"limit": int},
)
def sessions(clicks):
    """Clicks grouped by visitor."""
    return clicks


@asset(
    ins={"sessions": AssetIn("sessions")},
    partitions_def=DailyPartitionsDefinition(start_date="2022-01-01", timezone="Europe/Berlin"),
)
def daily_report(sessions):
    return sessions


@asset(
    partitions_def=MultiPartitionsDefinition(
        {
            "day": DailyPartitionsDefinition(start_date="2022-01-01"),
            "region": StaticPartitionsDefinition(["eu", "us"]),
        }
    )
)
def cube():
    return 1


@multi_asset(outs={"left": AssetOut(), "right": AssetOut()})
def both(sessions):
    return 1, 2


@op
def ping():
    return 1


@op(ins={"after": In(Nothing)})
def pong():
    pass


@job(tags={"team": "web"}, config={"ops": {"ping": {}}})
def health():
    pong(after=ping())


report_job = define_asset_job(
    "report_job",
    selection=AssetSelection.keys("daily_report"),
    partitions_def=DailyPartitionsDefinition(start_date="2022-01-01", timezone="Europe/Berlin"),
)


@schedule(cron_schedule=["0 1 * * *", "0 2 * * *"], job=health, execution_timezone="UTC")
def twice(_context):
    return {}


hourly = ScheduleDefinition(job=health, cron_schedule="@hourly", name="hourly_health")


@sensor(asset_selection=AssetSelection.keys("sessions"))
def on_click(_context):
    """Waits for clicks."""


@run_failure_sensor
def on_failure(_context):
    pass


defs = Definitions(
    assets=[source, sessions, daily_report, cube, both],
    jobs=[health, report_job],
    schedules=[twice, hourly],
    sensors=[on_click, on_failure],
    resources={"api": api.configured({"token": "x"})},
)
