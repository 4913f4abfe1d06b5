"""A run that Dagster's server has handed over, inside its process: Dagster's own code, with its events reported.

Owns what is changed in it: what its instance records goes out as events, an interrupt is a cancellation,
and the processes of its steps are forked from a copy of the run. It runs as Dagster has it run: its
executor, its loggers, its instance.
"""

import importlib
import os

from runner_shim.execution import handing
from runner_shim.execution.events import Events
from runner_shim.frameworks.dagster import run_events
from runner_shim.frameworks.dagster.interrupts import Interrupts

__all__ = ["proceed"]

_EXECUTORS = ("dagster._core.executor.multiprocess", "dagster.core.executor.multiprocess")


def proceed(order, emit, copy, be):
    """See ``Adapter.proceed``."""
    told = _Told(Events(emit))
    _listen(order["run"], told)
    _hand_over_steps(copy())
    be()
    if told.ended is None:
        return None  # its records have yet to be told
    if told.ended == "RUN_SUCCESS":
        return {"state": "success", "failure": None}
    return {"state": "failure", "failure": told.failure}


class _Told(object):
    """The listener of an instance: tells what it records, and keeps how the run ended."""

    def __init__(self, tell):
        self._tell = tell
        self.ended = self.failure = None

    def __call__(self, record):
        kind, step, message, data, at = run_events.told(record)
        self._tell(kind, step, message, data, at)
        if kind in ("RUN_SUCCESS", "RUN_FAILURE", "RUN_CANCELED"):
            self.ended = kind
        if self.failure is None and kind in ("STEP_FAILURE", "RUN_FAILURE", "RUN_CANCELED"):
            self.failure = (data or {}).get("failure") or {"kind": "exception", "message": message}


def _listen(run_id, told):
    """Hear of the run from each instance that this process, or that of a step, opens."""
    owner = importlib.import_module("dagster").DagsterInstance
    original = owner.from_ref
    own, opened = os.getpid(), []

    def from_ref(*arguments, **named):
        instance = original(*arguments, **named)
        instance.add_event_listener(run_id, told)
        if os.getpid() == own and not opened:  # the first one is the run's
            opened.append(instance)
            Interrupts(instance, run_id).__enter__()  # to the end of the process
        return instance

    owner.from_ref = staticmethod(from_ref)


def _hand_over_steps(hand):
    for name in _EXECUTORS:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        original = module.execute_child_process_command
        break
    else:
        return

    def execute_child_process_command(context, command):
        if context.get_start_method() == "spawn":
            context = handing.Context(context, hand)
        return original(context, command)

    module.execute_child_process_command = execute_child_process_command
