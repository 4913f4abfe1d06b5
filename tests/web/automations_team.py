"""A team with a schedule that is on, one that is off, and a sensor that asks for a run each second."""

from __future__ import annotations

from launched import HEAD

TEAM = (
    HEAD
    + """
from runner_shim import RunRequest, ScheduleDefinition, sensor

@op
def work():
    print("<i>worked</i>")

@job
def nightly():
    work()

@job
def checks():
    work()

early = ScheduleDefinition("early", "30 5 * * *", job=nightly, default_status="running")
often = ScheduleDefinition("often", "* * * * *", job=checks)

@sensor(job=nightly, minimum_interval_seconds=1)
def files(context):
    seen = int(context.cursor or 0)
    if seen == 1:
        raise ValueError("no <b>file</b> is there")
    context.log.info("a file has come")
    context.update_cursor(str(seen + 1))
    return RunRequest(run_key="file %d" % seen)

defs = Definitions(jobs=[nightly, checks], schedules=[early, often], sensors=[files])
"""
)
