"""Where what is missing was looked for: what may appear there is a reason to load again.

Owns the paths that the import system, and the team's own code, tried. Is imported only once something failed.
"""

import os
import sys
from importlib.machinery import all_suffixes

from runner_shim import imported

__all__ = ["looked_for"]

MAX_LOOKED_FOR = 2000


def looked_for(kind, errors, target):
    """Absolute paths at which what is missing was looked for, and may appear: of a failure of that kind, and of
    the exceptions that led to it."""
    found = []
    if kind == "missing_file":
        found.append(target["name"])
    elif kind == "missing_working_directory":
        found.append(target["working_directory"])
    for error in errors:
        if isinstance(error, ImportError):
            found.extend(_module_paths(error))
        elif isinstance(error, OSError):
            found.extend(name for name in (error.filename, error.filename2) if name)
    result = set()
    for path in found:
        try:
            path = os.path.abspath(os.fsdecode(path))
        except (TypeError, ValueError):  # a descriptor's number; a name that no file can have
            continue
        if imported.is_user(path):
            result.add(path.encode("utf-8", "replace").decode("utf-8"))
    return sorted(result)[:MAX_LOOKED_FOR]


def _module_paths(error):
    """Where the import system looks among the team's own files for what ``error`` lacks."""
    name = getattr(error, "name", None)
    if not isinstance(name, str) or not name:
        return []
    wanted = [name]
    # Of `from package import name`, name may be a module too.
    if not isinstance(error, ModuleNotFoundError):
        said = error.msg if isinstance(error.msg, str) else ""
        match = imported.standard("re").match(r"cannot import name '(\w+)'", said)
        if match:
            wanted.append("%s.%s" % (name, match.group(1)))
    found = []
    for one in wanted:
        parts = one.split(".")
        for count in range(1, len(parts) + 1):
            parent = ".".join(parts[: count - 1])
            if not parent:
                entries = [e for e in sys.path if isinstance(e, str) and e]
            else:
                module = sys.modules.get(parent)
                entries = [e for e in getattr(module, "__path__", ()) if isinstance(e, str)]
                if getattr(module, "__file__", None) is None:  # the package's own may come yet
                    found.extend(os.path.join(entry, "__init__.py") for entry in entries)
            for entry in entries:
                if imported.is_user_directory(entry):
                    place = os.path.join(entry, parts[count - 1])
                    found.append(place)
                    found.extend(place + suffix for suffix in all_suffixes())
    return found
