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
import os
import sys

from runner_shim import imported, renewing
from runner_shim.checking import Checks
from runner_shim.recording import MISSING, is_native, top

__all__ = ["Hidden"]

# Where Cython's modules keep the types that they share.
_CYTHON = ("_cython_", "cython_runtime")
# Imported by the interpreter itself, to open a text file, whenever there is none: not kept.
_NOT_KEPT = frozenset(["_bootlocale"])
_HIDDEN, _GIVEN, _GONE = 0, 1, 2


class Hidden(object):
    """Hides what ``recorder`` has recorded; one that has stopped recording.

    ``leave(reason)`` must not return: it is called in the midst of an import. ``libraries`` are the
    files of native code that came with what was preloaded.
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
        self._hide()
        self._extras = [self._beyond(each) for each in range(len(self._entries))]
        self._find = machinery._find_spec
        self.checks = Checks(self._find, libraries)
        machinery._find_spec = self._found

    def module(self, name):
        """A module that is hidden or handed out, or None."""
        position = self._positions.get(name)
        return None if position is None else self._modules[position]

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
        for position in reversed(range(len(self._entries))):
            if self._state[position] == _HIDDEN:
                self._detach(position)
                self._forget_fetched(position)
                self._find_place(position)

    def _detach(self, position):
        """Its parent has it as an attribute no more than before it was imported."""
        entry = self._entries[position]
        parent, _dot, child = entry.name.rpartition(".")
        if parent in self._positions:
            members = _members(self._modules[self._positions[parent]])
        else:
            members = _members(sys.modules.get(parent))
        if members is not None and members.get(child) is self._modules[position]:
            self._attached[position] = True
            if entry.was is MISSING:
                del members[child]
            else:
                members[child] = entry.was

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
        first = self._entries[position].first
        found = set()
        for each in range(first, position + 1):
            entry = self._entries[each]
            for name in entry.needs:
                other = self._positions.get(name)
                if other is not None and not first <= other <= position:
                    found.add(other)
            if entry.loader is not None and is_native(entry.loader) and not entry.standard:
                found.update(
                    other for other in range(first) if self._entries[other].name.startswith(_CYTHON)
                )
        return tuple(sorted(found))

    # --- handing out

    def _found(self, name, path, target=None):
        spec = self._find(name, path, target)
        position = self._positions.get(name)
        if target is not None or position is None:
            return spec
        if self._state[position] == _HIDDEN and self._is_ours(name.rpartition(".")[0]):
            why = self._why_not(position, spec)
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
        why = self._differing(coming, there)
        if why is None:
            self._hand_out(sorted(coming))
            if top(entry.name) != "runner_shim":
                imported.asked.append(entry.name)
        return why

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
            for each in range(self._entries[one].first, one + 1):
                if state[each] == _HIDDEN:
                    coming.add(each)
            todo.extend(self._extras[one])
        return coming, there

    def _differing(self, coming, there):
        """What of it a fresh process would import otherwise: (library, why), or None."""
        checks, native = self.checks, False
        for position in there:
            entry = self._entries[position]
            if sys.modules.get(entry.name) is not self._modules[position]:
                return top(entry.name), "has put another %s into sys.modules" % entry.name
        for position in coming:
            entry = self._entries[position]
            library = top(entry.name)
            if entry.name in sys.modules:
                return library, "has put another %s into sys.modules" % entry.name
            if entry.loader is None:
                continue
            if not self._still_found(position):
                return library, "finds another %s than is preloaded" % entry.name
            native = native or (is_native(entry.loader) and not entry.standard)
            if entry.probed or entry.variables or entry.looked or entry.distributions:
                why = checks.why_other(entry, lambda name: self._comes(name, coming))
                if why is not None:
                    return library, why % library if "%s" in why else why
        if native:
            why = checks.why_native_differs()
            if why is not None:
                library = top(self._entries[max(coming)].name)
                return library, why % library
        return None

    def _still_found(self, position):
        entry = self._entries[position]
        parent = self._positions.get(entry.name.rpartition(".")[0])
        ask = self.checks.doubtful(entry) or entry.spread
        if parent is not None and self._entries[parent].spread:
            ask = True
        if not ask:
            return self.checks.is_there(entry)
        path = None
        if "." in entry.name:
            package = self.module(entry.name.rpartition(".")[0])
            if package is None:
                package = sys.modules.get(entry.name.rpartition(".")[0])
            path = getattr(package, "__path__", ())
        return self.checks.same(entry, self._modules[position], self._find(entry.name, path))

    def _comes(self, name, coming):
        position = self._positions.get(name)
        if position in coming:
            return True
        return None if position is not None and self._state[position] == _GIVEN else False

    def _hand_out(self, positions):
        given = []
        for position in positions:
            name, module = self._entries[position].name, self._modules[position]
            self._state[position] = _GIVEN
            sys.modules[name] = module
            given.append(name)
        imported.given.update(given)
        for position in positions:
            entry, module = self._entries[position], self._modules[position]
            if self._attached[position]:
                parent, _dot, child = entry.name.rpartition(".")
                members = _members(sys.modules.get(parent))
                if members is not None:
                    members[child] = module
            for name in self._places.get(position, ()):
                members = module.__dict__
                members[name] = members[name].replace(self._place, os.getcwd())
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
