"""Whether this process may have what a supervisor needs, before anything is started.

Owns the trying: descriptors and threads are taken and given back. Some libraries abort the process
where they cannot have them, so it must be known before. Also the words for what the operating
system refuses while a supervisor starts. Raises ``StartError``; changes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import threading
from collections.abc import Iterator

import zmq

from supervisor.errors import StartError, SupervisorError

__all__ = ["preflight", "starting"]

# What an idle supervisor with one location has open, and as much again.
_DESCRIPTORS = 64
# libzmq's two, the store's, the watcher's, and two for the environments.
_THREADS = 6

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
