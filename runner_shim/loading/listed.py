"""Which of the team's directories its code lists while it is loaded: something new in one may count.

Owns one audit hook (Python 3.8 and later; sys.addaudithook cannot be undone, so it notes nothing once
a load is over). What the import system lists to find modules is left out, and so are directories that
the load itself makes something in: each load would ask for the next. Opens no file.
"""

import os
import sys

from runner_shim import imported

__all__ = ["begin", "end", "found", "note"]

MAX_FOLDERS = 10000
_LISTING = ("os.listdir", "os.scandir")
_MAKING = {"os.mkdir": 0, "os.rename": 1, "open": 0}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

_hooked = []
# By path: True where it was listed, False where something was made in it.
_noted = [None]


def begin():
    """Note what is listed from now on."""
    if not _hooked and hasattr(sys, "addaudithook"):
        _hooked.append(True)
        sys.addaudithook(_hear)
    _noted[0] = {}


def end():
    """Note nothing any more."""
    _noted[0] = None


def found(directory):
    """The listed directories of the team's own below ``directory`` or ``sys.path``, sorted."""
    noted = _noted[0] or {}
    tops = {os.path.join(os.path.abspath(one), "") for one in imported.user_directories()}
    tops.add(os.path.join(directory, ""))
    return sorted(
        path
        for path, listed in noted.items()
        if listed and any(os.path.join(path, "").startswith(top) for top in tops)
    )


def note(directory):
    """Count ``directory`` as listed, while a load is under way."""
    if _noted[0] is not None:
        _noted[0].setdefault(directory, True)


def _hear(event, arguments):
    noted = _noted[0]
    if noted is None or (event not in _LISTING and event not in _MAKING):
        return
    try:
        if event == "open" and not (arguments[2] or 0) & _WRITES:
            return
        path = arguments[_MAKING.get(event, 0)]
        if isinstance(path, int) or len(noted) >= MAX_FOLDERS:
            return
        caller = sys._getframe(1).f_code.co_filename
        if caller.startswith("<frozen importlib") or imported.is_own(caller):
            return
        path = os.path.abspath(os.fsdecode(path or "."))
        path = path.encode("utf-8", "replace").decode("utf-8")
        if event in _MAKING:
            noted[os.path.dirname(path)] = False
        elif imported.is_user_directory(path):
            noted.setdefault(path, True)
    except Exception:  # a hook that raises would make the team's call fail
        return
