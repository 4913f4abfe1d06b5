"""A warm process of one environment, from which shims are forked.

Owns the conversation with the supervisor and the forking; what is imported before is ``preload``'s.
Asked over an inherited socket (``SOCK_SEQPACKET``, one msgpack map a message), it answers in order::

    {"type": "preload", "modules": [...], "left_out": {library: reason}}
                                               -> {"type": "preloading", "module": name} before each,
                                                  then {"type": "preloaded", "modules": [...],
                                                  "gone": [...]}
    {"type": "judge"}                          -> {"type": "judged", "unfit": reason or "",
                                                  "left_out": {library: reason}}
    {"type": "fork", "name", "instance", "address", "token"} + 3 descriptors (lifeline, output, errors)
                                               -> {"type": "forked", "pid"} or {"type": "failed", "error"}
    {"type": "reap", "pid"}                    -> {"type": "reaped", "pid", "status"}

One that is judged with a reason, or with libraries that are to be left out, is not asked to fork.

A child that ended stays a zombie until it is asked for: as long as the supervisor has not killed
what is left of its session, its process id must not be given to another process.

Single-threaded, so that every fork is a clean one; what a child must not share with its siblings
(random state, session, title, descriptors) is made anew. Linux only.

What differs from a fresh process, by its nature, docs/start-methods.md says. Of a framework that is
preloaded, a small location was made, read and dropped (``rehearse`` of its adapter): what it sets up
at the first definition is there at a location's first.
"""

import array
import os
import socket
import sys

from runner_shim import lifeline, wire
from runner_shim.preloading import renewing

__all__ = ["serve"]

_MAX_REQUEST = 1024 * 1024
_DESCRIPTORS = 3


def serve(control, line, preload):
    """Answer requests on the socket descriptor ``control`` until it is closed.

    ``line`` is the lifeline of this process. Returns None in this process when there is nothing
    more to do, and in a forked child what its shim is to run with: address, instance, lifeline and
    the hidden modules. The caller runs it, so that user code has the stack of a fresh
    process below it.
    """
    connection = socket.socket(fileno=control)
    preload.begun = lambda name: connection.send(wire.pack({"type": "preloading", "module": name}))
    unfit = preload.why_unfit({0, 1, 2, control, line})
    while True:
        data, ancillary, _flags, _address = connection.recvmsg(
            _MAX_REQUEST, socket.CMSG_SPACE(_DESCRIPTORS * array.array("i").itemsize)
        )
        if not data:
            return None
        request = wire.unpack(data)
        kind = request["type"]
        if kind == "preload":
            done, gone = ([], []) if unfit else preload.add(request["modules"], request["left_out"])
            connection.send(wire.pack({"type": "preloaded", "modules": done, "gone": gone}))
        elif kind == "judge":
            left_out = {} if unfit else preload.judge()
            connection.send(wire.pack({"type": "judged", "unfit": unfit, "left_out": left_out}))
        elif kind == "reap":
            connection.send(_reap(request["pid"]))
        elif kind == "fork":
            descriptors = _received(ancillary)
            pid = _fork(connection, descriptors)
            if pid == 0:
                connection.close()
                os.close(line)
                return _become_child(request, descriptors, preload.hidden)


def _received(ancillary):
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return list(descriptors)


def _fork(connection, descriptors):
    """The child's process id, or 0 in the child; a failure is answered and gives None."""
    try:
        if len(descriptors) != _DESCRIPTORS:
            raise OSError("%d descriptors came instead of %d" % (len(descriptors), _DESCRIPTORS))
        leading, leads = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(leading)
            os.close(leads)
            raise
    except OSError as error:
        connection.send(wire.pack({"type": "failed", "error": error.strerror or str(error)}))
        pid = None
    if pid == 0:
        os.setsid()
        os.close(leads)
        os.close(leading)
    elif pid:
        # Told only when it leads its session: a signal to its group must reach it from now on.
        os.close(leads)
        os.read(leading, 1)
        os.close(leading)
        connection.send(wire.pack({"type": "forked", "pid": pid}))
    if pid != 0:
        for descriptor in descriptors:
            os.close(descriptor)
    return pid


def _reap(pid):
    try:
        _pid, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        _pid, status = 0, 0
    return wire.pack({"type": "reaped", "pid": pid, "status": status if _pid else None})


def _become_child(request, descriptors, hidden):
    """Make anew what a fresh process would have of its own; what its shim is to run with."""
    line, output, errors = descriptors
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.close(output)
    os.close(errors)
    os.set_inheritable(line, False)
    if hasattr(sys, "orig_argv"):  # from Python 3.10
        sys.orig_argv[-1] = request["name"]
    renewing.retitle(request["name"])
    renewing.take_token(request["token"])
    renewing.renew(hidden.module)
    hidden.checks.begin()
    lifeline.arm(line)
    return request["address"], request["instance"], line, hidden
