"""A mark of a running supervisor that needs no file, so that it cannot be removed from a disk.

Owns the third of the three signs of a supervisor (``supervisor.json`` and the lock are the others):
on Linux an abstract Unix socket (unix(7)) for each name of its workspace. The kernel admits one
holder of a name and ends it with its process. Who holds a name is told by the kernel (SO_PEERCRED),
also while the holder is stopped; the holder itself tells what ``supervisor.json`` holds.

The name is made of the user, the root directory, and the workspace's directory and key. What another
user holds is not believed. Containers may share names and no files: of a holder that is seen to
mean another directory by the same path nothing is taken, either. Elsewhere than on Linux there is no
such sign. Light: clients import it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Holder", "Identity", "Presence", "believed", "holder_of", "holders", "socket_name"]

Identity = tuple[Path, str]
"""The directory (absolute) and the key of a workspace."""

_PREFIX = "workspace-supervisor"
_BACKLOG = 64
_ATTEMPTS = 3
_LONGEST_INFO = 1024 * 1024
# How long a holder may take to tell about itself: its event loop may have other work (seconds).
_PATIENCE = 1.0
# How long connections wait when none can be accepted for want of descriptors (seconds).
_AGAIN = 1.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a name. ``pid`` is 0 in a pid namespace that is not seen from here, and -1 when so
    many ask already that the kernel cannot tell; ``info`` is what it says of itself, None when it
    does not answer."""

    pid: int
    uid: int
    info: Mapping[str, Any] | None = None


class Presence:
    """The names that this supervisor holds. ``info`` gives what is told to those who ask."""

    def __init__(self, info: Callable[[], Mapping[str, Any]]) -> None:
        self._info = info
        self._held: dict[Identity, socket.socket] = {}

    async def hold(self, identities: Iterable[Identity]) -> dict[Identity, Holder]:
        """Hold these names and no others; those that cannot be had, and who holds them.

        The event loop answers those who ask from now on.
        """
        import asyncio

        wanted = list(dict.fromkeys(identities))
        for one in self._held.keys() - set(wanted):
            self._give_back(self._held.pop(one))
        refused: dict[Identity, Holder] = {}
        for one in wanted if sys.platform == "linux" else ():
            if one not in self._held:
                try:
                    taken = await asyncio.to_thread(_bind, one)
                except OSError:  # a sandbox that allows none: the other two signs are left
                    continue
                if isinstance(taken, Holder):
                    refused[one] = taken
                else:
                    self._held[one] = taken
                    self._listen(taken)
        return refused

    def close(self) -> None:
        """Give all names back."""
        for listener in self._held.values():
            self._give_back(listener)
        self._held.clear()

    def _listen(self, listener: socket.socket) -> None:
        import asyncio

        if listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listener, self._answer, listener)

    def _give_back(self, listener: socket.socket) -> None:
        import asyncio

        with contextlib.suppress(RuntimeError):  # the loop has ended
            asyncio.get_running_loop().remove_reader(listener)
        listener.close()

    def _answer(self, listener: socket.socket) -> None:
        import asyncio

        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor is left: the others wait
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(_AGAIN, self._listen, listener)
            return
        with connection, contextlib.suppress(OSError):
            if _credentials(connection)[1] == os.getuid():
                connection.setblocking(False)
                connection.send(json.dumps(dict(self._info())).encode())


def holder_of(identity: Identity) -> Holder | None:
    """The supervisor of this user that holds ``identity``, None when none does."""
    if sys.platform != "linux":
        return None
    return believed(_ask(socket_name(identity)), identity[0])


def holders(known: Container[int] = ()) -> list[Holder]:
    """The supervisors of this user that hold names and say what they are, but for the pids
    ``known``."""
    found: dict[int, Holder] = {}
    for name in _bound_names():
        holder = _ask(name, known)
        directory = holder.info.get("directory") if holder and holder.info else None
        if isinstance(directory, str) and believed(holder, Path(directory)) and holder:
            found[holder.pid] = holder
    return list(found.values())


def socket_name(identity: Identity) -> str:
    root = os.stat("/")  # noqa: PTH116  # of another container it is another
    directory, key = identity
    text = f"{root.st_dev}:{root.st_ino}\0{directory}\0{key}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return f"{_PREFIX}/{os.getuid()}/{digest}"


def _bound_names() -> Iterator[str]:
    mine = f"@{_PREFIX}/{os.getuid()}/"
    try:
        table = Path("/proc/net/unix").read_text(errors="replace")
    except OSError:
        return
    names = {line[line.index(mine) + 1 :] for line in table.splitlines() if mine in line}
    yield from sorted(names)


def _bind(identity: Identity) -> socket.socket | Holder:
    name = socket_name(identity)
    for _ in range(_ATTEMPTS):
        taken = _try_to_bind(name)
        if taken is not None:
            return taken
    return Holder(0, -1)


def _try_to_bind(name: str) -> socket.socket | Holder | None:
    """None when its holder has ended meanwhile."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.bind(f"\0{name}")
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return _ask(name)
    return listener


def _ask(name: str, known: Container[int] = ()) -> Holder | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            connection.connect(f"\0{name}")
        except BlockingIOError:  # more wait than may: it is stopped, or very busy
            return Holder(-1, os.getuid())
        except OSError:
            return None
        pid, uid, _ = _credentials(connection)
        mine = uid == os.getuid() and pid not in known
        info = _read_info(connection) if mine else None
        if info is not None and pid and info.get("pid") != pid:
            info = None
        return Holder(pid, uid, info)


def _credentials(connection: socket.socket) -> tuple[int, int, int]:
    """pid, uid and gid of the other side; of a listener, as they were when it began to listen."""
    layout = struct.Struct("3i")
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
    pid, uid, gid = layout.unpack(data)
    return pid, uid, gid


def _read_info(connection: socket.socket) -> Mapping[str, Any] | None:
    data = b""
    deadline = time.monotonic() + _PATIENCE
    try:
        while len(data) < _LONGEST_INFO:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            part = connection.recv(65536)
            if not part:
                break
            data += part
        info = json.loads(data)
    except (OSError, ValueError, RecursionError):
        return None
    return info if isinstance(info, dict) else None


def believed(holder: Holder | None, directory: Path) -> Holder | None:
    """``holder`` if it is of this user and means the same place by ``directory``."""
    if holder is None or holder.uid != os.getuid():
        return None
    if holder.pid <= 0:
        return holder if holder.pid else None  # 0: in another container
    try:
        theirs = _place(f"/proc/{holder.pid}/root{directory}")
    except OSError:
        return holder
    return holder if theirs == _place(str(directory)) else None


def _place(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino
