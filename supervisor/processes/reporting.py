"""Has a run's framework told how the run ended, where the run itself had no time for that.

Owns the process that tells it, for the monitor: a program of the team's environment
(runner_shim/process/report.py), bounded in time. Part of the monitor's program: it imports the standard
library alone, and that only when there is something to tell.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any
else:
    import _signal

__all__ = ["REPORT_SECONDS", "report", "start_message"]

REPORT_SECONDS = 20.0
"""How long it may take."""

_BETWEEN_LOOKS = 0.05


def start_message(prepared: dict[str, Any], final: dict[str, Any]) -> bytes:
    """The line that the process reads: ``prepared`` at the run's birth, with the ``final`` record."""
    import json

    said = {
        **prepared["start"]["report"],
        "framework": final["untold"],
        "state": final["state"],
        "reason": final["reason"],
        "seconds": REPORT_SECONDS,
    }
    return json.dumps({**prepared["start"], "report": said}).encode() + b"\n"


def report(reporter: int, directory: int, final: dict[str, Any]) -> None:
    """Tell it; once it knows there is a file ``told`` in ``directory``, else ``report`` says why not.

    ``reporter`` is the file that the run's birth has put by: a map with ``command``, ``environ`` and
    ``start``, as JSON.
    """
    import json

    os.lseek(reporter, 0, os.SEEK_SET)
    with os.fdopen(reporter, "rb") as file:
        data = file.read()
    try:
        prepared = json.loads(data)
        line = start_message(prepared, final)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        errors = os.open("report", flags, 0o600, dir_fd=directory)
    except (OSError, ValueError):
        return  # there is none, or a full disk: a supervisor tells it
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(prepared, read, errors)
    os.close(read)
    os.close(errors)
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    try:  # noqa: SIM105  # contextlib is large
        os.write(write, line)
    except OSError:  # it has ended
        pass
    if _ended_well(pid):
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        os.close(os.open("told", flags, 0o600, dir_fd=directory))
    os.close(write)


def _become(prepared: dict[str, Any], read: int, errors: int) -> None:
    try:
        os.setsid()
        os.dup2(read, 0)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        os.execve(prepared["command"][0], prepared["command"], prepared["environ"])  # noqa: S606
    except BaseException as error:
        os.write(2, f"{prepared['command'][0]} cannot be started: {error}\n".encode())
    finally:
        os._exit(1)


def _ended_well(pid: int) -> bool:
    until = time.monotonic() + REPORT_SECONDS
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(_BETWEEN_LOOKS)
    os.killpg(pid, _signal.SIGKILL)
    os.waitpid(pid, 0)
    return False
