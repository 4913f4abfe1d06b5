"""Log files, written and read by one thread: the event loop never waits for a disk.

Owns the files of all logs of one supervisor, their rotation, and the thread that alone touches them. What
is written to one log keeps its order; a reader sees what was written before it asked. What
waits to be written is bounded: a disk that hangs costs lines, which are counted, and neither the loop nor
the end of the supervisor waits for it. Knows how a line is laid out; what is written is the caller's
business (``capture``).

A line in a file: ``<ISO time, UTC, milliseconds> <stream> <text>``. A cursor is the number of bytes ever
written to a log, so it stays valid across rotation.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Condition, Thread
from typing import TYPE_CHECKING, TypeVar

from supervisor.conditions import Tell

if TYPE_CHECKING:
    from supervisor.protocol import documents

__all__ = [
    "MOST_BYTES",
    "MOST_LINES",
    "MOST_WAITING_OF_ONE",
    "LogChunk",
    "LogFile",
    "LogFiles",
    "LogHandler",
    "LogLine",
    "stamped",
]

MOST_LINES = 2000
"""So many lines are read at once."""
MOST_BYTES = 256 * 1024
"""And so many bytes of the files."""

_MAX_FILE_BYTES = 5 * 1024 * 1024
_FIRST_LOOK = 16 * 1024
# What waits to be written: of one log, of all logs (bytes), and records of ours.
MOST_WAITING_OF_ONE = 8 * 1024 * 1024
_MOST_WAITING = 32 * 1024 * 1024
_MOST_RECORDS = 10_000
# So often it is tried again whether a log can be written (seconds).
_RETRY = 2.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: ``time`` in Unix seconds, ``stream`` (out, err, sup), ``text`` without its newline."""

    time: float
    stream: str
    text: str

    def as_data(self) -> documents.LogLine:
        """As the control protocol sends it."""
        return {"time": self.time, "stream": self.stream, "text": self.text}


@dataclass(frozen=True, slots=True)
class LogChunk:
    """``lines`` of a log, oldest first, and the cursor behind them (``next``).

    ``before`` is the cursor at the first of them; None when nothing older is kept.
    """

    lines: list[LogLine]
    next: int
    before: int | None = None

    def as_data(self) -> documents.LogChunk:
        """As the control protocol sends it."""
        lines = [line.as_data() for line in self.lines]
        return {"lines": lines, "next": self.next, "before": self.before}


