"""What a location prints, kept within bounds: a log on disk and the last lines in memory.

Owns the log of one location: its own output by line (streams ``out`` and ``err``) and the
supervisor's remarks about it (``sup``); and the end of what one process wrote to its standard error.
A flood is thinned, and says so: at more than ``FLOOD_RATE`` bytes a second beyond a burst the rest is
counted instead of written. Reads no pipe; files are ``log_files``'.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from runner_shim import wire
from supervisor.locations.log_files import MOST_BYTES, LogChunk, LogFile, LogFiles, LogLine, stamped

__all__ = ["FLOOD_BURST", "FLOOD_RATE", "LastWords", "LocationLog", "MarkedLog"]

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


class LocationLog:
    """The log at ``path``, with one older file beside it (``.1``).

    ``on_write`` is called after lines were written, or could not be. ``clock`` gives monotonic seconds;
    ``later(seconds, call)`` has ``call`` called after them (default: not before ``flush``).
    """

    __slots__ = (
        "_budget", "_clock", "_failed", "_file", "_files", "_later", "_lost", "_on_write", "_partial",
        "_refilled", "_releasing", "_suppressed", "_tail",
    )  # fmt: skip

    def __init__(
        self,
        files: LogFiles,
        path: Path,
        *,
        max_bytes: int = MAX_FILE_BYTES,
        clock: Callable[[], float] = time.monotonic,
        on_write: Callable[[], None] = lambda: None,
        later: Callable[[float, Callable[[], None]], object] = lambda seconds, call: None,
    ) -> None:
        self._files = files
        self._file = LogFile(path, max_bytes, self._written)
        self._clock = clock
        self._on_write = on_write
        self._later = later
        self._tail: list[LogLine] = []  # of a few: most locations say next to nothing
        self._partial: dict[str, bytes] = {}
        self._budget = float(FLOOD_BURST)
        self._refilled = clock()
        self._suppressed = 0
        self._lost = 0
        self._releasing = False
        self._failed = False
        files.write(self._file, b"")  # how far an earlier supervisor came

    @property
    def path(self) -> Path:
        """Where it is written."""
        return self._file.path

    @property
    def cursor(self) -> int:
        """The end of what is written."""
        return self._file.cursor

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

    async def read(self, *, lines: int, before: int | None = None) -> LogChunk:
        """The last ``lines`` lines (of those before a cursor), as many as are read at once."""
        return await asyncio.wrap_future(self._files.run(lambda: self._file.last(lines, before)))

    async def read_after(self, cursor: int, limit: int = MOST_BYTES) -> LogChunk:
        """The lines written since ``cursor``, as many as are read at once (at most ``limit`` bytes)."""
        return await asyncio.wrap_future(self._files.run(lambda: self._file.after(cursor, limit)))

    async def answer(
        self, *, lines: int = 0, before: int | None = None, after: int | None = None
    ) -> bytes:
        """What ``read_after`` gives, or without ``after`` ``read``, as msgpack: made in the thread, too."""

        def packed() -> bytes:
            file = self._file
            chunk = file.last(lines, before) if after is None else file.after(after)
            data: bytes = wire.pack(chunk.as_data())
            return data

        return await asyncio.wrap_future(self._files.run(packed))

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
        head = stamped(now, stream)
        shown = [
            line if len(line) <= MAX_LINE_BYTES else line[:MAX_LINE_BYTES] + b" [cut]"
            for line in (line.rstrip(b"\r") for line in lines)
        ]
        self._keep(
            LogLine(now, stream, line.decode("utf-8", "replace")) for line in shown[-TAIL_LINES:]
        )
        data = b"".join(head + line + b"\n" for line in shown)
        if not self._files.write(self._file, data):
            self._lost += len(data)

    def _written(self, error: str | None) -> None:
        # A full disk must not stop the supervisor; the lines in memory are still there.
        if error is not None and not self._failed:
            text = f"the log {self.path} cannot be written: {error}"
            self._keep([LogLine(time.time(), "sup", text)])
        self._failed = error is not None
        if self._lost and error is None:
            amount, self._lost = self._lost, 0
            self.remark(f"{_human(amount)} of output lost: the disk did not take it in time")
        self._on_write()

    def _keep(self, lines: Iterable[LogLine]) -> None:
        self._tail = [*self._tail, *lines][-TAIL_LINES:]


class LastWords:
    """The end of what one process wrote to its standard error, at most ``limit`` bytes.

    ``total`` counts all bytes that it wrote.
    """

    __slots__ = ("_data", "limit", "total")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0
        self._data = b""

    def add(self, data: bytes) -> None:
        """Take bytes as they come from the pipe."""
        self.total += len(data)
        self._data = (self._data + data)[-self.limit :]

    def lines(self, since: int = 0) -> list[str]:
        """Its lines, long ones cut, or those since ``total`` was ``since``; the last may have no end yet."""
        kept = self._data[max(len(self._data) - (self.total - since), 0) :]
        found = [line.rstrip(b"\r")[:MAX_LINE_BYTES] for line in kept.split(b"\n")]
        if not found[-1]:
            del found[-1]
        return [line.decode("utf-8", "replace") for line in found]


class MarkedLog:
    """A part of ``log`` for a process beside the one that serves: each line begins with ``MARK``.

    Has what a generation needs of a log.
    """

    MARK = "verification: "

    def __init__(self, log: LocationLog) -> None:
        self._log = log
        self._partial: dict[str, bytes] = {}

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


def _human(size: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} GiB"
