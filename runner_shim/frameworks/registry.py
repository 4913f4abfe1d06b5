"""Which frameworks can be read: one line for each, and the adapters of those that are imported.

Owns the table and the moment at which an adapter is imported: when its framework is in
``sys.modules``, or before it for the methods that its line names. Knows nothing of a framework but
that line. To add one: a folder (or module) with a subclass of ``Adapter``, and a line here.
"""

import sys

from runner_shim.loading import load_failure

__all__ = ["Entry", "adapters", "add", "early", "entries", "named", "rehearse"]


class Entry(object):
    """One framework.

    ``presence`` is the module whose import makes it known, ``home`` the adapter as
    ``"module:class"``, ``early`` the names of the methods that are asked before the framework is
    imported: ``before_import``, ``load_folder``.
    """

    def __init__(self, presence, home, early=()):
        self.presence = presence
        self.home = home
        self.early = tuple(early)
        self._adapter = None

    def is_present(self):
        """True when the framework's module is imported."""
        return sys.modules.get(self.presence) is not None

    def adapter(self):
        """The adapter: one a process, imported when it is first asked for."""
        if self._adapter is None:
            module, _colon, name = self.home.partition(":")
            self._adapter = getattr(__import__(module, fromlist=[name]), name)()
        return self._adapter


# In the order of asking.
_entries = [
    Entry("runner_shim.definitions.base", "runner_shim.frameworks.native:Native"),
    Entry("dagster", "runner_shim.frameworks.dagster.adapter:Dagster", ["load_folder"]),
]


def entries():
    """The lines of the table, in the order of asking."""
    return list(_entries)


def add(entry):
    """Register another framework for this process, to be asked after those that are there."""
    _entries.append(entry)


def adapters():
    """The adapters whose framework is imported."""
    found = [entry.adapter() for entry in _entries if entry.is_present()]
    return [adapter for adapter in found if adapter.loaded()]


def named(presence):
    """The adapter of the framework whose module is ``presence``, imported or not."""
    return next(entry.adapter() for entry in _entries if entry.presence == presence)


def early(method):
    """The adapters that have ``method`` to be asked whether or not their framework is imported."""
    return [entry.adapter() for entry in _entries if method in entry.early]


def rehearse(left_out=()):
    """Yield the name of what has been rehearsed of each imported framework: its top-level module for a
    load, ``<module>.run`` for a run, which is not done where that is among ``left_out``."""
    for entry in _entries:
        if entry.is_present() and entry.adapter().loaded():
            adapter, name = entry.adapter(), entry.presence.partition(".")[0]
            adapter.rehearse()
            yield name
            if name + ".run" not in left_out and adapter.rehearse_run_early():
                yield name + ".run"


load_failure.ask(adapters)