class LogFile:
    """The log at ``path``, with one older file beside it (``.1``), each at most ``max_bytes``.

    ``cursor`` is the end of what was written, as far as the event loop was told, which
    ``written(error)`` is: ``error`` says why nothing could be, or is None. All methods run in the thread
    of the ``LogFiles``.
    """

    __slots__ = ("_origin", "_size", "cursor", "max_bytes", "path", "waiting", "written")

    def __init__(
        self,
        path: Path,
        max_bytes: int = _MAX_FILE_BYTES,
        written: Callable[[str | None], None] = lambda error: None,
    ) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.cursor = 0
        self.waiting = 0  # bytes
        self.written = written
        self._size = -1  # of the file as we know it
        self._origin = 0  # bytes written before the current file began

    @property
    def _older(self) -> Path:
        return self.path.with_name(self.path.name + ".1")

    def end(self) -> int:
        """The cursor behind all that is written."""
        if self._size < 0:
            self._size = _size_of(self.path)
            self._origin = _size_of(self._older)
        return self._origin + self._size

    def append(self, pieces: list[bytes]) -> None:
        """Write ``pieces``, each of whole lines; raises ``OSError``."""
        self.end()
        batch: list[bytes] = []
        size = 0
        for piece in filter(None, pieces):
            if batch and self._size + size + len(piece) > self.max_bytes:
                self._write(b"".join(batch))
                batch, size = [], 0
            batch.append(piece)
            size += len(piece)
        if batch:
            self._write(b"".join(batch))

    def touch(self) -> None:
        """See that it can be written; raises ``OSError``."""
        descriptor = self._open()
        try:
            if not os.fstatvfs(descriptor).f_bavail:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)

    def last(self, lines: int, before: int | None = None) -> LogChunk:
        """The last ``lines`` lines (of those before a cursor), within ``MOST_LINES`` and ``MOST_BYTES``."""
        end = self.end()
        start, oldest = end if before is None else max(min(before, end), 0), self._oldest()
        lines = min(lines, MOST_LINES)
        if lines <= 0 or start <= oldest:
            return LogChunk([], end)
        data, size = b"", _FIRST_LOOK
        while True:
            begin = max(start - size, oldest)
            data = self._between(begin, start)
            if begin == oldest or size >= MOST_BYTES or data.count(b"\n") > lines:
                break
            size *= 4
        found = data.split(b"\n")
        start -= len(found.pop())  # what has no end is no line
        if begin > oldest:
            del found[:1]  # the reading began inside a line
            if not found:  # nothing of ours: there is no line as long
                start = begin
        found = found[-lines:]
        start -= sum(map(len, found)) + len(found)
        return LogChunk(_parsed(found), end, start if start > oldest else None)

    def after(self, cursor: int, limit: int = MOST_BYTES) -> LogChunk:
        """The lines behind ``cursor``, as many as ``MOST_LINES`` and ``limit`` bytes hold."""
        end = self.end()
        start = max(cursor, self._oldest())
        data = self._between(start, min(start + limit, end))
        found = data.split(b"\n")
        found.pop()
        found = found[:MOST_LINES]
        size = sum(map(len, found)) + len(found)
        return LogChunk(_parsed(found), min(start + size, end))

    def _oldest(self) -> int:
        return self._origin - _size_of(self._older)

    def _write(self, data: bytes) -> None:
        if self._size and self._size + len(data) > self.max_bytes:
            with contextlib.suppress(OSError):
                self.path.replace(self._older)
                self._origin += self._size
                self._size = 0
        descriptor = self._open()
        try:
            actual = os.fstat(descriptor).st_size
            # It was removed or cut: a cursor stays where it is. Or another program writes into it, too.
            self._origin += max(self._size - actual, 0)
            self._size = actual
            rest = memoryview(data)
            while rest:
                count = os.write(descriptor, rest)
                self._size += count
                rest = rest[count:]
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self.path, flags, 0o600)
        except FileNotFoundError:  # the first line of all, or its directory was removed
            self.path.parent.mkdir(exist_ok=True)  # not those above it, which are others'
            return os.open(self.path, flags, 0o600)

    def _between(self, start: int, end: int) -> bytes:
        older = b""
        if start < self._origin:
            begins = self._oldest()
            older = _read(self._older, max(start - begins, 0), min(end, self._origin) - start)
        offset = max(start - self._origin, 0)
        return older + _read(self.path, offset, end - self._origin - offset)


# What is printed waits so long for more of it (seconds): to wake a thread for each line costs more
# than to write it.
_GATHERING = 0.01


