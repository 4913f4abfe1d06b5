"""Which imports a load is at, and what each has taken.

Owns the timing. It asks where the import system itself begins and ends to load a module
(``importlib._bootstrap._find_and_load``), for as long as the load lasts: ``sys.meta_path`` and
``builtins.__import__`` stay as they are. The one frame that this adds has the file name of the import system, so
that Python takes it out of tracebacks like its own. Never raises, and knows no socket.
"""

import _frozen_importlib as machinery
import os
import sys
from _thread import get_ident
from time import monotonic

from runner_shim import imported

__all__ = ["ImportTimes"]

# Imports that took no longer are not worth a line (seconds); so many of the slowest are kept.
_SHORT = 0.01
_KEPT = 40
# So many imports are told at once; of more, one in so many seconds.
_AT_ONCE = 40
_SPACING = 1.0
_OUTER_FRAMES = 8

_WRAPPER = """
def _find_and_load(name, import_):
    entry = begin(name)
    try:
        return original(name, import_)
    finally:
        end(entry)
"""

_IMPORTLIB = os.path.join("importlib", "__init__.py")
# These are not reported.
_UNTOLD = frozenset(getattr(sys, "stdlib_module_names", ())) | {"runner_shim"}


class _Entry(object):
    __slots__ = ("name", "began", "inner", "outer", "told", "file", "line")

    def __init__(self, name, outer):
        self.name = name
        self.began = monotonic()
        self.inner = 0.0  # what the imports inside it took
        self.outer = outer
        self.told = False
        self.file = None
        self.line = 0


class ImportTimes(object):
    """Times imports within a ``with`` block, in this thread of this process.

    ``tell(name)`` hears of each import that the team's own code makes, and with the outer name, or "", when it
    is over; not of those for which ``quick(name)`` is true.
    """

    def __init__(self, tell, quick=lambda name: False):
        self._tell = tell
        self._quick = quick
        self._inner = None  # the innermost import under way
        self._done = []
        self._count, self._last = 0, 0.0
        self._pid, self._thread = os.getpid(), get_ident()
        self._original = None

    def __enter__(self):
        self._original = machinery._find_and_load
        names = {"begin": self._begin, "end": self._end, "original": self._original}
        exec(compile(_WRAPPER, "<frozen importlib._bootstrap>", "exec"), names)  # noqa: S102
        machinery._find_and_load = names["_find_and_load"]
        return self

    def __exit__(self, *exception):
        # Where the team's code has put something of its own around it, ours stays, and does nothing.
        if getattr(machinery._find_and_load, "__globals__", {}).get("begin") == self._begin:
            machinery._find_and_load = self._original
        self._thread = None

    def slowest(self):
        """``(name, seconds, own seconds, file, line)`` of each import that took a while, the slowest first.

        ``file`` and ``line`` are where the team's own code imports it, else None and 0.
        """
        return sorted(self._done, key=lambda one: -one[1])[:_KEPT]

    def _begin(self, name):
        if get_ident() != self._thread:
            return None
        try:
            entry = _Entry(name, self._inner)
            self._inner = entry
            self._look(entry)
            return entry
        except Exception:  # whatever it is, the import goes on
            return None

    def _look(self, entry):
        """Note which of the team's own lines imports it, and tell of it."""
        frame = sys._getframe(3)
        for _each in range(_OUTER_FRAMES):
            if frame is None:
                return
            file = frame.f_code.co_filename
            if not file.startswith("<frozen importlib") and not file.endswith(_IMPORTLIB):
                break
            frame = frame.f_back
        own = imported.is_own(file)
        if own or imported.is_user(file):
            if not own:
                entry.file, entry.line = file, frame.f_lineno
            if entry.name.partition(".")[0] not in _UNTOLD and not self._quick(entry.name):
                now = monotonic()
                if self._count < _AT_ONCE or now >= self._last + _SPACING:
                    self._count, self._last = self._count + 1, now
                    entry.told = self._send(entry.name)

    def _send(self, name):
        # Our socket is this process's and this thread's, and others must not see what it imports.
        if os.getpid() != self._pid or len(sys._current_frames()) > 1:
            return False
        self._tell(name)
        return True

    def _end(self, entry):
        if entry is None or get_ident() != self._thread:
            return
        try:
            seconds = monotonic() - entry.began
            outer = self._inner = entry.outer
            if outer is not None:
                outer.inner += seconds
            if seconds >= _SHORT:
                own = max(seconds - entry.inner, 0.0)
                self._done.append((entry.name, seconds, own, entry.file, entry.line))
            if entry.told:
                while outer is not None and not outer.told:
                    outer = outer.outer
                self._send("" if outer is None else outer.name)
        except Exception:
            pass
