"""What the frameworks have found in one target, and how it becomes one document.

Owns the asking of the adapters, and the merging and order of what they collect. What an adapter
found (its ``roots``) is opaque here. Knows no framework.
"""

from runner_shim.frameworks import registry
from runner_shim.loading.load_failure import LoadFailure

__all__ = ["Findings", "autoload", "discover", "from_attribute"]


class Findings(object):
    """What the adapters found in one target: pairs of an adapter and its roots."""

    def __init__(self, found):
        self._found = found

    def __bool__(self):
        return bool(self._found)

    def frameworks(self):
        """``[{"name": ..., "version": ...}, ...]`` in the order of discovery."""
        return [
            {"name": adapter.name, "version": adapter.version()} for adapter, _roots in self._found
        ]

    def collect(self, warn):
        """``(repositories, definitions, sources)`` of all frameworks together, sorted.

        Raises LoadFailure for what an adapter refuses and for a name that two frameworks define.
        """
        repositories, definitions, sources = [], [], {}
        for adapter, roots in self._found:
            part = adapter.collect(roots, warn)
            self._mark(adapter, part[1])
            repositories.extend(part[0])
            definitions.extend(part[1])
            sources.update(part[2])
        _refuse_twice_defined(definitions)
        repositories.sort(key=lambda item: item["name"])
        definitions.sort(key=lambda d: (d["kind"], d["name"], d.get("repository", "")))
        return repositories, definitions, sources

    def files(self):
        """Files beside the imported modules that decide what is defined (components' YAML)."""
        return [path for adapter, roots in self._found for path in adapter.files(roots)]

    def describe(self, kind, name, repository=None):
        """``(definition, source)`` of one definition, constructing a lazy one; None: no such."""
        for adapter, roots in self._found:
            found = adapter.describe(roots, kind, name, repository)
            if found is not None:
                self._mark(adapter, found[:1])
                return found
        return None

    def _mark(self, adapter, definitions):
        """Where several frameworks are: whose the schedules and sensors are, which says what fires them."""
        for one in definitions if len(self._found) > 1 else ():
            if one["kind"] in ("schedule", "sensor"):
                one["framework"] = adapter.name

    def prepare(self, order):
        """What the first adapter that has the order's job or assets makes of it, or None."""
        for adapter, roots in self._found:
            prepared = adapter.prepare(roots, order) if adapter.prepare is not None else None
            if prepared is not None:
                return prepared
        return None

    def partition_keys(self, order):
        """All partition keys of the order's job or assets, [] without partitions; None: no such ones."""
        for adapter, roots in self._found:
            if adapter.partition_keys is not None:
                keys = adapter.partition_keys(roots, order)
                if keys is not None:
                    return keys
        return None

    def tick(self, order):
        """What the first adapter that has the order's schedule or sensor says, or None."""
        return self._first_tick("tick", order)

    def plain_tick(self, order):
        """As ``tick``, of one that calls no function of the team's; None for any other."""
        return self._first_tick("plain_tick", order)

    def _first_tick(self, method, order):
        for adapter, roots in self._found:
            ask = getattr(adapter, method)
            if ask is None or order.get("framework") not in (None, adapter.name):
                continue
            found = ask(roots, order)
            if found is not None:
                return dict(found, framework=adapter.name)
        return None

    def rehearse_run(self):
        """Have each framework do once what every run does first."""
        for adapter, _roots in self._found:
            adapter.rehearse_run()


def _refuse_twice_defined(definitions):
    seen = set()
    for item in definitions:
        key = (item["kind"], item["name"], item.get("repository"))
        if key in seen:
            raise LoadFailure(
                "duplicate_definition",
                "%s %r is defined more than once in this location" % (item["kind"], item["name"]),
                hint="rename one of them: names are unique among the definitions of a kind",
            )
        seen.add(key)


def discover(members, module_name, warn):
    """Findings in the ``(name, value)`` pairs of a module."""
    return Findings(_ask(registry.adapters(), "discover", members, module_name, warn))


def from_attribute(value, name, module_name, warn):
    """Findings in one object: the first framework that knows it has it."""
    for adapter in registry.adapters():
        roots = adapter.from_attribute(value, name, module_name, warn)
        if roots is not None:
            return Findings([(adapter, roots)])
    return Findings([])


def autoload(module, warn):
    """Findings in a package of definitions, all its submodules included."""
    found = _ask(registry.early("load_folder"), "load_folder", module, warn)
    if not found:  # else a framework's loader has decided what is imported
        from runner_shim.loading.autoload import import_submodules

        import_submodules(module)
    done = [adapter for adapter, _roots in found]
    others = [adapter for adapter in registry.adapters() if adapter not in done]
    return Findings(found + _ask(others, "autoload", module, warn))


def _ask(adapters, method, *arguments):
    found = []
    for adapter in adapters:
        roots = getattr(adapter, method)(*arguments)
        if roots is not None:
            found.append((adapter, roots))
    return found
