"""A run that is interrupted is cancelled, not failed: Dagster is told before it decides.

Owns the noticing of SIGINT and SIGTERM and the word to the instance. Dagster takes an interrupt for a
failure unless the run was reported as being cancelled, and looks it up when the interrupt has
unwound. It handles the signals itself, so they are noticed by the descriptor that the interpreter
writes their numbers to. Does nothing in releases that cannot be told.
"""

import os
import signal

__all__ = ["Interrupts"]


class Interrupts:
    """A context manager around Dagster's execution, with ``instance``, of the run ``run_id``."""

    def __init__(self, instance, run_id):
        self._instance = instance
        self._run_id = run_id
        self._look_up = instance.get_run_by_id
        self._reported = not hasattr(instance, "report_run_canceling")
        self._ends = None
        self._before = -1

    def __enter__(self):
        if not self._reported:
            self._ends = os.pipe()
            for end in self._ends:
                os.set_blocking(end, False)
            self._before = signal.set_wakeup_fd(self._ends[1])
            self._instance.get_run_by_id = self._told_first
        return self

    def __exit__(self, *_error):
        if self._ends is not None:
            signal.set_wakeup_fd(self._before)
            del self._instance.get_run_by_id
            for end in self._ends:
                os.close(end)

    def _told_first(self, run_id, *arguments, **named):
        if not self._reported and self._seen():
            self._reported = True
            run = self._look_up(self._run_id)
            status = run.status
            if getattr(status, "value", status) in ("NOT_STARTED", "STARTING", "STARTED"):
                self._instance.report_run_canceling(run)
        return self._look_up(run_id, *arguments, **named)

    def _seen(self):
        try:
            numbers = os.read(self._ends[0], 4096)
        except BlockingIOError:
            return False
        return any(number in (signal.SIGINT, signal.SIGTERM) for number in numbers)
