"""A run's process: what is loaded is executed, and what happens is told to the monitor.

Owns the process between its birth and its end: its streams, title and random state, the events that go
to its monitor as records (runner_shim/records.py), and an end like that of any Python program, with
its exit functions. What is executed, and how, is ``runner_shim.execution``'s. The last record is the
outcome: ``{"outcome": {"state", "failure"}}``.
"""

import atexit
import os
import signal
import sys
import threading
from os import _exit, close, dup2, write

from runner_shim import execution, records, wire
from runner_shim.execution import interrupts
from runner_shim.preloading import renewing

__all__ = ["Events", "become"]

# Characters of an event's message; a longer one is cut.
_LONGEST_MESSAGE = 64 * 1024
_join_threads = getattr(threading, "_shutdown", None)
_run_exit_functions = atexit._run_exitfuncs


class Events(object):
    """Sends events to the monitor at the other end of ``descriptor``; may be used by any thread."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        self._turn = threading.Lock()

    def __call__(self, event):
        message = event.get("message")
        if message and len(message) > _LONGEST_MESSAGE:
            event = dict(event, message=message[:_LONGEST_MESSAGE] + "…")
        self.send(event)

    def send(self, value):
        """Send plain data as one record; what is too large is sent without its ``data``."""
        try:
            payload = wire.pack(value)
        except (TypeError, ValueError, OverflowError):
            payload = b""
        if not payload or len(payload) > records.LONGEST:
            payload = wire.pack(dict(value, data=None))
        record = records.framed(payload)
        with self._turn, interrupts.held_back():
            while record:
                record = record[write(self._descriptor, record) :]


def become(ends, request, load, module=lambda name: None):
    """Be the run that ``request`` orders (see birth); never returns.

    ``load()`` gives what is loaded, or raises LoadFailure. ``module(name)`` is one that was preloaded.
    """
    dup2(ends.out, 1)
    dup2(ends.err, 2)
    close(ends.out)
    close(ends.err)
    events = Events(ends.events)
    status = 1
    try:
        _renew(request["order"], request["tokens"]["run"], module)
        outcome = _outcome(events, request["order"], request["directory"], load)
        events.send({"outcome": outcome})
        status = 0 if outcome["state"] == "success" else 1
    finally:
        _end(status)


def _renew(order, token, module):
    """Have of its own what a fresh process has; where the team has replaced what that needs, less."""
    os.environ["SUPERVISE_PROCESS"] = token
    try:
        if signal.getsignal(signal.SIGINT) in (signal.SIG_DFL, signal.SIG_IGN, None):
            signal.signal(signal.SIGINT, signal.default_int_handler)
        renewing.retitle("run %s of %s in %s" % (order["run"], order["job"], order["location"]))
    except Exception:
        pass  # only its name in ps is lost
    renewing.renew(module)


def _outcome(events, order, directory, load):
    from runner_shim.loading.load_failure import LoadFailure, from_exception

    try:
        loaded = load()
        order = dict(order, run_id=order["run"], directory=directory)
        return execution.execute(loaded, order, events)
    except LoadFailure as failure:
        return {"state": "failure", "failure": failure.as_data()}
    except BaseException as error:  # an interrupt, and sys.exit() in user code
        return {"state": "failure", "failure": from_exception(error, None).as_data()}


def _end(status):
    """End as a Python program does, but for what the parent's frames below would do."""
    try:
        if _join_threads is not None:
            _join_threads()
        _run_exit_functions()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    _exit(status)
