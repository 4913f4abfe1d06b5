"""Which files a location depends on, and whether a change in one of them matters to it.

Owns the list that a load left behind, with what each file held then, so that a file that was only
touched, or written again with the same text, reloads nothing. Watches nothing itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from supervisor.specs import LocationSpec, Target, TargetKind

__all__ = ["Interest"]

# Larger files are judged by size and time alone.
_MAX_HASHED = 4 * 1024 * 1024
_MAX_DOUBTS = 3
_UNKNOWN = "unknown"
_IGNORED_SUFFIXES = (".pyc", ".swp", ".swx", "~", ".tmp")
_WATCHED_SUFFIXES = (".py", ".so", ".pyi", ".yaml", ".yml", ".toml")

Signature = tuple[int, int, int]


class Interest:
    """The files one location was made from."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[Signature | None, str]] = {}
        self._folders: frozenset[str] = frozenset()
        self._candidates: frozenset[str] = frozenset()
        self._entries: dict[str, frozenset[str]] = {}
        self._doubted: frozenset[tuple[str, object]] = frozenset()
        self._doubts = 0

    @property
    def directories(self) -> set[str]:
        """The directories that must be watched."""
        found = {os.path.dirname(path) for path in self._files}  # noqa: PTH120  # hot, text only
        return {_nearest(path) for path in found | self._folders | self._candidates}

    def take(
        self,
        spec: LocationSpec,
        files: Iterable[str],
        watch: Iterable[str],
        *,
        loaded_since_ns: int | None,
        keep: bool = False,
    ) -> None:
        """Note what a load used.

        ``files`` are absolute paths; ``watch`` directories in which any change matters. A file
        written after ``loaded_since_ns`` may have been imported before or after that writing: it
        counts as changed, once for each writing; but code that writes its own files whenever it
        is loaded is believed after ``_MAX_DOUBTS`` loads. ``keep`` keeps the earlier files too (a
        failed load saw fewer).
        """
        files = tuple(files)
        wanted = set(files)
        target = spec.target
        folders: set[str] = set()
        if target is not None:
            if target.kind is TargetKind.PYTHON_FILE:
                wanted.add(target.name)
            elif target.kind is TargetKind.AUTOLOAD and not keep:
                folders = {os.path.dirname(path) for path in wanted}  # noqa: PTH120
        known = self._files if keep else {}
        young: set[tuple[str, object]] = set()
        believed = self._doubted if self._doubts < _MAX_DOUBTS else None

        def doubtful(path: str, changed_ns: int, mark: object) -> bool:
            if loaded_since_ns is None or changed_ns <= loaded_since_ns:
                return False
            young.add((path, mark))
            return believed is not None and (path, mark) not in believed

        doubts = 0
        fresh: dict[str, tuple[Signature | None, str]] = dict(known)
        for path in wanted:
            signature = _signature(path)
            digest = _digest(path, signature)
            if signature is not None and doubtful(path, signature[0], signature):
                digest, doubts = _UNKNOWN, doubts + 1
            fresh[path] = (signature, digest)
        self._files = fresh
        listed: dict[str, frozenset[str]] = {}
        if keep:
            self._candidates = frozenset(watch)
            if target is not None and not files:
                # It died or hung, and nobody knows on what: anything nearby may mend it.
                self._candidates |= {str(target.working_directory), *_nearby(target)}
        else:
            self._folders = frozenset(folders) | frozenset(watch)
            self._candidates = frozenset()
        for folder in {_nearest(path) for path in self._folders | self._candidates}:
            entries = _entries(folder)
            # What came while it was loaded may have come too late for it.
            late = {
                n for n, changed in entries.items() if doubtful(f"{folder}/{n}", changed, changed)
            }
            doubts += len(late)
            listed[folder] = frozenset(entries.keys() - late)
        self._entries = listed
        self._doubted = frozenset(young)
        self._doubts = self._doubts + 1 if doubts else 0

    def take_files(self, files: Iterable[str]) -> None:
        """Note ``files`` as they are now, and nothing else."""
        self._files = {path: (one := _signature(path), _digest(path, one)) for path in files}

    def concerned(self, paths: set[str], *, failed: bool) -> set[str]:
        """Which of ``paths`` matter: content that differs from what was loaded, or new files."""
        return {path for path in paths if self._concerns(path, failed)}

    def _concerns(self, path: str, failed: bool) -> bool:
        if path in self._files:
            return self._differs(path)
        if failed and any(one == path or one.startswith(path + os.sep) for one in self._candidates):
            return True
        folder, name = os.path.split(path)
        if _ignored(name) or not (name.endswith(_WATCHED_SUFFIXES) or _is_dir(path)):
            return False
        return folder in self._folders or (
            failed and folder in {_nearest(one) for one in self._candidates}
        )

    def outdated(self) -> set[str]:
        """Files whose content is not what was loaded, and new ones that may have been missing."""
        found = {path for path in self._files if self._differs(path)}
        for folder, known in self._entries.items():
            now = frozenset(_entries(folder))
            self._entries[folder] = now
            found.update(os.path.join(folder, name) for name in now - known)  # noqa: PTH118
        return found

    def _differs(self, path: str) -> bool:
        signature, digest = self._files[path]
        now = _signature(path)
        if now == signature and digest != _UNKNOWN:
            return False
        current = _digest(path, now)
        # Told once: the load that follows reads what is there now.
        self._files[path] = (now, current)
        return current != digest


def _signature(path: str) -> Signature | None:
    try:
        status = os.stat(path)  # noqa: PTH116  # hot: every file of every location
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _digest(path: str, signature: Signature | None) -> str:
    if signature is None:
        return ""
    if signature[1] > _MAX_HASHED:
        return repr(signature)
    try:
        return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return ""


def _nearby(target: Target) -> set[str]:
    """Directories in which the target's own code lies, if it lies where it is usually found."""
    if target.kind is TargetKind.PYTHON_FILE:
        return {os.path.dirname(target.name)}  # noqa: PTH120
    found, folder = set(), str(target.working_directory)
    for part in target.name.split("."):
        folder = os.path.join(folder, part)  # noqa: PTH118
        if os.path.isdir(folder):  # noqa: PTH112
            found.add(folder)
    return found


def _ignored(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__" or name.endswith(_IGNORED_SUFFIXES)


def _entries(folder: str) -> dict[str, int]:
    """What in ``folder`` could be imported or read: names, and when each was last changed (ns)."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not _ignored(entry.name) and (
                entry.name.endswith(_WATCHED_SUFFIXES) or entry.is_dir()
            ):
                with contextlib.suppress(OSError):
                    # Python has found a folder that it compiled into, however young it looks.
                    seen = entry.is_dir() and _is_dir(f"{entry.path}/__pycache__")
                    found[entry.name] = 0 if seen else entry.stat().st_ctime_ns
    return found


def _is_dir(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112


def _nearest(path: str) -> str:
    """``path``, or the nearest directory above it that exists: it may be created one day."""
    while not os.path.isdir(path):  # noqa: PTH112
        above = os.path.dirname(path)  # noqa: PTH120
        if above == path:
            break
        path = above
    return path
