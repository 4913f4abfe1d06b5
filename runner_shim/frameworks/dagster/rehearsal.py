"""One small Dagster location, made and read in a forkserver; one small run, before the first is forked.

Dagster compiles its checks and fills its caches when they are first needed, and so does our adapter
with its modules. What happened before the fork is shared by all locations; what happens after it
each does and keeps for itself: with Dagster 1.13 and 20 assets a third of the load's time and
3 MiB. The first run of a process imports 200 to 500 modules, which takes seconds; a shim does so once,
and its runs, which are forked from it, share it. The forkserver imports none for this: those modules read
the metadata of all distributions, and what has read it is handed out to few locations. Where it has learned
and preloaded them all the same, it does that run, so that no shim has to: with Dagster 1.13 it costs each
that does 25 MiB, nearly all of them pages that it shared before.

Owns nothing that outlives it: no thread, descriptor, file, variable or signal handler; says nothing,
warns of nothing, and leaves Dagster alone where a version does not know what is used here.
"""

import os
import signal
import sys

from runner_shim.frameworks.dagster import served

__all__ = ["rehearse", "rehearse_run", "rehearse_run_early"]

_run_was_rehearsed = []


def rehearse(adapter):
    """Make one definition of each common kind and read them all; what fails is left to the loads."""

    def load():
        from runner_shim.frameworks.dagster import repository  # noqa: F401

        definitions = _definitions(sys.modules["dagster"])
        adapter.collect(adapter.discover([("defs", definitions)], __name__, _ignore), _ignore)

    _silently(load)


def rehearse_run():
    """Run a job of two steps, once in a process; what fails is left to the runs."""
    if not _run_was_rehearsed:
        _run_was_rehearsed.append(True)
        _silently(_run)


def rehearse_run_early():
    """Run that job in this process, if all that it imports is there; whether it did."""
    if served.OF_A_RUN not in sys.modules:
        return False
    rehearse_run()
    return True


def _silently(rehearsed):
    import warnings

    # Nothing that is seen only once may be used up here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            rehearsed()
        except Exception:
            pass


def _run():
    """Dagster leaves SIGTERM to the handler of SIGINT, and a run ignores late interrupts: set back. So are
    the names that temporary files are to have: that of an ephemeral instance is gone, they are not shared."""
    import tempfile

    from runner_shim.frameworks.dagster import running

    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    home, names = os.environ.get("DAGSTER_HOME"), tempfile._name_sequence
    repository = _repository(sys.modules["dagster"])
    prepared = running.prepare([repository], {"job": "rehearsed_run"})
    try:
        prepared.run(_ignore)
    finally:
        if home is not None:
            os.environ["DAGSTER_HOME"] = home
        for number, handler in handlers:
            signal.signal(number, handler)
        tempfile._name_sequence = names


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
