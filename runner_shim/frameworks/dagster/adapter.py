"""Dagster's objects, of any version from 0.9 to today's, as snapshot data: the adapter.

Owns which objects of a module count (Dagster's order of precedence) and a warning for each that
Dagster would hide without a word. Does not import dagster where the user's code has not, and to
compare versions: what an object can do is asked of the object. The other modules of this name own
the parts: ``read`` how an object is read, ``repository`` what it lists, ``projects`` dbt's; the kinds.
Nothing but this module is imported before a Dagster object was found.
"""

import sys

from runner_shim.frameworks.adapter import Adapter
from runner_shim.loading.load_failure import LoadFailure

__all__ = ["Dagster"]

_ASSETS = (
    "AssetsDefinition",
    "SourceAsset",
    "AssetSpec",
    "CacheableAssetsDefinition",
    "AssetGroup",
)


class Roots:
    """What was found: (variable name, object) pairs, and the module's other Dagster objects.

    ``repositories`` are made of the objects when they are first needed, and once.
    """

    def __init__(self, targets, hidden=(), module_name=None):
        self.targets = targets
        self.hidden = list(hidden)
        self.module_name = module_name
        self.repositories = None


class Dagster(Adapter):
    """Dagster's definitions, of any version from 0.9 on."""

    name = "dagster"

    def loaded(self):
        """True when the user's code has imported Dagster."""
        return hasattr(sys.modules.get("dagster"), "RepositoryDefinition")

    def version(self):
        """Dagster's version, as it says itself."""
        return str(getattr(sys.modules.get("dagster"), "__version__", ""))

    def discover(self, members, module_name, warn):
        """The roots of a module by Dagster's precedence, or None when it has nothing of Dagster.

        One ``@definitions`` function, else one Definitions, else all repositories, else exactly one
        job, else exactly one graph, else all assets. Two names for one object count as one. Raises
        LoadFailure ``ambiguous_definitions`` where Dagster wants exactly one and finds more.
        """
        from runner_shim.frameworks.dagster.read import is_a

        found = _Members(members)
        single = (
            ("@definitions functions", found.named("LazyDefinitions"), "keep one of them"),
            (
                "Definitions objects",
                found.named("Definitions"),
                "join them with Definitions.merge, or name one with `attribute`",
            ),
        )
        for what, values, hint in single:
            if len(values) > 1:
                raise _ambiguous(what, values, module_name, hint)
            if values:
                _warn_shadowed_roots(found, values[0], module_name, warn)
                return Roots(values, found.others(values), module_name)
        repositories = found.named("RepositoryDefinition", "PendingRepositoryDefinition")
        if repositories:
            return Roots(repositories, found.others(repositories), module_name)
        jobs = found.jobs()
        if len(jobs) > 1:
            raise _ambiguous(
                "jobs" if any(is_a(job, "JobDefinition") for _, job in jobs) else "pipelines",
                jobs,
                module_name,
                "put them into a repository or Definitions, or name one with `attribute`",
            )
        if jobs:
            return Roots(jobs, found.others(jobs), module_name)
        graphs = found.graphs()
        if len(graphs) > 1:
            raise _ambiguous(
                "graphs",
                graphs,
                module_name,
                "put them into a repository or Definitions, or name one with `attribute`",
            )
        if graphs:
            return Roots(graphs, found.others(graphs), module_name)
        return _all_assets(found, members, module_name)

    def from_attribute(self, value, name, module_name, warn):
        """The roots that one named object makes, or None when it is nothing that Dagster loads."""
        from runner_shim.frameworks.dagster.jobs import is_job
        from runner_shim.frameworks.dagster.read import is_a

        if (
            is_a(
                value,
                "LazyDefinitions",
                "Definitions",
                "RepositoryDefinition",
                "PendingRepositoryDefinition",
                "AssetGroup",
            )
            or is_job(value)
            or _is_graph(value)
        ):
            return Roots([(name, value)], (), module_name)
        return None

    def load_folder(self, module, warn):
        """The roots of a defs folder, loaded by Dagster; None where it cannot load one.

        A folder that does not speak of Dagster is none of its: it would cost a native location
        100 MB.
        """
        from runner_shim.frameworks.dagster.read import COMPONENT_FILES
        from runner_shim.loading.autoload import folders_of, speaks_of

        if not speaks_of(folders_of(module), self.name, COMPONENT_FILES):
            return None
        import importlib

        importlib.import_module("dagster")
        try:
            load = importlib.import_module("dagster.components").load_defs
        except (ImportError, AttributeError):
            return None
        return Roots([("", load(module))])

    def collect(self, roots, warn):
        """(repositories, definitions, sources) of docs/snapshot.md."""
        from runner_shim.frameworks.dagster import assignments
        from runner_shim.frameworks.dagster import repository as contents

        repositories, definitions, sources = contents.collect(_repositories(roots, warn), warn)
        _warn_left_out(roots, definitions, warn)
        assignments.find_assignments(roots, definitions, sources)
        return repositories, definitions, sources

    def describe(self, roots, kind, name, repository=None):
        """(definition, source) of one name, constructed when it is lazy; None when there is none."""
        from runner_shim.frameworks.dagster import repository as contents

        repositories = _repositories(roots, _ignore)
        return contents.describe(repositories, kind, name, repository, _ignore)

    def report(self, order, state, reason):
        """See ``Adapter``."""
        from runner_shim.frameworks.dagster import instances

        instances.report(order, state, reason)

    def prepare(self, roots, order):
        """What can run an order, by Dagster's own execution in this process."""
        from runner_shim.frameworks.dagster import running

        return running.prepare(_repositories(roots, _ignore), order)

    def partition_keys(self, roots, order):
        """All partition keys of what an order names."""
        from runner_shim.frameworks.dagster import running

        return running.partition_keys(_repositories(roots, _ignore), order)

    def tick(self, roots, order):
        """One evaluation of a schedule or sensor, by Dagster's own code in this process."""
        from runner_shim.frameworks.dagster import ticking

        return ticking.tick(_repositories(roots, _ignore), order)

    def rehearse_run(self):
        """Run one small job: Dagster's first run of a process imports hundreds of modules."""
        from runner_shim.frameworks.dagster import rehearsal

        rehearsal.rehearse_run()

    def rehearse_run_early(self):
        """The same in a forkserver, once locations have shown what a run imports."""
        from runner_shim.frameworks.dagster import rehearsal

        return rehearsal.rehearse_run_early()

    def prepare_server(self):
        """Import what the server is made of."""
        from runner_shim.frameworks.dagster import server

        server.prepare()

    def warm_server(self):
        """Import what its runs and calls need, and run one small job."""
        from runner_shim.frameworks.dagster import server

        server.warm()

    def serve(self, order, line):
        """Dagster's own gRPC server."""
        from runner_shim.frameworks.dagster import server

        return server.serve(order, line)

    def proceed(self, order, emit, copy, be):
        """A run that its server has handed over."""
        from runner_shim.frameworks.dagster import handed

        return handed.proceed(order, emit, copy, be)

    def files(self, roots):
        """Absolute paths of files that are no modules and yet decide what is defined."""
        from runner_shim.frameworks.dagster import projects
        from runner_shim.frameworks.dagster.partitions import component_files
        from runner_shim.frameworks.dagster.read import Reader

        reader = Reader(_ignore)
        found = []
        for repository in _repositories(roots, _ignore):
            found.extend(component_files(reader, repository) + projects.project_files(repository))
        return found

    def judge(self, exception):
        """(load failure kind, sentence) for an error that Dagster raised about a definition, or None.

        It does so when the module is imported (old versions) or when a repository is made; both are alike.
        """
        from runner_shim.frameworks.dagster import repository as contents

        return contents.judge(exception)

    def hint(self, error):
        from runner_shim.frameworks.dagster import projects

        return projects.remedy(error)

    def failure_files(self, directory):
        """What may be at fault beside modules when a load fails: the components' files below there."""
        if "dagster.components" not in sys.modules:
            return []
        from runner_shim.frameworks.dagster.partitions import yaml_files

        return yaml_files(directory)

    def rehearse(self):
        """Make and read one small location."""
        from runner_shim.frameworks.dagster import rehearsal

        rehearsal.rehearse(self)


