"""The orders of native jobs and assets, checked: what is to run, with which config and resources.

Owns the refusals, all of which come before anything runs. How it is run is ``running``'s.
"""

from runner_shim.definitions.triggers import ResourceDefinition
from runner_shim.execution import partitions, steps
from runner_shim.execution.config import Checker
from runner_shim.execution.earlier import Earlier
from runner_shim.execution.refusal import Refusal, not_supported
from runner_shim.execution.values import AssetValues
from runner_shim.loading.load_failure import near

__all__ = ["ASSET_JOB", "Checked", "of_assets", "of_job"]

ASSET_JOB = "__ASSET_JOB"  # the name of the job that a run of assets is said to be of


def of_job(job, resources, order):
    """What runs ``job`` as ``order`` says: it has ``run(emit)``. Raises Refusal.

    ``resources`` are those of the container of the job, by key.
    """
    what = "job %s" % job.name
    partitions.check([(what, job.partitions_def)], order.get("partition_key"))
    todo = steps.of_job(job)
    if order.get("op_selection"):
        todo = steps.only(todo, order["op_selection"], what)
    tags = dict(job.common.get("tags", {}), **(job.run_tags or {}))
    return Checked(what, job.name, todo, dict(resources, **job.resource_defs), order, tags, job)


def of_assets(keys, assets, resources, order):
    """What materializes the assets ``keys``; ``assets`` are all of the container, by name."""
    what = "the run of " + ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
    key = order.get("partition_key")
    partitions.check([("asset " + one, assets[one].partitions_def) for one in keys], key)
    todo = steps.of_assets(keys, assets)
    return Checked(what, ASSET_JOB, todo, resources, order, {}, None)


