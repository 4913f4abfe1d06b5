"""Watches what is imported in a forkserver: which import brought which, and what each one asked and changed.

Owns the record that hiding.py hands modules out by. While it records, the import machinery, the
variables, ``sys.path`` and the functions that look at files tell it what the module that is being
imported does; all of that is put back by ``stop``. Decides what must not be imported here at all
(``refuse``), and judges nothing else. Single-threaded; knows no framework.

A module's *own import* is everything between its being found and its code having run. What was
completed in that time stands before it in ``entries``, from ``first`` on.
"""

import _frozen_importlib as machinery  # what importlib._bootstrap is, whatever is in sys.modules
import builtins
import os
import sys

from runner_shim import imported
from runner_shim.preloading import effects, watched
from runner_shim.preloading.entries import MISSING, Entry, identity, is_native, top

__all__ = ["LeftOut", "Recorder"]

# Relative names are looked for below it: a directory that has a name of its own and is as good as empty.
_PLACE = "/proc/%d/task"
# Whose reading of sys.path is a search for distributions' metadata.
_METADATA = ("importlib/metadata", "importlib_metadata", "pkg_resources", "importlib/_bootstrap")
# Functions that look at a path, and where the path stands.
_LOOKING = (
    (os, "stat"),
    (os, "lstat"),
    (os, "access"),
    (os, "listdir"),
    (os, "scandir"),
    (os, "open"),
    (builtins, "open"),
)


class LeftOut(BaseException):
    """Raised where a preload imports what must not be imported before a fork."""


