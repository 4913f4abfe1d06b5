"""The process of steps that run beside others: what the forked process does until its end.

Owns the calls of steps in it, one after the other as they are given, what it tells of them, and when it
has to end instead: after a step that took long, or that has left a thread or a child. Where steps come
from is ``forked``'s.
"""

import marshal
import os
import struct
import sys
from time import monotonic

from runner_shim.execution import interrupts, run_failure
from runner_shim.execution.attempt import Attempts, Ended
from runner_shim.execution.copies import end_copy, getpid
from runner_shim.execution.events import Events
from runner_shim.imported import standard
from runner_shim.threads import python_threads

__all__ = ["be", "flush", "fork", "packed", "unpacked"]

_HEAD = struct.Struct("<I")
# A process that has worked for so long is not used again: beside that a new one costs little (seconds).
_SHORT = 0.25


def packed(value):
    """Plain data as one message."""
    payload = marshal.dumps(value)
    return _HEAD.pack(len(payload)) + payload


def unpacked(data):
    """``(values, rest)`` of the whole messages that ``data`` begins with; None for what is none."""
    values = []
    while len(data) >= _HEAD.size:
        end = _HEAD.size + _HEAD.unpack_from(data)[0]
        if len(data) < end:
            break
        try:
            values.append(marshal.loads(data[_HEAD.size : end]))  # noqa: S302 - our own fork
        except (EOFError, TypeError, ValueError):  # its code has written to our pipe
            values.append(None)
        data = data[end:]
    return values, data


def fork():
    """Fork as Python does, with the hooks of ``os.register_at_fork``."""
    if sys.version_info < (3, 12):
        return os.fork()
    warnings = standard("warnings")
    with warnings.catch_warnings():  # of native threads, such as those of a BLAS
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def be(prepare, run, values, step, number, told, orders):
    """Be a process of steps of ``run`` (running._Run), whose first is ``step``; never returns.

    ``prepare()`` is done first. Messages go to the descriptor ``told``; ``[place in the plan, number of
    the retry, outputs of others]`` of further steps come from ``orders``.
    """
    try:
        prepare()
        _renew()
        _serve(run, values, step, number, _Sender(told), orders)
    except KeyboardInterrupt:
        pass  # between two steps
    except BaseException:  # ours
        sys.excepthook(*sys.exc_info())
    try:
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()  # as at the end of any process: waits for threads that are no daemons
        for stream in (sys.stdout, sys.stderr):
            flush(stream)
    finally:
        os._exit(0)


def _serve(run, values, step, number, send, orders):
    events = Events(lambda event: send([event, None]))
    left = _SHORT
    while True:
        begun = monotonic()
        ended, torn = _call(run, values, events, step, number)
        left -= monotonic() - begun
        again = (
            ended.state != "interrupted"
            and left > 0
            and not python_threads()
            and not _has_children()
        )
        if not again:
            interrupts.too_late()
        for stream in (sys.stdout, sys.stderr):
            flush(stream)
        send([None, [ended.state, ended.outputs, ended.failure, ended.wait, torn, again]])
        if not again:
            return
        order = _receive(orders)
        if order is None:
            return
        place, number, given = order
        step = run.checked.steps[place]
        run.progress.outputs.update(given)


def _call(run, values, events, step, number):
    attempts = Attempts(run.checked, events, values, run.progress.has, run.users)
    ended, torn = None, None
    process = getpid()
    try:
        ended = attempts.call(step, number)
        torn = attempts.resources.tear_down(events)
    except KeyboardInterrupt as error:  # between two lines of ours, or in a teardown
        if ended is None:
            ended = Ended("interrupted", failure=run_failure.of_step(error, step.key))
        attempts.resources.tear_down(events)
    finally:
        end_copy(process, step.key)
    return ended, torn


def _receive(orders):
    """The next step, or None when there is none."""
    data = b""
    while True:
        piece = os.read(orders, 65536)
        if not piece:
            return None
        values, data = unpacked(data + piece)
        if values:
            return values[0]


class _Sender:
    """Sends plain data to the process that waits for this one; may be used by any thread."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        self._turn = standard("_thread").allocate_lock()

    def __call__(self, value):
        message = packed(value)
        with self._turn, interrupts.held_back():
            try:
                while message:
                    message = message[os.write(self._descriptor, message) :]
            except OSError:
                pass  # nothing reads it


def _has_children():
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _renew():
    """Have random numbers of its own, as Python 3.7 and later see to for ``random``."""
    random = sys.modules.get("random")
    if random is not None and sys.version_info < (3, 7):
        random.seed()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        try:
            numpy.seed()
        except Exception:  # a module of that name that is another
            pass


def flush(stream):
    """Flush a stream of the team's."""
    try:
        stream.flush()
    except Exception:  # closed, or replaced by anything
        pass
