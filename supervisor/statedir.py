"""What a supervisor keeps on disk beside the workspace file: ``.supervise`` and the lock in it.

Owns the directory of one workspace (``.supervise/KEY``), the lock that admits one supervisor at a
time, and where logs lie. The lock is the kernel's: it ends with its holder, however that ends.
Environments have a directory of their own (``.supervise/envs``), kept by ``envs``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from urllib.parse import quote

from supervisor.errors import AlreadyRunningError, ConfigurationError, ConfigurationProblem
from supervisor.specs import SourcePosition

__all__ = ["StateDirectory"]


class StateDirectory:
    """``root``/``key``; ``temporary`` removes it at the end."""

    def __init__(self, root: Path, key: str, *, temporary: bool = False) -> None:
        self._root = root
        self.path = root / key
        self._temporary = temporary
        self._lock = -1

    def open(self, title: str) -> None:
        """Create it and take the lock; raises ``AlreadyRunningError`` or ``ConfigurationError``."""
        try:
            with contextlib.suppress(FileExistsError):
                self._root.mkdir(mode=0o755, parents=True)  # whatever the umask allows
            self.path.mkdir(mode=0o700, exist_ok=True)
            ignore = self._root / ".gitignore"
            if not ignore.exists():
                with contextlib.suppress(OSError):  # a full disk
                    ignore.write_text("# made by workspace-supervisor; nothing here is yours\n*\n")
            lock = self.path / "lock"
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(
                [
                    ConfigurationProblem(
                        SourcePosition(str(self.path)),
                        "",
                        f"the state directory cannot be used: {(error.strerror or '').lower()}",
                    )
                ],
                hint="logs, environments and snapshots are kept beside the workspace file: "
                "make that directory writable for this user",
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
            os.close(self._lock)
            self._lock = -1
            raise AlreadyRunningError(title, int(holder) if holder.isdecimal() else 0) from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds without words in it
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock >= 0:
            if self._temporary:
                with contextlib.suppress(OSError):
                    shutil.rmtree(self.path)
            os.close(self._lock)
            self._lock = -1

    def log_path(self, location: str) -> Path:
        """The log of a location; names that a file cannot have are escaped as in a URL."""
        return self.path / "logs" / f"{quote(location, safe=' @:+=,()[]')}.log"
