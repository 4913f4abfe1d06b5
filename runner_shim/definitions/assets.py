"""Assets: what a computation produces and keeps, and what it is made from.

Owns asset keys and dependencies. An asset named by a parameter may stand beside this one or
without a prefix; which one is meant is known only when a location is collected.
"""

from runner_shim import plain_data
from runner_shim.definitions.base import (
    Definition,
    caller,
    check_config,
    check_resource_keys,
    check_retry_policy,
    check_strings,
    function_parameters,
    refuse,
)
from runner_shim.definitions.partitions import partitions_data
from runner_shim.definitions.signature import docstring, parameters
from runner_shim.nearest import nearest

__all__ = ["AssetDefinition", "asset"]


def asset_path(definition, key):
    """An asset key as a list of strings: from ``"a/b"``, a list, an asset, or an AssetKey."""
    if isinstance(key, AssetDefinition):
        return list(key.path)
    path = getattr(key, "path", key)
    if isinstance(path, str):
        path = path.split("/")
    path = check_strings(definition, "an asset key", path)
    if not path or not all(path):
        refuse(definition, "has an asset key with an empty part: %r" % "/".join(path))
    return path


class AssetDefinition(Definition):
    """Something that a computation produces and keeps.

    Its key is ``key_prefix`` (a string or list) and its name. It depends on ``deps`` (assets,
    keys, names) and on the assets that its function's parameters are named after.
    ``io_manager_key`` is the resource that keeps its values; ``retry_policy`` is a RetryPolicy.
    """

    KIND = "asset"

    def __init__(
        self,
        name,
        compute_fn=None,
        key_prefix=None,
        deps=None,
        group_name=None,
        description=None,
        tags=None,
        owners=None,
        metadata=None,
        kinds=None,
        compute_kind=None,
        code_version=None,
        partitions_def=None,
        required_resource_keys=None,
        config_schema=None,
        io_manager_key=None,
        retry_policy=None,
        source=None,
    ):
        Definition.__init__(self, name, source or caller(), description, tags, owners, metadata)
        prefix = asset_path(self, key_prefix) if key_prefix else []
        self.path = prefix + [plain_data.text(name)]
        self.name = "/".join(self.path)
        self.compute_fn = compute_fn
        self.partitions_def = partitions_def
        self.deps = []
        if isinstance(deps, str) or not hasattr(deps or (), "__iter__"):
            refuse(self, "has deps that are not a list of assets")
        for each in deps or ():
            self.deps.append("/".join(asset_path(self, each)))
        # A parameter names an asset of the same prefix, or one without any: known when collected.
        self.parameters = function_parameters(compute_fn)
        self.group_name = group_name
        self.kinds = check_strings(self, "kinds", kinds or ())
        self.compute_kind = compute_kind
        self.code_version = code_version
        self.partitions = None if partitions_def is None else partitions_data(self, partitions_def)
        self.resource_keys = check_resource_keys(self, required_resource_keys)
        self.parameters = [each for each in self.parameters if each not in self.resource_keys]
        self.config = check_config(self, config_schema)
        self.config_schema = config_schema
        self.io_manager_key = io_manager_key
        self.retry_policy = check_retry_policy(self, retry_policy)

    def sources(self, known):
        """The asset that each parameter is the value of; ``known`` are the names of all assets."""
        named = {}
        for parameter in self.parameters:
            beside = "/".join(self.path[:-1] + [parameter])
            named[parameter] = beside if beside in known else parameter
        return named

    def unknown_sources(self, known):
        """Names that parameters without a default have, and no asset among ``known``: no run can give a value."""
        if self.compute_fn is None:
            return []
        optional = {one.name for one in parameters(self.compute_fn) if one.is_optional}
        named = self.sources(known).items()
        return [
            name for parameter, name in named if name not in known and parameter not in optional
        ]

    def source_hint(self, name, known):
        """What to do where it takes the value of ``name``, which nothing makes; ``known`` are the names of all assets."""
        meant = nearest(name, [one for one in known if one != self.name])
        return (
            "did you mean %s?" % meant if meant else "name it in deps, and read it in the function"
        )

    def data(self, known=()):
        """The definition as in docs/snapshot.md; ``known`` are the names of all assets."""
        dependencies = set(self.deps)
        dependencies.update(self.sources(known).values())
        return plain_data.definition(
            "asset",
            self.name,
            asset_key=self.path,
            dependencies=sorted(dependencies),
            group=plain_data.text(self.group_name or "default"),
            compute_kind=plain_data.plain(self.compute_kind),
            kinds=sorted(set(self.kinds)),
            code_version=plain_data.plain(self.code_version),
            execution_type="materialization" if self.compute_fn else "external",
            partitions=self.partitions,
            resource_keys=self.resource_keys,
            io_manager_key=plain_data.plain(self.io_manager_key),
            config=self.config,
            **self.common,
        )

    def __call__(self, *positional, **named):
        return self.compute_fn(*positional, **named)


def asset(name=None, **options):
    """``@asset`` or ``@asset(name=…, deps=[…], …)``: options as of AssetDefinition."""

    def decorate(function, name=None):
        options.setdefault("description", docstring(function))
        return AssetDefinition(
            name or getattr(function, "__name__", None),
            compute_fn=function,
            source=plain_data.source_of(function),
            **options,
        )

    if callable(name):
        return decorate(name)
    return lambda function: decorate(function, name)
