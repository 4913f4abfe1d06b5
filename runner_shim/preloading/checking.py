"""Whether what was preloaded is what a fresh process would import at this moment.

Owns the comparison of a recorded import (recording.py) with the finders, hooks, ``sys.path``,
variables and working directory of now. Most of it is one look at the directories that are on the
path beside those that were there before: what no other directory has a name of, comes from where it
came from. The finders themselves are asked where there is any doubt. Changes nothing.
"""

import os
import re
import sys

from runner_shim import imported
from runner_shim.preloading.entries import identity, top

__all__ = ["Checks", "native_files"]

_METADATA = (".egg-info", ".dist-info", ".egg", ".egg-link")
_RUNS = re.compile("[-_.]+")
_OURS = (b"SUPERVISE_PROCESS", b"PYTHONHASHSEED")


class _Seen(object):
    """What is to be seen on the path: top-level ``names``, names of ``distributions``.

    ``strict``: so much is different that only the finders themselves can tell.
    """

    def __init__(self, strict):
        self.strict = strict
        self.names = set()
        self.distributions = set()


class Checks(object):
    """Compares with what was at its making; ``find`` is the import system's own ``_find_spec``.

    ``libraries`` are the files of native code that the preload has brought into the process.
    """

    def __init__(self, find, libraries):
        self._find = find
        self._libraries = libraries
        self.keep_finders()
        self._known = [one for one in sys.path if not imported.is_user_directory(_text(one))]
        self._times = [_changed(one) for one in self._known]
        self._importers = [type(sys.path_importer_cache.get(one)) for one in self._known]
        self._same_files = set()
        self._listed = {}
        self._mentioned = {}
        self.seen = _Seen(True)
        self.begin()

    def begin(self):
        """From now on it is user code that changes variables."""
        self._first = self.variables = dict(os.environ._data)
        self._changed_variables = set()

    def note_variables(self):
        """Remember which variables user code has changed: others are about to be."""
        now = os.environ._data
        for name in set(now) | set(self.variables):
            if now.get(name) != self.variables.get(name) and name not in _OURS:
                self._changed_variables.add(name)
        self.variables = dict(now)
        return self._changed_variables

    def changed_variables(self, read):
        """True when one of the variables ``read``, or any where None is read, has changed by now."""
        now = os.environ._data
        return any(
            (None in read or name in read) and name not in _OURS
            for name in set(now) | set(self._first)
            if now.get(name) != self._first.get(name)
        )

    def look(self):
        """See what is on the path now; before any of the others, and after user code has run."""
        self.seen = _Seen(not self.unchanged_finders())
        known, rest = [], []
        for one in sys.path:
            (known if one in self._known else rest).append(one)
        if known != self._known or [_changed(one) for one in known] != self._times:
            self.seen.strict = True
        for one, kind in zip(self._known, self._importers):  # noqa: B905 - needs 3.10
            if type(sys.path_importer_cache.get(one)) not in (kind, type(None)):
                self.seen.strict = True
        for one in rest:
            self._look_into(_text(one))

    def _look_into(self, directory):
        importer = sys.path_importer_cache.get(directory)
        if importer is not None and type(importer).__name__ != "FileFinder":
            self.seen.strict = True
        changed = _changed(directory or ".")
        if changed is None:
            return
        found = self._listed.get(directory)
        if found is None or found[0] != changed:
            try:
                files = os.listdir(directory or ".")
            except OSError:  # an archive, perhaps
                self.seen.strict = True
                return
            names = {name.partition(".")[0] for name in files}
            distributions = {_distribution(name) for name in files if name.endswith(_METADATA)}
            found = self._listed[directory] = changed, names, distributions
        self.seen.names |= found[1]
        if imported.is_user_directory(directory):  # not what a library brings along
            self.seen.distributions |= found[2]

    # --- modules

    def same(self, entry, module, spec):
        """True when ``spec`` is of the very module that was preloaded."""
        if spec is None or spec.origin != entry.file or type(spec.loader) is not entry.loader:
            return False
        if entry.spread:
            return self._same_directories(entry, module, spec)
        return entry.identity is None or identity(entry.file) == entry.identity

    def _same_directories(self, entry, module, spec):
        locations = list(spec.submodule_search_locations or ())
        if spec.loader is not None:
            import pkgutil

            locations = pkgutil.extend_path(locations[:1], entry.name)
        try:
            return locations == list(module.__path__)
        except Exception:  # a path that computes itself
            return False

    def is_same_file(self, file, known):
        """False when a file has another identity than the ``known`` one; looked at once."""
        if file not in self._same_files:
            if identity(file) != tuple(known):
                return False
            self._same_files.add(file)
        return True

    def any_there(self, names):
        """True when one of these relative paths is in the working directory."""
        return any(os.path.lexists(name) for name in names)

    def has_distributions(self):
        return bool(self.seen.distributions)

    def unchanged_finders(self):
        return sys.meta_path == self._finders and sys.path_hooks == self._hooks

    def keep_finders(self):
        """They are what is to be expected: a library that was handed out has its own among them."""
        self._finders, self._hooks = list(sys.meta_path), list(sys.path_hooks)

    # --- what an import has asked for

    def why_other(self, entry, comes):
        """Why the import of ``entry`` would go another way now, or None.

        ``comes(name)`` is True for a module that is handed out in the same moment, None for one
        that was before, False for any other.
        """
        for name, origin in entry.probed.items():
            if not self._probed_alike(name, origin):
                return "finds another %s" % name
        for name, (value, writer) in entry.variables.items():
            if not self._reads_alike(name, value, writer and comes(writer), writer):
                what = "variables" if name is None else "the variable " + os.fsdecode(name)
                return "sets %s before it imports %s" % (what, top(entry.name))
        for name in entry.looked:
            if os.path.lexists(name):
                return "has %s in its working directory" % name
        if entry.distributions and (self.seen.strict or self._other_distributions(entry)):
            return "has distributions of its own"
        return None

    def _other_distributions(self, entry):
        if None in entry.distributions:
            return bool(self.seen.distributions)
        return any(_normal(name) in self.seen.distributions for name in entry.distributions)

    def _probed_alike(self, name, origin):
        if sys.modules.get(name) is not None and origin is None:
            return False
        if not self.seen.strict and top(name) not in self.seen.names:
            return True
        parent = name.rpartition(".")[0]
        path = None
        if parent:
            path = getattr(sys.modules.get(parent), "__path__", None)
            if path is None:
                return True
        spec = self._find(name, path)
        return (None if spec is None else spec.origin) == origin

    def _reads_alike(self, name, value, comes, writer):
        now = os.environ._data
        if name in _OURS:
            return True
        if name is None:
            return _others(now) == _others(value)
        if writer is None or comes is None:
            return now.get(name) == value
        return comes

    def why_native_differs(self):
        """Why native code would go another way: it reads variables without being seen."""
        for name in self.note_variables():
            if self._is_mentioned(name):
                return "sets the variable %s before it imports " % os.fsdecode(name)
        return None

    def _is_mentioned(self, name):
        found = self._mentioned.get(name)
        if found is None:
            found = self._mentioned[name] = any(
                _contains(file, name + b"\0") for file in self._libraries
            )
        return found


def _normal(name):
    return _RUNS.sub("-", name).lower()


def _distribution(file):
    """The name of the distribution that a directory or file of metadata is of."""
    return _normal(file.rpartition(".")[0].partition("-")[0])


def _others(variables):
    return {name: value for name, value in variables.items() if name not in _OURS}


def _text(entry):
    try:
        return os.fsdecode(entry)
    except TypeError:
        return ""


def _changed(directory):
    try:
        return os.stat(directory).st_mtime_ns
    except (OSError, TypeError, ValueError):
        return None


def _contains(path, data):
    import mmap

    try:
        with open(path, "rb") as file:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return content.find(data) >= 0
    except (OSError, ValueError):
        return True


def native_files():
    """The files of native code that are in this process."""
    found = set()
    with open("/proc/self/maps", "rb") as file:
        for line in file:
            fields = line.split(None, 5)
            if len(fields) == 6 and b"x" in fields[1] and fields[5].startswith(b"/"):
                found.add(os.fsdecode(fields[5].rstrip(b"\n")))
    return found
