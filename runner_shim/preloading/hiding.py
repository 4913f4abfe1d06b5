"""Keeps preloaded modules out of sight, and hands each out when it is first imported.

Owns what a forked process has in ``sys.modules``: what a fresh one has. A module is handed out, with
all that its own import brought, when checking.py finds that a fresh process would import the same
now. Otherwise it is not there, nor is what depends on it. A file that was executed before the fork is
never executed again after it, since what it did to others would be done twice: when a dropped module
is asked for and it is still the same file, ``leave`` is called, and a fresh process does it.

The import system asks here in ``importlib._bootstrap._find_spec``, not in ``sys.meta_path``: user
code sees its own finders there and nothing else, and ``importlib.util.find_spec`` answers as ever.
"""

import _frozen_importlib as machinery
import contextlib
import marshal
import os
import sys

from runner_shim import imported
from runner_shim.preloading import renewing
from runner_shim.preloading.checking import Checks
from runner_shim.preloading.entries import MISSING, is_native, top

__all__ = ["Hidden"]

# Where Cython's modules keep the types that they share.
_CYTHON = ("_cython_", "cython_runtime")
# Imported by the interpreter itself, to open a text file, whenever there is none: not kept.
_NOT_KEPT = frozenset(["_bootlocale"])
_HIDDEN, _GIVEN, _GONE = 0, 1, 2
# What is searched for a module, as effects.py calls it.
_SEARCHED = ("sys.path", "sys.meta_path", "sys.path_hooks")
# What there is to know of a module: its place depends on several directories, it has native code, it
# read a variable that another one had set, its package is to have it as an attribute when it is handed
# out, something else is to be done then.
_SPREAD, _NATIVE, _DEPENDS, _ATTACHED, _MORE_TO_DO = 1, 2, 4, 8, 16


