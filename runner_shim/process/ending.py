"""The end of a forked process: like that of any Python program, with its exit functions.

Owns that end alone. Bound when it is imported, which is before the team's import.
"""

import atexit
import sys
import threading
from os import _exit

from runner_shim.execution import handing

__all__ = ["end"]

_join_threads = getattr(threading, "_shutdown", None)
_run_exit_functions = atexit._run_exitfuncs


def end(status, told=None):
    """End as a Python program does, but for what the parent's frames below would do.

    ``told`` is where the status is wanted.
    """
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
    if told is not None:
        handing.tell_end(told, status)
    _exit(status)
