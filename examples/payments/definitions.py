"""Payments: settle every night, watch for late files during the day."""

import os

from dateutil.relativedelta import relativedelta

from runner_shim import (
    Definitions,
    RunRequest,
    SkipReason,
    asset,
    job,
    op,
    resource,
    schedule,
    sensor,
)

REGION = os.environ.get("REGION", "eu")
SETTLEMENT_DELAY = relativedelta(days=2)


@op(description="Read the card schemes' files.")
def fetch_files():
    return []


@op(description="Match files against the ledger.")
def match(files):
    return files


@op
def book(matched):
    return matched


@job(tags={"team": "payments", "region": REGION}, owners=["payments@example.com"])
def settle():
    """Settle the day before yesterday."""
    book(match(fetch_files()))


@schedule(cron_schedule="30 2 * * 1-5", job=settle, execution_timezone="Europe/Berlin")
def nightly_settlement(context):
    return RunRequest(run_key=None, tags={"delay": str(SETTLEMENT_DELAY)})


@sensor(job=settle, minimum_interval_seconds=60)
def late_files(context):
    return SkipReason("no late files")


@asset(group_name="ledger", description="Every booked transaction.")
def transactions():
    return []


@asset(group_name="ledger", deps=[transactions], owners=["payments@example.com"])
def balances():
    return {}


@resource(description="The ledger's database.")
def ledger():
    return None


defs = Definitions(
    jobs=[settle],
    schedules=[nightly_settlement],
    sensors=[late_files],
    assets=[transactions, balances],
    resources={"ledger": ledger},
)
