"""Mutual exclusion between threads and between processes, by ``flock`` on a file.

Owns one context manager. The kernel drops the lock with the process that holds it, so a killed
sync blocks no other one. Does not wait without looking at the caller's cancel event.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from . import disk
from .errors import EnvError

__all__ = ["exclusive"]

_TICK: Final = 0.05


@contextmanager
def exclusive(
    path: Path,
    *,
    cancel: threading.Event | None = None,
    waiting: Callable[[], None] | None = None,
    wait: bool = True,
) -> Iterator[bool]:
    """Hold ``path``'s lock. Yields False, without the lock, when ``wait`` is off and it is taken.

    ``waiting`` is called once, when another process or thread holds it. Raises ``EnvError``: ``cancelled``
    when ``cancel`` is set before the lock is had, ``storage`` when the file cannot be made.
    """
    never = threading.Event()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise disk.refused(error, path, str(path)) or EnvError(
            "storage",
            f"{path} cannot be written: {reason}",
            hint=f"make {path.parent} writable for this user",
        ) from error
    try:
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise
            if not wait:
                yield False
                return
            if waiting is not None and not told:
                told = True
                waiting()
            # A blocking flock could not be cancelled; it would also not be interrupted by a signal.
            if (cancel or never).wait(_TICK):
                raise EnvError("cancelled", "cancelled")
        yield True
    finally:
        os.close(descriptor)
