"""Closing a descriptor and signalling a process where a failure means that there is nothing left to do.

Owns these two. Bound when it is imported, which is before the team's import.
"""

from os import close as _close
from os import kill as _kill

__all__ = ["close", "signal"]


def close(descriptor):
    """Close it, if it is open."""
    try:
        _close(descriptor)
    except OSError:
        pass


def signal(pid, number):
    """Send the signal, if there is such a process."""
    try:
        _kill(pid, number)
    except OSError:
        pass
