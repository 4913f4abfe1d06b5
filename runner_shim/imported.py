"""Which files the target is made of: what it imported, what failed, and where that may appear.

Owns the distinction between the team's own files, the standard library, installed distributions
and ourselves. Reads ``sys.modules`` and paths, imports nothing and opens no file.
"""

import os
import sys

__all__ = ["installed_modules", "is_installed", "is_own", "is_user", "source_files"]

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


def _module_files(before):
    """(module name, file) of the modules imported since ``before``, a set of module names.

    Looks into the modules' dictionaries: asking some lazy modules for an attribute loads them.
    """
    for name, module in sorted(sys.modules.items(), key=lambda item: str(item[0])):
        if name in before or not isinstance(name, str):
            continue
        try:
            filename = object.__getattribute__(module, "__dict__").get("__file__")
        except Exception:  # anything may stand in sys.modules
            continue
        if isinstance(filename, str) and filename:
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
            files.add(real)
    return sorted(files)


def installed_modules(before=()):
    """Sorted names of the installed top-level modules imported since ``before``."""
    return sorted(
        {name.split(".")[0] for name, filename in _module_files(before) if is_installed(filename)}
    )
