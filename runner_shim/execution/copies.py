"""Copies of a process that user code has forked, and that come back from it.

Owns their end. After ``os.fork()`` a function returns, or raises, in both processes: the copy would give
outputs, tell events and run what follows a second time. So it ends where the function ends, with the
status that the end of a program would have. Children of multiprocessing end by themselves before.
What is needed of ``os`` is bound when this is imported, which is before the team's import.
"""

import sys
from os import _exit, getpid

__all__ = ["end_copy", "getpid"]


def end_copy(process, what):
    """End this process unless ``process`` is its id; ``what`` (text) has forked it then."""
    if getpid() == process:
        return
    status = 0
    try:
        error = sys.exc_info()[1]
        if isinstance(error, SystemExit):
            status = _status(error.code)
        elif error is not None:
            status = 1
            sys.excepthook(*sys.exc_info())
        else:
            sys.stderr.write(
                "a process that %s has forked came back from its function, and ends there: end it "
                "with os._exit()\n" % what
            )
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BaseException:
        pass  # streams of the team's, or replaced
    finally:
        _exit(status)


def _status(code):
    """The exit status by what was given to ``sys.exit``."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write("%s\n" % (code,))
    return 1
