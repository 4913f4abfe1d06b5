"""File, module, package or defs folder: the imported module and the definitions in it.

Owns how a target is imported, what the process looks like to user code meanwhile (working
directory, ``sys.path``, ``sys.argv``, ``__main__``) and the document, sources and report of docs/snapshot.md. Refuses, with
LoadFailure and nothing else, whatever cannot be loaded. Knows no framework: frameworks/ does.

The working directory is entered and put first on ``sys.path`` for good: an import inside a sensor
body, a day later, finds what it found while loading.
"""

import gc
import importlib
import os
import sys
import time
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location

from runner_shim import imported, masking, plain_data
from runner_shim.frameworks import findings, registry
from runner_shim.loading import listed
from runner_shim.loading.import_times import ImportTimes
from runner_shim.loading.load_failure import LoadFailure, from_exception, near

__all__ = ["Loaded", "load"]

MAX_WARNINGS = 1000

# A second that bytecode cannot tell apart, and one for file systems whose clock is not ours.
_DOUBTFUL = 2.0


class Loaded:
    """A loaded target: ``document``, ``sources`` and ``report`` as in docs/snapshot.md."""

    def __init__(self, findings, document, sources, report):
        self._findings = findings
        self.document = document
        self.sources = sources
        self.report = report

    def describe(self, kind, name, repository=None):
        """``{"definition": {...}, "source": [file, line] or None}``; a lazy entry is constructed.

        Raises LoadFailure: ``unknown_definition``, or what the definition's function raised.
        """
        try:
            found = self._findings.describe(kind, name, repository)
        except BaseException as error:
            raise from_exception(error, None)
        if found is None:
            # Collected again: the sender does not keep the document.
            _repositories, definitions, _sources = self._findings.collect(_Warnings())
            names = [each["name"] for each in definitions if each["kind"] == kind]
            where = " in repository %s" % repository if repository else ""
            raise LoadFailure(
                "unknown_definition",
                "no %s is named %r%s" % (kind, name, where),
                hint=near(name, names),
            )
        shown = plain_data.ordered(masking.definition(found[0]))
        return {"definition": shown, "source": found[1]}

    def prepare(self, order):
        """What can run ``order`` (see runner_shim.execution), or None where nothing has that name."""
        return self._findings.prepare(order)

    def partition_keys(self, order):
        """All partition keys of the order's job or assets, [] without partitions; None: no such ones."""
        return self._findings.partition_keys(order)

    def tick(self, order):
        """One evaluation of a schedule or sensor, with its ``framework``; None where it is not there."""
        return self._findings.tick(order)

    def plain_tick(self, order):
        """As ``tick`` of one that calls no function of the team's; None for any other."""
        return self._findings.plain_tick(order)

    def rehearse_run(self):
        """Do once in this process what every run does first, for those that are forked from it."""
        self._findings.rehearse_run()

    def names(self, kinds):
        """Names of all definitions of the given kinds."""
        _repositories, definitions, _sources = self._findings.collect(_Warnings())
        return [each["name"] for each in definitions if each["kind"] in kinds]


class _Warnings:
    """Collects what ``warn(code, message, hint, file, line)`` is told, each thing once."""

    def __init__(self):
        self.items = []

    def __call__(self, code, message, hint=None, file=None, line=None):
        item = {"code": code, "message": plain_data.text(message)}
        for key, value in (("hint", hint), ("file", file)):
            if value:
                item[key] = plain_data.text(value)
        if line:
            item["line"] = line
        if item not in self.items[-50:] and len(self.items) < MAX_WARNINGS:
            self.items.append(item)