class LogFiles:
    """The thread of all logs; made in a running event loop, which hears what was written.

    ``trouble`` hears while a log cannot be written.
    """

    def __init__(self, trouble: Tell = lambda text: None) -> None:
        self._loop = asyncio.get_running_loop()
        self._trouble = trouble
        self._failing: set[LogFile] = set()
        self._again: asyncio.TimerHandle | None = None
        self._ready = Condition()
        self._waiting: dict[LogFile, list[bytes]] = {}
        self._waiting_bytes = 0
        self._jobs: deque[Callable[[], None]] = deque()
        self._closing = False
        self._ended: Future[None] = Future()
        # No executor: its threads are waited for at the end of the process, however long a disk hangs.
        Thread(target=self._work, name="logs", daemon=True).start()

    def write(self, file: LogFile, data: bytes) -> bool:
        """Have ``data``, whole lines, written to ``file``; False when too much waits already."""
        size = len(data)
        with self._ready:
            if (
                file.waiting + size > MOST_WAITING_OF_ONE
                or self._waiting_bytes + size > _MOST_WAITING
                or self._closing
            ):
                return False
            file.waiting += size
            self._waiting_bytes += size
            self._waiting.setdefault(file, []).append(data)
            self._ready.notify()
        return True

    def run(self, work: Callable[[], _T]) -> Future[_T]:
        """``work()`` in the thread, once all is written that was given to ``write``."""
        done: Future[_T] = Future()

        def job() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(work())
            except BaseException as error:  # the caller's
                done.set_exception(error)

        with self._ready:
            if self._closing:
                done.cancel()
            else:
                self._jobs.append(job)
                self._ready.notify()
        return done

    @property
    def jobs(self) -> int:
        """How many wait for their turn."""
        return len(self._jobs)

    async def close(self, timeout: float = 5.0) -> bool:
        """Write what waits; False when that is not done within ``timeout`` seconds."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        if self._again is not None:
            self._again.cancel()
        await asyncio.wait([asyncio.wrap_future(self._ended)], timeout=timeout)
        return self._ended.done()

    def _work(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            self._ended.set_result(None)

    def _turn(self) -> bool:
        with self._ready:
            while not (self._waiting or self._jobs or self._closing):
                self._ready.wait()
            gathering = not (self._jobs or self._closing)
        if gathering:
            time.sleep(_GATHERING)
        with self._ready:
            waiting, self._waiting = self._waiting, {}
            job = self._jobs.popleft() if self._jobs else None
        if waiting:
            told = [(file, *self._append(file, pieces)) for file, pieces in waiting.items()]
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._tell, told)
        if job is not None:
            job()
        return bool(waiting) or job is not None or not self._closing

    def _append(self, file: LogFile, pieces: list[bytes]) -> tuple[int, str | None]:
        error = None
        try:
            file.append(pieces)
        except OSError as problem:
            error = problem.strerror or str(problem)
        except Exception as problem:  # a defect of ours must not end all logs
            error = repr(problem)
        size = sum(map(len, pieces))
        with self._ready:
            file.waiting -= size
            self._waiting_bytes -= size
        return file.end(), error

    def _tell(self, told: list[tuple[LogFile, int, str | None]]) -> None:
        for file, cursor, error in told:
            file.cursor = cursor
            if error is not None:
                self._failing.add(file)
                self._trouble(f"the log {file.path} cannot be written: {error.lower()}")
            elif file in self._failing:
                self._failing.discard(file)
                if not self._failing:
                    self._trouble(None)
            file.written(error)
        if self._failing and self._again is None and not self._closing:
            self._again = self._loop.call_later(_RETRY, self._try_again)

    def _try_again(self) -> None:
        """Look whether what could not be written can be now: what is said of it must not outlive it."""
        self._again = None
        for file in list(self._failing):
            self.run(partial(self._touch, file))

    def _touch(self, file: LogFile) -> None:
        error = None
        try:
            file.touch()
        except OSError as problem:
            error = problem.strerror or str(problem)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._tell, [(file, file.end(), error)])


class LogHandler(logging.Handler):
    """Writes records to a ``LogFile``; formats them, tracebacks included, in the thread of ``files``."""

    def __init__(self, files: LogFiles, path: Path) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._files = files
        self._file = LogFile(path)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue it; dropped when a disk hangs and very many wait."""
        if self._files.jobs >= _MOST_RECORDS:
            return
        record.msg, record.args = record.getMessage(), None
        self._files.run(lambda: self._write(record))

    def _write(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # a full disk: the locations' logs say so
            self._file.append([f"{self.format(record)}\n".encode("utf-8", "replace")])


def _parsed(lines: list[bytes]) -> list[LogLine]:
    return list(_each(lines))


def _each(lines: list[bytes]) -> Iterator[LogLine]:
    known, moment = b"", 0.0
    for line in lines:
        stamp, _, rest = line.partition(b" ")
        stream, _, text = rest.partition(b" ")
        if stamp != known:  # many lines have one time
            try:
                moment = datetime.fromisoformat(stamp.decode("ascii")).timestamp()
            except ValueError:
                continue  # damaged, or not ours
            known = stamp
        yield LogLine(moment, stream.decode("ascii", "replace"), text.decode("utf-8", "replace"))


def stamped(now: float, stream: str) -> bytes:
    """What stands before the text of a line: the time ``now`` (Unix seconds) and the stream."""
    stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")[:-6]
    return f"{stamp}Z {stream} ".encode()


def _read(path: Path, offset: int, size: int) -> bytes:
    if size <= 0:
        return b""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError:
        return b""


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
