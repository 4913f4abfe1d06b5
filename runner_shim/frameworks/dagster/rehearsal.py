"""One small Dagster location, made, read and run in a forkserver before anything is forked from it.

Dagster compiles its checks and fills its caches when they are first needed, and so does our adapter
with its modules. What happened before the fork is shared by all locations; what happens after it
each does and keeps for itself: with Dagster 1.13 and 20 assets a third of the load's time and
3 MiB. The first run of a process imports hundreds of modules and takes seconds; so one is rehearsed.
Owns nothing that outlives ``rehearse``: no thread, descriptor, file, variable or signal handler; says
nothing, warns of nothing, and leaves Dagster alone where a version does not know what is used here.
"""

import os
import signal
import sys

__all__ = ["rehearse"]


def rehearse(adapter):
    """Make one definition of each common kind, read them all, and run a job of two steps.

    What fails is left to the loads and runs.
    """
    import warnings

    # Nothing that is seen only once may be used up here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for rehearsed in (_load, _run):
            try:
                rehearsed(sys.modules["dagster"], adapter)
            except Exception:
                pass


def _load(dagster, adapter):
    from runner_shim.frameworks.dagster import repository  # noqa: F401

    adapter.collect(adapter.discover([("defs", _definitions(dagster))], __name__, _ignore), _ignore)


def _run(dagster, _adapter):
    """Run one job. Dagster leaves SIGTERM to the handler of SIGINT, and a run ignores late ones."""
    from runner_shim.frameworks.dagster import running

    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    home = os.environ.get("DAGSTER_HOME")
    prepared = running.prepare([_repository(dagster)], {"job": "rehearsed_run"})
    try:
        prepared.run(_ignore)
    finally:
        if home is not None:
            os.environ["DAGSTER_HOME"] = home
        for number, handler in handlers:
            signal.signal(number, handler)


def _repository(dagster):
    step = getattr(dagster, "op", None) or dagster.solid
    compose = getattr(dagster, "job", None) or dagster.pipeline

    @step
    def rehearsed_first(context):
        context.log.debug("one")
        return 1

    @step
    def rehearsed_second(context, rows):
        pass

    @compose
    def rehearsed_run():
        rehearsed_second(rehearsed_first())

    @dagster.repository
    def rehearsed():
        return [rehearsed_run]

    return rehearsed


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
