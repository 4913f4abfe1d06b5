"""The steps of a run that its framework wants in processes of their own: forked from a copy of the run.

Owns the copy: made when the run's process begins, before anything of it has run, single-threaded, with
all that was loaded. It waits for processes that are handed over (execution/handing.py), forks them, and
ends with the run. So steps need neither the shim nor the server, which a run outlives. Copy and steps are
in a process group of their own: a signal that asks the run to end is the run's to pass on.
"""

import _socket
import os
import select
import signal
import sys

from runner_shim.execution import handing
from runner_shim.frameworks import registry
from runner_shim.process import birth, ending

__all__ = ["proceed"]

_LOOK = 50  # milliseconds between two looks for steps that have ended, while there are some


def proceed(order, events, handed):
    """Be the run that was handed over, to its end; its outcome (see ``runner_shim.execution``)."""
    adapter = registry.named(order["framework"])
    return adapter.proceed(order, events, lambda: _copied(handed), lambda: handing.proceed(handed))


def _copied(handed):
    """Make the copy; what hands processes over to it."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    if birth.fork() == 0:
        try:
            ours.close()
            for one in handed:
                os.close(one)
            _copy(theirs)
        finally:
            os._exit(0)
    theirs.close()

    def hand(descriptors):
        answers, answered = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        try:
            handing.send(ours, {"what": "step"}, [answered.fileno()] + descriptors)
            answered.close()
            answer, _none = handing.receive(answers)
        finally:
            answers.close()
        if not answer:
            raise OSError("the step's process cannot be forked")
        return answer["pid"]

    return hand


def _copy(line):
    """Fork what is handed over, until the run is gone."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ends = {}
    poller = select.poll()
    poller.register(line.fileno(), select.POLLIN)
    while True:
        if poller.poll(_LOOK if ends else None):
            message, descriptors = handing.receive(line)
            if message is None:
                return
            _fork_step(line, ends, descriptors)
        for pid in list(ends):
            _reap(ends, pid)


def _fork_step(line, ends, descriptors):
    answers, handed = descriptors[0], descriptors[1:]
    try:
        pid = birth.fork()
    except OSError:
        pid = -1
    if pid == 0:
        line.close()
        for one in [answers] + list(ends.values()):
            os.close(one)
        _step(handed)
    one = _socket.socket(fileno=answers)
    if pid > 0:
        ends[pid] = handed.pop(1)
        handing.send(one, {"pid": pid})
    one.close()
    for descriptor in handed:
        os.close(descriptor)


def _step(handed):
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = handing.proceed(handed)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        ending.end(status)


def _reap(ends, pid):
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except OSError:
        found, status = pid, 1 << 8
    if found:
        end = ends.pop(pid)
        handing.tell_end(end, -(status & 0x7F) if status & 0x7F else status >> 8)
        os.close(end)