def load(target, tell=None, quick=lambda name: False):
    """Import ``target`` and find its definitions; returns Loaded, raises LoadFailure only.

    ``target`` is a dict: ``kind`` (python_file, python_module, python_package,
    autoload_defs_module), ``name`` (absolute path or dotted name), ``attribute`` (name or None),
    ``working_directory`` (absolute path). With ``tell`` imports are timed, and told as ImportTimes does.
    """
    before = imported.mark()
    warn = _Warnings()
    listed.begin()
    try:
        if tell is None:
            return _load(target, before, warn)
        with ImportTimes(tell, quick) as times:
            loaded = _load(target, before, warn)
        loaded.report["imports"] = [_timed(*one) for one in times.slowest()]
        return loaded
    except BaseException as error:  # sys.exit() and KeyboardInterrupt in user code included
        raise _judged(error, target, before, warn)
    finally:
        listed.end()


def _timed(name, seconds, own, file, line):
    found = {"name": plain_data.text(name), "seconds": round(seconds, 4), "own": round(own, 4)}
    if file is not None:
        found["file"], found["line"] = plain_data.place(file, line)[0], line
    return found


def _judged(error, target, before, warn):
    try:
        failure = from_exception(error, target)
        failure.complete(before, target, warn.items)
        failure.as_data()
    except Exception as trouble:  # user code has broken the interpreter it runs in
        name = type(error).__name__
        return LoadFailure(
            "exception",
            "%s was raised while loading, and judging it raised %s"
            % (name, type(trouble).__name__),
            hint="the target seems to change what all Python code relies on",
        )
    return failure


def _load(target, before, warn):
    started = time.monotonic()
    _enter(target["working_directory"])
    for adapter in registry.early("before_import"):
        adapter.before_import(target)
    module = _import(target, warn)
    attribute = target.get("attribute")
    found = _find(target, module, attribute, warn)
    document, sources = _collect(found, warn)
    report = {
        "python": "%d.%d.%d" % sys.version_info[:3],
        "implementation": {"cpython": "CPython"}.get(
            sys.implementation.name, sys.implementation.name
        ),
        "executable": plain_data.text(sys.executable or ""),
        "prefix": plain_data.text(sys.prefix),
        "platform": "%s-%s" % (sys.platform, os.uname().machine),
        "frameworks": found.frameworks(),
        "module": plain_data.text(module.__name__),
        "load_seconds": round(time.monotonic() - started, 6),
        "files": imported.source_files(before, [_file_of(module)] + found.files()),
        "folders": listed.found(target["working_directory"]),
        "installed": imported.installed_modules(before),
        "preloaded": list(imported.asked),
        "warnings": warn.items,
    }
    if attribute:
        report["attribute"] = plain_data.text(attribute)
    return Loaded(found, document, sources, report)


def _collect(found, warn):
    # Plain data without cycles, and much of it: the collector would only look at it again and again.
    collecting = gc.isenabled()
    gc.disable()
    try:
        repositories, definitions, sources = found.collect(warn)
        document = {
            "format": 1,
            "repositories": [masking.definition(one) for one in repositories],
            "definitions": [masking.definition(one) for one in definitions],
        }
        return plain_data.ordered(document), sources
    finally:
        if collecting:
            gc.enable()


def _file_of(module):
    filename = getattr(module, "__file__", None)
    return filename if isinstance(filename, str) else "<none>"


# --- what user code sees of the process


def _enter(directory):
    try:
        os.chdir(directory)
    except OSError as error:
        raise LoadFailure(
            "missing_working_directory",
            "working directory %s cannot be entered: %s"
            % (directory, (error.strerror or "error").lower()),
            hint="correct working_directory, or create the directory",
        )
    plain_data.set_root(directory)
    if sys.path[:1] != [directory]:
        sys.path.insert(0, directory)
    main = type(sys)("__main__")
    main.__builtins__ = sys.modules["builtins"]
    # multiprocessing's spawn imports the file of __main__ again in each child: that must not be
    # the shim. The old module stays referenced, or its globals would go while its code runs.
    main.__loader__ = None
    _replaced.append(sys.modules.get("__main__"))
    sys.modules["__main__"] = main


_replaced = []


# --- importing


