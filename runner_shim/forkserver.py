"""A warm process of one environment, from which shims are forked.

Owns the preloading of installed libraries and the forking. Asked over an inherited socket
(``SOCK_SEQPACKET``, one msgpack map a message), it answers in order::

    {"type": "preload", "modules": [...]}      -> {"type": "preloading", "module": name} before each,
                                                  then {"type": "preloaded", "modules": [...],
                                                  "failed": null | [name, error], "gone": [...]}
    {"type": "judge"}                          -> {"type": "judged", "unfit": reason or "",
                                                  "loaded": [top-level names in sys.modules]}
    {"type": "fork", "name", "instance", "address", "mark"} + 3 descriptors (lifeline, output, errors)
                                               -> {"type": "forked", "pid"} or {"type": "failed", "error"}
    {"type": "reap", "pid"}                    -> {"type": "reaped", "pid", "status"}

A child that ended stays a zombie until it is asked for: as long as the supervisor has not killed
what is left of its session, its process id must not be given to anybody else.

Refuses to import what is not installed: the team's own code changes, and a process that has
imported it cannot import it again. Single-threaded, so that every fork is a clean one; what a
child must not share with its siblings (random state, session, title, descriptors) is made anew.
Linux only.

What differs from a fresh process, by its nature:

* ``sys.modules`` holds what was preloaded, and a library's import had its effects (warnings
  filters, handlers, variables it sets) before the first line of user code; what user code sets up
  for a library before importing it, a variable say, comes too late. What it printed then is in the
  forkserver's log.
* Siblings share one hash seed where PYTHONHASHSEED sets none, and the generators that libraries
  made for themselves when imported; the standard library's and numpy's own are seeded anew.
* The parent process is the forkserver, and the address space is larger by what was preloaded.
* Where Dagster is preloaded, a small location of it was made, read and dropped (frameworks'
  rehearsal): what Dagster sets up at the first definition is there at a location's first.
* ``gc.freeze`` was called: what was there before the fork is not collected.
"""

import array
import os
import signal
import socket
import sys

from runner_shim import (  # shim and target: so that no child has to import them
    frameworks,
    imported,
    lifeline,
    shim,  # noqa: F401
    target,  # noqa: F401
    wire,
)

__all__ = ["serve"]

_MAX_REQUEST = 1024 * 1024
_RARELY = 1000003  # objects made; a number that no library would choose
_DESCRIPTORS = 3

# Known to break in a child when imported before the fork: they start threads or open devices.
_NEVER = frozenset(
    [
        "tensorflow",
        "jax",
        "jaxlib",
        "torch_xla",
        "ray",
        "cupy",
        "pyspark",
        "gevent",
        "polars",
        "polars_lts_cpu",
    ]
)


def serve(control, line):
    """Answer requests on the socket descriptor ``control`` until it is closed.

    ``line`` is the lifeline of this process. Returns None in this process when there is nothing
    more to do, and in a forked child what its shim is to run with: address, instance, lifeline.
    It is run by whoever called, so that user code has the stack of a fresh process below it.
    """
    connection = socket.socket(fileno=control)
    before = _descriptors()
    thresholds = _collect_rarely()
    while True:
        data, ancillary, _flags, _address = connection.recvmsg(
            _MAX_REQUEST, socket.CMSG_SPACE(_DESCRIPTORS * array.array("i").itemsize)
        )
        if not data:
            return None
        request = wire.unpack(data)
        kind = request["type"]
        if kind == "preload":
            _preload(connection, request["modules"])
        elif kind == "judge":
            _judge(connection, before, thresholds)
        elif kind == "reap":
            connection.send(_reap(request["pid"]))
        elif kind == "fork":
            descriptors = _received(ancillary)
            pid = _fork(connection, descriptors)
            if pid == 0:
                connection.close()
                os.close(line)
                return _become_child(request, descriptors)


