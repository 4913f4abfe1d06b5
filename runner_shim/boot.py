"""The contract with the launcher of a shim; run as a script in the team's interpreter.

Expects:

* ``python [-u] <this file> NAME`` in a session of its own (the process leads its group). ``NAME``
  is only there to be read in ``ps``.
* On standard input one line of JSON, then silence until the launcher is gone::

      {"v": 1, "address": "ipc://…", "instance": "…", "overlay": "/path" | null}

  or, for a forkserver (runner_shim/process/forkserver.py), with the number of an inherited socket::

      {"v": 1, "control": 5, "overlay": "/path" | null}

  or, for a run in a fresh process (runner_shim/process/fresh.py)::

      {"v": 1, "run": {...}, "target": {...}, "overlay": "/path" | null}

  (with ``"handed": [numbers of inherited descriptors]`` for one that a framework's server has handed
  over), or, for such a server (``"line"`` is the number of an inherited socket)::

      {"v": 1, "serve": {...}, "line": 5, "overlay": "/path" | null}

  or, to evaluate a schedule or sensor (``"result"`` is the number of an inherited pipe)::

      {"v": 1, "tick": {...}, "target": {...}, "result": 5, "overlay": "/path" | null}

  or, to tell a framework how a run ended (runner_shim/process/report.py)::

      {"v": 1, "report": {...}, "target": {...}, "overlay": "/path" | null}

  With ``"seeded": true`` the hash seed in the environment is the supervisor's choice: it is taken out.
  The write end stays open as long as the supervisor lives: it is the lifeline.
* Standard output and error are the team's log.

Results in a process that connects to ``address``, says ``hello`` and answers requests until it is
told to stop or the lifeline breaks. By the time user code runs nothing of ours is left in
``sys.path``, ``sys.argv``, ``__main__`` or the environment, and standard input is the null device.
Exit status 64 means a start message that cannot be understood, 69 that pyzmq or msgpack cannot be
imported; the reason is on standard error.
"""

import os
import sys


def _read_start():
    """The start message (dict), or exit: without one there is no use for this process."""
    data = b""
    while not data.endswith(b"\n"):
        block = os.read(0, 65536)
        if not block:
            os._exit(1)
        data += block
    import json

    try:
        start = json.loads(data.decode("utf-8"))
        if start.get("seeded"):
            os.environ.pop("PYTHONHASHSEED", None)
        start["overlay"]
        return start
    except (ValueError, KeyError, TypeError) as error:
        sys.stderr.write("the start message cannot be understood: %s\n" % error)
        sys.stderr.flush()
        os._exit(64)


def _take_lifeline():
    """Move the lifeline from standard input to a private descriptor."""
    import fcntl

    lifeline = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return lifeline


def _import_package(directory):
    """Put ``runner_shim`` into ``sys.modules`` from ``directory`` without touching ``sys.path``."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(
        "runner_shim",
        os.path.join(directory, "__init__.py"),
        submodule_search_locations=[directory],
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules["runner_shim"] = package
    spec.loader.exec_module(package)


def _leave_no_trace(directory):
    if sys.path and os.path.realpath(sys.path[0] or ".") == directory:
        del sys.path[0]
    sys.argv[:] = [""]
    # A fresh, empty main module: user code that spawns processes must not have this file run again.
    sys.modules["__main__"] = type(sys)("__main__")


def main():
    """Become the shim. Returns its exit status."""
    directory = os.path.dirname(os.path.realpath(__file__))
    start = _read_start()
    overlay, control = start.get("overlay"), start.get("control")
    lifeline = _take_lifeline()
    _leave_no_trace(directory)
    _import_package(directory)

    if "run" not in start:
        from runner_shim import lifeline as lifelines

        lifelines.arm(lifeline)

    from runner_shim.process import channel

    try:
        channel.import_private(overlay)
    except ImportError as error:
        sys.stderr.write(
            "pyzmq and msgpack cannot be imported from %s: %s\n" % (overlay or sys.prefix, error)
        )
        sys.stderr.flush()
        os._exit(69)

    from runner_shim.process import birth  # noqa: F401  # before anything of the team's is imported

    if "report" in start:
        from runner_shim.process import report

        return report.start(start["report"], start["target"])
    if "run" in start:
        from runner_shim.process import fresh

        return fresh.start(start["run"], start["target"], lifeline, start.get("handed"))
    if "tick" in start:
        from runner_shim.process import fresh

        return fresh.tick(start["tick"], start["target"], start["result"])
    if "serve" in start:
        from runner_shim.process import fresh

        return fresh.serve(start["serve"], start["line"])
    address, instance, hidden = start.get("address"), start.get("instance"), None
    if control is not None:
        from runner_shim.preloading.preload import Preload

        preload = Preload()
        from runner_shim.process import forkserver  # now, that it is known what it imports

        forked = forkserver.serve(control, lifeline, preload)
        if forked is None:
            return 0
        address, instance, lifeline, hidden = forked

    from runner_shim.process import request_loop

    return request_loop.run(address, instance, lifeline, hidden)


if __name__ == "__main__":
    sys.exit(main())