def _write_no_doubtful_bytecode():
    """Have Python cache no bytecode of a file that was saved a moment ago.

    What is cached counts as current when the source has the same size and was saved in the same
    second. People save twice in a second, and a reload takes less than one: the second edit would
    not be seen, now or at any later start.
    """
    original = SourceFileLoader._cache_bytecode
    if getattr(original, "__module__", None) == __name__:
        return

    def _cache_bytecode(self, source_path, bytecode_path, data):
        try:
            doubtful = time.time() < os.stat(source_path).st_mtime + _DOUBTFUL
        except OSError:
            doubtful = True
        if not doubtful:
            original(self, source_path, bytecode_path, data)

    SourceFileLoader._cache_bytecode = _cache_bytecode


def _import(target, warn):
    _look_anew()
    _write_no_doubtful_bytecode()
    kind, name = target["kind"], target["name"]
    if kind == "python_file":
        sys.argv[:] = [name]
        return _import_file(name, warn)
    sys.argv[:] = [""]
    return importlib.import_module(name)


def _look_anew():
    """Have the import system read directories again: what was written a moment ago is to be found.

    Only the team's own: those of libraries are read again when they change, and to forget what is
    known of them all (``importlib.invalidate_caches``) costs a forked process a megabyte that it
    shares with others, and since Python 3.13 a fresh one 30 modules.
    """
    for finder in sys.meta_path:
        if finder is not PathFinder and hasattr(finder, "invalidate_caches"):
            finder.invalidate_caches()
    for entry in sys.path:
        if isinstance(entry, str) and imported.is_user_directory(entry):
            sys.path_importer_cache.pop(entry, None)


def _import_file(path, warn):
    """Import the file under its stem, or under another name where the stem is taken."""
    if not os.path.isfile(path):
        raise _missing_file(path)
    name = _module_name(path, warn)
    spec = spec_from_file_location(name, path)
    if spec is None:  # the ending is not one of Python's
        spec = spec_from_file_location(name, path, loader=SourceFileLoader(name, path))
    module = module_from_spec(spec)
    sys.modules[name] = module  # first: dataclasses and pickle look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return sys.modules.get(name, module)


def _missing_file(path):
    shown = plain_data.place(path, 1)[0]
    if os.path.isdir(path):
        return LoadFailure(
            "missing_file",
            "%s is a directory, not a file" % shown,
            hint="name a file in it, or load it with python_package",
        )
    directory = os.path.dirname(path)
    try:
        names = [name for name in os.listdir(directory) if name.endswith(".py")]
    except OSError:
        return LoadFailure(
            "missing_file",
            "file %s does not exist, nor does its directory" % shown,
            hint="correct relative_path; it is relative to the file that holds it",
        )
    return LoadFailure(
        "missing_file",
        "file %s does not exist" % shown,
        hint=near(os.path.basename(path), names),
    )


def _module_name(path, warn):
    stem = os.path.splitext(os.path.basename(path))[0]
    # A dot would make it a submodule of a package that does not exist.
    name = stem.replace(".", "_")
    if name != stem:
        warn(
            "module_renamed",
            "%s is imported as module %s: a module name has no dots" % (_shown(path), name),
            hint="rename the file if anything imports it by name",
        )
    other = _namesake(name, path)
    if other is None:
        return name
    taken, name = name, name + "_py"
    while name in sys.modules:
        name += "_"
    warn(
        "module_name_taken",
        "%s is imported as module %s: %s is already the name of %s"
        % (_shown(path), name, taken, other),
        hint="rename the file: what imports %s may get the wrong one of the two" % taken,
        file=_shown(path),
        line=1,
    )
    return name


def _shown(path):
    return plain_data.place(path, 1)[0]


