"""The frameworks whose objects we can read, and how their findings become one document.

Owns which adapters apply, the order they are asked in, and the merging of what they find. An
adapter is a module of this package with the functions ``loaded``, ``version``, ``discover``,
``from_attribute``, ``autoload``, ``collect`` and ``describe``; it is imported only when its
framework is in ``sys.modules``. What an adapter found (its ``roots``) is opaque here. Knows
nothing about any framework beyond its name. May import definitions/, execution/ and loading/.
"""

import sys

from runner_shim.loading import load_failure

__all__ = [
    "Findings",
    "adapters",
    "autoload",
    "discover",
    "from_attribute",
    "rehearse",
]

# Framework module whose presence makes the adapter apply -> adapter, in the order of asking.
_ADAPTERS = (("runner_shim.definitions.base", "native"), ("dagster", "dagster.adapter"))


def adapters():
    """The adapters whose framework the target has imported."""
    result = []
    for framework, name in _ADAPTERS:
        if sys.modules.get(framework) is not None:
            adapter = __import__("%s.%s" % (__name__, name), fromlist=["loaded"])
            if adapter.loaded():
                result.append(adapter)
    return result


def rehearse():
    """Before a fork: have done what every load of the imported frameworks does once a process."""
    if sys.modules.get("dagster") is not None:
        from runner_shim.frameworks.dagster import rehearsal

        rehearsal.rehearse(discover)


class Findings:
    """What the adapters found in one target: pairs of an adapter and its roots."""

    def __init__(self, found):
        self._found = found

    def __bool__(self):
        return bool(self._found)

    def frameworks(self):
        """``[{"name": ..., "version": ...}, ...]`` in the order of discovery."""
        return [
            {"name": adapter.NAME, "version": adapter.version()} for adapter, _roots in self._found
        ]

    def collect(self, warn):
        """``(repositories, definitions, sources)`` of all frameworks together, sorted.

        Raises LoadFailure for what an adapter refuses and for a name that two frameworks define.
        """
        repositories, definitions, sources = [], [], {}
        for adapter, roots in self._found:
            part = adapter.collect(roots, warn)
            repositories.extend(part[0])
            definitions.extend(part[1])
            sources.update(part[2])
        _refuse_twice_defined(definitions)
        repositories.sort(key=lambda item: item["name"])
        definitions.sort(key=lambda d: (d["kind"], d["name"], d.get("repository", "")))
        return repositories, definitions, sources

    def files(self):
        """Files beside the imported modules that decide what is defined (components' YAML)."""
        result = []
        for adapter, roots in self._found:
            if hasattr(adapter, "files"):
                result.extend(adapter.files(roots))
        return result

    def describe(self, kind, name, repository=None):
        """``(definition, source)`` of one definition, constructing a lazy one; None: no such."""
        for adapter, roots in self._found:
            found = adapter.describe(roots, kind, name, repository)
            if found is not None:
                return found
        return None

    def prepare(self, order):
        """What the first adapter that has the order's job or assets makes of it, or None."""
        for adapter, roots in self._found:
            if hasattr(adapter, "prepare"):
                prepared = adapter.prepare(roots, order)
                if prepared is not None:
                    return prepared
        return None


def _refuse_twice_defined(definitions):
    seen = set()
    for item in definitions:
        key = (item["kind"], item["name"], item.get("repository"))
        if key in seen:
            raise load_failure.LoadFailure(
                "duplicate_definition",
                "%s %r is defined more than once in this location" % (item["kind"], item["name"]),
                hint="rename one of them: names are unique among the definitions of a kind",
            )
        seen.add(key)


def discover(members, module_name, warn):
    """Findings in the ``(name, value)`` pairs of a module."""
    return _ask(lambda adapter: adapter.discover(members, module_name, warn))


def from_attribute(value, name, module_name, warn):
    """Findings in one object: the first framework that knows it has it."""
    for adapter in adapters():
        roots = adapter.from_attribute(value, name, module_name, warn)
        if roots is not None:
            return Findings([(adapter, roots)])
    return Findings([])


def autoload(module, warn):
    """Findings in a package of definitions, all its submodules included."""
    from runner_shim.loading import autoload

    found = []
    if autoload.wants_dagster(module):
        __import__("dagster")
        for adapter in adapters():
            if adapter.NAME == "dagster":
                roots = adapter.autoload(module, warn)
                if roots is not None:
                    found.append((adapter, roots))
    if not found:  # else Dagster's loader has decided what is imported
        autoload.import_submodules(module)
    for adapter in adapters():
        if adapter.NAME == "native":
            roots = adapter.autoload(module, warn)
            if roots is not None:
                found.append((adapter, roots))
    return Findings(found)


def _ask(question):
    found = []
    for adapter in adapters():
        roots = question(adapter)
        if roots is not None:
            found.append((adapter, roots))
    return Findings(found)


load_failure.ask(adapters)
