"""The journal of one run: a directory with everything about it, which outlives all processes.

Owns the files in it. All blocks, so it is called in threads:

========================  ======================================================================
``order``                 what is to run; on disk before anything starts; names format and boot
``monitor.lock``          a POSIX lock (fcntl(2)) that the monitor holds for as long as it lives
``begun``                 the monitor has taken the run on; without it starting again is safe
``events``                records in order (runner_shim/records.py), read up to the first bad one
``out.N``, ``err.N``      output from byte N on; the last two of each are kept
``cancel``                a client cancelled it: who, when, how
``final``                 the one final record; made with link(2), so there is never a second
``retry``, ``retried``    the id of the run that repeats this one: planned, and ordered
``trouble``               the error of a monitor that could not continue
``recorded``              the framework whose own records know of the run
``told``                  its end was reported to those records, since the run could not write it
``report``                the error of that report
========================  ======================================================================

Decides nothing about a run: ``store`` does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner_shim import records

__all__ = ["FORMAT", "Journal", "boot_id", "sync"]

FORMAT = 1
# How much of a file is read at once.
_PIECE = 1024 * 1024
# struct flock of fcntl(2) where off_t has 64 bits: type, whence, start, length, pid.
_FLOCK = struct.Struct("hhqqi4x")


def boot_id() -> str:
    """Which run of the machine this is; "" where that is not told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Journal:
    """The journal in the directory ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, order: Mapping[str, Any]) -> None:
        """Make the directory and have ``order`` on the disk; raises OSError, and leaves nothing then."""
        self.settle(self.begin(order))
        try:
            sync(self.path.parent)
        except OSError:
            self.withdraw()
            raise

    def begin(self, order: Mapping[str, Any]) -> int:
        """Make the directory with ``order``, under another name; a descriptor for ``settle``. Raises as
        ``create``."""
        made = self._made
        made.mkdir(mode=0o700, parents=False)
        try:
            return _written(made / "order", records.framed(records.pack(dict(order))))
        except Exception:
            self._unmake()
            raise

    def settle(self, file: int) -> None:
        """Have what was begun on the disk under its name, but for the directory that holds it. Raises as
        ``create``."""
        try:
            try:
                os.fsync(file)
            finally:
                os.close(file)
            sync(self._made)
            self._made.rename(self.path)
        except OSError:
            self._unmake()
            raise

    def withdraw(self) -> None:
        """Take back what was settled and is refused all the same: no later supervisor may start it."""
        with contextlib.suppress(OSError):
            self.path.rename(self._made)
        self._unmake()

    @property
    def _made(self) -> Path:
        return self.path.with_name(f".{self.path.name}.new")

    def _unmake(self) -> None:
        with contextlib.suppress(OSError):
            (self._made / "order").unlink(missing_ok=True)
            self._made.rmdir()

    def order(self) -> dict[str, Any] | None:
        """What is to run; None where that cannot be read."""
        return _map(self._read("order"))

    def begun(self) -> dict[str, Any] | None:
        """``{"pid", "time"}`` of the monitor; {} when only its being there tells; None: not begun."""
        data = self._read("begun")
        return None if data is None else _map(data) or {}

    def final(self) -> dict[str, Any] | None:
        """The final record."""
        return _map(self._read("final"))

    def cancelled(self) -> dict[str, Any] | None:
        """Who cancelled it, when and how; None where it was not cancelled."""
        data = self._read("cancel")
        return None if data is None else _map(data) or {}

    def retried_by(self) -> str:
        """The run that repeats this one, "" when none has been ordered."""
        return str((_map(self._read("retried")) or {}).get("run") or "")

    def order_again(self, order: Mapping[str, Any]) -> str:
        """Have ``order`` repeat this run, once however often it is asked: its id, which may be another
        than in ``order`` where an earlier attempt was interrupted. Raises OSError.
        """
        done = self.retried_by()
        if done:
            return done
        planned = str((_map(self._read("retry")) or {}).get("run") or "")
        if not planned:
            planned = str(order["run"])
            self._put("retry", records.framed(records.pack({"run": planned})))
        other = Journal(self.path.with_name(planned))
        if not other.path.exists():
            other.create({**order, "run": planned})
        (self.path / "retry").rename(self.path / "retried")
        return planned

    def reorder(self, order: Mapping[str, Any]) -> None:
        """Replace the order of a run that has not begun; raises OSError."""
        self._put("order", records.framed(records.pack(dict(order))))

    def trouble(self) -> str:
        """The last line that a monitor wrote which could not go on."""
        return self._last_line("trouble")

    def recorded(self) -> str:
        """The framework whose own records know of the run, or ""."""
        found = (_map(self._read("recorded")) or {}).get("framework")
        return str(found or (self.order() or {}).get("recorded") or "")

    def told(self) -> bool:
        """True once those know how it ended, where it could not tell them itself."""
        return (self.path / "told").exists()

    def untold_because(self) -> str:
        """Why they do not, as far as it was tried."""
        return self._last_line("report")

    def tell(self, why_not: str) -> None:
        """They know, or ``why_not``."""
        if why_not:
            (self.path / "report").write_text(why_not + "\n", encoding="utf-8")
        else:
            (self.path / "told").touch(mode=0o600)

    def monitor(self) -> int:
        """The process id of the monitor that lives, 0 when none does.

        -1: one lives whose process id means nothing here (another container's).
        """
        try:
            lock = os.open(self.path / "monitor.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(lock, fcntl.F_GETLK, asked))
        finally:
            os.close(lock)
        if kind == fcntl.F_UNLCK:
            return 0
        return pid if pid > 0 else -1

    def ask(self, who: str, how: str) -> None:
        """Leave word for the monitor to end the run: ``how`` is ``ask`` or ``now``."""
        record = records.pack({"who": who, "time": time.time(), "how": how})
        self._put("cancel", records.framed(record))

    def finish(self, state: str, reason: str, **more: Any) -> bool:
        """Write the final record of a run whose monitor does not live; False when one does.

        True also when there is a final record already; one that cannot be read is replaced.
        """
        lock = os.open(self.path / "monitor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            final = {
                "state": state,
                "reason": reason,
                "step": None,
                "status": None,
                "signal": None,
                "limit": None,
                "untold": self.recorded() or None,
                "failure": None,
                "ended": time.time(),
                **more,
            }
            made = self.path / f".final.{secrets.token_hex(4)}"
            try:
                _write(made, records.framed(records.pack(final)))
                os.link(made, self.path / "final")
            except FileExistsError:
                if self.final() is None:  # a crash of the machine has damaged it
                    made.rename(self.path / "final")
            finally:
                made.unlink(missing_ok=True)
            sync(self.path)
            return True
        finally:
            os.close(lock)

    def events(self, after: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Events from byte ``after`` on, as many as are read at once, and where they end.

        Nothing is read behind the first record that is damaged.
        """
        data = self._piece("events", after)
        payloads, end, _ = records.split(data)
        found = []
        for payload in payloads:
            with contextlib.suppress(records.RecordError):
                event = records.unpack(payload)
                if isinstance(event, dict):
                    found.append(event)
        return found, after + end

    def output(self, stream: str, after: int = 0, most: int = _PIECE) -> tuple[bytes, int]:
        """Output of ``out`` or ``err`` from byte ``after`` on (later where that is not kept any
        more), and the number of the byte behind it."""
        parts = self._parts(stream)
        for position, begin in enumerate(parts):
            end = parts[position + 1] if position + 1 < len(parts) else None
            if end is not None and after >= end:
                continue
            at = max(after, begin)
            data = self._piece(f"{stream}.{begin}", at - begin, most)
            if data or end is None:
                return data, at + len(data)
        return b"", after

    def _parts(self, stream: str) -> list[int]:
        try:
            names = [path.name.rpartition(".") for path in self.path.iterdir()]
        except OSError:
            return []
        return sorted(int(n) for head, _, n in names if head == stream and n.isdecimal())

    def _put(self, name: str, data: bytes) -> None:
        """Have a whole file ``name`` in one moment."""
        made = self.path / f".{name}.{secrets.token_hex(4)}"
        try:
            _write(made, data)
            made.rename(self.path / name)
        except OSError:
            made.unlink(missing_ok=True)
            raise

    def _last_line(self, name: str) -> str:
        lines = (self._read(name) or b"").decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:500] if lines else ""

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            return b""

    def _piece(self, name: str, at: int, most: int = _PIECE) -> bytes:
        try:
            with (self.path / name).open("rb") as file:
                file.seek(at)
                return file.read(most)
        except OSError:
            return b""


def _map(data: bytes | None) -> dict[str, Any] | None:
    """The map in the first record."""
    try:
        payloads, _, _ = records.split(data or b"")
        value = records.unpack(payloads[0])
    except (IndexError, records.RecordError):
        return None
    return value if isinstance(value, dict) else None


def _write(path: Path, data: bytes) -> None:
    file = _written(path, data)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _written(path: Path, data: bytes) -> int:
    """A new file with ``data``, which is not on the disk yet."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while data:
            data = data[os.write(file, data) :]
    except OSError:
        os.close(file)
        raise
    return file


def sync(directory: Path) -> None:
    """Have the names in ``directory`` on the disk; raises OSError."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
