"""Keeps the audit while the supervisor runs, without holding up any request.

Owns the thread that writes, the entries that wait for it, and what is said when the disk does not take
them: the audit never stops an order. What waits is bounded; what is lost is counted, and the count becomes
an entry.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from supervisor.access.audit import Audit
from supervisor.conditions import Tell

__all__ = ["Recorder"]

_MOST = 10_000
_BATCH = 500
_AGAIN = 3.0
_LAST_WORDS = 5.0


class Recorder:
    """Writes the audit in ``directory``.

    ``tell`` is called from the thread that writes: a text while entries cannot be written, then None.
    """

    def __init__(self, directory: Path, tell: Tell) -> None:
        self._audit = Audit(directory)
        self._tell = tell
        self._waiting: deque[dict[str, Any]] = deque()
        self._lost = 0
        self._closing = False
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None

    def note(self, entry: dict[str, Any]) -> None:
        """Have ``entry`` written; returns at once."""
        with self._news:
            if self._closing:
                return
            if len(self._waiting) >= _MOST:
                self._lost += 1
                return
            self._waiting.append(entry)
            if self._thread is None:
                self._start()
            self._news.notify()

    def _start(self) -> None:
        # Not one of a pool: a disk that hangs must not keep the process from its end.
        thread = threading.Thread(target=self._run, name="audit", daemon=True)
        with contextlib.suppress(
            RuntimeError
        ):  # there are none to be had now: the next entry tries again
            thread.start()
            self._thread = thread

    def close(self) -> None:
        """Write what waits and end; blocks, for a few seconds at most."""
        with self._news:
            self._closing = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join(_LAST_WORDS)

    def _run(self) -> None:
        troubled = False
        while True:
            with self._news:
                while not self._waiting and not self._lost and not self._closing:
                    self._news.wait()
                batch = [self._waiting[n] for n in range(min(len(self._waiting), _BATCH))]
                if not batch and self._lost:
                    batch = [_lost(self._lost)]
                    self._waiting.append(batch[0])
                    self._lost = 0
                if not batch:
                    break
            try:
                self._write(batch)
            except OSError as error:
                if not troubled:
                    troubled = True
                    self._say(
                        "the audit cannot be written, and orders go on without it: "
                        f"{(error.strerror or str(error)).lower()}"
                    )
                with self._news:
                    if self._closing:
                        break
                    self._news.wait_for(lambda: self._closing, _AGAIN)
            else:
                if troubled:
                    troubled = False
                    self._say(None)
        self._audit.close()

    def _write(self, batch: list[dict[str, Any]]) -> None:
        before = self._audit.written
        try:
            self._audit.write(*batch)
        finally:
            with self._news:
                for _ in range(self._audit.written - before):
                    self._waiting.popleft()

    def _say(self, text: str | None) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._tell(text)


def _lost(count: int) -> dict[str, Any]:
    return {
        "time": time.time(),
        "who": "supervisor",
        "method": "audit",
        "location": [],
        "result": f"{count} entries were lost: the disk did not take them",
    }