def _preload(connection, names):
    import importlib

    done, failed, gone, installed = [], None, [], {}
    for name in names:
        top = name.split(".")[0]
        if top not in installed:
            installed[top] = top not in _NEVER and _is_installed(top)
        if not installed[top]:
            continue
        if name not in sys.modules:
            connection.send(wire.pack({"type": "preloading", "module": name}))
        try:
            importlib.import_module(name)
        except BaseException as error:  # a library that exits when imported must not end us
            missing = error.name if isinstance(error, ImportError) else None
            if not missing or not (name + ".").startswith(missing + "."):
                failed = [name, ("%s: %s" % (type(error).__name__, error))[:300]]
                break
            # Another version of the library does not have this module any more: no failure.
            gone.append(name)
        else:
            done.append(name)
    connection.send(
        wire.pack({"type": "preloaded", "modules": done, "failed": failed, "gone": gone})
    )


def _judge(connection, before, thresholds):
    """What became of this process by preloading; nothing is preloaded after this."""
    frameworks.rehearse()
    loaded = sorted({name.split(".")[0] for name in sys.modules if isinstance(name, str)})
    answer = {"type": "judged", "unfit": _why_unfit(before), "loaded": loaded}
    _freeze(thresholds)
    connection.send(wire.pack(answer))


def _is_installed(top):
    """True for a top-level module of the standard library or of an installed distribution."""
    if top in sys.builtin_module_names:
        return True
    from importlib.util import find_spec

    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
    return bool(places) and not any(imported.is_user(os.path.realpath(one)) for one in places)


def _why_unfit(before):
    """What the preload left behind that a child would not have, or would share: a reason, or ""."""
    threads = _other_threads()
    if threads:
        return "preloaded libraries left threads running: %s" % ", ".join(threads)
    native = _native_threads()
    if native:
        return "preloaded libraries left native threads running: %s" % ", ".join(native)
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        pass
    else:
        return "preloaded libraries left a process running"
    opened = sorted(set(_descriptors().items()) - set(before.items()))
    if opened:
        return "preloaded libraries left %s open" % opened[0][1]
    never = sorted(_NEVER.intersection(sys.modules))
    if never:
        return "preloaded libraries imported %s, which does not survive a fork" % never[0]
    theirs = imported.source_files()
    if theirs:
        return "%s, the team's own, is imported together with what is preloaded" % theirs[0]
    if any(signal.getitimer(each)[0] for each in (0, 1, 2)):
        return "preloaded libraries left a timer running"
    if os.getcwd() != "/":
        return "preloaded libraries changed the working directory to %s" % os.getcwd()
    return ""


def _other_threads():
    """Names of the Python threads that a preload left running."""
    others = [one for one in sys._current_frames() if one != _ident()]
    if not others:
        return []
    import threading

    names = {one.ident: one.name for one in threading.enumerate()}
    return sorted(names.get(one, "unnamed") for one in others)


def _ident():
    import _thread

    return _thread.get_ident()


def _native_threads():
    """Names of the other threads, less those of linear algebra libraries: they see to forks."""
    names = []
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            with open("/proc/self/task/%s/comm" % task) as file:
                names.append(file.read().strip())
    if not names:
        return []
    with open("/proc/self/comm") as file:
        own = file.read().strip()  # what a thread is called that nobody has named
    with open("/proc/self/maps", "rb") as file:
        algebra = any(b"blas" in line or b"mkl" in line or b"iomp" in line for line in file)
    return sorted(name for name in names if name != own or not algebra)


