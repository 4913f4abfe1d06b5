"""The interrupt (SIGINT) that cancels a run: when it may not come.

Owns the moment from which one is too late: all steps have ended, and what they came to is told; and
those in which one has to wait.
"""

import signal

__all__ = ["held_back", "too_late"]


def too_late():
    """From now on an interrupt of this process is ignored; elsewhere than in the main thread nothing."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread, which has the signals
        pass


class held_back:  # noqa: N801 - it is used as a function
    """``with held_back():`` an interrupt comes only after it: no message is sent by half."""

    def __enter__(self):
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))

    def __exit__(self, *_error):
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)
