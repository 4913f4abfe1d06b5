"""Where a supervisor and its clients meet: runtime directory, sockets, who is running.

Owns the private runtime directory (0700, ours, no symlink) with one subdirectory a workspace, the
names of the sockets in it, and ``supervisor.json``, which tells clients which supervisor they talk to. Notices
when any of it was taken away, and makes anew what it can; the sockets themselves are bound by who
holds them. Light: clients import it, so it imports nothing that is slow. Never deletes what a live
supervisor uses.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor import procfs
from supervisor.errors import (
    ConfigurationError,
    ConfigurationProblem,
    NotRunningError,
    UnreachableError,
)
from supervisor.specs import SourcePosition

if TYPE_CHECKING:
    from supervisor.presence import Holder

__all__ = [
    "CONTROL",
    "SHIMS",
    "RuntimeDirectory",
    "living",
    "process_birth",
    "reachable",
    "running_supervisors",
    "supervised",
]

CONTROL, SHIMS = "control.sock", "shims.sock"
_INFO = "supervisor.json"
# Why a directory takes nothing from this user.
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
# How long a supervisor may take to make its runtime files anew (seconds).
_MENDING = 4.0
_APPLICATION = "workspace-supervisor"
# sun_path holds 107 bytes on Linux and 103 on macOS; ours add "/<16 hex>/control.sock".
_LONGEST_BASE = 103 - 1 - 16 - len("/control.sock")


class RuntimeDirectory:
    """The meeting place of one workspace, named by its directory and key."""

    def __init__(self, base: Path, directory: Path, key: str) -> None:
        self._base = base
        name = hashlib.sha256(f"{directory}\0{key}".encode()).hexdigest()[:16]
        self.workspace_directory = directory
        self.key = key
        self.path = base / name
        self.info: dict[str, Any] = {}
        self._bound: dict[str, tuple[int, int, int]] = {}

    @classmethod
    def for_workspace(
        cls, directory: Path, key: str, environ: Mapping[str, str]
    ) -> RuntimeDirectory:
        """The place for the workspace ``key`` in ``directory`` (absolute); creates nothing."""
        return cls(_base_directory(environ), directory, key)

    @property
    def control_address(self) -> str:
        """The ZeroMQ address clients connect to."""
        return f"ipc://{self.path}/{CONTROL}"

    @property
    def shim_address(self) -> str:
        """The ZeroMQ address shims connect to."""
        return f"ipc://{self.path}/{SHIMS}"

    @property
    def base_info(self) -> dict[str, Any]:
        """What can be said of this supervisor before it is announced."""
        return {
            "pid": os.getpid(),
            "create_time": process_birth(os.getpid()),
            "directory": str(self.workspace_directory),
            "key": self.key,
        }

    def running(self) -> dict[str, Any] | None:
        """What ``supervisor.json`` says of the live supervisor, or None when none lives."""
        return _read_info(self.path)

    def open(self) -> None:
        """Create the directories and clear what a dead supervisor left; for the supervisor only."""
        for directory in (self._base, self.path):
            try:
                _private_directory(directory)
            except OSError as error:
                if error.errno not in _REFUSED:
                    raise
                reason = (error.strerror or str(error)).lower()
                raise _unusable(
                    directory, f"the runtime directory cannot be made: {reason}"
                ) from None
        for name in (CONTROL, SHIMS, _INFO):
            with contextlib.suppress(FileNotFoundError):
                (self.path / name).unlink()

    def announce(self, info: Mapping[str, Any]) -> None:
        """Write ``supervisor.json`` in one step, for when the sockets are bound; ``pid`` and
        ``create_time`` are added."""
        self.info = {
            **self.base_info,
            "started": time.time(),
            "control_address": self.control_address,
            **info,
        }
        self.note(CONTROL, SHIMS)
        self._write_info()

    def note(self, *names: str) -> None:
        """Sockets of these names were bound: they are what has to be there from now on."""
        for name in names:
            found = _identity(self.path / name)
            if found is None:
                self._bound.pop(name, None)
            else:
                self._bound[name] = found

    def mend(self) -> list[str]:
        """Make anew what was taken away since ``announce``: the names of all that was missing.

        Sockets among them are to be bound again, and then noted. Blocks. Raises ``OSError``, and
        ``ConfigurationError`` where something stands that is not ours.
        """
        if not self.info:
            return []
        with contextlib.suppress(FileExistsError):
            self._base.parent.mkdir(mode=0o700)  # of a user who logged out
        for directory in (self._base, self.path):
            _private_directory(directory)
        lost = [name for name in (CONTROL, SHIMS) if not self._is_there(name)]
        if not self._is_there(_INFO):
            lost.append(_INFO)
            self._write_info()
        return lost

    def close(self) -> None:
        """Remove everything of this workspace; for the supervisor that opened it."""
        if not _is_private(self.path):
            return  # it was taken away, and what stands there is not ours
        for name in (CONTROL, SHIMS, _INFO):
            for path in self._places(name):
                if self._bound.get(name) in (None, _identity(path)):
                    with contextlib.suppress(OSError):
                        path.unlink()
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def _write_info(self) -> None:
        temporary = self.path / f"{_INFO}.new"
        temporary.write_text(json.dumps(self.info))
        temporary.replace(self.path / _INFO)
        self.note(_INFO)

    def _is_there(self, name: str) -> bool:
        expected = self._bound.get(name)
        return expected is not None and expected in map(_identity, self._places(name))

    def _places(self, name: str) -> tuple[Path, Path]:
        """Where a file may be: a socket is hidden for a while when descriptors are scarce."""
        return self.path / name, self.path / f".{name}"


def supervised(
    identities: Iterable[tuple[Path, str]], environ: Mapping[str, str]
) -> dict[str, Any] | None:
    """What the supervisor of the workspace with these names says of itself, None when none lives.

    A workspace that is reached through links has several names; where they lead is looked at now.
    """
    names = list(identities)
    for directory, key in names:
        info = RuntimeDirectory.for_workspace(directory, key, environ).running()
        if info is not None:
            return info
    places = {(os.path.realpath(directory), key) for directory, key in names}
    for info in running_supervisors(environ):
        place = (os.path.realpath(str(info.get("directory"))), info.get("key"))
        if place in places:
            return info
    return None


def reachable(info: Mapping[str, Any]) -> bool:
    """True while the supervisor that says ``info`` has files to be reached by."""
    # Either will do: a socket is hidden for a while when descriptors are scarce.
    socket = Path(str(info.get("control_address", "")).removeprefix("ipc://"))
    return socket.exists() or socket.with_name(_INFO).exists()


def living(
    identities: Sequence[tuple[Path, str]], title: str, environ: Mapping[str, str]
) -> Mapping[str, Any] | None:
    """What the supervisor of the workspace with these names says of itself; None when none runs.

    One whose runtime files were taken away makes them anew at once, so it is waited for. Raises
    ``UnreachableError`` when it does not, and ``NotRunningError`` for one that is only starting;
    ``title`` is the workspace as people name it.
    """
    from supervisor.presence import holder_of

    info: Mapping[str, Any] | None = supervised(identities, environ)
    if info is not None and reachable(info):
        return info
    deadline = time.monotonic() + _MENDING
    while True:
        holder = next(filter(None, map(holder_of, identities)), None)
        if holder is None:
            return None
        if holder.info is not None:
            address = holder.info.get("control_address")
            if address is None:
                hint = f"pid {holder.pid} is starting: `supervise wait` waits for it"
                raise NotRunningError(title, hint=hint)
            if reachable(holder.info):
                return holder.info
        if time.monotonic() >= deadline:
            raise _unreachable(holder, title)
        time.sleep(0.05)


def _unreachable(holder: Holder, title: str) -> UnreachableError:
    from supervisor import procfs

    pid = holder.pid
    if procfs.state(pid) in ("T", "t"):
        reason = "its runtime files are gone, and it is suspended"
        hint = f"`kill -CONT {pid}` continues it, and it creates them again"
    elif holder.info is None:
        reason, hint = "its runtime files are gone, and it does not answer", f"see `ps -p {pid}`"
    else:
        directory = Path(str(holder.info["control_address"]).removeprefix("ipc://")).parent
        reason = f"its runtime directory {directory} is gone and it cannot create it again"
        hint = f"log in again, or stop it with `kill {pid}`"
    return UnreachableError(title, pid, reason, hint=hint)


def running_supervisors(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """What each live supervisor that meets clients here says of itself, oldest first.

    One whose runtime files were taken away is among them.
    """
    from supervisor.presence import holders

    found = {
        info["pid"]: info for path in _workspace_directories(environ) if (info := _read_info(path))
    }
    here = {_base_directory(environ)}
    runtime = Path(environ.get("XDG_RUNTIME_DIR", ""))
    if runtime.is_absolute():  # it may be gone, like all that was in it
        here.add(runtime / _APPLICATION)
    for holder in holders(found):
        info = dict(holder.info or {})
        socket = Path(str(info.get("control_address", "")).removeprefix("ipc://"))
        if socket.parent.parent in here:
            found.setdefault(holder.pid, info)
    return sorted(found.values(), key=lambda info: float(info.get("started", 0)))


def process_birth(pid: int) -> str | None:
    """A token that tells this process from a later one of the same pid; None when it is gone.

    On Linux the start time in clock ticks since boot (field 22 of /proc/PID/stat, proc(5)).
    """
    try:
        fields = procfs.stat(pid)
    except FileNotFoundError:
        if not Path("/proc/self/stat").exists():
            return _birth_elsewhere(pid)
        return None
    except OSError:
        return None
    return None if fields[0] in b"ZX" else fields[19].decode("ascii")


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


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What tells the file at ``path`` from another one; some file systems use inodes again."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _is_private(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _unusable(path: Path, what: str, remedy: str = "") -> ConfigurationError:
    return ConfigurationError(
        [ConfigurationProblem(SourcePosition(str(path)), "", what)],
        hint=f"{remedy}point XDG_RUNTIME_DIR at a directory that only you can write to",
    )


def _private_directory(path: Path) -> None:
    """Make ``path`` 0700 and ours, or refuse: in a shared directory any user could connect."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if not _is_private(path):
        what = "the runtime directory is not a directory of yours, so sockets in it would not be private"
        raise _unusable(path, what, "remove it, or ")
    if path.lstat().st_mode & 0o077:
        path.chmod(0o700)
