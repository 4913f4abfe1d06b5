"""A package whose definitions are spread over its submodules (``autoload_defs_module``).

Owns the import of every submodule, and a look at the text of a folder by which a framework tells
whether it is for its own loader. Imports no framework.
"""

import os
import sys

__all__ = ["folders_of", "import_submodules", "package_modules", "speaks_of"]

MAX_FILES = 20000
MAX_BYTES = 65536  # of a file: imports stand at its beginning


def folders_of(module):
    """The directories of a package, or none."""
    return [path for path in list(getattr(module, "__path__", ())) if isinstance(path, str)]


def speaks_of(paths, framework, names=()):
    """True when files, or folders of them, have something for a framework that can be imported.

    ``framework`` is a top-level module, which is imported already or stands in the text of a Python
    file; ``names`` are those of other files that are its own. A folder too large to look at counts.
    """
    if sys.modules.get(framework) is not None:
        return True
    from importlib.util import find_spec

    try:
        if find_spec(framework) is None:
            return False
    except (ImportError, ValueError):
        return False
    count = 0
    for top in paths:
        if top.endswith(".py") and _mentions(top, framework):
            return True
        for directory, folders, files in os.walk(top):
            folders[:] = [each for each in folders if each.isidentifier() and each != "__pycache__"]
            for name in files:
                count += 1
                if count > MAX_FILES or name in names:
                    return True
                if name.endswith(".py") and _mentions(os.path.join(directory, name), framework):
                    return True
    return False


def _mentions(path, word):
    try:
        with open(path, "rb") as stream:
            return word.encode("ascii") in stream.read(MAX_BYTES)
    except OSError:
        return False


def import_submodules(module):
    """Import every submodule of ``module``, folders without ``__init__.py`` included, by name."""
    import importlib

    for top in folders_of(module):
        try:
            entries = sorted(os.listdir(top))
        except OSError:
            continue
        for entry in entries:
            stem, ending = os.path.splitext(entry)
            if not stem.isidentifier() or stem in ("__init__", "__main__", "__pycache__"):
                continue
            name = "%s.%s" % (module.__name__, stem)
            if ending == ".py":
                importlib.import_module(name)
            elif not ending and _has_python(os.path.join(top, entry)):
                import_submodules(importlib.import_module(name))


def package_modules(module):
    """``module`` and its imported submodules, by name."""
    prefix = module.__name__ + "."
    inner = [name for name in sorted(sys.modules) if name.startswith(prefix)]
    return [module] + [
        sys.modules[name] for name in inner if isinstance(sys.modules[name], type(sys))
    ]


def _has_python(directory):
    for _directory, folders, files in os.walk(directory):
        folders[:] = [each for each in folders if each.isidentifier() and each != "__pycache__"]
        if any(name.endswith(".py") for name in files):
            return True
    return False
