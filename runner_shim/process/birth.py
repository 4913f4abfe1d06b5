"""The birth of a run: this process forks its monitor, and the monitor forks the run.

Owns what happens between the order and the first line of the run, in this order: fork twice (so the
supervisor becomes the monitor's parent, and a team's ``os.wait`` takes nothing of it), a session, the
shim's control groups left, the journal opened and locked, ``begun`` written and on disk, the run forked
and put under its limits, every descriptor but the monitor's own closed, and the supervisor's interpreter
executed on ``supervisor/runs/monitor_program.py``, which keeps the process id, the children, the lock and the
pipes.

Between the fork and the exec nothing of the team's may be called. So everything is bound when this
module is imported, which is before the team's import; nothing is imported then; the garbage collector
is off; and the fork is the C library's own, so that no hook of ``os.register_at_fork`` runs in the
monitor, nor does Python 3.12 warn of libzmq's threads. Where there is no ``_ctypes`` the fork is
Python's. Linux only. What the run does is ``run``'s.
"""

import gc
import os
import sys
from _imp import acquire_lock, release_lock
from _signal import NSIG, SIG_DFL, SIG_SETMASK, SIGKILL, pthread_sigmask
from _signal import signal as set_handler
from errno import EEXIST, EINTR, ENOENT
from fcntl import F_GETFL, F_SETFL, F_SETOWN, LOCK_EX, LOCK_NB, fcntl, lockf
from os import (
    O_APPEND,
    O_ASYNC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    PRIO_PROCESS,
    _exit,
    close,
    dup2,
    execve,
    fsync,
    ftruncate,
    getpgrp,
    getpid,
    getpriority,
    listdir,
    lseek,
    open,
    pipe,
    posix_fallocate,
    read,
    set_inheritable,
    setpriority,
    setsid,
    stat,
    umask,
    unlink,
    waitpid,
    write,
)
from time import time

from runner_shim import records, wire
from runner_shim.process import quietly

__all__ = ["Ends", "available", "fork", "start"]

_TOKEN = b"SUPERVISE_PROCESS="
_F_SETSIG = 10  # see lifeline
_PR_SET_CHILD_SUBREAPER = 36
_RLIMIT_RTTIME = 15
# Those between are the C library's own.
_ALL_SIGNALS = frozenset(range(1, NSIG)) - {32, 33}
_ROOM = 64 * 1024  # FINAL_ROOM in supervisor/runs/monitor.py
_FAILED = 70  # exit status of one that could not begin; EX_SOFTWARE
_disable_gc, _enable_gc, _gc_is_on = gc.disable, gc.enable, gc.isenabled


def available():
    """True where runs can be forked."""
    return sys.platform.startswith("linux")


class Ends(object):
    """What a run's process has of its monitor: the descriptors of three pipes."""

    def __init__(self, events, out, err, line):
        self.events, self.out, self.err, self.line = events, out, err, line


def start(request, private, become):
    """Fork the monitor and the run that ``request`` (as docs/protocol.md has it) orders.

    ``private`` are descriptors of this process that the run must not have. ``become(ends)`` is called
    in the run's process and must not return. Returns "" in this process, or why nothing was forked.
    """
    try:
        middle = _fork()
    except OSError as error:
        return "cannot fork: %s" % (error.strerror or error)
    if middle == 0:
        try:
            if _fork() == 0:
                _monitor(request, private, become)
        finally:
            _exit(0)
    while True:
        try:
            waitpid(middle, 0)
            return ""
        except OSError as error:  # the team has SIGCHLD ignored, or waits for whatever there is
            if error.errno != EINTR:
                return ""


