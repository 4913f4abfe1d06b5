"""Which imported files are whose: the team's own, the standard library's, installed, ours.

Owns that distinction and, for our own late imports, the way around a team's file that has the
name of a standard module. Reads ``sys.modules`` and paths; opens no file.
"""

import os
import sys
import time

__all__ = [
    "MARK",
    "asked",
    "began",
    "given",
    "installed_modules",
    "is_installed",
    "is_own",
    "is_user",
    "is_user_directory",
    "mark",
    "modules",
    "source_files",
    "standard",
    "user_directories",
]

_OWN = os.path.dirname(os.path.realpath(__file__)) + os.sep
_OWN_ALSO = os.path.dirname(os.path.abspath(__file__)) + os.sep  # as frames name it
_STDLIB = tuple(
    {
        path + os.sep
        for path in (
            os.path.dirname(os.path.abspath(os.__file__)),
            os.path.dirname(os.path.realpath(os.__file__)),
        )
    }
)
_COMPILED_FROM = (".pyx", ".pxd", ".pxi")  # Cython
_INSTALLED = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)

# Before any working directory is on the path: where the standard library is found.
_STDLIB_PATH = [
    entry
    for entry in sys.path
    if (entry + os.sep).startswith(_STDLIB) or os.path.basename(entry).startswith("python")
    if not any(part in entry + os.sep for part in _INSTALLED)
]
_standard = {}


def standard(name):
    """The standard library's module ``name``, whatever the team's files are called."""
    module = _standard.get(name)
    if module is None:
        module = sys.modules.get(name)
        if not _is_standard(module):
            module = _import_standard(name)
        _standard[name] = module
    return module


def _import_standard(name):
    # What it imports in turn may have a namesake too: all of the team's modules step aside.
    path, theirs = sys.path[:], {}
    for other, module in list(sys.modules.items()):
        if other == name or is_user(_file(module) or "<none>"):
            theirs[other] = sys.modules.pop(other)
    sys.path[:] = _STDLIB_PATH
    try:
        return __import__(name)
    finally:
        sys.path[:] = path
        sys.modules.update(theirs)


def _is_standard(module):
    if type(module) is not type(sys):
        return False
    filename = module.__dict__.get("__file__")
    return filename is None or (filename.startswith(_STDLIB) and not is_installed(filename))


def user_directories():
    """The entries of ``sys.path`` that are directories of the team's own."""
    return [
        entry
        for entry in sys.path
        if isinstance(entry, str) and entry and is_user_directory(entry) and os.path.isdir(entry)
    ]


def is_own(filename):
    """True for a file of this package."""
    return filename.startswith((_OWN, _OWN_ALSO))


def is_installed(filename):
    """True for a file of an installed distribution (not an editable one)."""
    return any(part in filename for part in _INSTALLED)


def is_user(filename):
    """True for the team's own file: not installed, not the standard library's, not ours."""
    return (
        not filename.startswith("<")
        # Compiled libraries name the source that they were compiled from, elsewhere.
        and not (filename.endswith(_COMPILED_FROM) and not os.path.isabs(filename))
        and not filename.startswith(_STDLIB)
        and not is_installed(filename)
        and not is_own(filename)
    )


def is_user_directory(path):
    """True for a directory whose files are the team's own."""
    return is_user(os.path.join(path, "x"))


def _file(module):
    """A module's file or None, from its dictionary: asking a lazy module for it would load it."""
    try:
        filename = object.__getattribute__(module, "__dict__").get("__file__")
    except Exception:  # anything may stand in sys.modules
        return None
    return filename if isinstance(filename, str) else None


# Its place in sys.modules, which keeps the order of import, tells what came before and what later.
MARK = "runner_shim.load_begins"


def mark():
    """Mark this moment: what to give as ``before`` to have only what is imported from now on.

    Listing the modules that are there would cost a forked process the memory that it shares with
    others: to look at an object is to write to it, and they lie on 200 pages.
    """
    sys.modules.pop(MARK, None)
    sys.modules[MARK] = type(sys)(MARK)
    sys.modules[MARK].began = time.time()
    return MARK


def began():
    """When the newest mark was set (seconds since the epoch); 0 without one."""
    return getattr(sys.modules.get(MARK), "began", 0.0)


def _names(before):
    """Names of the modules imported since the mark ``before``, or all; in the order of import."""
    if not before or before not in sys.modules:
        return list(sys.modules)
    names = []
    try:
        for name in reversed(sys.modules):
            if name == before:
                break
            names.append(name)
    except (TypeError, RuntimeError):  # before Python 3.8; another thread is importing
        names = list(sys.modules)
        return names[names.index(before) + 1 :]
    names.reverse()
    return names


def modules(before=None):
    """(name, dictionary, file) of each module imported since ``before`` that has a file, in that order.

    Without those that were preloaded: none of them is the team's. From the dictionaries: asking a lazily imported module for an attribute would import it.
    """
    found = []
    for name in _names(before):
        if isinstance(name, str) and name not in given:
            try:
                members = object.__getattribute__(sys.modules[name], "__dict__")
                filename = members.get("__file__")
            except Exception:  # anything may stand in sys.modules
                continue
            if isinstance(filename, str) and filename:
                found.append((name, members, filename))
    return found


def source_files(before=None, also=()):
    """Sorted paths of the team's files imported since ``before``, and of ``also``.

    Each as the team reaches it: links that a path goes through are kept, for they may lead elsewhere
    one day.
    """
    files = set()
    names = [_archive(members) or filename for _name, members, filename in modules(before)]
    names.extend(also)
    directories = {}
    for filename in names:
        if not is_user(filename):
            continue
        directory, name = os.path.split(filename)
        if directory not in directories:
            directories[directory] = _directory(directory)
        reached, real = directories[directory]
        path = os.path.join(reached, name)
        whole = os.path.join(real, name)
        # An interpreter or a library reached through a link shows only in the real path.
        if is_user(os.path.realpath(whole) if os.path.islink(whole) else whole):
            # A name that is no text cannot be sent, let alone watched.
            files.add(path.encode("utf-8", "replace").decode("utf-8"))
    return sorted(files)


# In a forked process: the names of all preloaded modules that were handed out, and of those among
# them that were asked for; the others came with them.
given = set()
asked = []


def _archive(members):
    """The archive that a module was imported from, or None."""
    loader = members.get("__loader__")
    archive = getattr(loader, "archive", None) if type(loader).__name__ == "zipimporter" else None
    return archive if isinstance(archive, str) else None


def _directory(path):
    """``path`` as it is reached, absolute and without dots, and where it really is."""
    real, plain = os.path.realpath(path), os.path.abspath(path)
    # Behind a link ".." is not where the text says.
    return (plain if os.path.realpath(plain) == real else real), real


def installed_modules(before=None):
    """Names of the installed modules imported since ``before``, in the order of their import.

    Those that were preloaded are not among them: see ``asked``.
    """
    return [name for name, _members, filename in modules(before) if is_installed(filename)]
