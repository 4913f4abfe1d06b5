"""Definitions of today: Definitions, configurable resources, checks, automation conditions."""

from datetime import timedelta

import dagster as dg


class Warehouse(dg.ConfigurableResource):
    """Where the tables are."""

    url: str
    retries: int = 3


class Model(dg.ConfigurableResource):
    warehouse: Warehouse
    name: str | None = None


class TrainConfig(dg.Config):
    epochs: int = 5
    device: str


raw = dg.AssetSpec(["raw", "events"], description="from the phones", group_name="ingest")


@dg.asset(
    deps=[raw],
    group_name="ml",
    kinds={"python", "torch"},
    tags={"tier": "gold"},
    owners=["team:ml", "ann@example.com"],
    code_version="7",
    automation_condition=dg.AutomationCondition.eager(),
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=6)),
    metadata={"doc": dg.MetadataValue.md("**features**"), "rows": 10, "set": {"b", "a", "c"}},
    pool="gpu",
)
def features(warehouse: Warehouse):
    """Features of a user."""
    return 1


@dg.asset(
    partitions_def=dg.MultiPartitionsDefinition(
        {
            "day": dg.DailyPartitionsDefinition(start_date="2024-01-01", timezone="Europe/Rome"),
            "tenant": dg.DynamicPartitionsDefinition(name="tenants"),
        }
    ),
    ins={"features": dg.AssetIn(partition_mapping=dg.AllPartitionMapping())},
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def model(features, config: TrainConfig):
    return features


@dg.multi_asset(specs=[dg.AssetSpec("left", deps=["features"]), dg.AssetSpec("right")])
def both():
    pass


@dg.observable_source_asset
def lake():
    return dg.DataVersion("1")


@dg.asset_check(asset=features, blocking=True, description="no holes")
def complete():
    return dg.AssetCheckResult(passed=True)


@dg.op
def ping() -> int:
    return 1


@dg.op(ins={"after": dg.In(dg.Nothing)}, retry_policy=dg.RetryPolicy(max_retries=2))
def pong():
    pass


@dg.op
def add(context, value: int) -> int:
    return value


@dg.graph
def inner(value: int):
    return add(value)


@dg.job(tags={"team": "ml"}, description="Is it alive?")
def health():
    pong(after=inner(ping()))


train = dg.define_asset_job("train", selection="features", tags={"size": "big"})
by_region = dg.static_partitioned_config(partition_keys=["eu", "us"])(lambda _key: {})


@dg.job(config=by_region)
def regional():
    ping()


@dg.schedule(cron_schedule="0 1 * * *", target=train, execution_timezone="Europe/Rome")
def nightly(_context):
    return {}


anonymous = dg.ScheduleDefinition(
    name="anonymous", target=[features], cron_schedule=["0 1 * * *", "0 2 * * *"]
)


@dg.sensor(
    jobs=[health, regional],
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    tags={"noise": "low"},
    metadata={"runbook": dg.MetadataValue.url("https://example.com")},
)
def on_file(_context):
    """Looks for a file."""


@dg.asset_sensor(asset_key=dg.AssetKey("features"), job=health)
def on_features(_context, _event):
    pass


warehouse = Warehouse(url=dg.EnvVar("WAREHOUSE_URL"))

defs = dg.Definitions(
    assets=[raw, features, model, both, lake],
    asset_checks=[complete],
    jobs=[health, train, regional],
    schedules=[nightly, anonymous],
    sensors=[on_file, on_features],
    resources={"warehouse": warehouse, "model": Model(warehouse=warehouse)},
)
