"""Watches event loops: what a callback must not do, and how much processor time it may use.

Owns the rule that nothing in the supervisor's event loop blocks. While a callback runs in a loop's thread,
code of ours must not open or list files outside /proc and /sys, connect to SQLite, fork or start a program,
nor use more than ``MOST_SECONDS`` of that thread's processor time: other work on the machine, and waiting
for a processor, do not count. What it finds is a ``Violation``, told with the stack of the place. Installed
by conftest.py in the test process, and by programs/ in supervisors that tests start, which write what they
find into the directory named by ``REPORTS``. Cannot see a read of a file that is open, nor a hash: those show as
processor time only.

What is allowed nevertheless is ``ALLOWED``, with reasons.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

__all__ = ["ALLOWED", "MOST_SECONDS", "REPORTS", "install", "taken", "watch_process"]

MOST_SECONDS = 0.05
REPORTS = "WS_LOOP_REPORTS"

_TESTS = Path(__file__).resolve().parent
_ROOT = _TESTS.parent
_OURS = tuple(f"{_ROOT / name}{os.sep}" for name in ("supervisor", "envs", "runner_shim"))
# Another process's loop, which serves nobody but people who look at pages.
_PAGE = f"{_ROOT / 'supervisor' / 'web'}{os.sep}"
_HERE = f"{_TESTS}{os.sep}"
# A client decodes a status document of a thousand locations in one go, in whatever loop it lives.
_NOT_JUDGED = (
    _PAGE,
    f"{_ROOT / 'supervisor' / 'cli' / 'check.py'}",
    f"{_ROOT / 'supervisor' / 'client' / 'client.py'}",
)

# Events of sys.audit, and whether their first argument is a path that may be in /proc or /sys.
_EVENTS = {
    "open": True,
    "os.listdir": True,
    "os.scandir": True,
    "glob.glob": True,
    "os.mkdir": True,
    "os.rename": True,
    "os.remove": True,
    "os.rmdir": True,
    "os.truncate": True,
    "shutil.rmtree": True,
    "shutil.copyfile": True,
    "shutil.copytree": True,
    "shutil.move": True,
    "sqlite3.connect": False,
    "os.fork": False,
    "os.forkpty": False,
    "os.posix_spawn": False,
    "subprocess.Popen": False,
}
_KERNELS = ("/proc", "/sys", "/dev")

# Whatever thread it is in, CPython holds its lock from vfork(2) until the child has called execve(2): a
# thread would spare the loop nothing. Measured: 0.3 ms, 1.2 ms at most.
_VFORK = "a program is started: a thread would hold the interpreter for as long"

ALLOWED: tuple[tuple[str, str, str], ...] = (
    # file, function in the stack ("": any), why
    (
        "supervisor/server/daemon.py",
        "run",
        "nobody is served yet, or any more: opening and closing",
    ),
    ("supervisor/cli/run.py", "_show", "imports in its first turn: nobody is served yet"),
    ("supervisor/cli/run.py", "_page", "imports in its first turn: nobody is served yet"),
    ("supervisor/cli/run.py", "look", "a client's loop, in which nobody waits"),
    ("supervisor/cli/check.py", "", "a check is for one caller, who waits for all of it"),
    (
        "supervisor/descriptors.py",
        "",
        "renames a socket in the runtime directory, in memory",
    ),
    ("supervisor/runs/notices.py", "", "a socket in the runtime directory, in memory"),
    ("supervisor/processes/spawn.py", "spawn", _VFORK),
    ("supervisor/processes/reaper.py", "_start", _VFORK),
    (
        "supervisor/processes/limits.py",
        "",
        "control groups are the kernel's files; those of tests are no others",
    ),
)


@dataclass(frozen=True)
class Violation:
    """What was done, and where."""

    what: str
    stack: str

    def __str__(self) -> str:
        return f"{self.what}\n{self.stack}"


class _Running:
    """A callback that runs in a thread: since when, and where it was when last looked at."""

    __slots__ = ("handle", "number", "seen")

    def __init__(self, handle: asyncio.Handle, number: int) -> None:
        self.handle = handle
        self.number = number
        self.seen = ""


_running: dict[int, _Running] = {}
_busy = threading.local()
_found: list[Violation] = []
_said: set[str] = set()
_tell: Callable[[Violation], None] = _found.append
_watched_code: CodeType | None = None
_collected = 0.0
_installed = False


def install(tell: Callable[[Violation], None] | None = None) -> None:
    """Watch every event loop of this process, for ever; ``tell`` hears what is found (default: ``taken``).

    The garbage collector's time does not count: in a test's process it looks through what tests have
    left, and in a supervisor of 1,000 locations one full look takes longer than a callback may.
    """
    global _tell, _installed
    if tell is not None:
        _tell = tell
    if _installed:
        return
    _installed = True
    _watch_callbacks()
    sys.addaudithook(_audit)
    gc.callbacks.append(_collecting)
    threading.Thread(target=_look, name="loop guard", daemon=True).start()


def watch_process() -> None:
    """In a supervisor that a test started: watch it, and leave reports for the test."""
    directory = os.environ.get(REPORTS)
    if directory is None:
        return

    def write(violation: Violation) -> None:
        path = Path(directory) / f"{os.getpid()}-{time.monotonic_ns()}"
        path.with_suffix(".new").write_text(str(violation))
        path.with_suffix(".new").replace(path)

    install(write)


def taken(directory: Path | None = None) -> list[str]:
    """What was found since the last call, here and in supervisors that left reports in ``directory``."""
    found = [str(one) for one in _found]
    _found.clear()
    _said.clear()
    for path in sorted(directory.iterdir()) if directory is not None else ():
        if path.suffix != ".new":
            found.append(path.read_text())
            path.unlink()
    return found


def _watch_callbacks() -> None:
    run = asyncio.Handle._run
    numbers = iter(range(1, sys.maxsize))
    clock = time.thread_time

    def watched(self: asyncio.Handle) -> None:
        thread = threading.get_ident()
        running = _running[thread] = _Running(self, next(numbers))
        callback = self._callback
        collected, begun = _collected, clock()
        try:
            run(self)
        finally:
            used = clock() - begun - (_collected - collected)
            _running.pop(thread, None)
            if used > MOST_SECONDS and _judged(callback):
                place = running.seen or "  (no stack was taken meanwhile)\n"
                what = f"a callback used {used * 1000:.0f} ms of processor time: {_named(callback)}"
                _say(Violation(what, place))

    global _watched_code
    _watched_code = watched.__code__
    asyncio.Handle._run = watched


def _collecting(phase: str, info: dict[str, int]) -> None:
    global _collected
    if phase == "start":
        _busy.collecting = time.thread_time()
    elif hasattr(_busy, "collecting"):
        _collected += time.thread_time() - _busy.collecting


def _look() -> None:
    """See from time to time where a callback that takes long is."""
    before: dict[int, int] = {}
    while True:
        time.sleep(MOST_SECONDS / 3)
        now = {thread: one.number for thread, one in _running.copy().items()}
        for thread, number in now.items():
            running = _running.get(thread)
            if running is not None and before.get(thread) == number == running.number:
                frame = sys._current_frames().get(thread)
                if frame is not None:
                    running.seen = _stack(frame)
        before = now


def _audit(event: str, args: tuple[Any, ...]) -> None:
    is_path = _EVENTS.get(event)
    if is_path is None or threading.get_ident() not in _running or getattr(_busy, "busy", False):
        return
    first = args[0] if args else None
    if is_path and (isinstance(first, int) or _is_kernels(first)):
        return
    _busy.busy = True
    try:
        frame = sys._getframe(1)
        if _blamed(frame):
            _say(Violation(f"{event} in the event loop: {first!r}", _stack(frame)))
    finally:
        _busy.busy = False


def _is_kernels(path: Any) -> bool:
    return f"{os.fsdecode(path or '')}/".startswith(tuple(f"{one}/" for one in _KERNELS))


def _blamed(frame: FrameType | None) -> bool:
    """True when code of ours did it, called by the loop and not by a test, and it is not allowed."""
    called: FrameType | None = None
    ours: list[tuple[str, str]] = []
    while frame is not None and frame.f_code is not _watched_code:
        file = frame.f_code.co_filename
        if file.startswith(_PAGE) or _is_pytests(frame):
            return False
        if file.startswith(_OURS):
            ours.append((os.path.relpath(file, _ROOT), frame.f_code.co_name))
            called = frame
        elif file.startswith(_HERE):
            # A test that calls a plain function does so itself; a coroutine is awaited as clients do.
            if called is None or not called.f_code.co_flags & _COROUTINE:
                return False
            called = frame
        frame = frame.f_back
    return bool(ours) and not any(
        file == allowed and function in ("", name)
        for allowed, function, _why in ALLOWED
        for file, name in ours
    )


def _is_pytests(frame: FrameType) -> bool:
    """True in a log handler of pytest's own, which formats tracebacks where they are logged."""
    if frame.f_code.co_name != "handle" or frame.f_globals.get("__name__") != "logging":
        return False
    return type(frame.f_locals.get("self")).__module__.startswith("_pytest")


