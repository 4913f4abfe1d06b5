"""Marketing: plain functions in a file, no environment of its own."""

from runner_shim import job, op, repository, schedule


@op
def collect_leads():
    return []


@op
def score(leads):
    return leads


@job(description="Score the leads of the day.")
def score_leads():
    score(collect_leads())


@schedule(cron_schedule="@daily", job=score_leads)
def daily_scores(context):
    return {}


# `supervise automations ticks marketing` shows what it has launched.
@schedule(cron_schedule="* * * * *", job=score_leads, default_status="running")
def every_minute(context):
    context.log.info("scoring at %s", context.scheduled_execution_time)
    return {}


@repository
def marketing():
    return [score_leads, daily_scores, every_minute]
