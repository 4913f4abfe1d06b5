"""What files hold, told by a few bytes each; one cache for all locations of the process.

Owns the cache: a path's digest stays valid as long as its signature (times, size, inode) does. Only
files that an owner has named are remembered. Safe to use from several threads, and made for them: a
file may be on a disk that hangs. A file that several threads ask for at once is read by one of them.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections import Counter
from pathlib import Path

__all__ = ["ABSENT", "DIRECTORY", "Digests", "Seen", "Signature", "modified_ns"]

# Larger files are judged by size and time alone.
_MAX_HASHED = 4 * 1024 * 1024
# Two writings within one tick of a file system's clock have the same times: of the kernel's at 100 Hz,
# and of one that counts in seconds, or in two of them (ns).
_TICK = 10_000_000
_COARSE_TICK = 2_000_000_000

_MAX_SHARED = 1000

ABSENT = ""
DIRECTORY = "directory"

Signature = tuple[int, int, int, int]
Seen = tuple[Signature | None, str]
"""A file's signature, and the digest of what it holds: ``ABSENT`` and ``DIRECTORY`` are two more."""


class Digests:
    """The digests of files. ``read`` counts the files that were read and hashed."""

    def __init__(self) -> None:
        self.read = 0
        self._known: dict[str, Seen] = {}
        self._owners: dict[str, frozenset[str]] = {}
        self._uses: Counter[str] = Counter()
        self._busy: set[str] = set()
        self._shared: dict[frozenset[str], frozenset[str]] = {}
        self._turn = threading.Condition()

    def __len__(self) -> int:
        return len(self._known)

    def share(self, paths: frozenset[str]) -> frozenset[str]:
        """``paths``, the same object for all that have the same: very many owners do."""
        if len(self._shared) > _MAX_SHARED:
            self._shared.clear()
        return self._shared.setdefault(paths, paths)

    def keep(self, owner: str, paths: frozenset[str]) -> None:
        """``owner`` asks for these from now on; what nobody asks for any more is forgotten."""
        with self._turn:
            before = self._owners.pop(owner, frozenset())
            if paths:
                self._owners[owner] = paths
            self._uses.update(paths - before)
            for path in before - paths:
                self._uses[path] -= 1
                if not self._uses[path]:
                    del self._uses[path]
                    self._known.pop(path, None)

    def look(self, path: str, status: os.stat_result | None) -> Seen:
        """What is at ``path``, of which ``lstat`` has just told ``status``."""
        if status is None:
            return None, ABSENT
        if not stat.S_ISREG(status.st_mode):
            return None, DIRECTORY if stat.S_ISDIR(status.st_mode) else ABSENT
        signature = status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
        if status.st_size > _MAX_HASHED:
            return signature, repr(signature)
        with self._turn:
            while (known := self._known.get(path)) is None or known[0] != signature:
                if path not in self._busy:
                    self._busy.add(path)
                    break
                self._turn.wait()
            else:
                return known
        seen: Seen = None, ABSENT
        settled = False
        try:
            changed = max(signature[:2])
            tick = _TICK if changed % 1_000_000_000 else _COARSE_TICK
            settled = time.time_ns() - changed > tick
            seen = signature, _digest(path)
        finally:
            with self._turn:
                self.read += 1
                self._busy.discard(path)
                if settled and path in self._uses:
                    self._known[path] = seen
                self._turn.notify_all()
        return seen


def _digest(path: str) -> str:
    try:
        return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
    except (OSError, ValueError):
        return ABSENT  # nobody's to read, or gone meanwhile


def modified_ns(path: str) -> int | None:
    """When the file at ``path`` was last written (Unix nanoseconds), None where none can be seen."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116  # of text, as reported
    except (OSError, ValueError):
        return None
