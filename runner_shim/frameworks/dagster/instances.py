"""Dagster's instance of a run: opened in any release; also records the end of a run that could not do so itself.

Owns the opening of an instance that lies in a directory of ours and how such a one is kept, the looking
up of what has another name in another release, and the words to the instance about runs that were
killed. No version is compared.
"""

import importlib
import json
import os

from runner_shim.execution import refusal

__all__ = ["being_cancelled", "dagster", "deserialized", "first", "keep", "opened", "report"]

_PREFIXES = ("dagster._core.", "dagster.core.")
# The first line of a dagster.yaml of ours. It is YAML, and Dagster's own tools find by it what was kept.
_OURS = "# Written by supervise for the runs of one location.\n"
# Instances that were opened before the runs were forked that use them: {directory: (instance, identity)}.
_kept = {}
_UNDER_WAY = ("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING")


def dagster():
    """The framework's module."""
    return importlib.import_module("dagster")


def first(*names):
    """The first of these that exists: ``module.name`` below Dagster's core, in either spelling."""
    for prefix in _PREFIXES:
        for name in names:
            module, _dot, attribute = name.rpartition(".")
            try:
                return getattr(importlib.import_module(prefix + module), attribute)
            except (ImportError, AttributeError):
                continue
    raise refusal.not_supported("this dagster has none of %s" % ", ".join(names))


def opened(order):
    """A context with the instance of an order: one in a directory, else it is ephemeral."""
    home = order.get("instance")
    if not home:
        return dagster().DagsterInstance.ephemeral()
    if order.get("shared_instance"):
        return dagster().DagsterInstance.from_config(home)
    if _is_ours(home) and _is_kept(home):
        return _Borrowed(_kept[home][0])
    return _open(home)


def _open(home):
    if _is_ours(home):
        _configure(home)
    return dagster().DagsterInstance.from_config(home)


class _Borrowed:
    """A context with what others use after it."""

    def __init__(self, instance):
        self._instance = instance

    def __enter__(self):
        return self._instance

    def __exit__(self, *_):
        return False


def keep(order):
    """Open the instance of an order for the runs that are forked from here; raises nothing.

    Only one that is kept as we say: it holds no connection while nothing is asked of it.
    """
    home = order.get("instance")
    if not home or order.get("shared_instance") or not _is_ours(home) or _is_kept(home):
        return
    try:
        instance = _open(home)
    except Exception:  # the run will say so
        return
    _kept[home] = instance, _identity(home)


def _is_kept(home):
    return home in _kept and _kept[home][1] == _identity(home) is not None


def _identity(home):
    """What changes when the directory is made anew; None where there is none."""
    try:
        found = os.stat(os.path.join(home, "history", "runs.db"))
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_ours(home):
    """False where a dagster.yaml that is not ours says how the instance is kept."""
    try:
        with open(os.path.join(home, "dagster.yaml")) as file:
            return file.read(len(_OURS)) == _OURS
    except OSError:
        return True


def _configure(home):
    """Say how an instance of ours is kept, for whatever opens it.

    What a run prints is kept by its monitor, and by nothing else. All runs share one database of
    events: to make one takes longer than a small run. Nothing is told to Dagster's makers.
    """
    logs = first("storage.noop_compute_log_manager.NoOpComputeLogManager")
    events = first("storage.event_log.ConsolidatedSqliteEventLogStorage")
    settings = {
        "compute_logs": {"module": logs.__module__, "class": logs.__name__},
        "event_log_storage": {
            "module": events.__module__,
            "class": events.__name__,
            "config": {"base_dir": os.path.join(home, "history")},
        },
        "telemetry": {"enabled": False},
    }
    text = _OURS + json.dumps(settings, indent=1, sort_keys=True) + "\n"
    path = os.path.join(home, "dagster.yaml")
    try:
        with open(path) as file:
            if file.read() == text:
                return
    except OSError:
        pass
    made = "%s.%d" % (path, os.getpid())
    with open(made, "w") as file:
        file.write(text)
    os.rename(made, path)


def report(order, state, reason):
    """See ``Adapter.report``."""
    home = order.get("instance")
    if order.get("instance_ref"):
        told = _referred(order["instance_ref"])
    elif not home or not os.path.isdir(home):
        return  # what was ephemeral has ended with the run
    else:
        os.environ["DAGSTER_HOME"] = home
        dagster()  # before anything is written there: it may not be installed any more
        told = opened(order)
    with told as instance:
        run = instance.get_run_by_id(order["run_id"])
        if run is None or _status(run) not in _UNDER_WAY:
            return
        if state == "cancelled" and hasattr(instance, "report_run_canceled"):
            if _status(run) != "CANCELING":
                instance.report_run_canceling(run, reason)
                run = instance.get_run_by_id(order["run_id"])
            instance.report_run_canceled(run, reason)
        else:
            instance.report_run_failed(run, reason)


def being_cancelled(text, runs):
    """Those of the ids ``runs`` whose cancellation was asked for, as the instance has it to which the
    reference ``text`` leads."""
    with _referred(text) as instance:
        found = [instance.get_run_by_id(run) for run in runs]
    return [run.run_id for run in found if run is not None and _status(run) == "CANCELING"]


def _status(run):
    return getattr(run.status, "value", run.status)


def _referred(text):
    """A context with the instance that a reference of Dagster's own leads to."""
    return dagster().DagsterInstance.from_ref(deserialized(text))


def deserialized(text):
    """The value that Dagster has written as ``text``."""
    from dagster import _serdes

    read = getattr(_serdes, "deserialize_value", None)
    return (read or _serdes.deserialize_json_to_dagster_namedtuple)(text)
