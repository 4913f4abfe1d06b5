"""The audit: who requested what, when, and with which result; a hash chain shows changed lines.

Owns ``audit.log`` and ``audit.head`` in the workspace's state directory (0600). A line is a JSON object
whose ``previous`` is the SHA-256 of the line before, so a line that is changed, removed or moved breaks the
chain there; ``audit.head`` holds number and hash of the last line, so one that is missing at the end shows,
too. A file that is full becomes ``audit.log.1`` and so on; the chain goes on from one to the next. A user who
can write both files can write a new chain: to withstand that, copy the lines elsewhere.

Several processes may write: the supervisor, and commands that change tokens and keys beside it. All methods
touch the disk, and wait for a moment while another one writes: the event loop calls them in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["FILES", "PATIENCE", "Audit", "Break", "entries", "verify"]

_MOST_BYTES = 10 * 1024 * 1024
_MOST_FILES = 20
_LONGEST_LINE = 64 * 1024
_NONE = "0" * 64
# How long another process may write, and between two looks (seconds).
PATIENCE, _LOOK = 5.0, 0.005

FILES = ("audit.log", "audit.head", *(f"audit.log.{one}" for one in range(1, _MOST_FILES + 1)))
"""What the audit consists of."""


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain does not hold: ``line`` (from 1) of ``file``, and why."""

    file: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class Audit:
    """Writes the audit in ``directory``. Opening and writing raise ``OSError``."""

    def __init__(self, directory: Path, max_bytes: int = _MOST_BYTES) -> None:
        self._path = directory / "audit.log"
        self._head = directory / "audit.head"
        self._max_bytes = max_bytes
        self._descriptor: int | None = None
        self._end = 0  # of the file, as this object left it
        self.written = 0
        self._number = 0
        self._previous = _NONE

    def write(self, *entries: dict[str, Any]) -> None:
        """Append ``entries``, plain data, to the chain; they are on disk when this returns.

        After an ``OSError`` some may have been written: ``written`` counts the lines of this object.
        """
        with self._locked():
            if self._descriptor is None or self._has_changed():
                self.close()
                self._open()
            for entry in entries:
                self._append(entry)
            assert self._descriptor is not None
            os.fdatasync(self._descriptor)
            self._write_head()

    def _append(self, entry: dict[str, Any]) -> None:
        assert self._descriptor is not None
        line = _line({"number": self._number + 1, **entry, "previous": self._previous})
        if os.fstat(self._descriptor).st_size + len(line) > self._max_bytes and self._number:
            os.fdatasync(self._descriptor)
            self._rotate()
        _write_all(self._descriptor, line)
        self._end = os.fstat(self._descriptor).st_size
        self._number += 1
        self._previous = _hash(line)
        self.written += 1

    def close(self) -> None:
        """Close the file; the next ``write`` opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self._path.with_name(".audit.lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            until = time.monotonic() + PATIENCE
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        text = "another process holds it"
                        raise OSError(errno.EAGAIN, text, str(self._path)) from None
                    time.sleep(_LOOK)
            yield
        finally:
            os.close(lock)

    def _open(self) -> None:
        last = _last_line(self._path) or _last_line(_older(self._path, 1))
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        _cut_torn_line(self._descriptor)
        self._end = os.fstat(self._descriptor).st_size
        # What does not fit stays as it is, and shows: the chain goes on from what is there.
        if last is not None:
            self._number, self._previous = _number(last), _hash(last)
        elif not self._number:
            # Where the file was taken away, numbers go on, so that this shows.
            self._number, self._previous = _read_head(self._head) or (0, _NONE)

    def _has_changed(self) -> bool:
        """True when the file is another one, or another process has written."""
        assert self._descriptor is not None
        try:
            there = self._path.stat()
        except OSError:
            return True
        ours = os.fstat(self._descriptor)
        changed = ours.st_size != self._end
        return changed or (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev)

    def _rotate(self) -> None:
        self.close()
        for number in range(_MOST_FILES - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                _older(self._path, number).rename(_older(self._path, number + 1))
        self._path.rename(_older(self._path, 1))
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)

    def _write_head(self) -> None:
        temporary = self._head.with_name(".audit.head")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, 0o600)
        try:
            _write_all(descriptor, f"{self._number} {self._previous}\n".encode())
        finally:
            os.close(descriptor)
        temporary.rename(self._head)


def entries(directory: Path) -> Iterator[dict[str, Any]]:
    """The entries in ``directory``, oldest first; lines that cannot be read are passed over."""
    for _, _, line in _lines(directory):
        entry = _read(line)
        if entry is not None:
            yield entry


def verify(directory: Path) -> list[Break]:
    """Every place at which the chain in ``directory`` does not hold, in order; empty when it does.

    A changed line shows in the one after it, which has its hash. Once the oldest file was rotated out, the
    first line that is there begins the chain.
    """
    found: list[Break] = []
    head = _read_head(directory / "audit.head")
    number, previous = 0, ""
    file, place = directory / "audit.log", 0
    seen_head = False
    suspect: tuple[Path, int, int] | None = None  # the line that the one after it does not fit

    def judge(follows: bool) -> None:
        """Blame the suspect; the line after it may be the one that was changed, unless it ``follows``."""
        nonlocal suspect
        if suspect is not None:
            its_file, its_place, one = suspect
            which = f"entry {one}" if follows else f"entry {one}, or the one after it,"
            found.append(Break(its_file, its_place, f"{which} was changed"))
            suspect = None

    for now_file, now_place, line in _lines(directory):
        entry = _read(line)
        if entry is None:
            judge(follows=True)
            found.append(Break(now_file, now_place, "the line was changed: it is no entry"))
            number += 1
        else:
            here, fits = int(entry["number"]), entry.get("previous") == previous
            if not previous:
                found += _first(directory, now_file, now_place, entry)
            elif here != number + 1:
                judge(follows=True)
                reason = f"entry {here} follows entry {number}: lines were removed, added or moved"
                found.append(Break(now_file, now_place, reason))
            elif suspect is not None:
                judge(follows=fits)
            elif not fits:
                suspect = file, place, number
            number = here
        file, place, previous = now_file, now_place, _hash(line)
        seen_head = seen_head or (number, previous) == head
    judge(follows=seen_head)
    if head is None and number:
        found.append(Break(directory / "audit.head", 1, "it is missing or was changed"))
    elif head is not None and not seen_head:
        reason = f"entry {head[0]}, the last one written, is missing or was changed"
        found.append(Break(file, place, reason))
    return found


def _first(directory: Path, file: Path, place: int, entry: dict[str, Any]) -> list[Break]:
    """What is wrong with the first line that is there."""
    if entry["number"] != 1 and not _older(directory / "audit.log", _MOST_FILES).exists():
        reason = f"entry {entry['number']} is the first: those before it were removed"
        return [Break(file, place, reason)]
    if entry["number"] == 1 and entry.get("previous") != _NONE:
        return [Break(file, place, "the first entry was changed")]
    return []


def _lines(directory: Path) -> Iterator[tuple[Path, int, bytes]]:
    path = directory / "audit.log"
    for file in [*(_older(path, number) for number in range(_MOST_FILES, 0, -1)), path]:
        with contextlib.suppress(FileNotFoundError), file.open("rb") as opened:
            for place, line in enumerate(iter(lambda: opened.readline(_LONGEST_LINE), b""), 1):
                yield file, place, line


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or type(entry.get("number")) is not int:
        return None
    return entry


def _number(line: bytes) -> int:
    entry = _read(line)
    return 0 if entry is None else int(entry["number"])


def _read_head(path: Path) -> tuple[int, str] | None:
    try:
        number, digest = path.read_text("ascii").split()
        return int(number), digest
    except (OSError, ValueError):
        return None


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _older(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _last_line(path: Path) -> bytes | None:
    """The last whole line of the file, or None."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * _LONGEST_LINE))
        tail = file.read()
        whole = tail[: tail.rfind(b"\n") + 1]
        if whole:
            return whole[whole.rfind(b"\n", 0, -1) + 1 :]
    return None


def _cut_torn_line(descriptor: int) -> None:
    """Remove what a writer that was killed left of a line: it was never acknowledged."""
    size = os.fstat(descriptor).st_size
    begin = max(0, size - 2 * _LONGEST_LINE)
    tail = os.pread(descriptor, size - begin, begin)
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(descriptor, begin + tail.rfind(b"\n") + 1)


def _write_all(descriptor: int, data: bytes) -> None:
    before = os.fstat(descriptor).st_size
    written = 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except OSError:
        os.ftruncate(descriptor, before)  # no half line stays
        raise
