"""Child processes of this package: the probe, uv, pip and virtualenv.

Owns the one way in which they are started, read, cancelled and ended. Every child leads a session of
its own and holds a lifeline (``runner_shim.lifeline``): when we die, however we die, the kernel
kills it and what it started. Output is decoded as UTF-8 with replacement and bounded in memory.
A child that leaves a grandchild holding its pipe cannot make us wait. Does not judge exit codes.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import EnvError

__all__ = ["TERM_GRACE", "Completed", "run", "tool_environ"]

# The cancel event has no descriptor to wait on; this is how late a cancellation may be noticed.
_TICK: Final = 0.1
TERM_GRACE: Final = 1.0
# A timeout is waited for in steps of this many seconds: a pause of our own costs no more than one.
_STEP: Final = 1.0
_CHUNK: Final = 65536

# What would make a tool work in another Python or place than it is told, or colour its words.
_UNWANTED: Final = frozenset(
    (
        *("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"),
        *("VIRTUAL_ENV", "CONDA_PREFIX", "FORCE_COLOR", "CLICOLOR_FORCE"),
        *(
            "UV_PYTHON",
            "UV_SYSTEM_PYTHON",
            "UV_TARGET",
            "UV_PREFIX",
            "UV_PROJECT",
            "UV_WORKING_DIR",
        ),
        *("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON"),
        "PIP_REQUIRE_VIRTUALENV",
    )
)


@dataclass(frozen=True, slots=True)
class Completed:
    """How a child ended. ``stdout`` and ``stderr`` hold at most the limit's last bytes of each."""

    returncode: int
    stdout: str
    stderr: str
    timed_out: bool = False
    overflowed: bool = False

    @property
    def output(self) -> str:
        """Standard error, then standard output: what the tool had to say."""
        return "\n".join(
            part for part in (self.stderr.strip("\n"), self.stdout.strip("\n")) if part
        )


def tool_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` for uv, pip and virtualenv: no Python settings of ours, no colour, no prompt."""
    result = {
        key: value
        for key, value in environ.items()
        if key not in _UNWANTED
        # Each of virtualenv's options is also a variable; only where it keeps its files is the user's.
        and (not key.startswith("VIRTUALENV_") or key == "VIRTUALENV_OVERRIDE_APP_DATA")
    }
    result.update(NO_COLOR="1", PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    return result


class _Sink:
    """One output stream: its last ``limit`` bytes, and its lines as they come."""

    def __init__(self, limit: int, on_line: Callable[[str], None] | None) -> None:
        self._limit = limit
        self._on_line = on_line
        self._kept = bytearray()
        self._line = bytearray()
        self.overflowed = False

    def feed(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > self._limit:
            self.overflowed = True
            del self._kept[: -self._limit]
        if self._on_line is None:
            return
        *whole, rest = (bytes(self._line) + data).replace(b"\r", b"\n").split(b"\n")
        self._line = bytearray(rest[-_CHUNK:])
        for line in whole:
            self._tell(line)

    def finish(self) -> str:
        if self._line:
            self._tell(bytes(self._line))
        return self._kept.decode("utf-8", "replace")

    def _tell(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()
        if text and self._on_line is not None:
            self._on_line(text)


def run(
    command: Sequence[str | Path],
    *,
    environ: Mapping[str, str],
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    cancel: threading.Event | None = None,
    timeout: float | None = None,
    limit: int = 1 << 20,
    stop_on_overflow: bool = False,
    lifeline: bool = True,
) -> Completed:
    """Run ``command`` to its end and return what it said; blocks.

    ``on_line`` gets each line of either stream as it comes. ``timeout`` in seconds in which we run:
    while we are stopped ourselves it does not pass. Raises
    ``EnvError`` (``cancelled``) when ``cancel`` is set meanwhile, after the whole process group
    is gone, and ``OSError`` when the command cannot be started (with ``lifeline`` that is exit
    status 127 instead). ``lifeline=False`` is for a probe of milliseconds, which its timeout ends.
    """
    if cancel is not None and cancel.is_set():
        raise EnvError("cancelled", "cancelled")
    argv = [str(part) for part in command]
    read_end = write_end = -1
    if lifeline:
        from runner_shim import lifeline as script

        read_end, write_end = os.pipe()
        argv = [sys.executable, "-I", "-S", str(script.__file__), str(read_end), *argv]
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environ),
            cwd=cwd,
            bufsize=0,
            start_new_session=True,
            pass_fds=(read_end,) if lifeline else (),
        )
    except BaseException:
        if lifeline:
            os.close(write_end)
        raise
    finally:
        if lifeline:
            os.close(read_end)
    out, err = _Sink(limit, on_line), _Sink(limit, on_line)
    timed_out = False
    try:
        with process:
            try:
                timed_out = _pump(process, out, err, cancel, timeout, stop_on_overflow)
            finally:
                _end(process)
    finally:
        if lifeline:
            os.close(write_end)
    if cancel is not None and cancel.is_set():
        raise EnvError("cancelled", "cancelled")
    return Completed(
        process.returncode,
        out.finish(),
        err.finish(),
        timed_out=timed_out,
        overflowed=out.overflowed or err.overflowed,
    )


def _pump(
    process: subprocess.Popen[bytes],
    out: _Sink,
    err: _Sink,
    cancel: threading.Event | None,
    timeout: float | None,
    stop_on_overflow: bool,
) -> bool:
    """Read until the child has exited, or is to be ended. True when its time ran out."""
    left = timeout
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        pidfd = _pidfd(process.pid)
        for stream, sink in ((process.stdout, out), (process.stderr, err)):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, sink)
        if pidfd >= 0:
            selector.register(pidfd, selectors.EVENT_READ, None)
        try:
            while True:
                wait = _TICK if cancel is not None or pidfd < 0 else None
                if left is not None:
                    wait = min(left, _STEP if wait is None else wait)
                began = time.monotonic()
                exited = pidfd < 0 and _exited(process.pid)
                for key, _ in selector.select(wait):
                    if key.data is None:
                        exited = True
                    elif not _feed(key.fd, key.data):
                        selector.unregister(key.fileobj)
                if exited:
                    # What it wrote before exiting is in the pipe already; a grandchild that keeps
                    # the pipe open is not waited for.
                    for stream, sink in ((process.stdout, out), (process.stderr, err)):
                        while _feed(stream.fileno(), sink, drain=True):
                            pass
                    return False
                if cancel is not None and cancel.is_set():
                    return False
                if stop_on_overflow and (out.overflowed or err.overflowed):
                    return False
                if left is not None and wait is not None:
                    # What passed beyond the step was a pause of our own: what the child said in it
                    # is yet to be read.
                    left -= min(time.monotonic() - began, wait)
                    if left <= 0:
                        return True
        finally:
            if pidfd >= 0:
                os.close(pidfd)


def _feed(descriptor: int, sink: _Sink, *, drain: bool = False) -> bool:
    """Move one chunk; False at the end of the stream, or with ``drain`` when nothing is waiting."""
    try:
        data = os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return not drain
    sink.feed(data)
    # A full pipe holds 64 KiB: with less than a chunk read, it is empty and a writer that is
    # still alive must not keep us here.
    return bool(data) and not (drain and len(data) < _CHUNK)


def _pidfd(pid: int) -> int:
    if not hasattr(os, "pidfd_open"):
        return -1
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def _exited(pid: int) -> bool:
    if not hasattr(os, "waitid"):
        return False
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True  # someone else reaped it
    return found is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child's whole session: asked first when it still runs, then killed; reap it."""
    if process.returncode is None and not _has_exited(process):
        _signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + TERM_GRACE
        while time.monotonic() < deadline and not _has_exited(process):
            time.sleep(0.02)
    # Not reaped yet, so the number cannot belong to anyone else.
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _has_exited(process: subprocess.Popen[bytes]) -> bool:
    if hasattr(os, "waitid"):
        return _exited(process.pid)
    return process.poll() is not None


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
