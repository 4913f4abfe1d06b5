"""Schedules, sensors, resources and partition sets.

Owns their classes and decorators. Each checks itself when it is made, so that the traceback of a
wrong one points at the line that is wrong, and turns itself into plain data with ``data()``.
Whether a target exists is not known here: frameworks/native checks that.
"""

from runner_shim import plain_data
from runner_shim.definitions.base import (
    Definition,
    InvalidDefinitionError,
    caller,
    check_config,
    check_strings,
    refuse,
)
from runner_shim.definitions.graph import GraphDefinition, JobDefinition
from runner_shim.definitions.partitions import check_cron, check_timezone, partitions_data
from runner_shim.definitions.signature import docstring

__all__ = [
    "DefaultScheduleStatus",
    "DefaultSensorStatus",
    "PartitionSetDefinition",
    "ResourceDefinition",
    "RunRequest",
    "ScheduleDefinition",
    "SensorDefinition",
    "SkipReason",
    "resource",
    "schedule",
    "sensor",
]


class DefaultScheduleStatus:
    """Whether a schedule runs before it was switched."""

    RUNNING = "running"
    STOPPED = "stopped"


class DefaultSensorStatus(DefaultScheduleStatus):
    """Whether a sensor runs before it was switched."""


class RunRequest:
    """What a schedule or sensor returns to ask for a run.

    ``run_key`` makes the request idempotent; ``job_name`` chooses among several target jobs.
    """

    def __init__(self, run_key=None, run_config=None, tags=None, job_name=None, partition_key=None):
        self.run_key = run_key
        self.run_config = run_config or {}
        self.tags = tags or {}
        self.job_name = job_name
        self.partition_key = partition_key


class SkipReason:
    """What a schedule or sensor returns to say why it asks for no run."""

    def __init__(self, skip_message=None):
        self.skip_message = skip_message


# --- schedules and sensors


def _status(definition, value):
    value = getattr(value, "value", value)  # an enum of the user's own
    if value is None:
        return None
    if not isinstance(value, str) or value.lower() not in ("running", "stopped"):
        refuse(definition, "has the default_status %r: it is running or stopped" % (value,))
    return value.lower()


def _word(definition, what, value, words):
    if value is not None and value not in words:
        refuse(definition, "has the %s %r: it is %s or %s"
               % (what, value, ", ".join(words[:-1]), words[-1]))  # fmt: skip
    return value


def _name_of(job, job_name):
    return getattr(job, "name", None) or (job if isinstance(job, str) else job_name)


class _Targeting(Definition):
    """What targets jobs: ``targets`` maps a job's name to its JobDefinition, or None by name."""

    targets = {}

    def _add_targets(self, jobs):
        self.targets = {}
        for each in jobs:
            if isinstance(each, GraphDefinition):
                each = each.to_job()
            if isinstance(each, JobDefinition):
                known = self.targets.get(each.name)
                if known is not None and known is not each:
                    refuse(self, "targets two different jobs named %r" % each.name)
                self.targets[each.name] = each
            elif isinstance(each, str) and each:
                self.targets.setdefault(each, None)
            else:
                refuse(
                    self,
                    "targets a %s, which is no job" % plain_data.dotted_name(type(each)),
                    hint="give a job or its name",
                )


def _given_jobs(job, job_name, jobs):
    given = list(jobs or ())
    given.extend(each for each in (job, job_name) if each is not None)
    return given


class ScheduleDefinition(_Targeting):
    """A job that runs at the times of a cron string (or of several, as a list).

    ``job`` is a JobDefinition or a name; without ``name`` the schedule is ``<job>_schedule``.
    ``execution_timezone`` is a name such as Europe/Berlin. ``run_config`` is the configuration of its
    runs, or a function of the context that returns it. ``catch_up`` (last, none, all) is what becomes of
    ticks that no supervisor was there for, ``overlap`` (skip, queue, allow) of a tick while a run of
    the one before goes on.
    """

    KIND = "schedule"

    def __init__(
        self,
        name=None,
        cron_schedule=None,
        job=None,
        job_name=None,
        run_config=None,
        execution_fn=None,
        execution_timezone=None,
        description=None,
        tags=None,
        owners=None,
        metadata=None,
        default_status=None,
        environment_vars=None,
        mode=None,
        catch_up=None,
        overlap=None,
        source=None,
    ):
        target = _name_of(job, job_name)
        if name is None and isinstance(target, str):
            name = target + "_schedule"
        Definition.__init__(self, name, source or caller(), description, tags, owners, metadata)
        self.cron_schedule = cron_schedule
        crons = cron_schedule if isinstance(cron_schedule, (list, tuple)) else [cron_schedule]
        if not crons or cron_schedule is None:
            refuse(self, "has no cron_schedule")
        for each in crons:
            check_cron(self, each)
        check_timezone(self, execution_timezone)
        self.execution_timezone = execution_timezone
        self.default_status = _status(self, default_status)
        self.environment_vars = check_strings(self, "environment_vars", environment_vars or {})
        self.mode = mode
        self.catch_up = _word(self, "catch_up", catch_up, ("last", "none", "all"))
        self.overlap = _word(self, "overlap", overlap, ("skip", "queue", "allow"))
        self.run_config = run_config
        self.execution_fn = execution_fn
        given = _given_jobs(job, job_name, None)
        if len(given) != 1:
            refuse(self, "has no job" if not given else "has both job and job_name")
        self._add_targets(given)

    def data(self):
        """The definition as in docs/snapshot.md."""
        return plain_data.definition(
            "schedule",
            self.name,
            cron_schedule=plain_data.plain(self.cron_schedule),
            execution_timezone=plain_data.plain(self.execution_timezone),
            job=next(iter(self.targets), None),
            default_status=self.default_status or "stopped",
            environment_vars=sorted(self.environment_vars),
            mode=plain_data.plain(self.mode),
            catch_up=self.catch_up,
            overlap=self.overlap,
            **self.common,
        )

    def __call__(self, *positional, **named):
        return self.execution_fn(*positional, **named)


