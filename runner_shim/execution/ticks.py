"""One evaluation of a native schedule or sensor: what it would launch, or why nothing.

Owns what the function of one is told, and what is read from what it returns. Launches nothing, and keeps
no cursor: both are in the result. What a tick has is the same whatever the framework::

    {"requests": [{"job": name or None, "assets": [key, ...] or None, "run_key": str or None,
                   "config": dict, "tags": {str: str}, "partition": str or None}, ...],
     "skipped": str or None, "cursor": str or None, "logs": [{"level", "message"}, ...]}

``cursor`` is None where it stays as it was.
"""

import datetime
from time import time

from runner_shim import plain_data
from runner_shim.definitions.signature import call_with_context, is_generator
from runner_shim.definitions.triggers import RunRequest, SkipReason
from runner_shim.execution.context import Context, Log
from runner_shim.execution.steps import not_async
from runner_shim.loading.load_failure import LoadFailure, near

__all__ = ["MOST_REQUESTS", "evaluate", "exact", "is_plain", "too_many"]

MOST_REQUESTS = 1000
"""Run requests of one tick."""
_MOST_LINES = 1000
_LONGEST_LINE = 2000  # characters


class TickContext(Context):
    """What the function of a schedule or sensor is told, as its first parameter."""

    def __init__(self, order, log):
        Context.__init__(self, cursor=order.get("cursor"), log=log)
        offset = datetime.timedelta(seconds=order.get("offset") or 0)
        self.scheduled_execution_time = datetime.datetime.fromtimestamp(
            time() if order.get("time") is None else order["time"], datetime.timezone(offset)
        )
        self.last_run_key = order.get("last_run_key")
        self.last_tick_completion_time = order.get("last_tick")
        self.new_cursor = None

    def update_cursor(self, cursor):
        """Have ``cursor``, a text, at the next tick."""
        self.new_cursor = self.cursor = None if cursor is None else str(cursor)


class Lines:
    """The lines of ``context.log``, as far as they are kept."""

    def __init__(self):
        self.found = []

    def __call__(self, _kind, _step, message, data=None):
        if len(self.found) < _MOST_LINES:
            level = (data or {}).get("level", "INFO")
            self.found.append({"level": level, "message": plain_data.text(message, _LONGEST_LINE)})


def is_plain(definition):
    """True where no function of the team's is called for a tick."""
    return definition.KIND == "schedule" and not (
        callable(definition.execution_fn) or callable(definition.run_config)
    )


def evaluate(definition, order):
    """The result of one tick of ``definition``; raises what its function raises, and LoadFailure."""
    lines = Lines()
    context = TickContext(order, Log(lines, None))
    what = "%s %s" % (definition.KIND, definition.name)
    if definition.KIND == "schedule":
        function = definition.execution_fn
        if function is None:
            config = definition.run_config
            given = config(context) if callable(config) else config
            given = [RunRequest(run_config=given)]
        else:
            given = _called(function, context, what, definition)
    else:
        given = _called(definition.evaluation_fn, context, what, definition)
    found, skipped = _requests(definition, what, given)
    return {
        "requests": found,
        "skipped": skipped if not found else None,
        "cursor": context.new_cursor,
        "logs": lines.found,
    }


def _called(function, context, what, definition):
    if not callable(function):
        raise LoadFailure("bad_tick", "%s has no function" % what)
    not_async(function, what, definition.source)
    given = call_with_context(function, context)
    return list(given) if is_generator(function) and hasattr(type(given), "gi_code") else given


def _requests(definition, what, given):
    """(run requests as data, why there are none) of what a function returned."""
    is_config = isinstance(given, dict) and definition.KIND == "schedule"
    if is_config:
        given = RunRequest(run_config=given)
    items = given if isinstance(given, (list, tuple)) else [given]
    found, skipped = [], None
    for one in items:
        if isinstance(one, SkipReason):
            skipped = plain_data.text(one.skip_message or "it gave no reason")
        elif isinstance(one, RunRequest):
            found.append(_request(definition, what, one))
        elif one is not None:
            raise LoadFailure(
                "bad_tick",
                "%s returned %s of type %s, which is no RunRequest and no SkipReason"
                % (
                    what,
                    "a value" if one is given else "among others a value",
                    plain_data.dotted_name(type(one)),
                ),
                hint="return or yield RunRequest(run_key=…), or SkipReason(…)",
            )
    too_many(what, len(found))
    if not found and skipped is None:
        skipped = "it returned nothing to run"
    return found, skipped


def too_many(what, count):
    """Raise LoadFailure for more run requests than one tick may have."""
    if count > MOST_REQUESTS:
        raise LoadFailure(
            "bad_tick",
            "%s asked for %d runs, and one tick asks for at most %d" % (what, count, MOST_REQUESTS),
            hint="ask for some, and for the rest at the next tick: a cursor remembers where",
        )


def _request(definition, what, one):
    targets = list(definition.targets)
    job = one.job_name
    if job is None and len(targets) == 1:
        job = targets[0]
    if job is None:
        raise LoadFailure(
            "bad_tick",
            "%s has %d jobs, and a RunRequest names none" % (what, len(targets)),
            hint="give it job_name" if targets else "give the %s a job" % definition.KIND,
        )
    if targets and job not in targets:
        raise LoadFailure(
            "bad_tick", "%s has no job %r" % (what, job), hint=near(str(job), targets)
        )
    own = definition.common.get("tags", {}) if definition.KIND == "schedule" else {}
    return {
        "job": job,
        "assets": None,
        "run_key": None if one.run_key is None else str(one.run_key),
        "config": exact(one.run_config or {}, "the run config of %s" % what),
        "tags": {str(key): str(value) for key, value in dict(own, **one.tags).items()},
        "partition": None if one.partition_key is None else str(one.partition_key),
    }


def exact(value, what, depth=40):
    """``value`` as it is, of dicts, lists and scalars; raises LoadFailure for what else is in it."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if depth and (isinstance(value, dict) or hasattr(value, "items")):
        return {str(key): exact(each, "%s.%s" % (what, key), depth - 1)
                for key, each in value.items()}  # fmt: skip
    if depth and isinstance(value, (list, tuple)):
        return [exact(each, what, depth - 1) for each in value]
    if isinstance(value, (bool, int, float, str)):
        return value
    raise LoadFailure(
        "bad_tick",
        "%s has a value of type %s, and config has texts, numbers, lists and maps alone"
        % (what, plain_data.dotted_name(type(value))),
        hint="write it as a text",
    )
