"""Running what is loaded: what happens inside the process of a run.

Owns the executor of native jobs and assets, the check of a run's config, and the events and failures
that all frameworks tell alike. What only one framework knows of running is in frameworks/. May import
definitions/ and loading/. Starts no process: runs are single-threaded, in the process that calls.

An *order* is a plain dict::

    {"run_id": str, "job": name or None, "assets": [key, ...] or None, "config": dict or None,
     "op_selection": [name, ...] or None, "partition_key": str or None, "tags": {str: str},
     "instance": the framework's directory or None, "shared_instance": True where others use it, too,
     "repository": name or None, "storage": directory of the location's kept values or None,
     "directory": the run's own directory or None,
     "from_failure": {"run": id, "root": id, "directory": str, "succeeded": [step, ...]} of the run that
     this one goes on with, or None}

What is not needed may be left out. ``job`` or ``assets`` is given. An *event* is a plain dict::

    {"type": str, "step": name or None, "time": seconds since 1970, "message": str, "data": dict or None}

with the same types whatever the framework: RUN_START, STEP_START, STEP_OUTPUT, ASSET_MATERIALIZATION,
STEP_SUCCESS, STEP_FAILURE, STEP_SKIPPED, STEP_UP_FOR_RETRY, STEP_RESTARTED, ENGINE_EVENT, RUN_SUCCESS, RUN_FAILURE, RUN_CANCELED, and what a framework has
beside them; a line that user code logs through its context is of the type LOGS.
"""

__all__ = ["execute", "partition_range", "tick", "validate"]


def execute(loaded, order, emit):
    """Run what ``order`` says of ``loaded`` (``loading.target.load`` returns it) to its end.

    ``emit(event)`` is called in this thread. Returns ``{"state": "success" or "failure", "failure":
    data or None}``; the data has the shape of a load failure (docs/snapshot.md), and ``step``. Raises
    LoadFailure as ``validate`` does, before anything has run, and nothing else. ``KeyboardInterrupt``
    ends the run: the op that runs is left by it as by any exception, and nothing after it begins.
    """
    from runner_shim import masking
    from runner_shim.execution import interrupts, run_failure
    from runner_shim.execution.copies import end_copy, getpid
    from runner_shim.execution.events import Events

    prepared = _prepare(loaded, order)
    process = getpid()
    try:
        try:
            outcome = prepared.run(emit)
        finally:
            end_copy(process, _subject(order))
    except BaseException as error:
        interrupts.too_late()
        failure = getattr(error, "failure_of_step", None) or run_failure.of_step(error, None)
        end = "RUN_CANCELED" if isinstance(error, KeyboardInterrupt) else "RUN_FAILURE"
        Events(emit)(end, None, failure["message"], {"failure": failure})
        outcome = {"state": "failure", "failure": failure}
    return masking.masked(outcome)


def validate(loaded, order):
    """Raise LoadFailure for an order that cannot be run: none of it runs, no event, nothing is left.

    The first order of a process that can be run has a run rehearsed: what all runs do first is done
    before they are forked. The failure's kind is ``run_config`` (with ``problems``: path, expectation), ``unknown_job``,
    ``unknown_asset``, ``unknown_op``, ``partition`` (missing, or too many), ``unknown_partition``,
    ``missing_resource``, ``not_kept`` (a value that is needed), ``nothing_to_retry`` or ``not_supported``.
    """
    prepared = _prepare(loaded, order)
    loaded.rehearse_run()
    if hasattr(prepared, "rehearse"):
        prepared.rehearse()


def partition_range(loaded, order, first, last, most):
    """The keys from ``first`` to ``last`` of what ``order`` says, which may have no partition itself.

    Raises LoadFailure as ``validate`` does, and for a range of none or more than ``most`` keys.
    """
    from runner_shim.execution.partitions import between
    from runner_shim.loading.load_failure import from_exception

    try:
        keys = loaded.partition_keys(order)
    except BaseException as error:
        raise from_exception(error, None)
    if keys is None:
        raise _not_there(loaded, order)
    return between(_subject(order), keys, first, last, most)


def tick(loaded, order):
    """What one evaluation of a schedule or sensor gives (see ``frameworks/adapter``), and ``framework``.

    Raises LoadFailure: ``unknown_definition``, ``bad_tick``, or what its function raised.
    """
    from runner_shim.execution import run_failure
    from runner_shim.execution.copies import end_copy, getpid
    from runner_shim.loading.load_failure import LoadFailure, from_exception, near

    process = getpid()
    try:
        try:
            found = loaded.tick(order)
        finally:
            end_copy(process, order["name"])
    except (KeyboardInterrupt, SystemExit) as error:
        failure = run_failure.of_step(error, None)
        raise LoadFailure(failure["kind"], failure["message"], exception=error)
    except BaseException as error:
        raise from_exception(error, None)
    if found is None:
        raise LoadFailure(
            "unknown_definition",
            "no schedule or sensor is named %r" % order["name"],
            hint=near(order["name"], loaded.names(("schedule", "sensor"))),
        )
    return found


def _subject(order):
    assets = order.get("assets") or []
    if order.get("job"):
        return "job %s" % order["job"]
    if len(assets) == 1:
        return "asset %s" % assets[0]
    more = " and %d more" % (len(assets) - 3) if len(assets) > 3 else ""
    return "the selection of %s%s" % (", ".join(assets[:3]), more)


def _prepare(loaded, order):
    from runner_shim.loading.load_failure import from_exception

    try:
        prepared = loaded.prepare(order)
    except BaseException as error:
        raise from_exception(error, None)
    if prepared is None:
        raise _not_there(loaded, order)
    return prepared


def _not_there(loaded, order):
    from runner_shim.loading.load_failure import LoadFailure, near

    wanted, kinds = ("job", ("job", "pipeline")) if order.get("job") else ("asset", ("asset",))
    names = loaded.names(kinds)
    asked = [order["job"]] if wanted == "job" else order.get("assets") or ["(none)"]
    missing = [name for name in asked if name not in names]
    if not missing:
        return LoadFailure(
            "not_supported",
            "%s %s cannot be run: it is made elsewhere, or not together with the others"
            % (wanted, ", ".join(asked[:10])),
        )
    return LoadFailure(
        "unknown_" + wanted,
        "no %s is named %s" % (wanted, ", ".join(repr(name) for name in missing[:10])),
        hint=near(missing[0], names),
    )