class SensorDefinition(_Targeting):
    """A function that is asked again and again whether jobs should run.

    ``job``, ``jobs`` or ``job_name`` name what it may ask for; ``minimum_interval_seconds`` is the
    least time between two questions (seconds).
    """

    KIND = "sensor"

    def __init__(
        self,
        name=None,
        evaluation_fn=None,
        job=None,
        jobs=None,
        job_name=None,
        minimum_interval_seconds=None,
        description=None,
        tags=None,
        owners=None,
        metadata=None,
        default_status=None,
        source=None,
    ):
        if name is None:
            name = getattr(evaluation_fn, "__name__", None)
        source = source or caller()
        Definition.__init__(self, name, source, description, tags, owners, metadata)
        interval = minimum_interval_seconds
        if interval is not None and (
            isinstance(interval, bool)
            or not isinstance(interval, (int, float))
            or not interval >= 0
        ):
            refuse(self, "has the minimum_interval_seconds %r" % (plain_data.plain(interval),))
        self.minimum_interval_seconds = interval
        self.default_status = _status(self, default_status)
        self.evaluation_fn = evaluation_fn
        self._add_targets(_given_jobs(job, job_name, jobs))

    def data(self):
        """The definition as in docs/snapshot.md."""
        return plain_data.definition(
            "sensor",
            self.name,
            jobs=sorted(self.targets),
            minimum_interval_seconds=self.minimum_interval_seconds,
            sensor_type="standard",
            default_status=self.default_status or "stopped",
            **self.common,
        )

    def __call__(self, *positional, **named):
        return self.evaluation_fn(*positional, **named)


def schedule(cron_schedule, job=None, name=None, **options):
    """``@schedule("0 5 * * *", job=nightly)``: the function returns run config or RunRequests."""

    def decorate(function):
        options.setdefault("description", docstring(function))
        return ScheduleDefinition(
            name=name or getattr(function, "__name__", None),
            cron_schedule=cron_schedule,
            job=job,
            execution_fn=function,
            source=plain_data.source_of(function),
            **options,
        )

    if callable(cron_schedule):
        raise InvalidDefinitionError(
            "schedule %r has no cron string" % getattr(cron_schedule, "__name__", "?"),
            plain_data.source_of(cron_schedule),
            hint='write @schedule("0 5 * * *", job=…)',
        )
    return decorate


def sensor(job=None, name=None, **options):
    """``@sensor(job=…)``: the function returns or yields RunRequests or a SkipReason."""

    def decorate(function):
        options.setdefault("description", docstring(function))
        return SensorDefinition(
            name=name or getattr(function, "__name__", None),
            evaluation_fn=function,
            job=job,
            source=plain_data.source_of(function),
            **options,
        )

    if hasattr(job, "__code__"):  # @sensor without arguments
        function, job = job, None
        return decorate(function)
    return decorate


# --- resources, partition sets


class ResourceDefinition(Definition):
    """Something that ops and assets use by its key; ``name`` is that key."""

    KIND = "resource"

    def __init__(
        self,
        name,
        resource_fn=None,
        description=None,
        config_schema=None,
        metadata=None,
        source=None,
    ):
        Definition.__init__(self, name, source or caller(), description, None, None, metadata)
        self.resource_fn = resource_fn
        self.config = check_config(self, config_schema)
        self.config_schema = config_schema

    def data(self, name=None):
        """The definition as in docs/snapshot.md, under its key."""
        return plain_data.definition(
            "resource",
            name or self.name,
            type=plain_data.dotted_name(self.resource_fn) if self.resource_fn else None,
            config=self.config,
            **self.common,
        )

    def __call__(self, *positional, **named):
        return self.resource_fn(*positional, **named)


def resource(name=None, **options):
    """``@resource`` or ``@resource(name=…, config_schema=…)``."""

    def decorate(function, name=None):
        options.setdefault("description", docstring(function))
        return ResourceDefinition(
            name or getattr(function, "__name__", None),
            resource_fn=function,
            source=plain_data.source_of(function),
            **options,
        )

    if callable(name):
        return decorate(name)
    return lambda function: decorate(function, name)


class PartitionSetDefinition(_Targeting):
    """The partitions of a job under a name of their own.

    ``partitions`` as for a job's partitions_def; or ``partition_fn``, which is not called.
    """

    KIND = "partition_set"

    def __init__(
        self,
        name,
        job=None,
        job_name=None,
        pipeline_name=None,
        partitions=None,
        partition_fn=None,
        mode=None,
        description=None,
        tags=None,
        source=None,
    ):
        Definition.__init__(self, name, source or caller(), description, tags)
        given = _given_jobs(job, job_name, [pipeline_name] if pipeline_name else None)
        if len(given) != 1:
            refuse(self, "needs exactly one of job, job_name and pipeline_name")
        self._add_targets(given)
        if partitions is not None:
            self.partitions = partitions_data(self, partitions)
        elif callable(partition_fn):
            self.partitions = {"type": "function"}
        else:
            refuse(self, "has neither partitions nor a partition_fn")
        self.partition_fn = partition_fn
        self.mode = mode

    def data(self):
        """The definition as in docs/snapshot.md."""
        return plain_data.definition(
            "partition_set",
            self.name,
            job=next(iter(self.targets)),
            mode=plain_data.plain(self.mode),
            partitions=self.partitions,
            **self.common,
        )
