"""Definitions as teams wrote them for Dagster 0.9: solids, pipelines, modes, presets."""

from datetime import datetime

from dagster import (
    Field,
    InputDefinition,
    Int,
    ModeDefinition,
    Nothing,
    OutputDefinition,
    PartitionSetDefinition,
    PresetDefinition,
    String,
    composite_solid,
    daily_schedule,
    pipeline,
    repository,
    resource,
    schedule,
    solid,
)
from dagster.core.definitions.job import JobDefinition


@resource(config_schema={"url": Field(String, default_value="postgres://")})
def warehouse(context):
    return None


@solid(
    config_schema={"path": String, "limit": Field(Int, is_required=False, default_value=10)},
    output_defs=[OutputDefinition(String, "rows", description="the raw rows")],
    required_resource_keys={"warehouse"},
    tags={"owner": "risk"},
)
def load(context):
    """Reads what the exchange sent."""
    return "x"


@solid(input_defs=[InputDefinition("rows", String, description="raw")])
def clean(context, rows):
    return rows


@solid(input_defs=[InputDefinition("start", Nothing)])
def announce(context):
    pass


@composite_solid(input_defs=[InputDefinition("rows", String)])
def tidy(rows):
    return clean.alias("clean_again")(clean(rows))


@pipeline(
    mode_defs=[
        ModeDefinition("prod", resource_defs={"warehouse": warehouse}, description="for real"),
        ModeDefinition("test", resource_defs={"warehouse": warehouse}),
    ],
    preset_defs=[PresetDefinition("small", run_config={}, mode="test")],
    tags={"team": "risk"},
    description="Values the book every night.",
)
def valuation():
    announce(start=tidy(load()))


@pipeline
def audit():
    announce()


@daily_schedule(
    pipeline_name="audit", start_date=datetime(2020, 1, 1), execution_timezone="Europe/London"
)
def nightly_audit(date):
    return {}


@schedule(
    cron_schedule="*/10 * * * *",
    pipeline_name="valuation",
    mode="prod",
    solid_selection=["load"],
    environment_vars={"REGION": "eu"},
)
def often(context):
    return {}


regions = PartitionSetDefinition(
    name="regions", pipeline_name="valuation", mode="prod", partition_fn=lambda: ["eu", "us"]
)

small_valuation = JobDefinition("small_valuation", pipeline_name="valuation", mode="test")


@repository
def risk():
    """Everything of the risk team."""
    return [valuation, audit, nightly_audit, often, regions, small_valuation]
