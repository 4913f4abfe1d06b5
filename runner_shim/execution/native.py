"""The executor of native jobs and assets: their steps in order, in this process and thread.

Owns the life of one run: the check of its order, then its steps, their inputs and outputs, and the
events. A step that fails skips those that need it; the others run. Values stay in memory until the last
step that takes them has run. Refuses what it does not do, before anything runs.
"""

from time import time

from runner_shim.definitions.base import CONTEXT_NAMES
from runner_shim.definitions.plan import Constant, NodeOutput
from runner_shim.definitions.triggers import ResourceDefinition
from runner_shim.execution import interrupts, partitions, run_failure, steps
from runner_shim.execution.config import Checker
from runner_shim.execution.context import Context, Log, Resources
from runner_shim.execution.events import Events
from runner_shim.execution.refusal import Refusal
from runner_shim.loading.load_failure import near

__all__ = ["ASSET_JOB", "of_assets", "of_job"]

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
    if order.get("from_failure"):
        todo = steps.left(todo, order["from_failure"])
    tags = dict(job.common.get("tags", {}), **(job.run_tags or {}))
    return _Run(what, job.name, todo, dict(resources, **job.resource_defs), order, tags, job)


def of_assets(keys, assets, resources, order):
    """What materializes the assets ``keys``; ``assets`` are all of the container, by name."""
    what = "the run of " + ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
    if order.get("from_failure"):
        keys = [key for key in keys if key not in order["from_failure"]["succeeded"]] or keys
    key = order.get("partition_key")
    partitions.check([("asset " + one, assets[one].partitions_def) for one in keys], key)
    todo = steps.of_assets(keys, assets)
    return _Run(what, ASSET_JOB, todo, resources, order, {}, None)


class _Run:
    """One run, checked; ``run`` may be called once."""

    def __init__(self, what, job_name, todo, resources, order, tags, job):
        self._job_name = job_name
        self._steps = todo
        self._order = order
        self._tags = dict(tags, **(order.get("tags") or {}))
        self._run_config = order.get("config") or {}
        checker = Checker()
        self._configs, self._given = {}, {}
        config = checker.keys(order.get("config"), {"ops", "config", "resources"}, ())
        schema = job.config_schema if job is not None else None
        self._job_config = checker.config(schema, config.get("config"), ("config",))
        self._check_steps(checker, config.get("ops"))
        self._resources = self._check_resources(resources)
        self._resource_configs = self._check_resource_configs(checker, config.get("resources"))
        checker.finish(what)
        self._made = {}

    # --- checking

    def _check_steps(self, checker, config):
        tree = {}
        for step in self._steps:
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
            self._configs[step.key] = checker.config(
                step.definition.config_schema, one.get("config"), here + ("config",)
            )
            self._check_inputs(checker, step, one.get("inputs"), here + ("inputs",))

    def _check_inputs(self, checker, step, given, path):
        given = checker.keys(given, set(step.inputs), path)
        optional = steps.defaults(step.definition.compute_fn)
        for name in step.inputs:
            where = path + (name,)
            shown = ".".join(where)
            if name in step.sources:
                if name in given:
                    checker.wrong(where, "nothing", "%s: the input is connected" % shown)
            elif name not in given and name not in optional:
                said = "nothing is connected to it"
                if name in step.cut_off:
                    said = "%s, which gives it, is not selected" % step.cut_off[name]
                checker.wrong(where, "a value", "%s is missing: %s" % (shown, said))
        self._given[step.key] = given

    def _check_resources(self, resources):
        needed = {}
        for step in self._steps:
            for key in step.definition.resource_keys:
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
                steps.runs_at_once(resource.resource_fn, "resource %s" % key, resource.source)
        return needed

    def _check_resource_configs(self, checker, config):
        path = ("resources",)
        config = checker.keys(config, self._resources, path)
        found = {}
        for key, resource in self._resources.items():
            here = path + (key,)
            one = checker.keys(config.get(key), {"config"}, here)
            is_defined = isinstance(resource, ResourceDefinition)
            schema = resource.config_schema if is_defined else None
            found[key] = checker.config(schema, one.get("config"), here + ("config",))
        return found

    # --- running

    def run(self, emit):
        """Run to the end; ``{"state", "failure"}`` as ``runner_shim.execution.execute``."""
        events = Events(emit)
        events("RUN_START", None, "%s begins" % self._job_name)
        values, failed, first = {}, {}, None
        users = self._users()
        for step in self._steps:
            lost = sorted(key for key in step.waits if key in failed)
            if lost:
                failed[step.key] = True
                message = "%s is skipped: %s" % (step.key, _lost(lost, failed))
                events("STEP_SKIPPED", step.key, message, {"because_of": lost})
                continue
            failure = self._step(step, values, events)
            if failure is not None:
                failed[step.key] = False
                first = first or failure
            self._let_go(step, values, users)
        interrupts.too_late()
        if first is None:
            events("RUN_SUCCESS", None, "%s has succeeded" % self._job_name)
            return {"state": "success", "failure": None}
        names = [key for key in failed if not failed[key]]
        events(
            "RUN_FAILURE",
            None,
            "%s has failed: %s" % (self._job_name, ", ".join(names[:10])),
            {"failed": names, "skipped": [key for key in failed if failed[key]]},
        )
        return {"state": "failure", "failure": first}

    def _users(self):
        """How many steps take values of each step."""
        users = {}
        for step in self._steps:
            for key in _givers(step):
                users[key] = users.get(key, 0) + 1
        return users

    @staticmethod
    def _let_go(step, values, users):
        for key in _givers(step):
            users[key] -= 1
            if not users[key]:
                values.pop(key, None)
        if not users.get(step.key):
            values.pop(step.key, None)

    def _step(self, step, values, events):
        """Run one step; None, or its failure.

        Raises KeyboardInterrupt once it has been told, with the failure as ``failure_of_step``.
        """
        events("STEP_START", step.key, "%s begins" % step.key)
        begun = time()
        try:
            context = self._context(step, events)
            found = _call(step.definition.compute_fn, context, self._arguments(step, values))
            outputs = _outputs(step, found)
        except BaseException as error:  # sys.exit() in user code included
            failure = run_failure.of_step(error, step.key)
            events("STEP_FAILURE", step.key, failure["message"], {"failure": failure})
            if not isinstance(error, KeyboardInterrupt):
                return failure
            error.failure_of_step = failure
            raise
        for name in step.outputs:
            self._tell_output(step, name, context.metadata_of(name), events)
        events("STEP_SUCCESS", step.key, "%s has succeeded" % step.key, {"seconds": time() - begun})
        values[step.key] = outputs
        return None

    def _tell_output(self, step, name, metadata, events):
        data = {"output": name}
        if metadata:
            data["metadata"] = metadata
        events("STEP_OUTPUT", step.key, "output %s" % name, data)
        if step.asset is None:
            return
        data = dict(data, asset_key=step.asset.path)
        del data["output"]
        if step.asset.partitions_def is not None:
            data["partition"] = self._order.get("partition_key")
        message = "%s is materialized" % step.asset.name
        events("ASSET_MATERIALIZATION", step.key, message, data)

    def _context(self, step, events):
        log = Log(events, step.key)
        keys = step.definition.resource_keys
        values = {key: self._resource(key, log) for key in keys}
        return Context(
            op_name=step.definition.name,
            step_key=step.key,
            op_config=self._configs[step.key],
            op_tags=dict(step.definition.common.get("tags", {})),
            asset_key=step.asset.name if step.asset is not None else None,
            resources=Resources(step.key, values),
            log=log,
            **self._common(),
        )

    def _common(self):
        return {
            "run_id": self._order.get("run_id"),
            "job_name": self._job_name,
            "job_config": self._job_config,
            "run_config": self._run_config,
            "tags": dict(self._tags),
            "partition_key": self._order.get("partition_key"),
        }

    def _resource(self, key, log):
        """The value of a resource, made when it is first needed."""
        if key not in self._made:
            value = self._resources[key]
            if isinstance(value, ResourceDefinition):
                config = self._resource_configs[key]
                context = Context(resource_config=config, log=log, **self._common())
                value = _call(value.resource_fn, context, {})
            self._made[key] = value
        return self._made[key]

    def _arguments(self, step, values):
        found = dict(self._given[step.key])
        for name, source in step.sources.items():
            if name in step.inputs:
                found[name] = _value(source, values)
        if step.asset is not None:
            wanted = steps.parameters(step.definition.compute_fn)
            for key in step.definition.resource_keys:
                if key in wanted:
                    found[key] = self._made[key]
        return found