class Hidden(object):
    """Hides what ``recorder`` has recorded; one that has stopped recording.

    ``leave(reason)`` must not return: it is called in the midst of an import. ``libraries`` are the
    files of native code that came with what was preloaded.

    In a forked process each object that is looked at costs a page of memory, since that counts its
    references. So what is needed of all modules is packed, and their records are read in doubt only.
    """

    def __init__(self, recorder, libraries):
        self.leave = None
        self._place = recorder.place
        self._baseline = recorder.baseline
        self._entries = recorder.entries
        self._tops = recorder.tops
        self._positions = {entry.name: each for each, entry in enumerate(self._entries)}
        self._modules = [None] * len(self._entries)
        self._state = bytearray(len(self._entries))
        self._attached = bytearray(len(self._entries))
        self._places = {}
        self._lost = {}
        self._because = ""
        self._redone = []
        self._first = _numbers([entry.first for entry in self._entries])
        self._cython = [
            each for each, one in enumerate(self._entries) if one.name.startswith(_CYTHON)
        ]
        self._extras = []
        for position in range(len(self._entries)):
            self._extras.append(self._beyond(position))
        self._hide()
        self._pack()
        self._find = machinery._find_spec
        self.checks = Checks(self._find, libraries)
        machinery._find_spec = self._found

    def module(self, name):
        """A module that is hidden or handed out, or None."""
        position = self._positions.get(name)
        return None if position is None else self._modules[position]

    def _pack(self):
        names = [entry.name for entry in self._entries]
        self._text = "\n".join(names)
        ends = [0]
        for name in names:
            ends.append(ends[-1] + len(name) + 1)
        self._ends = _numbers(ends)
        kinds = bytearray(len(names))
        probed, absent, looked, read, files = set(), set(), set(), set(), []
        for position, entry in enumerate(self._entries):
            parent = self._positions.get(entry.name.rpartition(".")[0])
            if entry.spread or (parent is not None and self._entries[parent].spread):
                kinds[position] |= _SPREAD
            if entry.loader is not None and is_native(entry.loader) and not entry.standard:
                kinds[position] |= _NATIVE
            if self._attached[position]:
                kinds[position] |= _ATTACHED
            if position in self._places or entry.effects or entry.name in renewing.AFTER_IMPORT:
                kinds[position] |= _MORE_TO_DO
            if any(writer is not None for _value, writer in entry.variables.values()):
                kinds[position] |= _DEPENDS
            probed.update(map(top, entry.probed))
            absent.update(name for name, origin in entry.probed.items() if origin is None)
            looked |= entry.looked
            read.update(entry.variables)
            if entry.identity is not None and "." not in entry.name:
                files.append((position, entry.file, entry.identity))
        self._searched = [
            (position, (watch, change))
            for position, entry in enumerate(self._entries)
            for watch, change in entry.effects
            if getattr(watch, "name", "") in _SEARCHED
        ]
        self._kinds = bytes(kinds)
        self._probed, self._read = frozenset(probed), frozenset(read)
        self._libraries = frozenset(map(top, names))
        self._packed = marshal.dumps((sorted(absent), sorted(looked), files))
        self._unpacked = None

    # --- hiding

    def _hide(self):
        for position, entry in enumerate(self._entries):
            known = self._positions[entry.name] != position or entry.name in self._baseline
            if not known and entry.name not in _NOT_KEPT:
                self._modules[position] = sys.modules.get(entry.name)
            if self._modules[position] is None:
                self._state[position] = _GONE
        for name in [one for one in sys.modules if one not in self._baseline]:
            del sys.modules[name]
        self._closures = {}
        for position in reversed(range(len(self._entries))):
            if self._state[position] == _HIDDEN:
                self._detach(position)
                self._forget_fetched(position)
                self._find_place(position)
        del self._closures

    def _detach(self, position):
        """Its parent has it as an attribute no more than before it was imported."""
        entry = self._entries[position]
        parent, _dot, child = entry.name.rpartition(".")
        if parent in self._positions:
            members = _members(self._modules[self._positions[parent]])
        else:
            members = _members(sys.modules.get(parent))
        if members is not None and members.get(child) is self._modules[position]:
            if parent in self._positions and self._comes_with(position, self._positions[parent]):
                return
            self._attached[position] = True
            if entry.was is MISSING:
                del members[child]
            else:
                members[child] = entry.was

    def _comes_with(self, position, package):
        """True when a module is handed out in the moment in which its package is."""
        if self._first[package] <= position <= package:
            return True
        if package not in self._closures:
            self._closures[package] = self._closure(package)[0]
        return position in self._closures[package]

    def _forget_fetched(self, position):
        """What a module has fetched from its submodules since its import it will fetch again."""
        entry = self._entries[position]
        if entry.members is None:
            return
        members = _members(self._modules[position]) or {}
        for name in [one for one in members if one not in entry.members]:
            home = getattr(members[name], "__module__", None)
            if type(members[name]) is type(sys):
                home = members[name].__name__
            if type(home) is str and home in self._positions and top(home) == top(entry.name):
                del members[name]

    def _find_place(self, position):
        """Note which of its texts hold the working directory of then."""
        for name, value in (_members(self._modules[position]) or {}).items():
            if type(value) is str and self._place in value:
                self._places.setdefault(position, []).append(name)

    def _beyond(self, position):
        """Positions of what a module's own import used beside what it completed."""
        entry, first = self._entries[position], self._entries[position].first
        found = {self._positions[name] for name in entry.needs if name in self._positions}
        inner = position - 1
        while inner >= first:  # each of those that it completed itself; they completed the others
            found.update(self._extras[inner])
            inner = self._entries[inner].first - 1
        if entry.loader is not None and is_native(entry.loader) and not entry.standard:
            found.update(self._cython)
        return tuple(sorted(each for each in found if not first <= each <= position))

    # --- handing out

    def _found(self, name, path, target=None):
        spec = self._find(name, path, target)
        position = self._positions.get(name)
        if target is not None or position is None:
            return spec
        if self._state[position] == _HIDDEN and self._is_ours(name.rpartition(".")[0]):
            seen = self.checks.seen  # a finder that is asked may import something
            why = self._why_not(position, spec)
            self.checks.seen = seen
            if why is None:
                return machinery.ModuleSpec(
                    name, _Given(self._modules[position]), origin=spec.origin
                )
            self._drop({top(name), why[0]}, why[1])
        if spec is not None and self._lost.get(name, MISSING) == spec.origin:
            self.leave("%s, and %s is preloaded" % (self._because, top(name)))
        return spec

    def _is_ours(self, parent):
        """True when the package that is to hold a module is the one that it was preloaded with."""
        position = self._positions.get(parent)
        if position is None or self._state[position] == _GONE:
            return not parent or parent in self._baseline
        return (
            self._state[position] == _GIVEN and sys.modules.get(parent) is self._modules[position]
        )

    def _why_not(self, position, spec):
        """None when it was handed out; else a library that has to go, and why."""
        self.checks.look()
        entry = self._entries[position]
        if not self.checks.same(entry, self._modules[position], spec):
            return top(entry.name), "finds another %s than is preloaded" % entry.name
        coming, there = self._closure(position)
        coming = sorted(coming)
        names = [self._name(each) for each in coming]
        with self._as_libraries_change_it(coming):
            why = self._differing(coming, names, there)
        if why is None:
            self._hand_out(coming, names)
            if top(entry.name) != "runner_shim":
                imported.asked.append(entry.name)
        return why

    @contextlib.contextmanager
    def _as_libraries_change_it(self, coming):
        """Have finders and ``sys.path`` as they will be: a library may add to them what it needs."""
        changes = [change for position, change in self._searched if position in coming]
        if not changes:
            yield
            return
        path, finders, hooks = sys.path[:], sys.meta_path[:], sys.path_hooks[:]
        strict, self._redone = self.checks.seen.strict, []
        try:
            for watch, change in changes:
                watch.redo(change)
            self.checks.look()
            self.checks.seen.strict = strict
            yield
        finally:
            sys.path[:], sys.meta_path[:], sys.path_hooks[:] = path, finders, hooks
            for watch, change in self._redone:  # by what a finder has imported meanwhile
                watch.redo(change)

    def _name(self, position):
        return self._text[self._ends[position] : self._ends[position + 1] - 1]

    def _closure(self, position):
        """Positions of all that comes with a module: what is not there yet, and what is."""
        coming, there, todo, state = set(), set(), [position], self._state
        while todo:
            one = todo.pop()
            if one in coming:
                continue
            if state[one] != _HIDDEN:
                there.add(one)
                continue
            for each in range(self._first[one], one + 1):
                if state[each] == _HIDDEN:
                    coming.add(each)
            todo.extend(self._extras[one])
        return coming, there

    def _differing(self, coming, names, there):
        """What of it a fresh process would import otherwise: (library, why), or None."""
        for position in there:
            name, module = self._name(position), self._modules[position]
            if module is not None and sys.modules.get(name) is not module:
                return top(name), "has put another %s into sys.modules" % name
        for name in names:
            if name in sys.modules:
                return top(name), "has put another %s into sys.modules" % name
        return (
            self._found_elsewhere(coming, names)
            or self._answered_otherwise(coming)
            or self._native_otherwise(coming)
        )

    def _found_elsewhere(self, coming, names):
        checks = self.checks
        doubtful = checks.seen.names & self._libraries
        for position, name in zip(coming, names):  # noqa: B905 - needs Python 3.10
            if (
                checks.seen.strict
                or self._kinds[position] & _SPREAD
                or (doubtful and top(name) in doubtful)
            ) and not self._still_found(position):
                return top(name), "finds another %s than is preloaded" % name
        wanted = set(coming)
        _absent, _looked, files = self._unpack()
        for position, file, known in files:
            if position in wanted and not checks.is_same_file(file, known):
                return self._name(position), "finds another %s than is preloaded" % file
        return None

    def _still_found(self, position):
        entry = self._entries[position]
        if entry.loader is None:
            return True
        path = None
        with self._within(entry.name.rpartition(".")[0]) as package:
            if package is not None:
                path = getattr(package, "__path__", ())
            return self.checks.same(entry, self._modules[position], self._find(entry.name, path))

    @contextlib.contextmanager
    def _within(self, name):
        """The package ``name``, None for "". While this lasts it and those around it are in
        ``sys.modules``: the path of one without a file of its own is found there, and each time anew."""
        parts, added = name.split("."), []
        for end in range(1, len(parts) + 1):
            each = ".".join(parts[:end])
            if each and each not in sys.modules and self.module(each) is not None:
                sys.modules[each] = self.module(each)
                added.append(each)
        try:
            yield sys.modules.get(name) if name else None
        finally:
            for each in added:
                sys.modules.pop(each, None)

    def _answered_otherwise(self, coming):
        """What the imports asked for is looked at one by one only when some answer is another one."""
        checks = self.checks
        absent, looked, _files = self._unpack()
        if (
            checks.seen.strict
            or checks.has_distributions()
            or checks.changed_variables(self._read)
            or not self._probed.isdisjoint(checks.seen.names)
            or checks.any_there(looked)
            or any(sys.modules.get(name) is not None for name in absent)
        ):
            doubtful = coming
        else:
            doubtful = [each for each in coming if self._kinds[each] & _DEPENDS]
        if doubtful:
            wanted = frozenset(coming)
        for position in doubtful:
            entry = self._entries[position]
            why = checks.why_other(entry, lambda name: self._comes(name, wanted))
            if why is not None:
                return top(entry.name), why
        return None

    def _native_otherwise(self, coming):
        native = [each for each in coming if self._kinds[each] & _NATIVE]
        why = self.checks.why_native_differs() if native else None
        if why is None:
            return None
        library = top(self._name(native[-1]))
        return library, why + library

    def _unpack(self):
        if self._unpacked is None:
            self._unpacked = marshal.loads(self._packed)  # noqa: S302 - our own, of this process
        return self._unpacked

    def _comes(self, name, coming):
        position = self._positions.get(name)
        if position in coming:
            return True
        return None if position is not None and self._state[position] == _GIVEN else False

    def _hand_out(self, positions, names):
        modules, state = sys.modules, self._state
        for position, name in zip(positions, names):  # noqa: B905 - needs Python 3.10
            state[position] = _GIVEN
            modules[name] = self._modules[position]
        imported.given.update(names)
        for position, name in zip(positions, names):  # noqa: B905 - needs Python 3.10
            if self._kinds[position] & _ATTACHED:
                parent, _dot, child = name.rpartition(".")
                members = _members(modules.get(parent))
                if members is not None:
                    members[child] = modules[name]
            if self._kinds[position] & _MORE_TO_DO:
                self._finish(position)

    def _finish(self, position):
        entry, module = self._entries[position], self._modules[position]
        for name in self._places.get(position, ()):
            module.__dict__[name] = module.__dict__[name].replace(self._place, os.getcwd())
        if entry.effects:
            self._redo(entry)
        renew = renewing.AFTER_IMPORT.get(entry.name)
        if renew is not None:
            renew(module)

    def _redo(self, entry):
        self.checks.note_variables()
        ours = self.checks.unchanged_finders()
        for watch, change in entry.effects:
            watch.redo(change)
            if getattr(watch, "name", "") in _SEARCHED:
                self._redone.append((watch, change))
        self.checks.variables = dict(os.environ._data)
        if ours:
            self.checks.keep_finders()

    def _drop(self, tops, because):
        """Hand out no module of these libraries any more, nor of those that import them."""
        self._because = because
        gone, todo = set(), list(tops)
        while todo:
            one = todo.pop()
            if one not in gone:
                gone.add(one)
                todo.extend(name for name, names in self._tops.items() if one in names)
        for position, entry in enumerate(self._entries):
            if self._state[position] == _HIDDEN and top(entry.name) in gone:
                self._state[position] = _GONE
                if entry.file is not None:
                    self._lost[entry.name] = entry.file


def _numbers(values):
    """Whole numbers in one piece of memory."""
    packed = memoryview(bytearray(8 * len(values))).cast("q")
    for position, value in enumerate(values):
        packed[position] = value
    return packed


class _Given(object):
    """The loader of a module that is there already."""

    def __init__(self, module):
        self._module = module

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        sys.modules[module.__spec__.name] = self._module


def _members(module):
    """A module's dictionary, or None; asking a lazy module for it in another way would load it."""
    try:
        members = object.__getattribute__(module, "__dict__")
    except Exception:  # anything may stand in sys.modules
        return None
    return members if type(members) is dict else None
