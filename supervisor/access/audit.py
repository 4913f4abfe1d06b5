"""The audit: who asked for what, when, and what came of it; in a chain that shows what was tampered with.

Owns ``audit.log`` and ``audit.head`` in the workspace's state directory (0600). A line is a JSON object
whose ``previous`` is the SHA-256 of the line before, so a line that is changed, removed or moved breaks the
chain there; ``audit.head`` holds number and hash of the last line, so one that is missing at the end shows,
too. A file that is full becomes ``audit.log.1`` and so on; the chain goes on from one to the next. Whoever
can write both files can write a new chain: what must withstand that copies the lines elsewhere.

All methods touch the disk: the event loop calls them in a thread, one at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Audit", "Break", "entries", "verify"]

_MOST_BYTES = 10 * 1024 * 1024
_MOST_FILES = 20
_LONGEST_LINE = 64 * 1024
_NONE = "0" * 64


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
        self._number = 0
        self._previous = _NONE

    def write(self, entry: dict[str, Any]) -> None:
        """Append ``entry``, plain data, to the chain; it is on disk when this returns."""
        if self._descriptor is not None and self._was_replaced():
            self.close()
        if self._descriptor is None:
            self._open()
        assert self._descriptor is not None
        line = _line({"number": self._number + 1, **entry, "previous": self._previous})
        if os.fstat(self._descriptor).st_size + len(line) > self._max_bytes and self._number:
            self._rotate()
        _write_all(self._descriptor, line)
        os.fdatasync(self._descriptor)
        self._number += 1
        self._previous = _hash(line)
        self._write_head()

    def close(self) -> None:
        """Close the file; the next ``write`` opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        last = _last_line(self._path) or _last_line(_older(self._path, 1))
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        _cut_torn_line(self._descriptor)
        # What does not fit stays as it is, and shows: the chain goes on from what is there.
        if last is not None:
            self._number, self._previous = _number(last), _hash(last)
        elif not self._number:
            # Where the file was taken away, numbers go on, so that this shows.
            self._number, self._previous = _read_head(self._head) or (0, _NONE)

    def _was_replaced(self) -> bool:
        assert self._descriptor is not None
        try:
            there = self._path.stat()
        except OSError:
            return True
        ours = os.fstat(self._descriptor)
        return (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev)

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
    """Every place at which the chain in ``directory`` does not hold; empty when it does.

    Once the oldest file was rotated out, the first line that is there begins the chain.
    """
    found: list[Break] = []
    head = _read_head(directory / "audit.head")
    number, previous = 0, ""
    seen_head = False
    file, place = directory / "audit.log", 0
    for file, place, line in _lines(directory):
        entry = _read(line)
        if entry is None:
            found.append(Break(file, place, "the line was changed: it is no entry"))
            number, previous = number + 1, _hash(line)
            continue
        if previous:
            if entry.get("number") != number + 1:
                found.append(
                    Break(
                        file,
                        place,
                        f"entry {entry.get('number')} follows entry {number}: lines were removed, "
                        "added or moved",
                    )
                )
            elif entry.get("previous") != previous:
                found.append(Break(file, place, f"entry {number}, before it, was changed"))
        elif entry["number"] != 1 and not _older(directory / "audit.log", _MOST_FILES).exists():
            reason = f"entry {entry['number']} is the first: those before it were removed"
            found.append(Break(file, place, reason))
        elif entry["number"] == 1 and entry.get("previous") != _NONE:
            found.append(Break(file, place, "the first entry was changed"))
        number, previous = int(entry.get("number", 0)), _hash(line)
        seen_head = seen_head or (number, previous) == head
    if head is None and number:
        found.append(Break(directory / "audit.head", 1, "it is missing or was changed"))
    elif head is not None and not seen_head:
        reason = f"entry {head[0]}, the last one written, is missing or was changed"
        found.append(Break(file, place, reason))
    return found


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
