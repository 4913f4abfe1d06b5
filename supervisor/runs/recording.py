"""What a monitor writes into a run's journal while the run goes on: its events and its output.

Owns the bounds of both, whatever the run sends and whatever the disk does. Imports the standard library
and ``runner_shim.records``: it is part of the monitor's program (``monitor``).
"""

from __future__ import annotations

import os
import struct
import time

from runner_shim import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["MOST_EVENTS", "OUTPUT_PART", "Events", "Output", "read_map"]

MOST_EVENTS = 100_000
"""After so many only failures and states are kept."""
OUTPUT_PART = 8 * 1024 * 1024
"""Bytes of one file of output; two are kept of each stream."""

_MOST_EVENT_BYTES = 64 * 1024 * 1024
_HELD = 1024 * 1024  # of records that a full disk does not take
_LONGEST_AMONG_GARBAGE = 64 * 1024  # bytes of a record that is looked for: checksums cost time
_HEAD = struct.Struct("<II")  # of a record
_KEPT_TYPES = ("RUN_", "PIPELINE_")


def read_map(directory: int, name: str) -> dict[str, Any] | None:
    """The map in the first record of a file; {} where that cannot be read, None without a file."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return None
    with os.fdopen(file, "rb") as opened:
        try:
            found = records.unpack(records.split(opened.read())[0][0])
        except (OSError, IndexError, records.RecordError):
            found = {}
    return found if isinstance(found, dict) else {}


class Output:
    """A stream of the run, in files that are named by the number of their first byte."""

    def __init__(self, directory: int, name: str) -> None:
        self._directory = directory
        self._name = name
        self.size = self._begin = 0
        self.lost = 0
        self._parts: list[str] = []
        self._file = -1

    def write(self, data: bytes) -> None:
        """Append; what the disk does not take is counted and dropped."""
        try:
            if self._file < 0 or self.size - self._begin >= OUTPUT_PART:
                self._next()
            written = os.write(self._file, data)
        except OSError:
            written = 0
        self.size += written
        self.lost += len(data) - written

    def _next(self) -> None:
        name = f"{self._name}.{self.size}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        file = os.open(name, flags, 0o600, dir_fd=self._directory)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._begin = file, self.size
        self._parts.append(name)
        if len(self._parts) > 2:
            os.unlink(self._parts.pop(0), dir_fd=self._directory)


class Events:
    """The file of events: whole records only, whatever the disk does."""

    def __init__(self, directory: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._directory = directory
        self._file = os.open("events", flags, 0o600, dir_fd=directory)
        self.size = 0
        self.count = self.dropped = 0
        self.step = ""
        self.outcome: dict[str, Any] | None = None
        self.ended = self.succeeded = False  # an event said so
        self.recorded = ""  # the framework whose own records know of the run
        self.damaged = 0  # bytes that were no records
        self._unread = b""
        self._held: list[bytes] = []
        self._held_bytes = 0

    def feed(self, data: bytes, *, last: bool = False) -> None:
        """Take the records in what came through the pipe; ``last``: nothing comes any more.

        Others may write to the pipe, too: what is no record is passed over.
        """
        self._unread += data
        while True:
            payloads, end, damaged = records.split(self._unread)
            self._unread = self._unread[end:]
            for payload in payloads:
                self.take(payload)
            if not self._unread or not (damaged or last):
                return
            if not self.damaged:
                self.say("ENGINE_EVENT", "the run sent what is no event: some may be lost")
            rest = _next_record(self._unread, last)
            self.damaged += len(self._unread) - len(rest)
            self._unread = rest

    def take(self, payload: bytes) -> None:
        """What the run sent: an event, or its outcome."""
        try:
            event = records.unpack(payload)
        except records.RecordError:
            self.dropped += 1
            return
        if not isinstance(event, dict) or self.size >= 2 * _MOST_EVENT_BYTES:
            self.dropped += 1
            return
        if "recorded" in event:
            self._note_recorded(str(event["recorded"])[:100])
            return
        if "outcome" in event:
            if isinstance(event["outcome"], dict):
                self.outcome = event["outcome"]
            return
        kind = str(event.get("type"))
        if kind == "STEP_START":
            self.step = str(event.get("step") or "")[:1000]
        if kind in ("RUN_SUCCESS", "RUN_FAILURE", "RUN_CANCELED"):
            self.ended, self.succeeded = True, kind == "RUN_SUCCESS"
        room = self.count < MOST_EVENTS and self.size < _MOST_EVENT_BYTES
        if not room and not kind.startswith(_KEPT_TYPES) and not kind.endswith("FAILURE"):
            if not self.dropped:
                self.say("ENGINE_EVENT", f"after {self.count} events only failures are kept")
            self.dropped += 1
            return
        self._append(records.framed(payload))

    def _note_recorded(self, framework: str) -> None:
        self.recorded = framework
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            file = os.open("recorded", flags, 0o600, dir_fd=self._directory)
        except OSError:
            return  # only a supervisor that finds the monitor killed lacks it
        with os.fdopen(file, "wb") as opened:
            try:
                opened.write(records.framed(records.pack({"framework": framework})))
                opened.flush()
            except OSError:
                return

    def say(self, kind: str, message: str) -> None:
        """An event of the monitor's own."""
        event = {"type": kind, "step": None, "time": time.time(), "message": message, "data": None}
        self._append(records.framed(records.pack(event)))

    def _append(self, record: bytes) -> None:
        if self._held_bytes + len(record) > _HELD:
            self.dropped += 1
            return
        self.count += 1
        self._held.append(record)
        self._held_bytes += len(record)
        self.flush()

    def flush(self) -> None:
        """Write what is held; a full disk has it stay."""
        while self._held:
            record = self._held[0]
            try:
                written = os.pwrite(self._file, record, self.size)
                if written < len(record):
                    os.ftruncate(self._file, self.size)
                    return
            except OSError:
                return
            self.size += written
            self._held_bytes -= written
            del self._held[0]

    def close(self) -> None:
        """Have all of it on the disk."""
        self.flush()
        self.dropped += len(self._held)
        try:
            os.fsync(self._file)
        except OSError:
            return


def _next_record(data: bytes, last: bool) -> bytes:
    """``data`` from where the next record begins, or may begin; its first byte is no beginning."""
    may_begin = len(data) if last else max(1, len(data) - _HEAD.size + 1)
    for at in range(1, len(data) - _HEAD.size + 1):
        length, _ = _HEAD.unpack_from(data, at)
        if not 0 < length <= _LONGEST_AMONG_GARBAGE:
            continue
        if at + _HEAD.size + length > len(data):
            may_begin = min(may_begin, len(data) if last else at)
        elif records.split(data[at : at + _HEAD.size + length])[0]:
            return data[at:]
    return data[may_begin:]
