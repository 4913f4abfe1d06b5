"""The definitions API that teams import, and the package that runs inside their interpreters.

Owns the public names: ``from runner_shim import job, Definitions``. Everything behind a name is
imported when the name is first used, because this package is also loaded by every shim, whose
start-up time counts. Needs Python 3.6 and the standard library, nothing else; docs/definitions.md
is its reference.
"""

import sys

__version__ = "0.1.0"

# Public name -> the module that defines it.
_HOMES = {
    "AssetDefinition": "definitions.assets",
    "Context": "execution.context",
    "DefaultScheduleStatus": "definitions.triggers",
    "DefaultSensorStatus": "definitions.triggers",
    "Definitions": "definitions.repository",
    "DynamicPartitionsDefinition": "definitions.partitions",
    "Failure": "definitions.results",
    "Field": "definitions.base",
    "GraphDefinition": "definitions.graph",
    "In": "definitions.graph",
    "InvalidDefinitionError": "definitions.base",
    "JobDefinition": "definitions.graph",
    "OpDefinition": "definitions.graph",
    "Out": "definitions.graph",
    "Output": "definitions.results",
    "PartitionSetDefinition": "definitions.triggers",
    "RepositoryDefinition": "definitions.repository",
    "ResourceDefinition": "definitions.triggers",
    "RetryPolicy": "definitions.results",
    "RetryRequested": "definitions.results",
    "RunRequest": "definitions.triggers",
    "ScheduleDefinition": "definitions.triggers",
    "SensorDefinition": "definitions.triggers",
    "SkipReason": "definitions.triggers",
    "StaticPartitionsDefinition": "definitions.partitions",
    "TimeWindowPartitionsDefinition": "definitions.partitions",
    "asset": "definitions.assets",
    "graph": "definitions.graph",
    "job": "definitions.graph",
    "op": "definitions.graph",
    "repository": "definitions.repository",
    "resource": "definitions.triggers",
    "schedule": "definitions.triggers",
    "sensor": "definitions.triggers",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - a list, which the linter cannot see


class _Package(type(sys)):
    # A function __getattr__ in the module needs Python 3.7; a class of modules does not.

    def __getattr__(self, name):
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError("module %r has no attribute %r" % (self.__name__, name))
        # fromlist makes __import__ return the submodule itself
        value = getattr(__import__("%s.%s" % (__name__, home), fromlist=[name]), name)
        self.__dict__[name] = value
        return value

    def __dir__(self):
        return sorted(set(self.__dict__) | set(__all__))


sys.modules[__name__].__class__ = _Package
