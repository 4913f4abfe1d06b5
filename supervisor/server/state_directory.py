"""What a supervisor keeps on disk beside the workspace file: ``.supervise`` and the lock in it.

Owns the directory of one workspace (``.supervise/KEY``), the lock that admits one supervisor at a
time, and where logs lie. The lock is the kernel's: it ends with its holder, however that ends.
Notices when any of it was taken away and makes it anew; never the workspace's own directory, which
is the team's. Environments have a directory of their own (``.supervise/envs``), kept by ``envs``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from pathlib import Path
from urllib.parse import quote

from supervisor.access import audit
from supervisor.errors import AlreadyRunningError
from supervisor.state_place import AnothersError, check_owner, unusable

__all__ = ["StateDirectory", "TakenError"]

_IGNORE = "# made by workspace-supervisor; nothing here is yours\n*\n"
# Why a directory takes nothing new: its user, its mount, its disk.
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT})
# File systems take 255 bytes; a log that is rotated has some more behind its name.
_LONGEST_NAME = 220
# What moves along when the workspace's link leads to another directory; the store sees to itself.
_CARRIED = ("keys", "preload.json", "tokens.json", *audit.FILES)


class TakenError(OSError):
    """Another process (``pid``, 0 when it is not known) holds the lock."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"pid {pid} holds the lock of this workspace")
        self.pid = pid


def _file_name(location: str) -> str:
    """The name of a location as that of a file: what that cannot have is escaped as in a URL, and the end of what
    becomes too long by it is a digest."""
    name = quote(location, safe=" @:+=,()[]")
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(location.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{name[: _LONGEST_NAME - 17]}~{digest}"


class StateDirectory:
    """``root``/``key``; ``temporary`` removes it at the end, and is elsewhere where ``root`` takes nothing new.

    ``root`` may lead through links: where they lead later, it is made anew. ``check`` may be called
    in any thread.
    """

    def __init__(self, root: Path, key: str, *, temporary: bool = False) -> None:
        self.root = self.given = root
        self.path = root / key
        self._key = key
        self._temporary = temporary
        self._lock = -1
        self._place = ""  # where it really lies
        self._mending = threading.Lock()
        self._made: list[str] = []  # made again, and not reported yet

    def open(self, title: str) -> None:
        """Create it and take the lock; raises ``AlreadyRunningError`` or ``ConfigurationError``."""
        try:
            self._make_somewhere()
            with contextlib.suppress(OSError):  # they are missed, and nothing else is
                (self.path / "logs").mkdir(exist_ok=True)
        except TakenError as taken:
            raise AlreadyRunningError(title, taken.pid) from None
        except OSError as error:
            raise unusable(self.path, error) from None

    def ensure(self) -> None:
        """Make anew what was taken away.

        Blocks. Raises ``OSError`` when it cannot be, with ``FileNotFoundError`` for a workspace whose
        own directory is gone, and ``TakenError`` when another supervisor holds the lock there.
        """
        with self._mending:
            if self._lock < 0:
                return
            missing = self._missing()
            if not missing:
                return
            self._make()
            (self.path / "logs").mkdir(exist_ok=True)
            still = self._missing()
            self._made += [name for name in missing if name not in still]

    def check(self) -> list[str]:
        """As ``ensure``; the names of what was made anew since the last check (``lock``, ``logs``, …)."""
        self.ensure()
        with self._mending:
            made, self._made = self._made, []
        return list(dict.fromkeys(made))

    def close(self) -> None:
        """Give the lock back."""
        with self._mending:
            if self._lock >= 0:
                if self._temporary and self._holds_lock():
                    with contextlib.suppress(OSError):
                        shutil.rmtree(self.path if self.root == self.given else self.root)
                os.close(self._lock)
                self._lock = -1

    def log_path(self, location: str) -> Path:
        """The log of a location; names that a file cannot have are escaped as in a URL."""
        return self.path / "logs" / f"{_file_name(location)}.log"

    def own_log_path(self, name: str) -> Path:
        """A log of what is no location: not among theirs, so no location can be called like it."""
        return self.path / f"{quote(name, safe=' ')}.log"

    def instance_path(self, location: str) -> Path:
        """Where a framework may keep what it notes of the runs of a location."""
        return self.path / "instances" / _file_name(location)

    def values_path(self, location: str) -> Path:
        """Where native runs of a location keep the values of its assets."""
        return self.path / "values" / _file_name(location)

    def _missing(self) -> list[str]:
        logs = self.path / "logs"
        missing = [path.name for path in (self.root, self.path, logs) if not path.is_dir()]
        if not os.path.lexists(self.root / ".gitignore"):
            missing.append(".gitignore")
        if not self._holds_lock():
            missing.append("lock")
        return missing

    def _holds_lock(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._lock), os.stat(self.path / "lock"))  # noqa: PTH116
        except OSError:
            return False

    def _make_somewhere(self) -> None:
        """As ``_make``; in a directory of temporary files where the workspace's takes nothing new, as the
        checkout that a pipeline mounts read-only."""
        try:
            self._make()
        except (TakenError, AnothersError):
            raise
        except OSError as error:
            if not self._temporary or error.errno not in _REFUSED:
                raise
            try:
                self.root = Path(tempfile.mkdtemp(prefix="supervise-"))
            except OSError:
                raise error from None
            self.path = self.root / self._key
            self._make()

    def _make(self) -> None:
        with contextlib.suppress(FileExistsError):
            self.root.mkdir(mode=0o755)  # whatever the umask allows
        check_owner(self.root)
        self.path.mkdir(mode=0o700, exist_ok=True)
        check_owner(self.root, self.path)
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            with contextlib.suppress(OSError):  # a full disk
                ignore.write_text(_IGNORE)
        if not self._holds_lock():
            self._take_lock()
        before, self._place = self._place, os.path.realpath(self.path)
        if before and before != self._place:
            self._carry(Path(before))

    def _take_lock(self) -> None:
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            os.close(lock)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise TakenError(int(holder) if holder.isdecimal() else 0) from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds without words in it
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = lock

    def _carry(self, before: Path) -> None:
        """Have what was kept ``before`` here, too: the link to the workspace leads elsewhere now."""
        for name in _CARRIED:
            source, goal = before / name, self.path / name
            if not source.exists() or os.path.lexists(goal):
                continue
            with contextlib.suppress(OSError, shutil.Error):
                if source.is_dir():
                    shutil.copytree(source, goal)
                else:
                    shutil.copy2(source, goal)
