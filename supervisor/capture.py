"""What a location prints, kept within bounds: a rotated log file and the last lines in memory.

Owns the log of one location: its own output by line (streams ``out`` and ``err``) and the
supervisor's remarks about it (``sup``). A flood is thinned, and says so: at more than
``FLOOD_RATE`` bytes a second beyond a burst the rest is counted instead of written. Reads no pipe.

A line in the file: ``<ISO time, UTC, milliseconds> <stream> <text>``. A cursor is the number of
bytes ever written to this log, so it stays valid across rotation.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["FLOOD_BURST", "FLOOD_RATE", "LocationLog", "LogLine", "MarkedLog"]

MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_LINE_BYTES = 8192
TAIL_LINES = 20
FLOOD_RATE = 1024 * 1024
FLOOD_BURST = 4 * 1024 * 1024
# What a line costs beside its text: time and stream.
_HEAD_BYTES = 29
# How much of the end of a flood is kept, and how long it may wait to be written (seconds).
_HELD_BYTES = 4096
_HELD_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: ``time`` in Unix seconds, ``stream`` (out, err, sup), ``text`` without its newline."""

    time: float
    stream: str
    text: str

    def as_data(self) -> dict[str, float | str]:
        """As the control protocol sends it."""
        return {"time": self.time, "stream": self.stream, "text": self.text}


