"""A package whose definitions are spread over its submodules (``autoload_defs_module``).

Owns which files of the folder are imported and whether Dagster, if installed, is to load them:
its own loader understands component files, ours imports every submodule. Dagster is imported for
a folder that speaks of it, never for one that does not: that would cost a native location 100 MB.
"""

import os
import sys

__all__ = ["import_submodules", "wants_dagster"]

MAX_FILES = 20000
MAX_BYTES = 65536  # of a file: imports stand at its beginning
_COMPONENT_FILES = ("defs.yaml", "component.yaml", "defs.yml", "component.yml")


def _paths(module):
    return [path for path in list(getattr(module, "__path__", ())) if isinstance(path, str)]


def wants_dagster(module):
    """True when Dagster can be imported and the folder of ``module`` has something for it."""
    if sys.modules.get("dagster") is not None:
        return True
    from importlib.util import find_spec

    try:
        if find_spec("dagster") is None:
            return False
    except (ImportError, ValueError):
        return False
    count = 0
    for top in _paths(module):
        for directory, folders, files in os.walk(top):
            folders[:] = [each for each in folders if each.isidentifier() and each != "__pycache__"]
            for name in files:
                count += 1
                if count > MAX_FILES:
                    return True
                if name in _COMPONENT_FILES:
                    return True
                if name.endswith(".py") and _mentions(os.path.join(directory, name)):
                    return True
    return False


def _mentions(path):
    try:
        with open(path, "rb") as stream:
            return b"dagster" in stream.read(MAX_BYTES)
    except OSError:
        return False


def import_submodules(module):
    """Import every submodule of ``module``, folders without ``__init__.py`` included, by name."""
    import importlib

    for top in _paths(module):
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


def _has_python(directory):
    for _directory, folders, files in os.walk(directory):
        folders[:] = [each for each in folders if each.isidentifier() and each != "__pycache__"]
        if any(name.endswith(".py") for name in files):
            return True
    return False
