"""The lines that stay below what is written: what runs now, and for how long.

Owns the drawing on a terminal: the lines are taken away before anything is written and drawn again below it,
so they never scroll, also when the window's size changes (how: ``anchored``). Elsewhere there are none, and all
is written as it comes. What is worth a line is the caller's to say.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from supervisor.cli.anchored import ERASED, drawn
from supervisor.cli.terminal import Terminal, window_of
from supervisor.presentation.text import clean, cut, paint
from supervisor.presentation.words import seconds

__all__ = ["Below"]

_TICK = 0.2
# Lines of a window that are left to what scrolls by above, and the most that are drawn.
_LEAVE, _MOST = 4, 12


class Below:
    """Writes to both streams of ``terminal``, above a line for each of ``running``.

    ``running`` maps a name to when it began (Unix seconds); ``footer`` is a last line. Both may be changed
    at any time and are drawn within a fifth of a second. A context manager.
    """

    def __init__(self, terminal: Terminal, now: Callable[[], float] = time.time) -> None:
        self.running: dict[str, float] = {}
        self.footer = ""
        self.live = terminal.live
        self._terminal = terminal
        self._now = now
        self._turn = threading.RLock()
        self._stands = False  # lines are drawn, and the cursor is at their start
        self._held: dict[TextIO, str] = {}
        self._ended = threading.Event()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Below]:
        """Draw within the body."""
        if not self.live:
            yield self
            return
        ticking = threading.Thread(target=self._tick, name="lines below", daemon=True)
        ticking.start()
        continued = signal.signal(signal.SIGCONT, self._continued)
        stopped = signal.getsignal(signal.SIGTSTP)
        if stopped is signal.SIG_DFL:  # else the shell has no job control
            signal.signal(signal.SIGTSTP, self._stop)
        try:
            yield self
        finally:
            signal.signal(signal.SIGTSTP, stopped)
            signal.signal(signal.SIGCONT, continued)
            self._ended.set()
            ticking.join()
            with self._turn:
                self._erase()
                for stream, text in self._held.items():
                    if text:
                        stream.write(text + "\n")
                        stream.flush()

    def say(self, text: str, style: str = "") -> None:
        """A line of ours, to standard error."""
        with self._above():
            self._terminal.say(text, style)

    def write(self, stream: TextIO, text: str) -> None:
        """What a run wrote, as it came; on a terminal, whole lines of it."""
        if not self.live or not stream.isatty():
            stream.write(text)
            stream.flush()
            return
        whole, newline, rest = (self._held.get(stream, "") + text).rpartition("\n")
        self._held[stream] = rest
        if newline:
            with self._above():
                stream.write(whole + newline)
                stream.flush()

    @contextlib.contextmanager
    def _above(self) -> Iterator[None]:
        with self._turn:
            self._erase()
            yield
            self._draw()

    def _tick(self) -> None:
        while not self._ended.wait(_TICK):
            with self._above():
                pass

    def _erase(self) -> None:
        if self._stands:
            self._stands = False
            self._terminal.err.write(ERASED)
            self._terminal.err.flush()

    def _draw(self) -> None:
        if not self.live or self._ended.is_set():
            return
        size = self._size()
        now = self._now()
        room = max(min(size.lines - _LEAVE, _MOST), 1)
        running = list(self.running.items())
        wide = size.columns - 1
        times = [(clean(name), f": {seconds(now - began)}") for name, began in running[:room]]
        lines = [cut(name, wide - len(passed)) + passed for name, passed in times]
        if len(running) > room:
            lines.append(f"… and {len(running) - room} more")
        if self.footer:
            lines.append(self.footer)
        lines = [cut(one, wide) for one in lines]
        if lines:
            self._stands = True
            painted = [paint(one, "blue", self._terminal.error_colour) for one in lines]
            self._terminal.err.write(drawn(painted))
            self._terminal.err.flush()

    def _size(self) -> os.terminal_size:
        size = window_of(self._terminal.err) or os.terminal_size((80, 24))
        return os.terminal_size((max(size.columns, 20), max(size.lines, 5)))

    def _stop(self, *_signal: Any) -> None:
        """Ctrl-Z: take the lines away, then stop. The streams may be in use: the descriptor is written to."""
        with self._turn:
            if self._stands:
                self._stands = False
                os.write(self._terminal.err.fileno(), ERASED.encode())
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTSTP)  # returns once we are continued
            signal.signal(signal.SIGTSTP, self._stop)

    def _continued(self, *_signal: Any) -> None:
        """Others have written since the process was stopped."""
        self._stands = False
