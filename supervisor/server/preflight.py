"""Whether this process may be a supervisor and have what that needs, before anything is started.

Owns the trying: descriptors and threads are taken and given back. Some libraries abort the process
where they cannot have them, so it must be known before. Also the claim on the workspace: there is
one supervisor of it at a time, and each of three signs (``supervisor.json``, a name that the kernel
keeps, the lock) is enough to tell that another one lives. And the words for what the operating system
refuses while a supervisor starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import zmq

from supervisor import procfs
from supervisor.errors import AlreadyRunningError, StartError, SupervisorError
from supervisor.presence import Identity, Presence, believed, holder_of
from supervisor.runtime_dir import reachable, running_supervisors, supervised
from supervisor.server.state_directory import StateDirectory

__all__ = ["claim", "preflight", "starting"]

# What an idle supervisor with one location has open, and as much again.
_DESCRIPTORS = 64
# libzmq's two, the store's, the watcher's, two for the environments, one for files.
_THREADS = 7

_HINTS = {
    errno.EMFILE: "raise the limit of open files: `ulimit -n`, or LimitNOFILE in a systemd unit",
    errno.ENFILE: "this machine has too many files open: see sysctl fs.file-max",
    errno.EAGAIN: "this user or its cgroup has too many processes: `ulimit -u`, or TasksMax in a "
    "systemd unit",
    errno.ENOSPC: "make room on that disk; nothing was changed",
    errno.EDQUOT: "this user's disk quota is used up; nothing was changed",
    errno.EROFS: "that file system is mounted read-only",
}


def preflight() -> None:
    """Raises ``StartError`` when there are too few descriptors or threads to be had."""
    _try_descriptors()
    _try_threads()


async def claim(
    title: str,
    names: Sequence[Identity],
    presence: Presence,
    state: StateDirectory,
    environ: Mapping[str, str],
) -> None:
    """Be the one supervisor of the workspace ``title``, which has these ``names``.

    Raises ``AlreadyRunningError`` with a way to reach the other one, and ``ConfigurationError`` when
    ``state`` cannot be used.
    """
    for name, holder in (await presence.hold(names)).items():
        # What another user holds is not believed; ``Upkeep`` tells of it.
        if await asyncio.to_thread(believed, holder, name[0]):
            raise await asyncio.to_thread(_taken, title, names, holder.pid, environ)
    other = await asyncio.to_thread(supervised, names, environ)
    if other is not None:
        raise await asyncio.to_thread(_taken, title, names, int(other["pid"]), environ)
    try:
        state.open(title)
    except AlreadyRunningError as error:
        raise await asyncio.to_thread(_taken, title, names, error.pid, environ) from None


def _taken(
    title: str, names: Sequence[Identity], pid: int, environ: Mapping[str, str]
) -> AlreadyRunningError:
    if procfs.state(pid) in ("T", "t"):
        hint = f"it is suspended: `kill -CONT {pid}` lets it go on, `kill -KILL {pid}` ends it"
        return AlreadyRunningError(title, pid, hint=hint)
    said = [supervised(names, environ), *(one.info for one in map(holder_of, names) if one)]
    if any(one is not None and one["pid"] == pid and reachable(one) for one in said):
        return AlreadyRunningError(title, pid)
    info: Mapping[str, Any] | None = next(
        (one for one in running_supervisors(environ) if one["pid"] == pid), None
    )
    if info is not None and reachable(info):
        file = next(iter(info.get("files") or ()), info.get("directory"))
        hint = f"it was started for {file}: use `supervise shutdown -w {file}` to stop it"
    elif pid > 0:
        hint = f"no client can reach it from here; `kill {pid}` stops it and all that it runs"
    else:
        hint = "see `ps` for a process named supervise"
    return AlreadyRunningError(title, pid, hint=hint)


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Turn what the operating system refuses in the body into ``StartError``."""
    try:
        yield
    except SupervisorError:
        raise
    except (OSError, zmq.ZMQError) as error:
        # A ZMQError has its text in strerror as well, and no file name.
        raise _refused(error.errno or 0, getattr(error, "filename", None)) from error
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        raise _refused(errno.EAGAIN, None) from error


def _try_descriptors() -> None:
    taken: list[int] = []
    try:
        for _ in range(_DESCRIPTORS):
            taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise _refused(error.errno or 0, None) from None
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        raise StartError(
            f"the supervisor cannot start: it may have {limit} open files and needs "
            f"{_DESCRIPTORS} for itself and about 10 for each location",
            hint=_HINTS[errno.EMFILE],
        ) from None
    finally:
        for descriptor in taken:
            os.close(descriptor)


def _try_threads() -> None:
    done = threading.Event()
    threads = [threading.Thread(target=done.wait, daemon=True) for _ in range(_THREADS)]
    started: list[threading.Thread] = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except RuntimeError:
        raise _refused(errno.EAGAIN, None) from None
    finally:
        done.set()
        for thread in started:
            thread.join()


def _refused(number: int, name: str | bytes | None) -> StartError:
    what = {errno.EAGAIN: "no more processes or threads can be started"}.get(
        number, os.strerror(number).lower()
    )
    place = f": {os.fsdecode(name)}" if name else ""
    return StartError(f"the supervisor cannot start: {what}{place}", hint=_HINTS.get(number))
