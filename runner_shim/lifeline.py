"""The lifeline: a pipe whose closing kills this process group, whatever it is doing.

Owns one kernel arrangement. A parent keeps the write end of a pipe; the child arms the read end:
when the last write end closes (the parent exits, is killed, or lets go), the kernel itself sends
SIGKILL to the child's whole process group. No thread, no polling, and it works while the child
spins in C or is stopped. Linux only (``F_SETSIG``); elsewhere ``arm`` returns False and an idle
child must poll the descriptor instead. Does not know who the parent is.

Run as a script it arms and then becomes another program::

    python -I -S lifeline.py FD COMMAND [ARGUMENT ...]

Each child needs a pipe of its own: the owner is kept per open file description.
Source: fcntl(2), F_SETOWN with a negative id and F_SETSIG; Linux 2.6 and later.
"""

import errno
import fcntl
import os
import signal
import sys

__all__ = ["arm", "is_broken"]

# fcntl names it only from Python 3.9 or so; the number is the kernel's (uapi/asm-generic/fcntl.h).
_F_SETSIG = 10


def arm(descriptor):
    """Have the kernel kill this process group once ``descriptor``'s write end is closed.

    Returns True when armed, False where the system cannot do it. Exits at once (status 1) when
    the write end is already closed: its closing can no longer be noticed.
    """
    armed = False
    if sys.platform.startswith("linux"):
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
            fcntl.fcntl(descriptor, _F_SETSIG, int(signal.SIGKILL))
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
            armed = True
        except OSError:
            armed = False  # a sandbox that forbids it: the idle loop still polls the descriptor
    if is_broken(descriptor):
        os._exit(1)
    return armed


def is_broken(descriptor):
    """True when the write end of ``descriptor`` is closed. Never blocks."""
    import select

    poller = select.poll()
    poller.register(descriptor, 0)  # hang-up is always reported
    try:
        return bool(poller.poll(0))
    except OSError as error:
        if error.errno == errno.EINTR:
            return False
        raise


def _main(arguments):
    descriptor = int(arguments[0])
    arm(descriptor)
    os.set_inheritable(descriptor, True)
    try:
        os.execvp(arguments[1], arguments[1:])
    except OSError as error:
        sys.stderr.write("cannot run %s: %s\n" % (arguments[1], error.strerror))
        os._exit(127)


if __name__ == "__main__":
    _main(sys.argv[1:])
