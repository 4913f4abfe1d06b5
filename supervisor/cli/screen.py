"""Where the foreground supervisor shows what goes on, and what may become of that.

Owns the two displays' common form, the thread that writes (a reader that pauses - Ctrl-S, a pager,
a full pipe - holds up nothing else), the judgement whether an output is gone or only in trouble, job
control (Ctrl-Z leaves the terminal in order, and what comes after it is drawn anew) and the window's
changes of size. What is shown is decided in ``run``; how the table looks in ``live``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Protocol

from supervisor.cli.terminal import Terminal
from supervisor.conditions import Tell

if TYPE_CHECKING:
    from supervisor.protocol.documents import StatusDocument

__all__ = ["Display", "PlainDisplay", "Screen", "job_control", "open_display", "resizing"]

# Messages that wait for a reader that takes none; what comes then is counted and left out.
_MOST_WAITING = 2_000
# How long (seconds) the end waits for a reader to take what is left, and Ctrl-Z for the table.
_PATIENCE = 3.0


# What the thread does, and of which kind it is: what failed is over when the same kind succeeds.
_Work = tuple[str, Callable[[], None]]


class Display(Protocol):
    """Where the foreground supervisor shows what goes on."""

    live: bool

    def show(self, document: StatusDocument) -> None:
        """The state of affairs."""

    def tell(self, lines: list[str]) -> None:
        """Something that happened."""

    def redraw(self) -> None:
        """The window has another size."""

    def fresh(self) -> None:
        """Others have written meanwhile: what comes next is drawn where the cursor is now."""

    def close(self) -> None:
        """Leave the terminal as it should be. More may be shown afterwards."""


class PlainDisplay:
    """Lines as things happen: for pipes, files and service managers."""

    live = False

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def show(self, document: StatusDocument) -> None:
        """The lines say it all."""

    def tell(self, lines: list[str]) -> None:
        """Each line at once: its reader may wait for it."""
        self._terminal.print(*lines)
        self._terminal.out.flush()

    def redraw(self) -> None:
        """Lines are not drawn again."""

    def fresh(self) -> None:
        """Lines stand for themselves."""

    def close(self) -> None:
        """Nothing to undo."""


def open_display(terminal: Terminal, interrupt: str) -> Display:
    """A live table on a terminal, plain lines elsewhere; ``interrupt`` is what Ctrl-C does."""
    if not terminal.interactive:
        return PlainDisplay(terminal)
    from supervisor.cli.live import LiveDisplay

    return LiveDisplay(terminal, interrupt)


class Screen:
    """``display``, written to in a thread. Made in a running event loop; methods return at once.

    ``gone`` is done, with the error, when the terminal or pipe was closed. Any other trouble (a full
    disk, a defect in the drawing) passes: ``trouble`` hears of it, and None when it is over.
    """

    def __init__(self, display: Display, descriptor: int, trouble: Tell) -> None:
        self.live = display.live
        self.gone: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._display = display
        self._trouble = trouble
        self._is_file = _is_file(descriptor)
        self._loop = asyncio.get_running_loop()
        self._news = threading.Condition()
        self._document: StatusDocument | None = None
        self._work: deque[_Work] = deque()
        self._left_out = 0
        self._resized = False
        self._held = False
        self._ending = False
        self._failing: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="display", daemon=True)
        self._thread.start()

    def show(self, document: StatusDocument) -> None:
        """The state of affairs; only the newest is drawn."""
        if not self.live:
            return
        with self._news:
            self._document = document
            self._news.notify()

    def tell(self, lines: list[str]) -> None:
        """Something that happened."""
        with self._news:
            if len(self._work) >= _MOST_WAITING:
                self._left_out += len(lines)
            else:
                self._work.append(("tell", partial(self._display.tell, lines)))
            self._news.notify()

    def redraw(self) -> None:
        """The window has another size; many changes are drawn once."""
        with self._news:
            self._resized = True
            self._news.notify()

    def suspend(self) -> None:
        """Leave the terminal to others, until ``resume``; returns when it is in order."""
        done = threading.Event()
        with self._news:
            self._held = True
            self._work.appendleft(("", done.set))
            self._work.appendleft(("", self._display.close))
            self._news.notify()
        done.wait(_PATIENCE)

    def resume(self) -> None:
        """Go on, with a table of its own."""
        with self._news:
            self._held = False
            self._work.appendleft(("", self._display.fresh))
            self._news.notify()

    def close(self, last_words: list[str]) -> bool:
        """Leave the terminal in order, say ``last_words`` and end.

        False when the reader does not take it: then the thread is still writing, and only the end of
        the process ends that.
        """
        with self._news:
            self._held = False
            self._ending = True
            self._work.append(("", self._display.close))
            if last_words:
                self._work.append(("tell", partial(self._display.tell, last_words)))
            self._news.notify()
        self._thread.join(_PATIENCE)
        return not self._thread.is_alive()

    def _run(self) -> None:
        # One that writes from the background is not to be stopped for it (stty tostop).
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        while (next_ := self._next()) is not None:
            kind, work = next_
            try:
                work()
            except BaseException as error:
                if self._is_gone(error):
                    self._say(self._set_gone, error)
                    return
                self._failing.add(kind)
                self._say(self._trouble, _in_words(error))
            else:
                if kind in self._failing:
                    self._failing.discard(kind)
                    if not self._failing:
                        self._say(self._trouble, None)

    def _next(self) -> _Work | None:
        """What is to be written next; waits for it. None at the end."""
        with self._news:
            while True:
                if self._work:
                    return self._work.popleft()
                if self._left_out:
                    count, self._left_out = self._left_out, 0
                    line = f"supervise: {count} lines are left out here: they were not read in time"
                    return "tell", partial(self._display.tell, [line])
                if self._ending:
                    return None
                if self._held:
                    self._news.wait()
                    continue
                if self._resized:
                    self._resized = False
                    return "show", self._display.redraw
                if self._document is not None:
                    document, self._document = self._document, None
                    return "show", partial(self._display.show, document)
                self._news.wait()

    def _is_gone(self, error: BaseException) -> bool:
        # A terminal that has hung up is EIO; in a file that is a bad disk, which may get better.
        return isinstance(error, BrokenPipeError) or (
            isinstance(error, OSError) and error.errno == errno.EIO and not self._is_file
        )

    def _set_gone(self, error: BaseException) -> None:
        if not self.gone.done():
            self.gone.set_result(error)

    def _say(self, hear: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(hear, *arguments)


def _is_file(descriptor: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _in_words(error: BaseException) -> str:
    if isinstance(error, OSError):
        reason = (error.strerror or str(error)).lower()
        return f"standard output cannot be written: {reason}; what was to be shown is lost"
    return f"what goes on cannot be shown: {type(error).__name__}: {error}"


@contextlib.contextmanager
def resizing(redraw: Callable[[], None]) -> Iterator[None]:
    """Within the body, ``redraw`` is called when the window's size changes. In a running event loop."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, redraw)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


@contextlib.contextmanager
def job_control(suspend: Callable[[], None], resume: Callable[[], None]) -> Iterator[None]:
    """Within the body, Ctrl-Z calls ``suspend`` before it stops this process, and ``resume`` is
    called when it goes on, also after a SIGSTOP. In a running event loop."""
    loop = asyncio.get_running_loop()
    if signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL:
        yield  # the shell that started us has no job control
        return

    def install() -> None:
        loop.add_signal_handler(signal.SIGTSTP, stop)
        loop.add_signal_handler(signal.SIGCONT, resume)

    def remove() -> None:
        loop.remove_signal_handler(signal.SIGTSTP)
        loop.remove_signal_handler(signal.SIGCONT)

    def stop() -> None:
        suspend()
        remove()
        os.kill(os.getpid(), signal.SIGTSTP)  # returns once we are continued
        install()
        resume()

    install()
    try:
        yield
    finally:
        remove()