def _ignore(code, message, hint=None, file=None, line=None):
    """Takes warnings that ``collect`` has given already."""


def _repositories(roots, warn):
    """The repositories of the roots; of two with one name the last, as Dagster has it."""
    if roots.repositories is not None:
        return roots.repositories
    from runner_shim.frameworks.dagster.repository import as_repository

    by_name = {}
    for attribute, target in roots.targets:
        repository = as_repository(target)
        other = by_name.get(repository.name)
        if other is not None:
            warn(
                "duplicate_repository",
                "repository %s is defined by both %s and %s: only the latter is used"
                % (repository.name, other[0], attribute),
                hint="give one of them another name",
            )
        by_name[repository.name] = attribute, repository
    roots.repositories = [by_name[name][1] for name in sorted(by_name)]
    return roots.repositories


# --- what a module has ----------------------------------------------------------------------------


class _Members:
    """The Dagster objects among a module's members, each once, under its first name."""

    def __init__(self, members):
        from runner_shim.frameworks.dagster.read import is_of_dagster

        self._members = []
        seen = set()
        for name, value in members:
            if id(value) not in seen and is_of_dagster(value):
                seen.add(id(value))
                self._members.append((name, value))
        self._everything = members

    def named(self, *classes):
        from runner_shim.frameworks.dagster.read import is_a

        return [(name, value) for name, value in self._members if is_a(value, *classes)]

    def jobs(self):
        from runner_shim.frameworks.dagster.jobs import is_job

        return [(name, value) for name, value in self._members if is_job(value)]

    def graphs(self):
        return [(name, value) for name, value in self._members if _is_graph(value)]

    def others(self, chosen):
        taken = set(id(value) for _, value in chosen)
        return [(name, value) for name, value in self._members if id(value) not in taken]

    def has_assets(self):
        from runner_shim.frameworks.dagster.read import is_a

        for _, value in self._everything:
            # type(): an instance check may run code of a lazy proxy
            values = value if issubclass(type(value), (list, tuple)) else (value,)
            if any(is_a(item, *_ASSETS) for item in values):
                return True
        return False


