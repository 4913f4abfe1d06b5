"""The events of a run: what all frameworks tell alike.

Owns their shape, and that what looks like a secret in one is hidden. Where they go is the caller's.
"""

import sys
from time import time

from runner_shim import masking, plain_data

__all__ = ["Events"]

_LONGEST = 65536  # characters of a message


class Events:
    """Makes events and hands them to ``emit``."""

    def __init__(self, emit):
        self._emit = emit

    def __call__(self, kind, step=None, message="", data=None, at=None):
        """Tell one event; ``data`` is anything that becomes plain data, ``at`` seconds since 1970."""
        for stream in (sys.stdout, sys.stderr):
            # What user code has printed stands before the event that follows from it.
            try:
                stream.flush()
            except Exception:  # closed, or replaced by anything
                pass
        self._emit(
            {
                "type": kind,
                "step": step,
                "time": time() if at is None else at,
                "message": masking.masked_text(plain_data.text(message, _LONGEST)),
                "data": masking.masked(plain_data.plain(data)) if data else None,
            }
        )