class Checked:
    """A run that can be run; ``run`` may be called once.

    ``steps`` are those to run, ``earlier`` what an earlier run has left that is not run again.
    ``configs`` and ``given`` (inputs from the config) are by step, ``resource_configs`` by resource;
    ``max_concurrent`` is how many steps run at a time. ``values`` keeps those of assets, or is None.
    """

    def __init__(self, what, job_name, todo, resources, order, tags, job):
        self.job_name = job_name
        self.steps = todo
        self.order = order
        self.tags = dict(tags, **(order.get("tags") or {}))
        self.run_config = order.get("config") or {}
        self.partition = order.get("partition_key")
        self.values = AssetValues(order["storage"]) if order.get("storage") else None
        checker = Checker()
        self.configs, self.given = {}, {}
        config = checker.keys(order.get("config"), {"ops", "config", "resources", "execution"}, ())
        schema = job.config_schema if job is not None else None
        self.job_config = checker.config(schema, config.get("config"), ("config",))
        self._check_steps(checker, config.get("ops"))
        self.max_concurrent = self._check_execution(checker, config.get("execution"), job)
        self.resources = self._check_resources(resources)
        self.resource_configs = self._check_resource_configs(checker, config.get("resources"))
        checker.finish(what)
        self.earlier = Earlier(order.get("from_failure"))
        self.steps = self.earlier.left_of(todo)
        if self.values is not None and self.max_concurrent > 1:
            steps.by_way_of_kept(self.steps)
        self._check_kept()

    def run(self, emit):
        """Run to the end; ``{"state", "failure"}`` as ``runner_shim.execution.execute``."""
        from runner_shim.execution import running

        return running.run(self, emit)

    def partition_of(self, asset):
        """The partition of an asset's value in this run, None for one without partitions."""
        return self.partition if asset.partitions_def is not None else None

    # --- checking

    def _check_steps(self, checker, config):
        tree = {}
        for step in self.steps:
            branch = tree
            for name in step.path[1::2]:
                branch = branch.setdefault(name, {})
            branch[""] = step
        self._check_level(checker, tree, config, ("ops",))

    def _check_level(self, checker, tree, config, path):
        config = checker.keys(config, tree, path)
        for name, branch in tree.items():
            here = path + (name,)
            step = branch.get("")
            if step is None:
                inner = checker.keys(config.get(name), {"ops"}, here)
                self._check_level(checker, branch, inner.get("ops"), here + ("ops",))
                continue
            known = {"config", "inputs"} if step.inputs else {"config"}
            one = checker.keys(config.get(name), known, here)
            self.configs[step.key] = checker.config(
                step.definition.config_schema, one.get("config"), here + ("config",)
            )
            self._check_inputs(checker, step, one.get("inputs"), here + ("inputs",))

    def _check_inputs(self, checker, step, given, path):
        given = checker.keys(given, set(step.inputs), path)
        optional = steps.defaults(step.definition.compute_fn)
        for name in step.inputs:
            where = path + (name,)
            shown = ".".join(where)
            if name in step.sources or name in step.kept:
                if name in given:
                    checker.wrong(where, "nothing", "%s: the input is connected" % shown)
            elif name not in given and name not in optional:
                said = "nothing is connected to it"
                if name in step.cut_off:
                    said = "%s, which gives it, is not selected" % step.cut_off[name]
                checker.wrong(where, "a value", "%s is missing: %s" % (shown, said))
        self.given[step.key] = given

    def _check_resources(self, resources):
        needed = {}
        for step in self.steps:
            for key in step.definition.resource_keys + step.io_keys:
                if key not in resources:
                    raise Refusal(
                        "missing_resource",
                        "%s needs the resource %s, which is not defined" % (step.key, key),
                        hint=near(key, resources) or "add it to resources of Definitions",
                        place=step.definition.source,
                    )
                needed[key] = resources[key]
        for key, resource in needed.items():
            if isinstance(resource, ResourceDefinition):
                if resource.resource_fn is None:
                    raise Refusal(
                        "missing_resource",
                        "resource %s has no function that makes its value" % key,
                        place=resource.source,
                    )
                steps.not_async(resource.resource_fn, "resource %s" % key, resource.source)
        return needed

    def _check_resource_configs(self, checker, config):
        path = ("resources",)
        config = checker.keys(config, self.resources, path)
        found = {}
        for key, resource in self.resources.items():
            here = path + (key,)
            one = checker.keys(config.get(key), {"config"}, here)
            is_defined = isinstance(resource, ResourceDefinition)
            schema = resource.config_schema if is_defined else None
            found[key] = checker.config(schema, one.get("config"), here + ("config",))
        return found

    @staticmethod
    def _check_execution(checker, given, job):
        """How many steps run at a time."""
        path = ("execution", "max_concurrent")
        given = checker.keys(given, {"max_concurrent"}, path[:1])
        number = given.get("max_concurrent", getattr(job, "max_concurrent", None) or 1)
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            expected = "an integer of at least 1"
            checker.wrong(path, expected, "execution.max_concurrent: %s is expected" % expected)
        return number

    def _check_kept(self):
        """Refuse what takes the value of an asset that is not there."""
        made = {step.key for step in self.steps}
        for step in self.steps:
            for parameter, other in list(step.kept.items()):
                self._check_partitions(step, other)
                if other.io_manager_key or other.name in made:
                    continue
                partition = self.partition_of(other)
                if self.values is not None and self.values.has(other.name, partition):
                    continue
                if parameter in steps.defaults(step.definition.compute_fn):
                    del step.kept[parameter]
                    continue
                raise Refusal(
                    "not_kept",
                    "asset %s takes the value of %s, which is not kept%s"
                    % (step.key, other.name, " for %s" % partition if partition else ""),
                    hint="launch %s first, or with it: +%s" % (other.name, step.key),
                    place=step.definition.source,
                )

    def _check_partitions(self, step, other):
        """A value is of the same partition, or of an asset without any."""
        if other.partitions_def is None:
            return
        if step.asset.partitions_def is None:
            raise not_supported(
                "asset %s takes the value of %s, which has partitions, and has none itself"
                % (step.key, other.name),
                step.definition.source,
                "name %s in deps, and read what it has kept in the function" % other.name,
            )
        partitions.check([("asset " + other.name, other.partitions_def)], self.partition)
