"""What imports change in a process beside their own modules, taken back and made again.

Owns the *kinds* of it: filters, handlers, hooks, variables, locale, what is registered for the exit
or for forks. It is taken back before anything is forked, and made again where the module that did it
is handed out: a process that does not import it has none of it. What cannot be taken back is
leftovers.py's: it makes a library unfit to be preloaded.
"""

import _signal
import _warnings
import os
import sys

from runner_shim import imported
from runner_shim.process import leftovers

__all__ = ["Effects", "Exit", "Fetched"]

_ABSENT = object()


class Effects(object):
    """Notices changes since ``begin``, and takes them back with ``undo``.

    ``place`` is the working directory that is to stay. A change is a pair (watch, what to make
    again); ``redo`` makes it. What is registered is given to ``registered(change)`` at once, and
    what is unregistered to ``unregistered(function)``.
    """

    def __init__(self, place, registered, unregistered):
        self._place = place
        self._registered = registered
        self._unregistered = unregistered
        self._quick = self._all = []

    def begin(self, path):
        import atexit  # noqa: F401  # recorded, as other imports are
        import gc
        import locale
        import resource  # noqa: F401

        quick = [
            _List("warnings.filters", lambda: _warnings.filters, _filters_changed),
            _List("sys.path", path),
            _List("sys.meta_path", lambda: sys.meta_path),
            _List("sys.path_hooks", lambda: sys.path_hooks),
            _Dict("os.environ", lambda: os.environ._data, _set_variable, _unset_variable),
        ]
        slow = [
            _Dict("builtins", _builtins, _set_builtin, _unset_builtin),
            _Dict("copyreg", lambda: _member("copyreg", "dispatch_table")),
            _Dict("levels", lambda: _member("logging", "_levelToName"), first=_LEVELS),
            _Dict("level names", lambda: _member("logging", "_nameToLevel"), first=_LEVEL_NAMES),
            _List("handlers", lambda: getattr(_member("logging", "root"), "handlers", None)),
        ]
        slow.extend(
            _Value("sys." + name, _reader(sys, name), _writer(sys, name))
            for name in ("excepthook", "displayhook", "unraisablehook", "stdin", "stdout", "stderr")
            if hasattr(sys, name)
        )
        slow.extend(
            _Value("%s.%s" % (module, name), _late_reader(module, name), _late_writer(module, name))
            for module, name in (
                ("threading", "excepthook"),
                ("logging", "raiseExceptions"),
                ("logging", "_loggerClass"),
                ("logging", "_logRecordFactory"),
                ("tempfile", "tempdir"),
                ("asyncio.events", "_event_loop_policy"),
                ("multiprocessing.context", "_default_context._actual_context"),
                ("logging", "root.level"),
            )
        )
        # A backport of importlib.metadata takes from the standard finder what it answers itself.
        slow.extend(
            _Dict("finder " + one.__name__, _members_of(one), _put_member(one), _remove_member(one))
            for one in sys.meta_path
            if isinstance(one, type)
        )
        slow.extend(
            [
                _Value("recursion", sys.getrecursionlimit, sys.setrecursionlimit),
                _Value("switches", sys.getswitchinterval, sys.setswitchinterval),
                _Value("umask", _umask, os.umask),
                _Value(
                    "locale",
                    lambda: locale.setlocale(locale.LC_ALL),
                    lambda one: locale.setlocale(locale.LC_ALL, one),
                ),
                _Value("gc", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
                _Value("gc debugging", gc.get_debug, gc.set_debug),
            ]
        )
        slow.extend(
            _Value("signal", _handler_of(number), _handle(number))
            for number in range(1, _signal.NSIG)
            if _can_be_handled(number)
        )
        for watch in quick + slow:
            watch.begin()
        self._quick, self._all = quick, quick + slow
        self._real = _Registrations(self._registered, self._unregistered)
        self._left = leftovers.find()

    def changes(self, thorough=False):
        """What has changed since the last time: (watch, change) pairs."""
        return [
            (watch, change)
            for watch in (self._all if thorough else self._quick)
            for change in watch.changes()
        ]

    def forget_changes(self):
        for watch in self._quick:
            watch.look()

    def why_unfit(self, native=None):
        """What has been left since the last time that cannot be taken back: a reason, or "".

        ``native`` is how many modules of others' native code there are; None: look at all.
        ``looked`` says whether all was looked at.
        """
        before = self._left
        self._left = leftovers.find(None if native is None else before, native)
        self.looked = self._left["looked"]
        return leftovers.compare(before, self._left) or leftovers.put_right(self._place)

    def why_unfit_from_the_start(self, numbers):
        """What the start of the interpreter has left, or ""; ``numbers`` of descriptors are known."""
        reason = leftovers.from_the_start(self._left, numbers)
        return (
            "the start of the interpreter (sitecustomize or a .pth file) " + reason
            if reason
            else ""
        )

    def undo(self):
        """Have everything as it was at the beginning."""
        for watch in self._all:
            watch.undo()
        self._real.restore()
        weakref = sys.modules.get("weakref")
        if weakref is not None:
            weakref.finalize._registry.clear()
            weakref.finalize._registered_with_atexit = False
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util._finalizer_registry.clear()


# --- what is registered


class _Registrations(object):
    """Notes what is to be called at the exit and at forks, instead of registering it."""

    def __init__(self, registered, unregistered):
        import atexit

        self._registered, self._unregistered = registered, unregistered
        self._atexit = atexit
        self.register, self.unregister = atexit.register, atexit.unregister
        atexit.register, atexit.unregister = self._register, self._unregister
        self.at_fork = getattr(os, "register_at_fork", None)
        if self.at_fork is not None:
            os.register_at_fork = self._at_fork

    def restore(self):
        self._atexit.register, self._atexit.unregister = self.register, self.unregister
        if self.at_fork is not None:
            os.register_at_fork = self.at_fork

    def _register(self, function, *arguments, **named):
        self._registered((Exit(self.register), (function, arguments, named)))
        return function

    def _unregister(self, function):
        self._unregistered(function)
        self.unregister(function)

    def _at_fork(self, **hooks):
        code = sys._getframe(1).f_code.co_filename
        if imported.is_installed(code):
            self._registered((_AtFork(self.at_fork), hooks))
        else:  # the standard library's own see to its locks and random numbers
            self.at_fork(**hooks)


class Exit(object):
    """What is to be called at the exit."""

    def __init__(self, register):
        self._register = register

    def redo(self, change):
        function, arguments, named = change
        finalize = _member("weakref", "finalize")
        if finalize is not None and function == finalize._exitfunc:
            if finalize._registered_with_atexit:
                return
            finalize._registered_with_atexit = True
        self._register(function, *arguments, **named)


class _AtFork(object):
    def __init__(self, register):
        self._register = register

    def redo(self, hooks):
        self._register(**hooks)


class Fetched(object):
    """What a module has fetched into ``members`` when it was asked for it."""

    def __init__(self, members):
        self._members = members

    def redo(self, change):
        name, value = change
        self._members[name] = value


# --- what can be taken back


class _Followed(object):
    """State that is remembered as it was ``first`` and at the ``last`` look."""

    def begin(self):
        self.first = self.last = self._now()

    def look(self):
        now = self._now()
        before, self.last = self.last, now
        return before, now


class _List(_Followed):
    def __init__(self, name, get, changed=None):
        self.name, self._get, self._changed = name, get, changed

    def _now(self):
        found = self._get()
        return [] if found is None else list(list.__iter__(found))

    def changes(self):
        found = self._get()
        if found is not None and list.__eq__(self.last, found):
            return []
        before, now = self.look()
        if before == now:
            return []
        for size in range(len(now) + 1):
            if now[size:] == [one for one in before if one not in now[:size]]:
                return [(now[:size], [])]
            if now[: len(now) - size] == [
                one for one in before if one not in now[len(now) - size :]
            ]:
                return [([], now[len(now) - size :])]
        return [(now, None)]  # another list altogether

    def undo(self):
        found = self._get()
        if found is not None and list(found) != self.first:
            found[:] = self.first
            self._tell()

    def redo(self, change):
        front, back = change
        found = self._get()
        if found is None:  # its module is not there
            return
        if back is None:
            found[:] = front
        else:
            found[:] = front + [one for one in found if one not in front and one not in back] + back
        self._tell()

    def _tell(self):
        if self._changed is not None:
            self._changed()


class _Dict(_Followed):
    """``first`` is what there is in the beginning where that is not there yet."""

    def __init__(self, name, get, put=None, remove=None, first=()):
        self.name, self._get, self._put, self._remove = name, get, put, remove
        self._begins_with = dict(first)

    def _now(self):
        found = self._get()
        return dict(self._begins_with) if found is None else dict(dict.items(found))

    def changes(self):
        found = self._get()
        if found is not None and dict.__eq__(self.last, found):
            return []
        before, now = self.look()
        found = [(name, now[name]) for name in now if before.get(name, _ABSENT) != now[name]]
        found.extend((name, _ABSENT) for name in before if name not in now)
        return found

    def undo(self):
        found = self._get()
        if found is not None:
            for name, value in _differences(self._now(), self.first):
                self.redo((name, value))

    def redo(self, change):
        name, value = change
        if value is _ABSENT:
            if self._remove is not None:
                self._remove(name)
            else:
                self._get().pop(name, None)
        elif self._put is not None:
            self._put(name, value)
        else:
            self._get()[name] = value


class _Value(_Followed):
    def __init__(self, name, get, put):
        self.name, self._get, self._put = name, get, put

    def _now(self):
        return self._get()

    def changes(self):
        before, now = self.look()
        if now is _ABSENT:
            return []
        if before is _ABSENT:  # its module has come just now
            self.first = before = _DEFAULTS.get(self.name, now)
        return [] if before is now or before == now else [now]

    def undo(self):
        now = self._get()
        if self.first is not _ABSENT and now is not _ABSENT and now != self.first:
            self.redo(self.first)

    def redo(self, value):
        self._put(value)


# What the standard library's modules begin with.
_LEVELS = {50: "CRITICAL", 40: "ERROR", 30: "WARNING", 20: "INFO", 10: "DEBUG", 0: "NOTSET"}
_LEVEL_NAMES = dict({name: level for level, name in _LEVELS.items()}, WARN=30, FATAL=50)
_DEFAULTS = {
    "tempfile.tempdir": None,
    "asyncio.events._event_loop_policy": None,
    "multiprocessing.context._default_context._actual_context": None,
    "logging.root.level": 30,
}


def _differences(now, wanted):
    for name in set(now) | set(wanted):
        if now.get(name, _ABSENT) != wanted.get(name, _ABSENT):
            yield name, wanted.get(name, _ABSENT)


def _member(module, name):
    return getattr(sys.modules.get(module), name, None)


def _reader(owner, name):
    return lambda: getattr(owner, name)


def _writer(owner, name):
    return lambda value: setattr(owner, name, value)


def _late_reader(module, path):
    def read():
        found = sys.modules.get(module, _ABSENT)
        for name in path.split("."):
            found = getattr(found, name, _ABSENT)
        return found

    return read


def _late_writer(module, path):
    owners, _dot, name = path.rpartition(".")

    def write(value):
        found = sys.modules.get(module)
        for one in owners.split(".") if owners else ():
            found = getattr(found, one, None)
        if found is not None:
            setattr(found, name, value)

    return write


def _filters_changed():
    for name in ("_filters_mutated", "_filters_mutated_lock_held"):
        changed = getattr(_warnings, name, None)
        if changed is not None:
            try:
                changed()
            except RuntimeError:  # its lock is not held: nothing else runs here
                pass


def _set_variable(name, value):
    os.environ[os.fsdecode(name)] = os.fsdecode(value)


def _unset_variable(name):
    os.environ.pop(os.fsdecode(name), None)


def _builtins():
    """All but those that the recorder itself has replaced."""
    found = dict(sys.modules["builtins"].__dict__)
    for name in ("__import__", "open", "_"):
        found.pop(name, None)
    return found


def _set_builtin(name, value):
    setattr(sys.modules["builtins"], name, value)


def _unset_builtin(name):
    sys.modules["builtins"].__dict__.pop(name, None)


def _members_of(finder):
    return lambda: dict(vars(finder))


def _put_member(finder):
    return lambda name, value: setattr(finder, name, value)


def _remove_member(finder):
    return lambda name: delattr(finder, name) if name in vars(finder) else None


def _umask():
    found = os.umask(0o77)
    os.umask(found)
    return found


def _can_be_handled(number):
    try:
        return _signal.getsignal(number) is not None and number not in (9, 19)
    except ValueError:
        return False


def _handler_of(number):
    return lambda: _signal.getsignal(number)


def _handle(number):
    return lambda handler: _signal.signal(number, handler)
