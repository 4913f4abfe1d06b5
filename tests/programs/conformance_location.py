"""A location that writes down everything it can see of its process, into ``seen-<pid>.json``.

Loaded by a fresh process and by a forked one, the two files must be equal. Runs on Python 3.6.
"""

import asyncio
import atexit
import concurrent.futures
import faulthandler
import gc
import inspect
import json
import locale
import logging
import multiprocessing
import os
import random
import resource
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
import warnings

import conformance_functions  # the team's own, beside this module
import conformance_library  # an installed one, made by the test

from runner_shim import Definitions, asset, job

UNIQUE = {
    "random": random.random(),
    "library's random": conformance_library.draw(),
    "numpy": conformance_library.numpy_like(),
    "tempfile": tempfile.mktemp(),
    "uuid1": str(uuid.uuid1()),
    "uuid4": str(uuid.uuid4()),
    "secrets": secrets.token_hex(8),
    "authkey": multiprocessing.current_process().authkey.hex(),
}


def handlers():
    found = {}
    for number in range(1, signal.NSIG):
        try:
            found[number] = repr(signal.getsignal(number)).split(" at 0x")[0]
        except ValueError:
            continue
    return found


def descriptors():
    """The kinds of all open descriptors, in order; which is which may differ, not what there is."""
    listing = os.open("/proc/self/fd", os.O_RDONLY)
    try:
        names = [name for name in os.listdir(listing) if int(name) != listing]
    finally:
        os.close(listing)
    kinds = []
    for name in names:
        try:
            kind = os.readlink("/proc/self/fd/" + name).split(":")[0]
        except OSError:
            continue
        flags = "inherited" if os.get_inheritable(int(name)) else ""
        kinds.append([kind, flags])
    return sorted(kinds)


def stream(one):
    return [
        one.name,
        one.mode,
        one.encoding,
        one.errors,
        one.line_buffering,
        getattr(one, "write_through", None),
        one.isatty(),
        one.fileno(),
        type(one.buffer).__name__,
    ]


def modules():
    """Names and kinds: where each module comes from is compared by the test."""
    return {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}


def status(*wanted):
    with open("/proc/self/status") as file:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return {key: lines.get(key) for key in wanted}


def umask():
    found = os.umask(0o22)
    os.umask(found)
    return found


def limits():
    return {
        name: resource.getrlimit(getattr(resource, name))
        for name in dir(resource)
        if name.startswith("RLIMIT_")
    }


def arguments():
    with open("/proc/self/cmdline", "rb") as file:
        found = file.read().rstrip(b"\0").split(b"\0")
    return [os.fsdecode(one) for one in found]


def frame_names():
    return [(os.path.basename(one.filename), one.function) for one in inspect.stack()]


def outcome(function, *args):
    """What a function returned, or what it raised: a difference in either is one."""
    try:
        return function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def in_process(method):
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    child = context.Process(target=queue.put, args=(42,))
    child.start()
    found = queue.get()
    child.join()
    return [found, child.exitcode]


def in_own_pool(method):
    """A function of the team's own: children that are not forked import its module themselves."""
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool:
        return pool.map(conformance_functions.square, [1, 2, 3])


def in_pool(method):
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        return pool.map(abs, [-1, -2, -3])


def in_executor(kind):
    with kind(2) as executor:
        return list(executor.map(abs, [-1, -2, -3]))


def in_loop():
    async def work():
        await asyncio.sleep(0)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(7)", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return [output.decode(), process.returncode]

    loop = asyncio.new_event_loop()
    try:
        # Before Python 3.8 children are watched through the loop of the main thread.
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(work())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def in_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(threading.current_thread() is thread))
    thread.start()
    thread.join()
    return found


def in_children():
    found = {
        "subprocess": subprocess.check_output(
            [sys.executable, "-c", "import sys; print(sys.argv, sys.stdin.read())"]
        ).decode(),
        "system": os.system("exit 3"),
        "asyncio": outcome(in_loop),
        "threads": outcome(in_executor, concurrent.futures.ThreadPoolExecutor),
        "thread": outcome(in_thread),
        "fork": outcome(forked),
        "interrupted": outcome(interrupted),
    }
    for method in multiprocessing.get_all_start_methods():
        found["process " + method] = outcome(in_process, method)
        found["own function " + method] = outcome(in_own_pool, method)
    if os.environ.get("CONFORMANCE_POOLS"):
        found["processes"] = outcome(in_executor, concurrent.futures.ProcessPoolExecutor)
        for method in multiprocessing.get_all_start_methods():
            found["pool " + method] = outcome(in_pool, method)
    return found


def forked():
    pid = os.fork()
    if pid == 0:
        os._exit(5)
    return os.waitpid(pid, 0)[1]


def interrupted():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
    except KeyboardInterrupt:
        return "KeyboardInterrupt"
    return "nothing"


class Noted(logging.Handler):
    def emit(self, record):
        self.record = record