def _is_graph(value):
    from runner_shim.frameworks.dagster.jobs import is_job
    from runner_shim.frameworks.dagster.read import is_a

    # A composite solid of old versions is a graph too, but not one that can be loaded.
    return (
        is_a(value, "GraphDefinition")
        and not is_a(value, "CompositeSolidDefinition")
        and hasattr(value, "to_job")
        and not is_job(value)
    )


def _all_assets(found, members, module_name):
    """All assets of the module, gathered by Dagster itself; None when there are none."""
    if not found.has_assets():
        return None
    import importlib

    module = sys.modules.get(module_name)
    if module is None:
        module = type(sys)(module_name)
        module.__dict__.update(members)
    for name in ("dagster._core.workspace.autodiscovery", "dagster.core.workspace.autodiscovery"):
        try:
            autodiscovery = importlib.import_module(name)
        except ImportError:
            continue
        targets = autodiscovery.loadable_targets_from_loaded_module(module)
        return Roots([("", target.target_definition) for target in targets], (), module_name)
    return None


def _ambiguous(what, values, module_name, hint):
    names = ["%s.%s" % (module_name, name) for name, _ in values]
    return LoadFailure(
        "ambiguous_definitions",
        "module %s has %d %s where one is allowed: %s"
        % (module_name, len(names), what, ", ".join(names)),
        hint=hint,
    )


# --- what Dagster hides without a word ------------------------------------------------------------


def _warn_shadowed_roots(found, chosen, module_name, warn):
    """A Definitions object, or a ``@definitions`` function, hides whole roots."""
    for code, what, classes in (
        ("shadowed_definitions", "Definitions", ("Definitions",)),
        (
            "shadowed_repositories",
            "repositories",
            ("RepositoryDefinition", "PendingRepositoryDefinition"),
        ),
    ):
        hidden = [name for name, value in found.named(*classes) if value is not chosen[1]]
        if hidden:
            warn(
                code,
                "%s %s of module %s: hidden by %s, not loaded"
                % (what, ", ".join(hidden), module_name, chosen[0]),
                hint="remove them, or name one with `attribute`",
            )


def _warn_left_out(roots, definitions, warn):
    """Jobs, schedules, sensors and assets of the module that none of the chosen roots includes."""
    if not roots.hidden:
        return
    from runner_shim.frameworks.dagster.assignments import kind_and_names
    from runner_shim.frameworks.dagster.repository import included_names

    included = included_names(definitions)
    left_out = {}
    for variable, value in roots.hidden:
        kind, names = kind_and_names(value)
        if names and not any(name in included.get(kind, ()) for name in names):
            left_out.setdefault(kind, []).append(variable)
    chosen = ", ".join(name for name, _ in roots.targets)
    for kind in sorted(left_out):
        warn(
            "shadowed_%ss" % kind,
            "%s %s not part of %s: Dagster does not load %s"
            % (
                _counted(kind, left_out[kind]),
                "is" if len(left_out[kind]) == 1 else "are",
                chosen,
                "it" if len(left_out[kind]) == 1 else "them",
            ),
            hint="add what is missing to %s, or ignore this if it is meant for others" % chosen,
        )


def _counted(kind, names):
    shown = ", ".join(sorted(names)[:10])
    if len(names) > 10:
        shown += " and %d more" % (len(names) - 10)
    return "%s%s %s" % (kind, "" if len(names) == 1 else "s", shown)
