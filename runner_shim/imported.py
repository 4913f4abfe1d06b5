"""Which imported files are whose: the team's own, the standard library's, installed, ours.

Owns that distinction and, for our own late imports, the way around a team's file that has the
name of a standard module. Reads ``sys.modules`` and paths; opens no file.
"""

import os
import sys

__all__ = [
    "installed_modules",
    "is_installed",
    "is_own",
    "is_user",
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
        if isinstance(entry, str)
        and entry
        and is_user(os.path.join(entry, "x"))
        and os.path.isdir(entry)
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
        and not filename.startswith(_STDLIB)
        and not is_installed(filename)
        and not is_own(filename)
    )


def _file(module):
    """A module's file or None, from its dictionary: asking a lazy module for it would load it."""
    try:
        filename = object.__getattribute__(module, "__dict__").get("__file__")
    except Exception:  # anything may stand in sys.modules
        return None
    return filename if isinstance(filename, str) else None


def _module_files(before):
    """(module name, file) of the modules imported since ``before``, a set of module names."""
    for name, module in sorted(sys.modules.items(), key=lambda item: str(item[0])):
        if name in before or not isinstance(name, str):
            continue
        filename = _file(module)
        if filename:
            yield name, filename


def source_files(before=(), also=()):
    """Sorted real paths of the team's files imported since ``before``, and of ``also``."""
    files = set()
    names = [filename for _name, filename in _module_files(before)]
    names.extend(also)
    for filename in names:
        if not is_user(filename):
            continue
        real = os.path.realpath(filename)
        # An interpreter or a library reached through a link shows only in the real path.
        if is_user(real):
            # A name that is no text cannot be sent, let alone watched.
            files.add(real.encode("utf-8", "replace").decode("utf-8"))
    return sorted(files)


def installed_modules(before=()):
    """Names of the installed modules imported since ``before``, in the order of their import."""
    return [
        name
        for name, module in list(sys.modules.items())
        if isinstance(name, str) and name not in before and is_installed(_file(module) or "")
    ]
