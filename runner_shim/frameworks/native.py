"""The adapter for native definitions: which objects of a module count, and their data.

Owns the precedence at module level (one Definitions, else all repositories, else the loose
definitions) and the warnings about what that hides. What is in a container is ``native_data``'s. Constructs
a lazy entry only in ``describe``, and for what is run.
"""

import sys

from runner_shim import plain_data
from runner_shim.frameworks.adapter import Adapter
from runner_shim.frameworks.native_data import (
    data_of,
    everything_of,
    first_of,
    made,
    make,
    place,
    places_of_nodes,
    repository_data,
    shown,
)
from runner_shim.imported import standard
from runner_shim.loading.autoload import package_modules
from runner_shim.loading.load_failure import LoadFailure

__all__ = ["Native"]


class _Loose:
    """The definitions that stand at module level, in no container."""

    def __init__(self, name, members, resources):
        self.name = name
        self.members = members
        self.resources = resources
        self.lazy = []
        self.common = {}
        self.source = None


class _Roots:
    """The containers of a target; ``named`` when they are repositories."""

    def __init__(self, containers, named):
        self.containers = containers
        self.named = named


class Native(Adapter):
    """Definitions of ``runner_shim`` itself; they can be read in any process that has imported them."""

    name = "native"

    def loaded(self):
        """True when the target has imported a native definition class."""
        return "runner_shim.definitions.base" in sys.modules

    def version(self):
        """The version of the native API."""
        return sys.modules["runner_shim"].__version__

    def discover(self, members, module_name, warn):
        """The roots among the members of a module, or None when nothing is native."""
        definitions_class, repository_class, loose_classes = _classes()
        containers = _distinct(members, definitions_class)
        repositories = _distinct(members, repository_class)
        loose = _distinct(members, loose_classes)
        if len(containers) > 1:
            raise _ambiguous(containers, module_name)
        if containers:
            name, chosen = containers[0]
            if repositories:
                _warn_repositories(repositories, name, chosen, warn)
            _warn_loose(loose, [chosen], "Definitions object %s" % name, warn)
            return _Roots([chosen], False)
        if repositories:
            chosen = _unique_repositories(repositories, warn)
            _warn_loose(loose, chosen, "a repository", warn)
            return _Roots(chosen, True)
        # A module that has resources only has nothing that could run.
        if any(not isinstance(value, loose_classes[-1]) for _name, value in loose):
            return _Roots([_loose([value for _name, value in loose], module_name)], False)
        return None

    def from_attribute(self, value, name, module_name, warn):
        """The roots in one object (or a list of definitions), or None when it is not native."""
        definitions_class, repository_class, loose_classes = _classes()
        if isinstance(value, definitions_class):
            return _Roots([value], False)
        if isinstance(value, repository_class):
            return _Roots([value], True)
        from runner_shim.definitions.graph import GraphDefinition

        if isinstance(value, GraphDefinition):
            value = value.to_job()
        if isinstance(value, loose_classes):
            return _Roots([_loose([value], name)], False)
        if not isinstance(value, (list, tuple)) or not value:
            return None
        if not all(isinstance(each, loose_classes) for each in value):
            return None
        return _Roots([_loose(list(value), name)], False)

    def autoload(self, module, warn):
        """The roots of a module and all its imported submodules together, or None."""
        members = []
        for each in package_modules(module):
            for name, value in sorted(vars(each).items()):
                members.append(("%s.%s" % (each.__name__, name), value))
        definitions_class, repository_class, loose_classes = _classes()
        containers = _distinct(members, (definitions_class, repository_class))
        loose = _distinct(members, loose_classes)
        if not containers and all(isinstance(value, loose_classes[-1]) for _name, value in loose):
            return None
        return _Roots(
            [_merged([value for _name, value in containers], loose, module.__name__)], False
        )

    def collect(self, roots, warn):
        """``(repositories, definitions, sources)`` as in docs/snapshot.md; lazy entries by name only.

        Raises LoadFailure for the first definition that is wrong and counts the others in its hint.
        """
        several = roots.named and len(roots.containers) > 1
        repositories, definitions, sources, problems, nodes = [], [], {}, [], []
        for container in roots.containers:
            if roots.named:
                repositories.append(repository_data(container))
            everything = everything_of(container, problems)
            known = {name for kind, name in everything if kind == "asset"}
            for (kind, name), thing in everything.items():
                _warn_sources(thing, known, warn)
                data = data_of(kind, name, thing, known)
                if several:
                    data["repository"] = container.name
                definitions.append(data)
                source = getattr(thing, "source", None) or container.source
                if source:
                    sources[plain_data.key_of(data)] = source
                if kind == "job":
                    nodes += places_of_nodes(thing, data.get("repository"))
        if problems:
            raise first_of(problems)
        plain_data.add_node_places(sources, nodes)
        return repositories, definitions, sources

    def describe(self, roots, kind, name, repository=None):
        """``(definition, [file, line])`` of one definition, made if lazy; None when there is none."""
        several = roots.named and len(roots.containers) > 1
        for container in roots.containers:
            if repository is not None and (not roots.named or container.name != repository):
                continue
            everything = everything_of(container, [])
            thing = everything.get((kind, name))
            if thing is None:
                continue
            if hasattr(thing, "make"):
                thing = make(thing, everything)
            known = {each for other, each in everything if other == "asset"}
            data = data_of(kind, name, thing, known)
            if several:
                data["repository"] = container.name
            return data, getattr(thing, "source", None)
        return None

    def rehearse_run(self):
        """Have imported what every run needs."""
        for name in ("forked", "running"):
            __import__("runner_shim.execution." + name)
        for name in ("heapq", "pickle", "select", "warnings"):
            standard(name)

    def prepare(self, roots, order):
        """What can run an order: jobs and assets of one container."""
        from runner_shim.execution import native

        for container, job, assets in _wanted(roots, order):
            if job is not None:
                return native.of_job(job, container.resources, order)
            return native.of_assets(_keys(order), assets, container.resources, order)
        return None

    def partition_keys(self, roots, order):
        """All partition keys of what an order names."""
        from runner_shim.execution import partitions

        for _container, job, assets in _wanted(roots, order):
            things = [job] if job is not None else [assets[key] for key in _keys(order)]
            return partitions.keys_of(
                [("%s %s" % (one.KIND, one.name), one.partitions_def) for one in things]
            )
        return None

    def tick(self, roots, order):
        """One evaluation of a schedule or sensor."""
        from runner_shim.execution import ticks

        for thing, everything in _ticking(roots, order):
            return ticks.evaluate(made(thing, everything), order)
        return None

    def plain_tick(self, roots, order):
        """That of a schedule that has no function."""
        from runner_shim.execution import ticks

        for thing, _everything in _ticking(roots, order):
            if not hasattr(thing, "make") and ticks.is_plain(thing):
                return ticks.evaluate(thing, order)
            return None
        return None


