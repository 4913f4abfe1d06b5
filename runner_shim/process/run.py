"""A run's process: what is loaded is executed, and what happens is told to the monitor.

Owns the process between its birth and its end: its streams, title and random state, the events that go
to its monitor as records (runner_shim/records.py), and its end. What is executed, and how, is ``runner_shim.execution``'s. The last record is the
outcome: ``{"outcome": {"state", "failure"}}``.
"""

import os
import signal
import threading
from fcntl import LOCK_EX, LOCK_UN, lockf
from os import close, dup2, write

from runner_shim import execution, records, wire
from runner_shim.execution import interrupts
from runner_shim.execution.copies import end_copy, getpid
from runner_shim.preloading import renewing
from runner_shim.process import ending, stepping

__all__ = ["Events", "become"]

# Characters of an event's message; a longer one is cut.
_LONGEST_MESSAGE = 64 * 1024


class Events(object):
    """Sends events to the monitor at the other end of ``descriptor``; may be used by any thread."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        self._turn = threading.Lock()
        self._others = None
        self._process = getpid()

    def share(self, directory):
        """Other processes of the run will send, too: each in its turn."""
        self._others = os.open(os.path.join(directory, "order"), os.O_RDWR | os.O_CLOEXEC)

    def __call__(self, event):
        if self._others is None and event["type"].startswith(("STEP_", "RUN_")):
            end_copy(self._process, event["step"] or "the run")
        message = event.get("message")
        if message and len(message) > _LONGEST_MESSAGE:
            event = dict(event, message=message[:_LONGEST_MESSAGE] + "…")
        self.send(event)

    def recorded(self, framework):
        """The framework's own records know of the run from now on."""
        self.send({"recorded": framework})

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
            # A process that is killed gives it back.
            if self._others is not None:
                lockf(self._others, LOCK_EX)
            try:
                while record:
                    record = record[write(self._descriptor, record) :]
            finally:
                if self._others is not None:
                    lockf(self._others, LOCK_UN)


def become(ends, request, load, module=lambda name: None, handed=None):
    """Be the run that ``request`` orders (see birth); never returns.

    ``load()`` gives what is loaded, or raises LoadFailure. ``module(name)`` is one that was preloaded.
    ``handed`` are the descriptors of a process that a framework's server has handed over: then the
    run is that process, and not what ``load`` gives.
    """
    dup2(ends.out, 1)
    dup2(ends.err, 2)
    close(ends.out)
    close(ends.err)
    events = Events(ends.events)
    status = 1
    try:
        _renew(request["order"], request["tokens"]["run"], module)
        if handed is None:
            outcome = _outcome(events, request["order"], request["directory"], load)
        else:
            events.share(request["directory"])
            outcome = stepping.proceed(request["order"], events, handed)
        if outcome is not None:
            events.send({"outcome": outcome})
            status = 0 if outcome["state"] == "success" else 1
    finally:
        ending.end(status, None if handed is None else handed[1])


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
