"""Definitions for the contract: some that are made, one that is lazy, each adapter has the like."""

from runner_shim import ScheduleDefinition, job, op, repository

made = []


@op
def load(context):
    return 1


@job(tags={"b": "2", "a": "1"})
def nightly():
    load()


def make_weekly():
    made.append("weekly")

    @job
    def weekly():
        load()

    return weekly


@repository
def team():
    return {
        "jobs": {"nightly": nightly, "weekly": make_weekly},
        "schedules": {
            "daily": ScheduleDefinition(name="daily", cron_schedule="0 5 * * *", job=nightly)
        },
    }