def _ticking(roots, order):
    """(the order's schedule or sensor, all of its container), of each container that has it."""
    for container in roots.containers:
        wanted = order.get("repository")
        if wanted is not None and (not roots.named or container.name != wanted):
            continue
        everything = everything_of(container, [])
        for kind in ("schedule", "sensor"):
            thing = everything.get((kind, order["name"]))
            if thing is not None and order.get("kind") in (None, kind):
                yield thing, everything


def _keys(order):
    return list(dict.fromkeys(order.get("assets") or ()))


def _wanted(roots, order):
    """(container, job or None, assets by name) of each container that has what an order names."""
    for container in roots.containers:
        wanted = order.get("repository")
        if wanted is not None and (not roots.named or container.name != wanted):
            continue
        everything = everything_of(container, [])
        if order.get("job"):
            job = everything.get(("job", order["job"]))
            if job is not None:
                yield container, made(job, everything), {}
            continue
        keys = _keys(order)
        assets = {name: thing for (kind, name), thing in everything.items() if kind == "asset"}
        if keys and all(key in assets for key in keys):
            for key in keys:
                assets[key] = made(assets[key], everything)
                for other in assets[key].sources(assets).values():
                    if other in assets:
                        assets[other] = made(assets[other], everything)
            yield container, None, assets