def _lost(lost, failed):
    what = "was skipped" if all(failed[key] for key in lost) else "failed"
    return "%s %s" % (", ".join(lost[:10]), what)


def _givers(step):
    """Keys of the steps whose values a step takes."""
    return {one.node for source in step.sources.values() for one in steps.sources_of(source)}


def _value(source, values):
    if isinstance(source, Constant):
        return source.value
    if isinstance(source, NodeOutput):
        return values[source.node][source.output]
    found = [_value(one, values) for one in source.sources]
    return found if source.keys is None else dict(zip(source.keys, found))  # noqa: B905


def _call(function, context, arguments):
    """Call user code: the context first where it is asked for, the rest by name."""
    code = getattr(function, "__code__", None)
    if code is None:
        return function(**arguments)
    names = list(code.co_varnames[: code.co_argcount])
    positional = []
    if names and names[0] == "self":
        del names[0]
    if names and names[0] in CONTEXT_NAMES:
        positional.append(context)
        del names[0]
    only = getattr(code, "co_posonlyargcount", 0) - len(positional)
    for name in names[: max(0, only)]:
        if name in arguments:
            positional.append(arguments.pop(name))
    return function(*positional, **arguments)


def _outputs(step, found):
    """The values of a step's outputs by name: what its function returned."""
    names = step.outputs
    if len(names) == 1:
        return {names[0]: found}
    if isinstance(found, dict) and set(found) == set(names):
        return found
    if isinstance(found, (tuple, list)) and len(found) == len(names):
        return dict(zip(names, found))  # noqa: B905 - strict= came with Python 3.10
    raise _OutputError(
        "%s has the outputs %s and returned %s: return a tuple of %d values"
        % (
            step.key,
            ", ".join(names),
            "%d values" % len(found) if isinstance(found, (tuple, list)) else type(found).__name__,
            len(names),
        )
    )


class _OutputError(ValueError):
    """A function returned something else than its outputs."""