class Recorder(object):
    """Records from ``start`` to ``stop``; ``baseline`` is what every process has imported.

    ``entries`` are in the order in which their imports ended. ``tops`` maps a top-level name to
    those that its modules imported. ``left_out`` maps top-level names to why they must not be
    preloaded. ``refuse(name, spec)`` returns a reason, or None when the module may be imported.
    ``begun(name)`` is called when another top-level library is being imported.
    """

    def __init__(self, baseline, refuse, begun):
        self.baseline = baseline
        self.entries = []
        self.position = {}
        self.tops = {}
        self.left_out = {}
        self.place = _PLACE % os.getpid()
        self._refuse = refuse
        self._begun = begun
        self._stack = []
        self._seen = set(sys.modules)
        self._present = len(self._seen)  # as many names are there beside those that are going on
        self._edges = set()
        self._own = 0  # above it, it is not the import that asks
        self._armed = False
        self._writers = {}
        self._dense = []
        self._native = 0  # modules of others' native code
        self._looked = 0  # as many entries were there when all was looked at
        self._lazy = []  # (dictionary, names in it) of modules that fetch what they are asked for

    # --- beginning and end

    def start(self):
        os.chdir(self.place)
        self.effects = effects.Effects(self.place, self._registered, self._unregistered)
        self._find, self._load = machinery._find_spec, machinery._load_unlocked
        self._import = builtins.__import__
        machinery._find_spec, machinery._load_unlocked = self._found, self._loaded
        self._new_module = machinery._new_module
        machinery._new_module = self._dense_module
        self._util = sys.modules.get("importlib.util")
        if self._util is not None:
            self._util_find = self._util._find_spec
            self._util._find_spec = self._probed
        builtins.__import__ = self._imported
        self._data, self._path = os.environ._data, sys.path
        os.environ._data = watched.Variables(self._data)
        os.environ._data.read, os.environ._data.write = self._read_variable, self._write_variable
        sys.path = watched.Path(self._path)
        sys.path.read = self._read_path
        self._originals = [(owner, name, getattr(owner, name)) for owner, name in _LOOKING]
        self._watches = [
            (owner, name, watched.Looking(original, self._look))
            for owner, name, original in self._originals
        ]
        self.effects.begin(self._path_now)

    def stop(self):
        """Put everything back; what imports changed is undone, and kept in the entries."""
        self._arm(False)
        self.effects.undo()
        machinery._find_spec, machinery._load_unlocked = self._find, self._load
        machinery._new_module = self._new_module
        del self._dense[:]
        if self._util is not None:
            self._util._find_spec = self._util_find
        if builtins.__import__ == self._imported:
            builtins.__import__ = self._import
        self._path[:] = list.copy(sys.path)
        sys.path = self._path
        variables = os.environ._data
        self._data.clear()
        self._data.update(dict.items(variables))
        os.environ._data = self._data
        self._take_watches_back()
        os.chdir("/")

    def _path_now(self):
        return sys.path

    def _take_watches_back(self):
        """Libraries that have bound one of our functions get the one that it stands for."""
        for entry in self.entries:
            if entry.standard:
                continue
            members = getattr(sys.modules.get(entry.name), "__dict__", None)
            if type(members) is dict:
                for name, value in list(members.items()):
                    if type(value) is watched.Looking:
                        members[name] = value.original

    # --- importing

    def _found(self, name, path, target=None):
        spec = self._look_for(name, path, target)
        if spec is None:
            if self._stack:
                self._stack[-1].probed.setdefault(name, None)
            return None
        reason = self.left_out.get(name) or self._refuse(name, spec)
        if reason is not None:
            self.blame(reason, name)
            raise LeftOut(name)
        return spec

    def _probed(self, name, path, target=None):
        """A library asks whether there is a module, and does not import it."""
        spec = self._look_for(name, path, target)
        if self._stack:
            self._stack[-1].probed[name] = None if spec is None else spec.origin
        return spec

    def _look_for(self, name, path, target):
        self._own += 1
        try:
            return self._find(name, path, target)
        finally:
            self._own -= 1

    def _loaded(self, spec):
        name = spec.name
        self._changes()
        entry = Entry(name, len(self.entries), _is_standard(spec), self._attribute(name))
        entry.file, entry.loader = spec.origin, type(spec.loader)
        entry.spread = spec.loader is None
        self._stack.append(entry)
        outer = not entry.standard and "." not in name
        if outer:
            if self._stack[:-1]:
                self._blame_for_what_is_left(self._stack[-2])
            self._begun(name)
        self._arm(not entry.standard)
        try:
            module = self._load(spec)
        except BaseException:
            self._ended(entry)
            raise
        self._complete(entry, spec, module)
        self._ended(entry)
        if outer:
            self.look(entry)
            self._begun(self._stack[0].name if self._stack else name)
        return module

    def _dense_module(self, name):
        """A new module that lies in memory beside the others: all of them are counted when handed out."""
        if not self._dense:
            self._dense.extend(self._new_module("") for _ in range(_TOGETHER))
        module = self._dense.pop()
        module.__init__(name)
        return module

    def _ended(self, entry):
        self._changes()
        self._stack.pop()
        if entry.name not in self.position and self._stack:
            self._stack[-1].take_over(entry)
        self._arm(bool(self._stack) and not self._stack[-1].standard)

    def _attribute(self, name):
        parent, _dot, child = name.rpartition(".")
        members = getattr(sys.modules.get(parent), "__dict__", None)
        return members.get(child, MISSING) if isinstance(members, dict) else MISSING

    def _complete(self, entry, spec, module):
        self._aliases(entry)
        members = getattr(module, "__dict__", None)
        members = dict(members) if type(members) is dict else {}
        if not entry.standard:
            entry.identity = identity(spec.origin)
            self._hold(entry, members.values())
            self._native += is_native(entry.loader)
        for each, names in () if entry.standard else self._lazy:
            if len(each) == len(names):
                continue
            for name in [one for one in each if one not in names]:
                names.add(name)
                if type(each[name]) is not type(sys):
                    entry.effects.append((effects.Fetched(each), (name, each[name])))
        if "__getattr__" in members or hasattr(type(module), "__getattr__"):
            entry.members = frozenset(members)
            if type(getattr(module, "__dict__", None)) is dict:
                self._lazy.append((module.__dict__, set(members)))
        parent = entry.name.rpartition(".")[0]
        if parent:
            entry.needs.add(parent)
        self._add(entry)
        self._present += 1
        if self._stack[:-1]:
            self._stack[-2].needs.add(entry.name)

    def _hold(self, entry, values):
        """What a module has in hand it has imported, in whatever way."""
        needs, position = entry.needs, self.position
        for value in values:
            kind = type(value)
            if kind in _PLAIN:
                continue
            try:
                module = value.__name__ if kind is _MODULE else value.__module__
            except Exception:  # an object that answers in its own way
                continue
            if type(module) is str and module in position:
                needs.add(module)

    def _aliases(self, entry):
        """Names that its import has put into sys.modules in another way belong to it."""
        if len(sys.modules) == self._present + len(self._stack):
            return
        going_on = {one.name for one in self._stack}
        for name in sys.modules.keys() - self._seen - going_on:
            if isinstance(name, str):
                self._add(Entry(name, len(self.entries), entry.standard, MISSING))
        self._present = len(sys.modules) - len(self._stack)

    def _add(self, entry):
        self._seen.add(entry.name)
        self.position[entry.name] = len(self.entries)
        self.entries.append(entry)

    def _imported(self, name, globals=None, locals=None, fromlist=(), level=0):
        module = self._import(name, globals, locals, fromlist, level)
        importer = globals.get("__name__") if type(globals) is dict else None
        full = name
        if self._own:
            return module
        if level:
            full = _absolute(name, globals, level)
        if type(importer) is str and (importer, full) not in self._edges:
            self._edges.add((importer, full))
            self.tops.setdefault(top(importer), set()).add(top(full))
        if self._stack:
            needs = self._stack[-1].needs
            needs.add(full)
            if fromlist:
                names = fromlist
                if "*" in fromlist:
                    names = getattr(module, "__all__", None) or ()
                for one in names:
                    inner = "%s.%s" % (full, one)
                    if inner in sys.modules:
                        needs.add(inner)
            elif "." in full:
                parent = full
                while "." in parent:
                    parent = parent.rpartition(".")[0]
                    needs.add(parent)
        return module

    # --- what it sees

    def blame(self, reason, name=None):
        """What is being imported must be left out, and ``name`` with it."""
        for entry in self._stack:
            if not entry.standard:
                library = top(entry.name)
                if name is None or library == top(name):
                    self.left_out.setdefault(library, reason)
                else:
                    self.left_out.setdefault(library, "imports %s, which %s" % (top(name), reason))

    def look_at(self, name):
        """``look`` at the import of ``name``, a step of its own."""
        position = self.position.get(name)
        if position is not None:
            self.look(self.entries[position])

    def look(self, entry):
        """Judge what the import of a library has left in the process."""
        self._changes(entry)
        self._blame_for_what_is_left(entry)

    def _blame_for_what_is_left(self, entry):
        self._own += 1
        reason = self.effects.why_unfit(self._native)
        self._own -= 1
        if reason:
            self.left_out.setdefault(top(entry.name), reason)
        if self.effects.looked:
            self._looked = len(self.entries)

    def look_at_all(self):
        """Look once more, at all; what is new is one of those to blame that were not looked at so."""
        reason = self.effects.why_unfit()
        for entry in self.entries[self._looked :] if reason else ():
            if not entry.standard and entry.loader is not None:
                self.left_out.setdefault(top(entry.name), reason)

    def rehearsed(self, library):
        """Leave out ``library``, or what was done of it, for what has been left since the last look, if anything has."""
        reason = self.effects.why_unfit()
        if reason:
            self.left_out.setdefault(library, reason)

    def unfit(self):
        """All libraries that have to be left out, those that import one included: {name: reason}."""
        for entry in self.entries:
            if not entry.standard and entry.loader is not None:
                if entry.path:
                    self.left_out.setdefault(top(entry.name), "reads sys.path when it is imported")
                elif self._remembers_place(entry):
                    self.left_out.setdefault(top(entry.name), "remembers the working directory")
        libraries = {top(entry.name) for entry in self.entries if not entry.standard}
        todo = list(self.left_out)
        while todo:
            one = todo.pop()
            for importer in sorted(libraries):
                if one in self.tops.get(importer, ()) and importer not in self.left_out:
                    reason = self.left_out[one]
                    if not reason.startswith("imports "):
                        reason = "imports %s, which %s" % (one, reason)
                    self.left_out[importer] = reason
                    todo.append(importer)
        return self.left_out

    def _remembers_place(self, entry):
        members = getattr(sys.modules.get(entry.name), "__dict__", None)
        if type(members) is not dict:
            return False
        return any(
            self.place in str(value)
            for value in list(members.values())
            # A class may have its own, which is no text.
            if str(getattr(type(value), "__module__", "")).startswith("pathlib")
        )

    def _changes(self, entry=None):
        """Attribute what has changed since the last look to the module that is being imported."""
        whose = entry or (self._stack[-1] if self._stack else None)
        if whose is None:
            self.effects.forget_changes()
        elif entry is not None or not whose.standard:
            whose.effects.extend(self.effects.changes(thorough=entry is not None))

    def _registered(self, change):
        if self._stack:  # else no import is under way
            self._stack[-1].effects.append(change)

    def _unregistered(self, function):
        for entry in self._stack + self.entries:
            entry.effects = [
                (watch, change)
                for watch, change in entry.effects
                if not (isinstance(watch, effects.Exit) and change[0] == function)
            ]

    def _read_variable(self, name):
        if self._stack and not self._own:
            data = os.environ._data
            value = dict(dict.items(data)) if name is None else dict.get(data, name)
            self._stack[-1].variables.setdefault(name, (value, self._writers.get(name)))

    def _write_variable(self, name):
        if self._stack:
            self._writers[name] = self._stack[-1].name

    def _read_path(self):
        if not self._stack or self._own:
            return
        frame = sys._getframe(2)
        filename = frame.f_code.co_filename
        if frame.f_code.co_name == "extend_path":
            self._stack[-1].spread = True
        elif any(part in filename for part in _METADATA):
            self._read_metadata(frame)
        else:
            self._stack[-1].path = True

    def _read_metadata(self, frame):
        """One of the frames from here on knows the name of the distribution that is wanted."""
        name = None
        while frame is not None and any(part in frame.f_code.co_filename for part in _METADATA):
            if frame.f_code.co_name == "declare_namespace":
                self._stack[-1].spread = True
            elif frame.f_code.co_name == "from_name":
                name = frame.f_locals.get("name", frame.f_locals.get("distribution_name"))
            frame = frame.f_back
        self._stack[-1].distributions.add(name if isinstance(name, str) else None)

    def _look(self, path):
        if not self._stack or self._own:
            return
        try:
            path = os.fsdecode(path)
        except TypeError:
            return
        if path.startswith(self.place):
            path = path[len(self.place) :].lstrip("/")
        if path and not path.startswith("/"):
            self._stack[-1].looked.add(path)

    def _arm(self, wanted):
        """Standard modules keep some of these functions, and compare them: they get the real ones."""
        if wanted != self._armed:
            self._armed = wanted
            for owner, name, function in self._watches if wanted else self._originals:
                setattr(owner, name, function)


_MODULE = type(sys)
_PLAIN = frozenset([str, int, float, bool, bytes, tuple, list, dict, set, frozenset, type(None)])
# So many modules are made at once.
_TOGETHER = 200


def _is_standard(spec):
    if spec.loader is None or not isinstance(spec.origin, str):
        return False
    return not spec.has_location or not (
        imported.is_user(spec.origin) or imported.is_installed(spec.origin)
    )


def _absolute(name, globals, level):
    package = globals.get("__package__")
    if package is None:
        package = globals.get("__name__", "")
        if "__path__" not in globals:
            package = package.rpartition(".")[0]
    base = package.rsplit(".", level - 1)[0]
    return "%s.%s" % (base, name) if name else base
