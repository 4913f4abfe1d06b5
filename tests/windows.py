"""A window of tmux: a terminal that wraps lines anew when its size changes, and whose screen can be read."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from supervised import poll_now

DEADLINE = 60.0
ENDED = "[the command has ended]"
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Window:
    """One command in a window; rows are without the blanks at their end."""

    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)

    def tmux(self, *arguments: str) -> str:
        """What a command of tmux prints."""
        words = ["tmux", "-S", self._socket, "-f", "/dev/null", *arguments]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout

    def resize(self, columns: int, rows: int) -> None:
        """Give it another size, and the command SIGWINCH."""
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def press(self, key: str) -> None:
        """A key by tmux's name for it: ``C-c``."""
        self.tmux("send-keys", key)

    def rows(self, *, history: bool = True, joined: bool = False) -> list[str]:
        """What is seen, below what has been pushed out at the top; ``joined`` undoes the terminal's wrapping."""
        arguments = [*(["-S", "-"] if history else []), *(["-J"] if joined else [])]
        text = self.tmux("capture-pane", "-p", *arguments)
        return [row.rstrip() for row in text.rstrip("\n").split("\n")]

    def until(self, true: Callable[[list[str]], bool], what: str, *, history: bool = True) -> None:
        """Wait until ``true`` of the rows."""
        rows: list[str] = []

        def seen() -> bool:
            rows[:] = self.rows(history=history)
            return true(rows)

        try:
            poll_now(seen, what, DEADLINE)
        except AssertionError as error:
            raise AssertionError(f"{error}:\n" + "\n".join(rows)) from None


@contextlib.contextmanager
def in_window(
    command: list[str], *, cwd: Path, env: Mapping[str, str], socket: Path, columns: int, rows: int
) -> Iterator[Window]:
    """``command`` in a window of that size, which says ``ENDED`` when it has ended; all is gone at the end."""
    window = Window(socket)
    pairs = [f"{name}={value}" for name, value in env.items()]
    line = shlex.join(["env", "-i", "-C", str(cwd), *pairs, "TERM=screen", *command])
    line = f"trap : INT; {line}; echo {ENDED}; exec sleep 1000"
    window.tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), line)
    try:
        yield window
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):  # it has ended
            window.tmux("kill-server")
