"""What a forked process must have of its own: made anew after the fork, or when it is handed out.

Owns random state, identities that the standard library keeps of its process, the title and the process token.
Where a kernel does not allow one of them, that one is left out. Linux only.
"""

import os
import sys

__all__ = ["AFTER_IMPORT", "renew", "retitle", "take_token"]


def renew(module):
    """``module(name)`` is one that was preloaded, or None: what could be in use without an import."""
    threading = sys.modules.get("threading") or module("threading")
    if threading is not None:
        _renew_main_thread(threading)
    random = sys.modules.get("random") or module("random")
    if random is not None and sys.version_info < (3, 7):  # later versions do it themselves
        random.seed()
    zipimport = sys.modules.get("zipimport")
    if zipimport is not None:
        _forget_archives(zipimport)


def _forget_archives(zipimport):
    """An archive may have been replaced: its directory is read anew."""
    zipimport._zip_directory_cache.clear()
    for path, importer in list(sys.path_importer_cache.items()):
        if isinstance(importer, zipimport.zipimporter):
            del sys.path_importer_cache[path]


def _renew_main_thread(threading):
    main = threading.main_thread()
    if getattr(main, "native_id", None) != os.getpid() and hasattr(main, "_set_native_id"):
        main._set_native_id()  # some versions keep the parent's


def _renew_numpy(numpy_random):
    """Siblings must not draw the same numbers; a fresh process would have its own."""
    try:
        numpy_random.seed()
    except Exception:  # a numpy that is only half there
        pass


def _renew_process(process):
    process.current_process().authkey = os.urandom(32)


def _renew_working_set(pkg_resources):
    """The directories that have come to ``sys.path`` since; no distribution is in them."""
    try:
        working_set = pkg_resources.working_set
        rest = [one for one in working_set.entries if one not in sys.path]
        working_set.entries[:] = sys.path + rest
        for one in sys.path:
            working_set.entry_keys.setdefault(one, [])
    except Exception:  # another version of it
        pass


# What is to be done with a module when it is handed out.
AFTER_IMPORT = {
    "multiprocessing.process": _renew_process,
    "numpy.random": _renew_numpy,
    "pkg_resources": _renew_working_set,
}


def take_token(token):
    """Have what user code starts carry ``token``: through exec, and as the kernel shows it."""
    name = "SUPERVISE_PROCESS"
    os.environ[name] = token
    wanted = (name + "=").encode("ascii")
    try:
        with open("/proc/self/environ", "rb") as file:
            place = (b"\0" + file.read()).find(b"\0" + wanted)
        with open("/proc/self/stat", "rb") as file:
            start = int(file.read().rpartition(b")")[2].split()[47])  # env_start, field 50
        if place >= 0:
            with open("/proc/self/mem", "r+b", 0) as memory:
                memory.seek(start + place + len(wanted))
                memory.write(token.encode("ascii"))
    except (OSError, ValueError, IndexError):
        pass  # only a child that is no other program cannot be told from the forkserver's own


def retitle(name):
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
