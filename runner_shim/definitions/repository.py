"""Definitions and repositories: the containers that say what a location has.

Owns the eager containers, and the lazy repository whose functions are called one at a time, only
when that definition is asked for. Refuses members that are no definitions. What belongs together
across members (unique names, existing targets) is checked when a location is collected.
"""

from runner_shim import plain_data
from runner_shim.definitions.assets import AssetDefinition
from runner_shim.definitions.base import (
    Definition,
    InvalidDefinitionError,
    caller,
    refuse,
)
from runner_shim.definitions.graph import GraphDefinition, JobDefinition
from runner_shim.definitions.signature import docstring
from runner_shim.definitions.triggers import (
    PartitionSetDefinition,
    ResourceDefinition,
    ScheduleDefinition,
    SensorDefinition,
)

__all__ = ["Definitions", "LazyEntry", "RepositoryDefinition", "repository"]

# Keys of a lazy repository's dict -> the class that the values are, or return.
_LAZY_KEYS = {
    "jobs": JobDefinition,
    "pipelines": JobDefinition,
    "schedules": ScheduleDefinition,
    "sensors": SensorDefinition,
    "partition_sets": PartitionSetDefinition,
    "assets": AssetDefinition,
}


class Definitions:
    """All definitions of a location. Members in lists; ``resources`` a dict of key to anything."""

    KIND = "definitions"
    name = "Definitions"

    def __init__(
        self,
        jobs=None,
        assets=None,
        schedules=None,
        sensors=None,
        resources=None,
        partition_sets=None,
    ):
        self.source = caller()
        self.members = []
        for argument, values, wanted in (
            ("jobs", jobs, (JobDefinition, GraphDefinition)),
            ("assets", assets, (AssetDefinition,)),
            ("schedules", schedules, (ScheduleDefinition,)),
            ("sensors", sensors, (SensorDefinition,)),
            ("partition_sets", partition_sets, (PartitionSetDefinition,)),
        ):
            self.members.extend(_members(self, argument, values, wanted))
        self.resources = {}
        for key, value in (resources or {}).items():
            if not isinstance(key, str):
                raise InvalidDefinitionError(
                    "Definitions has a resource key of type %s" % type(key).__name__, self.source
                )
            self.resources[plain_data.text(key)] = value
        self.lazy = []


def _members(owner, argument, values, wanted):
    if values is None:
        return
    if isinstance(values, (str, Definition)) or not hasattr(values, "__iter__"):
        raise InvalidDefinitionError(
            "%s: %s is not a list of definitions" % (owner.name, argument), owner.source
        )
    for each in values:
        if not isinstance(each, wanted):
            raise InvalidDefinitionError(
                "%s has a %s among its %s"
                % (owner.name, plain_data.dotted_name(type(each)), argument),
                owner.source,
            )
        yield each.to_job() if isinstance(each, GraphDefinition) else each


class LazyEntry:
    """One entry of a lazy repository: a name, and the function that makes the definition."""

    def __init__(self, owner, name, wanted, function):
        self.owner = owner
        self.name = name
        self.kind = wanted.KIND
        self.source = plain_data.source_of(function) or owner.source
        self._wanted = wanted
        self._function = function
        self._made = None

    def make(self):
        """The definition, made once; refuses another kind and another name than the entry's."""
        if self._made is None:
            made = self._function()
            if isinstance(made, GraphDefinition) and self._wanted is JobDefinition:
                made = made.to_job()
            _check_entry(self.owner, self.name, self._wanted, made, self.source)
            self._made = made
        return self._made


def _check_entry(owner, name, wanted, made, source):
    what = "%s %r of repository %r" % (wanted.KIND.replace("_", " "), name, owner.name)
    if not isinstance(made, wanted):
        raise InvalidDefinitionError(
            "%s is made by a function that returned a %s"
            % (what, plain_data.dotted_name(type(made))),
            source,
            hint="the function returns the definition",
        )
    if made.name != name:
        raise InvalidDefinitionError(
            "%s is made under the name %r: key and name must be the same" % (what, made.name),
            source,
            hint="rename one of the two (the definition stands at %s line %d)" % tuple(made.source)
            if made.source
            else None,
        )


class RepositoryDefinition(Definition):
    """A named set of definitions.

    ``definitions`` is a list of definitions, or a dict of kind (``jobs``, ``schedules``,
    ``sensors``, ``partition_sets``, ``assets``, ``pipelines``) to a dict of name to a definition
    or a function without arguments that makes it.
    """

    KIND = "repository"

    def __init__(self, name, definitions, description=None, metadata=None, source=None):
        Definition.__init__(self, name, source or caller(), description, None, None, metadata)
        self.members = []
        self.lazy = []
        self.resources = {}
        if isinstance(definitions, dict):
            self._add_dict(definitions)
        else:
            self._add_list(definitions)

    def _add_list(self, values):
        if isinstance(values, (str, Definition)) or not hasattr(values, "__iter__"):
            refuse(
                self,
                "returned a %s" % plain_data.dotted_name(type(values)),
                hint="return a list of definitions, or a dict for a lazy repository",
            )
        for each in values:
            if isinstance(each, GraphDefinition):
                each = each.to_job()
            if isinstance(each, ResourceDefinition):
                self.resources[each.name] = each
            elif isinstance(each, tuple(_LAZY_KEYS.values())):
                self.members.append(each)
            elif isinstance(each, (list, tuple)):
                self._add_list(each)
            else:
                refuse(
                    self,
                    "has a %s, which is no definition" % plain_data.dotted_name(type(each)),
                    hint="it can hold jobs, schedules, sensors, partition sets and assets",
                )

    def _add_dict(self, values):
        for key, entries in values.items():
            wanted = _LAZY_KEYS.get(key)
            if wanted is None:
                from runner_shim.loading.load_failure import near

                refuse(self, "has the key %r" % (key,), hint=near(str(key), _LAZY_KEYS))
            if not isinstance(entries, dict):
                refuse(self, "has %s that are not a dict of name to function" % key)
            for name, value in entries.items():
                name = plain_data.text(name) if isinstance(name, str) else name
                if isinstance(value, GraphDefinition) and wanted is JobDefinition:
                    value = value.to_job()
                if isinstance(value, Definition):
                    _check_entry(self, name, wanted, value, self.source)
                    self.members.append(value)
                elif callable(value) and isinstance(name, str) and name:
                    self.lazy.append(LazyEntry(self, name, wanted, value))
                else:
                    refuse(
                        self,
                        "has a %s under %s[%r]" % (type(value).__name__, key, name),
                        hint="it is a definition or a function without arguments",
                    )


def repository(name=None, **options):
    """``@repository`` or ``@repository(name=…, description=…)`` on a function without arguments.

    The function is called at once; it returns what RepositoryDefinition takes.
    """

    def decorate(function, name=None):
        options.setdefault("description", docstring(function))
        return RepositoryDefinition(
            name or getattr(function, "__name__", None),
            function(),
            source=plain_data.source_of(function),
            **options,
        )

    if callable(name):
        return decorate(name)
    return lambda function: decorate(function, name)