def _descriptors():
    """What each open descriptor refers to; the null device and the like can be shared."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:  # the one that the listing itself had
            continue
        if target not in ("/dev/null", "/dev/urandom", "/dev/random"):
            found[int(name)] = target
    return found


def _collect_rarely():
    """Look for cycles a few times while libraries are imported, not hundreds; the thresholds so far.

    Nearly all that an import makes stays: looking for what does not is an eighth of `import dagster`.
    """
    import gc

    before = gc.get_threshold()
    gc.set_threshold(_RARELY, *before[1:])
    return before


def _freeze(thresholds):
    import gc

    if gc.get_threshold()[0] == _RARELY:  # else a library has chosen its own
        gc.set_threshold(*thresholds)
    if hasattr(gc, "freeze"):  # from Python 3.7
        gc.freeze()
    else:
        gc.collect()  # what is old is looked at less often, and stays shared for longer


def _received(ancillary):
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return list(descriptors)


def _fork(connection, descriptors):
    """The child's process id, or 0 in the child; a failure is answered and gives None."""
    try:
        if len(descriptors) != _DESCRIPTORS:
            raise OSError("%d descriptors came instead of %d" % (len(descriptors), _DESCRIPTORS))
        leading, leads = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(leading)
            os.close(leads)
            raise
    except OSError as error:
        connection.send(wire.pack({"type": "failed", "error": error.strerror or str(error)}))
        pid = None
    if pid == 0:
        os.setsid()
        os.close(leads)
        os.close(leading)
    elif pid:
        # Told only when it leads its session: a signal to its group must reach it from now on.
        os.close(leads)
        os.read(leading, 1)
        os.close(leading)
        connection.send(wire.pack({"type": "forked", "pid": pid}))
    if pid != 0:
        for descriptor in descriptors:
            os.close(descriptor)
    return pid


def _reap(pid):
    try:
        _pid, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        _pid, status = 0, 0
    return wire.pack({"type": "reaped", "pid": pid, "status": status if _pid else None})


def _become_child(request, descriptors):
    """Make anew what a fresh process would have of its own; what its shim is to run with."""
    line, output, errors = descriptors
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.close(output)
    os.close(errors)
    os.set_inheritable(line, False)
    if hasattr(sys, "orig_argv"):  # from Python 3.10
        sys.orig_argv[-1] = request["name"]
    _retitle(request["name"])
    _remark(request["mark"])
    _renew_random_state()
    _renew_process()
    lifeline.arm(line)
    return request["address"], request["instance"], line


def _renew_random_state():
    """Siblings must not draw the same numbers; a fresh process would have its own."""
    random = sys.modules.get("random")
    if random is not None and sys.version_info < (3, 7):  # later versions do it themselves
        random.seed()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        try:
            numpy.seed()
        except Exception:  # a numpy that is only half there
            pass


def _renew_process():
    """What modules of the standard library keep of the process that imported them."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = os.urandom(32)
    threading = sys.modules.get("threading")
    if threading is not None:
        main = threading.main_thread()
        if getattr(main, "native_id", None) != os.getpid() and hasattr(main, "_set_native_id"):
            main._set_native_id()  # some versions keep the parent's


def _remark(mark):
    """Have what user code starts carry ``mark``: through exec, and as the kernel shows it."""
    name = "SUPERVISE_PROCESS"
    os.environ[name] = mark
    wanted = (name + "=").encode("ascii")
    try:
        with open("/proc/self/environ", "rb") as file:
            place = file.read().find(wanted)
        with open("/proc/self/stat", "rb") as file:
            start = int(file.read().rpartition(b")")[2].split()[47])  # env_start, field 50
        if place >= 0:
            with open("/proc/self/mem", "r+b", 0) as memory:
                memory.seek(start + place + len(wanted))
                memory.write(mark.encode("ascii"))
    except (OSError, ValueError, IndexError):
        pass  # only a child that is no other program cannot be told from the forkserver's own


def _retitle(name):
    """Show ``name`` instead of the forkserver's in ``ps``: the last argument, in place."""
    try:
        with open("/proc/self/cmdline", "rb") as file:
            arguments = file.read()
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        # arg_start and arg_end are fields 48 and 49 of proc(5); the state, field 3, is the first here
        start, end = int(fields[45]), int(fields[46])
        head = arguments.rstrip(b"\0").rpartition(b"\0")[0] + b"\0"
        title = (head + name.encode("utf-8", "replace"))[: end - start - 1]
        with open("/proc/self/mem", "r+b", 0) as memory:
            memory.seek(start)
            memory.write(title + b"\0" * (end - start - len(title)))
    except (OSError, ValueError, IndexError):
        pass  # a kernel that does not allow it: only the name in ps is lost
