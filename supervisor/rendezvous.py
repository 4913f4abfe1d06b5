"""Where a supervisor and its clients meet: runtime directory, sockets, who is running.

Owns the private runtime directory (0700, ours, no symlink) with one subdirectory a workspace, the
names of the sockets in it, and ``supervisor.json``, which tells clients whom they talk to. Light:
clients import it, so it imports nothing that is slow. Never deletes what a live supervisor uses.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.specs import SourcePosition

__all__ = ["Rendezvous", "process_birth", "running_supervisors"]

_INFO = "supervisor.json"
_APPLICATION = "workspace-supervisor"
# sun_path holds 107 bytes on Linux and 103 on macOS; ours add "/<16 hex>/control.sock".
_LONGEST_BASE = 103 - 1 - 16 - len("/control.sock")


class Rendezvous:
    """The meeting place of one workspace, named by its directory and key."""

    def __init__(self, base: Path, directory: Path, key: str) -> None:
        self._base = base
        name = hashlib.sha256(f"{directory}\0{key}".encode()).hexdigest()[:16]
        self.workspace_directory = directory
        self.key = key
        self.runtime_directory = base / name

    @classmethod
    def for_workspace(cls, directory: Path, key: str, environ: Mapping[str, str]) -> Rendezvous:
        """The place for the workspace ``key`` in ``directory`` (absolute); creates nothing."""
        return cls(_base_directory(environ), directory, key)

    @property
    def control_address(self) -> str:
        """The ZeroMQ address clients connect to."""
        return f"ipc://{self.runtime_directory}/control.sock"

    @property
    def shim_address(self) -> str:
        """The ZeroMQ address shims connect to."""
        return f"ipc://{self.runtime_directory}/shims.sock"

    def running(self) -> dict[str, Any] | None:
        """What ``supervisor.json`` says of the live supervisor, or None when none lives."""
        return _read_info(self.runtime_directory)

    def open(self) -> None:
        """Create the directories and clear what a dead supervisor left; for the supervisor only."""
        for directory in (self._base, self.runtime_directory):
            _private_directory(directory)
        for name in ("control.sock", "shims.sock", _INFO):
            with contextlib.suppress(FileNotFoundError):
                (self.runtime_directory / name).unlink()

    def announce(self, info: Mapping[str, Any]) -> None:
        """Write ``supervisor.json`` in one step; ``pid`` and ``create_time`` are added."""
        pid = os.getpid()
        document = {
            "pid": pid,
            "create_time": process_birth(pid),
            "started": time.time(),
            "directory": str(self.workspace_directory),
            "key": self.key,
            "control_address": self.control_address,
            **info,
        }
        temporary = self.runtime_directory / f"{_INFO}.new"
        temporary.write_text(json.dumps(document))
        temporary.replace(self.runtime_directory / _INFO)

    def close(self) -> None:
        """Remove everything of this workspace; for the supervisor that opened it."""
        for name in ("control.sock", "shims.sock", _INFO):
            with contextlib.suppress(OSError):
                (self.runtime_directory / name).unlink()
        with contextlib.suppress(OSError):
            self.runtime_directory.rmdir()


def running_supervisors(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """What each live supervisor of this user says of itself, oldest first."""
    found = [info for path in _workspace_directories(environ) if (info := _read_info(path))]
    return sorted(found, key=lambda info: float(info.get("started", 0)))


def process_birth(pid: int) -> str | None:
    """A token that tells this process from a later one of the same pid; None when it is gone.

    On Linux the start time in clock ticks since boot (field 22 of /proc/PID/stat, proc(5)).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        if not Path("/proc/self/stat").exists():
            return _birth_elsewhere(pid)
        return None
    except (OSError, UnicodeDecodeError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else fields[19]


def _birth_elsewhere(pid: int) -> str | None:
    import psutil

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _workspace_directories(environ: Mapping[str, str]) -> Iterator[Path]:
    base = _base_directory(environ)
    with contextlib.suppress(OSError):
        if base.stat().st_uid == os.getuid():
            yield from (path for path in base.iterdir() if path.is_dir())


def _read_info(directory: Path) -> dict[str, Any] | None:
    try:
        if directory.stat().st_uid != os.getuid():
            return None
        info = json.loads((directory / _INFO).read_text())
        pid = info["pid"]
        alive = process_birth(pid)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return info if alive is not None and alive == info.get("create_time") else None


def _base_directory(environ: Mapping[str, str]) -> Path:
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_absolute():
        base = Path(runtime) / _APPLICATION
        if len(os.fsencode(base)) <= _LONGEST_BASE and Path(runtime).is_dir():
            return base
    return Path("/tmp") / f"{_APPLICATION}-{os.getuid()}"  # noqa: S108  # checked to be ours, 0700


def _private_directory(path: Path) -> None:
    """Make ``path`` 0700 and ours, or refuse: sockets in a shared directory are anybody's."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ConfigurationError(
            [
                ConfigurationProblem(
                    SourcePosition(str(path)),
                    "",
                    "the runtime directory is not a directory of yours, so sockets in it would not be private",
                )
            ],
            hint="remove it, or point XDG_RUNTIME_DIR at a directory that only you can write to",
        )
    if status.st_mode & 0o077:
        path.chmod(0o700)