class LocationLog:
    """The log at ``path``, with one older file beside it (``.1``).

    ``on_write`` is called after lines were added. ``clock`` gives monotonic seconds;
    ``later(seconds, call)`` has ``call`` called after them (default: not before ``flush``).
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = MAX_FILE_BYTES,
        clock: Callable[[], float] = time.monotonic,
        on_write: Callable[[], None] = lambda: None,
        later: Callable[[float, Callable[[], None]], object] = lambda seconds, call: None,
    ) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._clock = clock
        self._on_write = on_write
        self._later = later
        self._tail: list[LogLine] = []  # of a few: most locations say next to nothing
        self._partial: dict[str, bytes] = {}
        self._budget = float(FLOOD_BURST)
        self._refilled = clock()
        self._suppressed = 0
        self._releasing = False
        self._failed = False
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._size = self._size_of(path)
        self._origin = self._size_of(self._older)  # bytes written before the current file began

    @property
    def _older(self) -> Path:
        return self.path.with_name(self.path.name + ".1")

    @property
    def cursor(self) -> int:
        """The end of the log."""
        return self._origin + self._size

    @property
    def tail(self) -> list[LogLine]:
        """The last lines, at most ``TAIL_LINES``, oldest first."""
        return list(self._tail)

    def output(self, stream: str, data: bytes) -> None:
        """Take bytes as they come from a pipe; whole lines are written at once."""
        data = self._partial.pop(stream, b"") + data
        now = self._clock()
        self._budget = min(FLOOD_BURST, self._budget + (now - self._refilled) * FLOOD_RATE)
        self._refilled = now
        cost = len(data) + _HEAD_BYTES * data.count(b"\n")
        if cost > self._budget:
            self._hold(stream, data)
        else:
            self._budget -= cost
            self._report_flood()
            self._take(stream, data)

    def lines(self, stream: str, data: bytes) -> None:
        """Take whole lines of another process: an unfinished line of this one stays unfinished."""
        unfinished = self._partial.pop(stream, b"")
        self.output(stream, data)
        if unfinished:
            self._partial[stream] = unfinished + self._partial.pop(stream, b"")

    def remark(self, text: str) -> None:
        """Write a line of the supervisor's own."""
        self._add("sup", text.encode().split(b"\n"))

    def flush(self) -> None:
        """Write what is left of unfinished lines: their process is gone."""
        self._release()
        for stream, rest in list(self._partial.items()):
            del self._partial[stream]
            self._add(stream, [rest])

    def read(self, *, lines: int) -> tuple[list[LogLine], int]:
        """The last ``lines`` lines from the files, and the cursor behind them."""
        text = self._read_from(max(self.cursor - max(lines, 1) * (MAX_LINE_BYTES // 8), 0))
        found = _parse(text)
        if len(found) < lines:
            found = _parse(self._read_from(0))
        return (found[-lines:] if lines > 0 else []), self.cursor

    def read_after(self, cursor: int, limit: int = 1024 * 1024) -> tuple[list[LogLine], int]:
        """Lines written since ``cursor`` (at most about ``limit`` bytes), and the next cursor."""
        data = self._read_from(cursor)[:limit]
        whole = data[: data.rfind(b"\n") + 1]
        start = max(cursor, self._origin - self._size_of(self._older))
        return _parse(whole), min(start + len(whole), self.cursor)

    def _hold(self, stream: str, data: bytes) -> None:
        # Only what may matter for a failure is kept: the end. It is written when the flood ebbs.
        kept = data[-_HELD_BYTES:]
        if len(data) > len(kept):
            kept = kept[kept.find(b"\n") + 1 :]
        self._suppressed += len(data) - len(kept)
        self._partial[stream] = kept
        if not self._releasing:
            self._releasing = True
            self._later(_HELD_SECONDS, self._release)

    def _release(self) -> None:
        self._releasing = False
        self._report_flood()
        for stream in list(self._partial):
            self._take(stream, self._partial.pop(stream))

    def _take(self, stream: str, data: bytes) -> None:
        lines = data.split(b"\n")
        rest = lines.pop()
        if len(rest) > MAX_LINE_BYTES:
            lines.append(rest)
            rest = b""
        if rest:
            self._partial[stream] = rest
        self._add(stream, lines)

    def _report_flood(self) -> None:
        if self._suppressed:
            amount, self._suppressed = self._suppressed, 0
            self.remark(
                f"{_human(amount)} of output suppressed: more than {_human(FLOOD_RATE)} a second"
            )

    def _add(self, stream: str, lines: list[bytes]) -> None:
        if not lines:
            return
        now = time.time()
        stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
        head = f"{stamp} {stream} ".encode()
        shown = [
            line if len(line) <= MAX_LINE_BYTES else line[:MAX_LINE_BYTES] + b" [cut]"
            for line in (line.rstrip(b"\r") for line in lines)
        ]
        self._keep(
            LogLine(now, stream, line.decode("utf-8", "replace")) for line in shown[-TAIL_LINES:]
        )
        self._write(b"".join(head + line + b"\n" for line in shown))
        self._on_write()

    def _write(self, data: bytes) -> None:
        if self._size and self._size + len(data) > self._max_bytes:
            with contextlib.suppress(OSError):
                self.path.replace(self._older)
                self._origin += self._size
                self._size = 0
        try:
            descriptor = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            try:
                self._size += os.write(descriptor, data)
            finally:
                os.close(descriptor)
            self._failed = False
        except OSError as error:
            # A full disk must not stop the supervisor; the lines in memory are still there.
            if not self._failed:
                self._failed = True
                text = f"the log {self.path} cannot be written: {error.strerror}"
                self._keep([LogLine(time.time(), "sup", text)])

    def _keep(self, lines: Iterable[LogLine]) -> None:
        self._tail = [*self._tail, *lines][-TAIL_LINES:]

    def _read_from(self, cursor: int) -> bytes:
        older = b""
        if cursor < self._origin:
            older_size = self._size_of(self._older)
            older = self._read_file(self._older, max(cursor - (self._origin - older_size), 0))
        return older + self._read_file(self.path, max(cursor - self._origin, 0))

    @staticmethod
    def _read_file(path: Path, offset: int) -> bytes:
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return file.read()
        except OSError:
            return b""

    @staticmethod
    def _size_of(path: Path) -> int:
        try:
            return path.stat().st_size
        except OSError:
            return 0


class MarkedLog:
    """A part of ``log`` for a process beside the one that serves: each line begins with ``MARK``.

    Has what an attempt needs of a log; reading gives the marked lines alone, without the mark.
    """

    MARK = "verification: "

    def __init__(self, log: LocationLog) -> None:
        self._log = log
        self._partial: dict[str, bytes] = {}

    @classmethod
    def marks(cls, line: LogLine) -> bool:
        """True for a line of such a part."""
        return line.text.startswith(cls.MARK)

    @property
    def cursor(self) -> int:
        """The end of the log."""
        return self._log.cursor

    def output(self, stream: str, data: bytes) -> None:
        """Take bytes as they come from a pipe."""
        *lines, rest = (self._partial.pop(stream, b"") + data).split(b"\n")
        while len(rest) > MAX_LINE_BYTES:
            lines.append(rest[:MAX_LINE_BYTES])
            rest = rest[MAX_LINE_BYTES:]
        if rest:
            self._partial[stream] = rest
        if lines:
            mark = self.MARK.encode()
            self._log.lines(stream, b"".join(mark + line + b"\n" for line in lines))

    def remark(self, text: str) -> None:
        """Write a line of the supervisor's own."""
        self._log.remark(self.MARK + text)

    def flush(self) -> None:
        """Write what is left of unfinished lines."""
        for stream in list(self._partial):
            self.output(stream, b"\n")

    def read_after(self, cursor: int) -> tuple[list[LogLine], int]:
        """Its lines since ``cursor``, and the next cursor."""
        found, after = self._log.read_after(cursor)
        own = [replace(one, text=one.text[len(self.MARK) :]) for one in found if self.marks(one)]
        return own, after


def _parse(data: bytes) -> list[LogLine]:
    found = []
    for line in data.decode("utf-8", "replace").split("\n"):
        stamp, _, rest = line.partition(" ")
        stream, _, text = rest.partition(" ")
        try:
            moment = datetime.fromisoformat(stamp).timestamp()
        except ValueError:
            continue  # the reading began inside a line
        found.append(LogLine(moment, stream, text))
    return found


def _human(size: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} GiB"
