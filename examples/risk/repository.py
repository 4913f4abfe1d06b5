"""Risk: a lazy repository. Listing it calls none of these functions."""

from runner_shim import JobDefinition, ScheduleDefinition, repository


def limits():
    return JobDefinition(name="limits", description="Check exposure against limits.")


def stress():
    return JobDefinition(name="stress", description="Run the stress scenarios.")


def hourly_limits():
    return ScheduleDefinition(name="hourly_limits", cron_schedule="0 * * * *", job_name="limits")


@repository
def risk():
    return {
        "jobs": {"limits": limits, "stress": stress},
        "schedules": {"hourly_limits": hourly_limits},
    }
