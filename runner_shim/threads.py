"""The other threads of this process: what no fork of it would have.

Owns their names, nothing else. Linux only, but for Python's own.
"""

import os
import sys

__all__ = ["native_threads", "python_threads"]


def python_threads():
    """Names of the other Python threads."""
    import _thread

    others = [one for one in sys._current_frames() if one != _thread.get_ident()]
    if not others:
        return []
    import threading

    names = {one.ident: one.name for one in threading.enumerate()}
    return sorted(names.get(one, "unnamed") for one in others)


def native_threads(known=()):
    """Names of the other threads that are not ``known``, less those of linear algebra libraries: they see to forks."""
    names = []
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid() and int(task) not in known:
            try:
                with open("/proc/self/task/%s/comm" % task) as file:
                    names.append(file.read().strip())
            except OSError:  # it has just ended
                continue
    if not names:
        return []
    with open("/proc/self/comm") as file:
        own = file.read().strip()  # the name of a thread that was not given one
    with open("/proc/self/maps", "rb") as file:
        algebra = any(b"blas" in line or b"mkl" in line or b"iomp" in line for line in file)
    return sorted(name for name in names if name != own or not algebra)