def _monitor(request, private, become):
    collecting = _gc_is_on()
    _disable_gc()
    mask = pthread_sigmask(SIG_SETMASK, _ALL_SIGNALS)
    try:
        setsid()
        files, own = umask(0o077), _as_high_as_may_be()  # what the team has set is for the run
        spare = _Spare()  # before anything else is opened
        directory = open(request["directory"], O_RDONLY | O_DIRECTORY)
        trouble = open("trouble", O_WRONLY | O_CREAT | O_APPEND, 0o600, dir_fd=directory)
        _take_token(request["tokens"]["monitor"])
        limits = request.get("limits") or {}
        # An end of the shim at its limit must not be the monitor's, nor the monitor count as the shim's.
        _enter(limits.get("outside") or ())
        lock = open("monitor.lock", O_RDWR | O_CREAT, 0o600, dir_fd=directory)
        if not _take_on(directory, lock, limits):
            _exit(0)
        _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        pipes = [pipe() for _ in range(4)]
        began = int(time() * 1e6)  # before all that the run tells of itself
        pid = _fork_run(lambda: _limit(own, limits, request["tokens"]["mark"], pipes[2][1]))
        if pid == 0:
            theirs = [pipes[0][1], pipes[1][1], pipes[2][1], pipes[3][0]]
            ours = [pipes[0][0], pipes[1][0], pipes[2][0], pipes[3][1]]
            for one in [directory, trouble, lock] + ours + sorted(private) + spare.taken:
                quietly.close(one)
            _begin_run(request["tokens"]["run"], theirs[3])
            if collecting:
                _enable_gc()
            umask(files)
            pthread_sigmask(SIG_SETMASK, mask)
            become(Ends(*theirs))
            _exit(_FAILED)
        reporter = _put_by(directory, request.get("reporter") or "")
        keep = [directory, lock, pipes[0][0], pipes[1][0], pipes[2][0], pipes[3][1], reporter]
        null = open(os.devnull, O_RDWR)
        dup2(null, 0)
        dup2(null, 1)
        dup2(trouble, 2)
        _close_all_but(keep + [0, 1, 2])
        for one in keep:
            set_inheritable(one, True)
        for number in _ALL_SIGNALS:
            try:
                set_handler(number, SIG_DFL)
            except (OSError, ValueError, RuntimeError):
                pass
        # Signals stay blocked: the monitor lets them through once it can tell what they mean.
        words = request["monitor"] + [":".join(str(one) for one in [pid] + keep + [began])]
        execve(words[0], words, request["environ"])
    except BaseException as error:
        _say(request["directory"], "%s: %s\n" % (type(error).__name__, error))
        _exit(_FAILED)


class _Spare(object):
    """Takes the numbers 0 to 2 where they are free: no file of ours may become a standard stream."""

    def __init__(self):
        self.taken = []
        while True:
            one = open(os.devnull, O_RDWR)
            if one > 2:
                close(one)
                return
            self.taken.append(one)


def _take_on(directory, lock, limits):
    """Be the one monitor of the run; False when it has, or had, another."""
    try:
        lockf(lock, LOCK_EX | LOCK_NB)
        stat("final", dir_fd=directory)
        return False
    except OSError as error:
        if error.errno != ENOENT:
            return False
    try:
        begun = open("begun", O_WRONLY | O_CREAT | O_EXCL, 0o600, dir_fd=directory)
    except OSError as error:
        if error.errno != EEXIST:
            raise
        return False
    room = open("final.room", O_RDWR | O_CREAT, 0o600, dir_fd=directory)
    try:
        posix_fallocate(room, 0, _ROOM)  # now: the run may fill the disk
    except OSError:
        pass  # a file system that cannot: the end must find room then
    close(room)
    write(begun, records.framed(wire.pack({"pid": getpid(), "time": time(), "limits": limits})))
    fsync(begun)
    close(begun)
    fsync(directory)
    return True


def _begin_run(token, line):
    """Be a process of its own that dies with its monitor (see runner_shim/lifeline.py)."""
    setsid()
    fcntl(line, F_SETOWN, -getpgrp())
    fcntl(line, _F_SETSIG, int(SIGKILL))
    fcntl(line, F_SETFL, fcntl(line, F_GETFL) | O_ASYNC | O_NONBLOCK)
    try:
        if not read(line, 1):
            _exit(1)
    except OSError:
        pass  # the writing end is open
    _take_token(token)


def _put_by(directory, text):
    """A file without a name that holds ``text``: it may be secret."""
    one = open("reporter", O_RDWR | O_CREAT | O_EXCL, 0o600, dir_fd=directory)
    unlink("reporter", dir_fd=directory)
    data = text.encode("utf-8")
    try:
        while data:
            data = data[write(one, data) :]
    except OSError:
        ftruncate(one, 0)  # a full disk: the supervisor has to do it
    return one


def _enter(groups):
    """Have this process in these control groups (directories)."""
    for group in groups:
        one = open(group + "/cgroup.procs", O_WRONLY)
        write(one, b"0")  # the one that writes
        close(one)


def _as_high_as_may_be():
    """Have the soft limits that could end a monitor at their hard ones; what they were."""
    before = []
    for which in _OWN_LIMITS:
        soft, hard = _getrlimit(which)
        if soft != hard:
            _setrlimit(which, (hard, hard))
            before.append((which, soft))
    return before


def _limit(own, limits, mark, errors):
    """Set mark and limits of the run, this process, before anything of the team's runs in it.

    ``own`` are the soft ones that the shim has. Without them it does not run: it ends, and says why in
    its ``errors``.
    """
    _bear(mark)
    try:
        for which, soft in own:
            _setrlimit(which, (soft, _getrlimit(which)[1]))
        _enter(limits.get("groups") or ())
        for which, soft, hard in limits.get("rlimits") or ():
            most = _getrlimit(which)[1]
            if hard < 0 or 0 <= most < hard:
                hard = most
            _setrlimit(which, (min(soft, hard) if hard >= 0 else soft, hard))
        if limits.get("nice") is not None and limits["nice"] > getpriority(PRIO_PROCESS, 0):
            setpriority(PRIO_PROCESS, 0, limits["nice"])
    except BaseException as error:
        write(errors, ("its limits cannot be set: %s\n" % error).encode("utf-8", "replace"))
        _exit(_FAILED)


