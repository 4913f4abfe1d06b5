"""What imports leave in a process that no fork may have: found, and put into words.

Owns the *kinds* of it: threads, processes, open descriptors, shared memory, timers, limits, native
signal handlers, tracing, temporary files. A forked process would lack it or share it with all the
others. Decides nothing: a library that leaves some of it is not preloaded.
"""

import _signal
import os
import sys

__all__ = ["compare", "descriptors_and_threads", "find", "from_the_start", "of_a_load", "put_right"]

_HARMLESS = ("/dev/null", "/dev/urandom", "/dev/random")
# Signals that the C library handles once there have been threads; SIGWINCH is readline's.
_C_LIBRARY = (32, 33)

# The standard library's modules that can map memory.
_MAPPERS = ("mmap", "_ctypes", "_multiprocessing", "_posixshmem")

# The kinds that ``find`` finds, and what a library that has left one is said to do.
_KINDS = (
    ("threads", "leaves threads running: %s"),
    ("native threads", "leaves native threads running: %s"),
    ("processes", "leaves a process running"),
    ("descriptors", "leaves %s open"),
    ("memory", "makes memory that all forked processes would share: %s"),
    ("timers", "leaves a timer running"),
    ("limits", "changes the limit %s"),
    ("native handlers", "handles signals in native code (%s)"),
    ("tracing", "traces or profiles"),
)


def compare(before, now):
    """What of ``now`` was not there before, in words, or ""."""
    for kind, text in _KINDS:
        new = list(now[kind])
        for one in before[kind]:
            if one in new:
                new.remove(one)
        if new:
            return _said(text, new)
    return ""


def put_right(place):
    """What else an import has left: that is undone, and put into words; or "".

    ``place`` is the working directory that is to stay.
    """
    if os.getcwd() != place:
        reason = "changes the working directory to %s" % os.getcwd()
        os.chdir(place)
        return reason
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None and tempfile._name_sequence is not None:
        tempfile._name_sequence = None
        return "makes a temporary file or directory"
    return ""


def from_the_start(found, numbers):
    """What is there before anything is imported, in words, or "".

    ``numbers`` are those of the descriptors that the process was started with.
    """
    opened = [target for number, target in _descriptors().items() if number not in numbers]
    if opened:
        return "leaves %s open" % opened[0]
    for kind, text in _KINDS:
        if found[kind] and kind not in ("descriptors", "limits", "native handlers"):
            return _said(text, found[kind])
    return ""


def of_a_load(private, children=frozenset()):
    """What of the kinds is there in a shim that has loaded its target, in words, or "".

    A run cannot be forked from it then. ``private`` are the shim's own descriptors and threads, as
    ``descriptors_and_threads`` gave them before the load, ``children`` the shim's own processes. Files
    that are open are shared with a run, and do no harm: logs, for the most part.
    """
    from runner_shim.threads import native_threads, python_threads

    own, own_threads = private
    found = {
        "threads": python_threads(),
        "native threads": native_threads(own_threads),
        "processes": _processes(children),
        "descriptors": [
            target
            for number, target in _descriptors().items()
            if number > 2 and number not in own and not target.startswith("/")
        ],
        "timers": _timers(),
        "tracing": _tracing(),
    }
    for kind, text in _KINDS:
        if found.get(kind):
            return "its import " + _said(text, found[kind])
    return ""


def descriptors_and_threads():
    """The numbers of this process's descriptors and of its threads, as the kernel knows them."""
    descriptors, threads = (
        frozenset(int(name) for name in os.listdir("/proc/self/" + kind)) for kind in ("fd", "task")
    )
    return descriptors, threads


def _timers():
    return [str(number) for number in (0, 1, 2) if _signal.getitimer(number)[0]]


def _tracing():
    return [repr(one) for one in (sys.gettrace(), sys.getprofile()) if one is not None]


def _said(text, found):
    return text % ((", ".join(found),) if "%s" in text else ())


def find(before=None, native=0):
    """``{kind: [what there is of it, in words]}``.

    To look at the memory takes longest. Beside ``before`` it is not looked at when no module is there
    that can map any, ``native``, how many modules of others' native code there are, is the same, and
    so is the size of the shared memory in use. ``"looked"`` says whether it was.
    """
    from runner_shim.threads import native_threads, python_threads

    status = _status()
    mapped = native, status.get("RssShmem")
    known = (
        before is not None
        and before["mapped"] == mapped
        and not any(name in sys.modules for name in _MAPPERS)
    )
    return {
        "mapped": mapped,
        "looked": not known,
        "threads": python_threads(),
        "native threads": native_threads(),
        "processes": _processes(),
        "descriptors": list(_descriptors().values()),
        "memory": before["memory"] if known else _shared_maps(),
        "timers": _timers(),
        "limits": _limits(),
        "native handlers": _native_handlers(status),
        "tracing": _tracing(),
    }


def _processes(known=frozenset()):
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []
    if known:
        try:
            if _children() <= known:
                return []
        except OSError:  # a kernel that does not list them
            return []
    return ["a process"]


def _children():
    found = set()
    for task in os.listdir("/proc/self/task"):
        with open("/proc/self/task/%s/children" % task) as file:
            found.update(int(pid) for pid in file.read().split())
    return found


def _descriptors():
    """What each open descriptor refers to; the null device and the like can be shared."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:  # the one that the listing itself had
            continue
        if target not in _HARMLESS:
            found[int(name)] = target
    return found


def _shared_maps():
    """The writable pieces of memory that a fork would share: maps of files, semaphores."""
    found = []
    with open("/proc/self/maps", "rb") as file:
        for line in file.read().splitlines():
            # proc(5): address, permissions, offset, device, inode, and the path, which may hold spaces.
            fields = line.split(None, 5)
            if fields[1][1:2] == b"w" and fields[1][3:4] == b"s":
                found.append(os.fsdecode(fields[5]) if len(fields) > 5 else "no name")
    return found


def _limits():
    import resource

    return [
        "%s to %s" % (name, resource.getrlimit(getattr(resource, name)))
        for name in dir(resource)
        if name.startswith("RLIMIT_")
    ]


def _status():
    with open("/proc/self/status") as file:
        return dict(line.split(":\t", 1) for line in file if line.startswith(("Sig", "RssShmem")))


def _native_handlers(masks):
    """Numbers of the signals that something else than Python handles or ignores."""
    caught = int(masks["SigCgt"], 16) | int(masks["SigIgn"], 16) | int(masks["SigBlk"], 16)
    for number in _C_LIBRARY if "readline" not in sys.modules else _C_LIBRARY + (28,):
        caught &= ~(1 << (number - 1))
    return [
        str(number)
        for number in range(1, _signal.NSIG)
        if caught >> (number - 1) & 1 and not _handled_by_python(number)
    ]


def _handled_by_python(number):
    try:
        return _signal.getsignal(number) not in (0, None)
    except ValueError:
        return False
