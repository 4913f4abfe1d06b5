"""What a team may have in Dagster's page, for every release from 0.15 on."""

import os
import time

import dagster
from dagster import (
    RunRequest,
    ScheduleDefinition,
    StaticPartitionsDefinition,
    asset,
    job,
    op,
    repository,
    sensor,
)

PLACE = os.path.dirname(os.path.abspath(__file__))


@op
def first():
    """Gives a number."""
    return 1


@op
def second(first):
    """Fails for as long as a file says so."""
    if os.path.exists(os.path.join(PLACE, "fail")):
        raise ValueError("told to fail")
    return first + 1


@op
def third(second):
    return second + 1


@job(tags={"team": "risk"}, description="Three steps.")
def steps():
    third(second(first()))


@op
def wait(context):
    """Waits until it is interrupted, and says so."""
    context.log.info("waiting")
    for _ in range(600):
        time.sleep(0.1)


@job
def long():
    wait()


@asset(group_name="tables", description="edition 0")
def table():
    return 1


@asset(group_name="tables")
def report(table):
    """Made of the table."""
    return table + 1


@asset(partitions_def=StaticPartitionsDefinition(["eu", "us", "asia"]))
def regional(context):
    context.log.info("a region")


@job
def quick():
    first()


minutely = ScheduleDefinition(name="minutely", cron_schedule="* * * * *", job=quick)


@sensor(job=quick, minimum_interval_seconds=1)
def arrivals(context):
    yield RunRequest(run_key="once")


found = [steps, long, quick, table, report, regional, minutely, arrivals]

if hasattr(dagster, "asset_check"):

    @dagster.asset_check(asset=table)
    def sound():
        return dagster.AssetCheckResult(passed=True)

    found.append(sound)

if hasattr(dagster, "Definitions"):
    checks = [found.pop()] if hasattr(dagster, "asset_check") else []
    more = {"asset_checks": checks} if checks else {}
    defs = dagster.Definitions(
        jobs=[steps, long, quick],
        assets=[table, report, regional],
        schedules=[minutely],
        sensors=[arrivals],
        **more,
    )
else:

    @repository
    def team():
        return found
