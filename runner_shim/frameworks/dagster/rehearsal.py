"""One small Dagster location, made and read in a forkserver before anything is forked from it.

Dagster compiles its checks and fills its caches when they are first needed, and so does our adapter
with its modules. What happened before the fork is shared by all locations; what happens after it
each does and keeps for itself: with Dagster 1.13 and 20 assets a third of the load's time and
3 MiB. Owns nothing that outlives ``rehearse``; says nothing, warns of nothing, and leaves Dagster
alone where a version does not know what is used here.
"""

import sys

__all__ = ["rehearse"]


def rehearse(adapter):
    """Make one definition of each common kind and read them all; what fails is left to the loads."""
    import warnings

    # Nothing that is seen only once may be used up here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from runner_shim.frameworks.dagster import repository  # noqa: F401

            definitions = _definitions(sys.modules["dagster"])
            adapter.collect(adapter.discover([("defs", definitions)], __name__, _ignore), _ignore)
        except Exception:
            pass


def _definitions(dagster):
    @dagster.asset(group_name="one", description="One.")
    def rehearsed_first(context):
        pass

    @dagster.asset(deps=[rehearsed_first])
    def rehearsed_second():
        pass

    @dagster.op
    def rehearsed_load():
        pass

    @dagster.op
    def rehearsed_publish(rows):
        pass

    @dagster.job(tags={"one": "two"})
    def rehearsed_job():
        rehearsed_publish(rehearsed_load())

    @dagster.sensor(job=rehearsed_job)
    def rehearsed_sensor(context):
        pass

    schedule = dagster.ScheduleDefinition(job=rehearsed_job, cron_schedule="0 5 * * *")
    return dagster.Definitions(
        assets=[rehearsed_first, rehearsed_second],
        jobs=[rehearsed_job],
        schedules=[schedule],
        sensors=[rehearsed_sensor],
    )


def _ignore(*_arguments, **_named):
    pass