def _namesake(name, path):
    """What else is called ``name``, in words, or None."""
    module = sys.modules.get(name)
    if module is not None:
        other = getattr(module, "__file__", None)
        if isinstance(other, str) and os.path.realpath(other) == os.path.realpath(path):
            return None
        return "a module that is already imported"
    if name in sys.builtin_module_names:
        return "a built-in module"
    real = os.path.realpath(path)
    elsewhere = [entry for entry in sys.path if entry != os.path.dirname(path)]
    try:
        spec = PathFinder.find_spec(name, elsewhere[1:] if sys.path[0] in elsewhere else elsewhere)
    except Exception:  # a finder of the environment's own
        return None
    origin = getattr(spec, "origin", None)
    if origin is None or os.path.realpath(origin) == real or imported.is_user(origin):
        return None
    return "a module of the environment (%s)" % origin


# --- finding


def _find(target, module, attribute, warn):
    kind = target["kind"]
    members = _members(module)
    if attribute:
        found = _find_attribute(module, attribute, warn)
    elif kind == "autoload_defs_module":
        found = findings.autoload(module, warn)
        if not found:
            from runner_shim.loading.autoload import package_modules

            members = [member for each in package_modules(module) for member in _members(each)]
    else:
        found = findings.discover(members, module.__name__, warn)
    if found:
        return found
    filename = _file_of(module)
    raise LoadFailure(
        "no_definitions",
        "no definitions found in %s%s" % (module.__name__, _unread(members, ": %s")),
        hint="define a Definitions object, a repository, or jobs, assets, schedules or sensors "
        "at module level",
        file=None if filename == "<none>" else _shown(filename),
        line=None if filename == "<none>" else 1,
    )


def _members(module):
    """(name, value) of a module's own dictionary, sorted by name, dunder names left out."""
    return sorted(
        (
            (name, value)
            for name, value in list(vars(module).items())
            if isinstance(name, str) and not (name.startswith("__") and name.endswith("__"))
        ),
        key=lambda member: member[0],
    )


def _unread(members, form):
    """What was found of frameworks that are not read, in ``form``, or ""."""
    from runner_shim.frameworks import unread

    found = unread.sentence(members)
    return form % found if found else ""


def _find_attribute(module, attribute, warn):
    try:
        value = getattr(module, attribute)
    except AttributeError:
        filename = _file_of(module)
        names = [name for name, _value in _members(module) if not name.startswith("_")]
        raise LoadFailure(
            "missing_attribute",
            "%s has no attribute %s" % (module.__name__, attribute),
            hint=near(attribute, names),
            file=None if filename == "<none>" else _shown(filename),
            line=None if filename == "<none>" else 1,
        )
    found = findings.from_attribute(value, attribute, module.__name__, warn)
    if found:
        return found
    # An app of a framework that is not read may be callable; to call it would serve nobody.
    unread = _unread([(attribute, value)], " (%s)")
    if not unread and callable(value) and not isinstance(value, type):
        _refuse_arguments(value, attribute)
        value = value()
        found = findings.from_attribute(value, attribute, module.__name__, warn)
        if found:
            return found
        unread = _unread([(attribute, value)], " (%s)")
    place = plain_data.source_of(value) if callable(value) else None
    raise LoadFailure(
        "bad_attribute",
        "attribute %s of %s is of type %s, which is no definition%s"
        % (attribute, module.__name__, plain_data.dotted_name(type(value)), unread),
        hint="name a Definitions object, a repository, a job, or a function without arguments "
        "that returns one",
        file=place and place[0],
        line=place and place[1],
    )


def _refuse_arguments(function, attribute):
    code = getattr(function, "__code__", None)
    if code is None:
        return
    required = code.co_argcount - len(function.__defaults__ or ())
    required -= hasattr(function, "__self__")
    required += code.co_kwonlyargcount - len(function.__kwdefaults__ or ())
    if required > 0:
        place = plain_data.source_of(function)
        raise LoadFailure(
            "bad_attribute",
            "function %s must be callable without arguments" % attribute,
            hint="give its parameters defaults, or name what it returns",
            file=place and place[0],
            line=place and place[1],
        )