def _classes():
    """The class of Definitions, of repositories, and those of loose definitions."""
    from runner_shim.definitions import assets, graph, repository, triggers

    return (
        repository.Definitions,
        repository.RepositoryDefinition,
        (
            graph.JobDefinition,
            triggers.ScheduleDefinition,
            triggers.SensorDefinition,
            assets.AssetDefinition,
            triggers.PartitionSetDefinition,
            triggers.ResourceDefinition,
        ),
    )


def _loose(values, name):
    members = [value for value in values if value.KIND != "resource"]
    resources = [value for value in values if value.KIND == "resource"]
    return _Loose(name, members, {each.name: each for each in resources})


def _distinct(members, classes):
    """(name, value) of the members of the classes, each object once, under its first name."""
    seen, result = set(), []
    for name, value in members:
        # type(): an instance check may run code of a lazy proxy
        if issubclass(type(value), classes) and id(value) not in seen:
            seen.add(id(value))
            result.append((name, value))
    return result


def _ambiguous(containers, module_name):
    named = ["%s (%s)" % (name, shown(value.source)) for name, value in containers]
    return LoadFailure(
        "ambiguous_definitions",
        "%s has %d Definitions objects: %s" % (module_name, len(named), ", ".join(named[:10])),
        hint="keep one of them, or name one with attribute: %s" % containers[0][0],
        **place(containers[1][1].source),
    )


def _warn_sources(thing, known, warn):
    for name in getattr(thing, "unknown_sources", lambda known: ())(known):
        warn(
            "unknown_asset",
            "asset %s takes the value of %s, which nothing here makes: no run can make it"
            % (thing.name, name),
            hint=thing.source_hint(name, known),
            **place(thing.source),
        )


def _warn_repositories(repositories, name, chosen, warn):
    names = ", ".join("%s (%s)" % (r.name, shown(r.source)) for _name, r in repositories[:10])
    warn(
        "shadowed_repositories",
        "Definitions object %s hides %s: %s"
        % (
            name,
            "a repository" if len(repositories) == 1 else "%d repositories" % len(repositories),
            names,
        ),
        hint="move what they hold into the Definitions object",
        **place(chosen.source),
    )


def _warn_loose(loose, containers, what, warn):
    included = set()
    for container in containers:
        included.update(id(value) for value in container.resources.values())
        for member in container.members:
            included.add(id(member))
            included.update(id(target) for target in getattr(member, "targets", {}).values())
        # What a lazy entry makes is not known without making it.
        if container.lazy:
            return
    hidden = [value for _name, value in loose if id(value) not in included]
    hidden = [value for value in hidden if value.KIND != "resource"]
    if not hidden:
        return
    names = ", ".join("%s %s" % (v.KIND.replace("_", " "), v.name) for v in hidden[:10])
    if len(hidden) > 10:
        names += ", …"
    warn(
        "shadowed_definitions",
        "%d %s not in %s and so not in the location: %s"
        % (len(hidden), "definition is" if len(hidden) == 1 else "definitions are", what, names),
        hint="add what is missing, or remove it from the module",
        **place(hidden[0].source),
    )


def _unique_repositories(repositories, warn):
    by_name = {}
    for _name, value in repositories:
        other = by_name.get(value.name)
        if other is not None:
            warn(
                "duplicate_repository",
                "two repositories are named %s: the one at %s is used, the one at %s is not"
                % (value.name, shown(value.source), shown(other.source)),
                hint="rename one of them",
                **place(other.source),
            )
        by_name[value.name] = value
    return [by_name[name] for name in sorted(by_name)]


def _merged(containers, loose, name):
    """One container of everything in a folder: there, each module adds its part."""
    result = _loose([value for _name, value in loose], name)
    for container in containers:
        result.members.extend(container.members)
        result.lazy.extend(container.lazy)
        for key, value in container.resources.items():
            if result.resources.setdefault(key, value) is not value:
                raise LoadFailure(
                    "duplicate_definition",
                    "two definitions are named %r: a resource of %s at %s and another one"
                    % (key, container.name, shown(container.source)),
                    hint="rename one of them",
                    **place(container.source),
                )
    distinct = {id(member): member for member in result.members}
    result.members = list(distinct.values())
    return result