_COROUTINE = 0x80 | 0x20 | 0x200  # inspect: CO_COROUTINE, CO_GENERATOR, CO_ASYNC_GENERATOR


def _judged(callback: Any) -> bool:
    """True for what is begun by code of ours that runs in a supervisor."""
    file = _file_of(callback)
    return file.startswith(_OURS) and not file.startswith(_NOT_JUDGED)


def _file_of(callback: Any) -> str:
    """The file of what a callback runs: of a task, its coroutine's."""
    while isinstance(callback, functools.partial):
        callback = callback.func
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        coroutine = owner.get_coro()
        code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
    else:
        code = getattr(getattr(callback, "__func__", callback), "__code__", None)
    return "" if code is None else str(code.co_filename)


def _named(callback: Any) -> str:
    owner = getattr(callback, "__self__", None)
    return repr(owner if isinstance(owner, asyncio.Task) else callback)


def _stack(frame: FrameType) -> str:
    """The stack below the callback."""
    inner = traceback.extract_stack(frame)
    begin = max((n for n, one in enumerate(inner) if one.name == "watched"), default=-1) + 1
    return "".join(traceback.format_list(inner[begin:]))


def _say(violation: Violation) -> None:
    if violation.stack in _said:  # once is enough
        return
    _said.add(violation.stack)
    before, _busy.busy = getattr(_busy, "busy", False), True
    try:
        _tell(violation)
    finally:
        _busy.busy = before