def logged():
    noted = Noted()
    logger = logging.getLogger("conformance")
    logger.addHandler(noted)
    logger.warning("a word")
    logger.removeHandler(noted)
    record = noted.record
    own = [record.process == os.getpid(), record.processName, record.threadName]
    return own, record.relativeCreated < 60 * 1000 and record.relativeCreated >= 0


def main_thread():
    main = threading.main_thread()
    return {
        "is current": main is threading.current_thread(),
        "identity": main.ident == threading.get_ident(),
        "native": getattr(main, "native_id", os.getpid()) == os.getpid(),
        "name": main.name,
        "alive": main.is_alive(),
        "all": [one.name for one in threading.enumerate()],
    }


def process():
    current = multiprocessing.current_process()
    return {
        "name": current.name,
        "pid": current.pid == os.getpid(),
        "daemon": current.daemon,
        "children": len(multiprocessing.active_children()),
        "parent": repr(getattr(multiprocessing, "parent_process", lambda: None)()),
        "method": multiprocessing.get_start_method(allow_none=True),
        "leader": os.getsid(0) == os.getpgrp() == os.getpid(),
        "umask": umask(),
        "cwd": os.getcwd(),
        "nice": os.nice(0),
        "affinity": sorted(os.sched_getaffinity(0)),
        "limits": limits(),
        "arguments": arguments(),
        "timers": [signal.getitimer(which) for which in (0, 1, 2)],
        "terminal": outcome(os.open, "/dev/tty", os.O_RDWR),
        "wakeup": signal.set_wakeup_fd(-1),
        "mask": sorted(int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "status": status("Threads", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "Seccomp"),
        "children of mine": outcome(os.waitpid, -1, os.WNOHANG),
    }


def interpreter():
    main = sys.modules["__main__"]
    return {
        "argv": sys.argv,
        "orig_argv": getattr(sys, "orig_argv", None),
        "path": sys.path,
        # The cache itself comes and goes with what is imported.
        "finders": [type(sys.path_importer_cache.get(one)).__name__ for one in sys.path[1:]],
        "meta_path": [getattr(one, "__name__", type(one).__name__) for one in sys.meta_path],
        "path_hooks": [getattr(one, "__qualname__", repr(one)) for one in sys.path_hooks],
        "flags": repr(sys.flags),
        "xoptions": sys._xoptions,
        "warnoptions": sys.warnoptions,
        "executable": [sys.executable, sys.prefix, sys.base_prefix, sys.exec_prefix],
        "main": {
            name: repr(value).split(" at 0x")[0] for name, value in sorted(vars(main).items())
        },
        "builtins": sorted(name for name in vars(sys.modules["builtins"])),
        "hooks": [
            sys.excepthook is sys.__excepthook__,
            sys.displayhook is sys.__displayhook__,
            sys.gettrace(),
            sys.getprofile(),
        ],
        "recursion": sys.getrecursionlimit(),
        "depth": frame_names(),
        "switch": sys.getswitchinterval(),
        "encodings": [
            sys.getdefaultencoding(),
            sys.getfilesystemencoding(),
            locale.getpreferredencoding(False),
            locale.setlocale(locale.LC_ALL),
        ],
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_debug(), len(gc.callbacks), gc.garbage],
        "faulthandler": faulthandler.is_enabled(),
        "dont_write_bytecode": sys.dont_write_bytecode,
    }


def look():
    return {
        "process": process(),
        "interpreter": interpreter(),
        "streams": [stream(one) for one in (sys.stdout, sys.stderr)],
        "same streams": [sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__],
        "stdin": [
            sys.stdin.read(),
            os.read(0, 1).decode(),
            os.readlink("/proc/self/fd/0"),
            [str(one) for one in select.select([0], [], [], 0)],
        ],
        "descriptors": descriptors(),
        "signals": handlers(),
        "environment": dict(os.environ),
        "hash": [hash("a"), hash(("b", 1))] if os.environ.get("PYTHONHASHSEED") else None,
        "warnings": [repr(one) for one in warnings.filters],
        "logging": [
            repr(logging.root.handlers),
            logging.root.level,
            sorted(logging._levelToName),
            logged(),
        ],
        "main thread": main_thread(),
        "atexit": atexit._ncallbacks(),
        "library": conformance_library.state(),
        "package": __package__,
        "name": __name__,
        "children": in_children(),
        "descriptors afterwards": descriptors(),
    }


def write_down():
    seen = look()
    with open(f"seen-{os.getpid()}.new", "w") as output:
        json.dump(
            {
                "seen": seen,
                "unique": UNIQUE,
                "modules": modules(),
                "frozen": getattr(gc, "get_freeze_count", lambda: None)(),
            },
            output,
        )
    os.rename(f"seen-{os.getpid()}.new", f"seen-{os.getpid()}.json")


atexit.register(lambda: open(f"ended-{os.getpid()}", "w").close())
write_down()


@asset(tags={"of": "conformance"}, description="one")
def one():
    pass


@job(tags={"kind": "conformance"})
def nightly():
    pass


defs = Definitions(assets=[one], jobs=[nightly])
