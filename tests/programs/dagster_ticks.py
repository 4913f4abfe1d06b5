"""Schedules and sensors of Dagster 0.15 and later: config, tags, cursors, skips, assets, partitions, an error."""

import dagster as dg
from dagster import RunRequest, SkipReason, job, op, repository, schedule, sensor


@op(config_schema={"n": dg.Field(dg.Int, default_value=2, is_required=False)})
def load(context):
    return context.op_config["n"]


@job
def nightly():
    load()


colors = dg.StaticPartitionsDefinition(["red", "blue"])


@dg.asset(partitions_def=colors)
def raw():
    return 1


@dg.asset
def report():
    return 2


reports = dg.define_asset_job("reports", "report")


def config(n):
    return {"ops": {"load": {"config": {"n": n}}}}


@schedule(cron_schedule="0 5 * * *", job=nightly, execution_timezone="Europe/Berlin")
def early(context):
    at = context.scheduled_execution_time
    return RunRequest(
        run_key=None, run_config=config(at.hour), tags={"day": at.strftime("%Y-%m-%d")}
    )


@schedule(cron_schedule="0 5 * * *", job=nightly, should_execute=lambda _: False)
def never(context):
    return RunRequest(run_key=None)


@sensor(job=nightly)
def files(context):
    seen = int(context.cursor or 0)
    if seen > 10:
        yield SkipReason(f"nothing after {context.last_run_key}")
        return
    context.update_cursor(str(seen + 2))
    for n in (seen, seen + 1):
        yield RunRequest(run_key=f"file-{n}", run_config=config(n))


@sensor(job=nightly)
def events(context):
    yield SkipReason(f"{len(context.instance.get_runs())} runs")


@sensor(job=reports)
def of_assets(context):
    yield RunRequest(run_key="a")


@sensor(job=nightly)
def bad(context):
    raise KeyError("bucket")


others = [of_assets]
if hasattr(dg, "Definitions"):

    @sensor(asset_selection=dg.AssetSelection.assets(raw))
    def of_partition(context):
        yield RunRequest(run_key="p", partition_key="red")

    others.append(of_partition)

if hasattr(dg, "Definitions"):
    defs = dg.Definitions(
        jobs=[nightly, reports],
        assets=[raw, report],
        schedules=[early, never],
        sensors=[files, events, bad, *others],
    )
else:

    @repository
    def defs():
        return [nightly, reports, raw, report, early, never, files, events, bad, *others]