def _close_all_but(kept):
    for name in listdir("/proc/self/fd"):
        if int(name) not in kept:
            quietly.close(int(name))


def _say(directory, text):
    """Leave ``text`` in the journal for the supervisor to find."""
    try:
        one = open(directory + "/trouble", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        write(one, text.encode("utf-8", "replace"))
        close(one)
    except OSError:
        pass


# Where the kernel shows the token, looked up once: a fork has it in the same place.


def _place_of_token():
    try:
        one = open("/proc/self/environ", O_RDONLY)
        data = b""
        while True:
            piece = read(one, 65536)
            if not piece:
                break
            data += piece
        close(one)
        one = open("/proc/self/stat", O_RDONLY)
        start_of = int(read(one, 4096).rpartition(b")")[2].split()[47])  # env_start, field 50
        close(one)
    except (OSError, ValueError, IndexError):
        return 0
    place = (b"\0" + data).find(b"\0" + _TOKEN)
    return start_of + place + len(_TOKEN) if place >= 0 else 0


def _take_token(token):
    """Be known by ``token`` (see runner_shim/preloading/renewing.py)."""
    if not _PLACE:
        return
    try:
        memory = open("/proc/self/mem", O_RDWR)
        lseek(memory, _PLACE, 0)
        write(memory, token.encode("ascii"))
        close(memory)
    except OSError:
        pass


def _bear(mark):
    """Have ``mark`` (supervisor/processes/orphans.py) as what it is: a limit that limits nothing."""
    try:
        _setrlimit(_RLIMIT_RTTIME, (mark, _getrlimit(_RLIMIT_RTTIME)[1]))
    except (OSError, ValueError, TypeError):
        pass  # there is no such limit, or a lower one


# The C library's fork, without what Python and the team do before and after one.


def _unseen(name):
    """A module of the interpreter, or None; user code does not see that it is loaded."""
    there = name in sys.modules
    try:
        return __import__(name)
    except ImportError:
        return None
    finally:
        if not there:
            sys.modules.pop(name, None)


def _bind():
    """``{name: function of the C library}``, or {} where there is no ``_ctypes``."""
    _ctypes = _unseen("_ctypes")
    if _ctypes is None:
        return {}
    library = _ctypes.dlopen(None, 2)

    class Function(_ctypes.CFuncPtr):
        _flags_ = 1 | 4  # cdecl, and the interpreter's lock is kept

    found = {}
    for name in ("fork", "prctl", "PyOS_AfterFork_Child", "PyOS_AfterFork"):
        try:
            found[name] = Function(_ctypes.dlsym(library, name))
        except OSError:  # PyOS_AfterFork is Python 3.6's
            continue
    return found


def _call(name, *arguments):
    function = _LIBRARY.get(name)
    return None if function is None else function(*arguments)


def _fork():
    """Fork; the child may do no more than exec or fork again."""
    if "fork" not in _LIBRARY:
        return _python_fork()
    pid = _LIBRARY["fork"]()
    if pid < 0:
        raise OSError("no process can be made")
    return pid


def fork():
    """Fork a child of this process that goes on with Python: its id, or 0 in the child."""
    return _fork_run(_nothing)


def _nothing():
    pass


def _fork_run(first):
    """Fork a child that does ``first`` and goes on with Python, with the team's hooks for that."""
    after = _LIBRARY.get("PyOS_AfterFork_Child") or _LIBRARY.get("PyOS_AfterFork")
    if "fork" not in _LIBRARY or after is None:
        pid = _python_fork()
        if pid == 0:
            first()
        return pid
    acquire_lock()  # as Python does; the child gives it back
    pid = _fork()
    if pid == 0:
        first()
        after()
    else:
        release_lock()
    return pid


def _python_fork(_fork=os.fork):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return _fork()


_LIBRARY = _bind()
_resource = _unseen("resource")
_getrlimit, _setrlimit = (
    getattr(_resource, "getrlimit", None),
    getattr(_resource, "setrlimit", None),
)
_OWN_LIMITS = [
    getattr(_resource, "RLIMIT_" + name)
    for name in ("NOFILE", "FSIZE", "CPU", "DATA", "AS")
    if hasattr(_resource, "RLIMIT_" + name)
]
_PLACE = _place_of_token()
