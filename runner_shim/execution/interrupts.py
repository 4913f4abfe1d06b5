"""The interrupt (SIGINT) that cancels a run, at its end.

Owns the moment from which one is too late: all steps have ended, and what they came to is told.
"""

import signal

__all__ = ["too_late"]


def too_late():
    """From now on an interrupt of this process is ignored; elsewhere than in the main thread nothing."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread, which has the signals
        pass
