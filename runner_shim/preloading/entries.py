"""What is recorded of one import, and what is asked of modules and their files in several places.

Owns no state.
"""

import os

__all__ = ["MISSING", "Entry", "identity", "is_native", "top"]

MISSING = object()


class Entry(object):
    """One imported module: its name, what it asked for, and what it found on its way."""

    __slots__ = (
        "distributions",
        "effects",
        "file",
        "first",
        "identity",
        "loader",
        "looked",
        "members",
        "name",
        "needs",
        "path",
        "probed",
        "spread",
        "standard",
        "variables",
        "was",
    )

    def __init__(self, name, first, standard, was):
        self.name = name
        self.first = first  # the position of the first module that its own import completed
        self.standard = standard
        self.needs = set()  # names of modules
        self.probed = {}  # name -> file of a module that was only looked for; None: there was none
        self.variables = {}  # name -> (value, name of the module that had set it); None: all
        self.looked = set()  # relative paths that did not exist
        self.distributions = set()  # names of those whose metadata it wanted; None: of all
        self.path = False  # read sys.path in a way that is not understood
        self.spread = False  # a package of several directories
        self.members = None  # the names in it when its import ended, where it makes others later
        self.effects = []  # (watch, change)
        self.was = was  # what its parent had under its name before
        self.file = self.loader = self.identity = None  # no loader: put into sys.modules by others

    def take_over(self, other):
        """What an import that failed has seen counts for the one that tried it."""
        self.needs |= other.needs
        self.probed.update(other.probed)
        for name, read in other.variables.items():
            self.variables.setdefault(name, read)
        self.looked |= other.looked
        self.distributions |= other.distributions
        self.path = self.path or other.path


def top(name):
    """The top-level part of a module's name."""
    return name.partition(".")[0]


def is_native(loader):
    """True for the type of loader that extension modules have."""
    return getattr(loader, "__name__", "") == "ExtensionFileLoader"


def identity(file):
    """What tells a file from its next version, or None; of the archive for what lies in one."""
    while file and file != "/":
        try:
            found = os.stat(file)
        except NotADirectoryError:
            file = os.path.dirname(file)
            continue
        except (OSError, ValueError):
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns
    return None
