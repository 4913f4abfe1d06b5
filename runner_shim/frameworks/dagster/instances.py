"""Dagster's instance of a run: opened in any release, and told of an end that the run could not tell.

Owns the opening of an instance that lies in a directory of ours, the looking up of what has another name
in another release, and the words to the instance about runs that were killed. No version is compared.
"""

import importlib
import os

from runner_shim.execution import refusal

__all__ = ["dagster", "first", "opened", "report"]

_PREFIXES = ("dagster._core.", "dagster.core.")
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


def opened(home):
    """The instance in the directory ``home``; without one it is ephemeral."""
    dagster_instance = dagster().DagsterInstance
    if not home:
        return dagster_instance.ephemeral()
    if os.path.exists(os.path.join(home, "dagster.yaml")):
        return dagster_instance.from_config(home)
    # A directory of ours: what the run prints is kept by its monitor, and by nothing else.
    noop = first("storage.noop_compute_log_manager.NoOpComputeLogManager")
    overrides = {"compute_logs": {"module": noop.__module__, "class": noop.__name__}}
    reference = first("instance.InstanceRef", "instance.ref.InstanceRef")
    return dagster_instance.from_ref(reference.from_dir(home, overrides=overrides))


def report(order, state, reason):
    """See ``Adapter.report``."""
    home = order.get("instance")
    if not home or not os.path.isdir(home):
        return  # what was ephemeral has ended with the run
    os.environ["DAGSTER_HOME"] = home
    with opened(home) as instance:
        run = instance.get_run_by_id(order["run_id"])
        if run is None or getattr(run.status, "value", run.status) not in _UNDER_WAY:
            return
        if state == "cancelled" and hasattr(instance, "report_run_canceled"):
            if getattr(run.status, "value", run.status) != "CANCELING":
                instance.report_run_canceling(run, reason)
                run = instance.get_run_by_id(order["run_id"])
            instance.report_run_canceled(run, reason)
        else:
            instance.report_run_failed(run, reason)
