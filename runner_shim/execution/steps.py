"""The steps of a native job or of assets: the plan without its graphs, in the order of running.

Owns the flattening of nested graphs, what each step takes from which other, and what of a selection is
left. Refuses, with one sentence, what a run cannot do. Runs nothing.
"""

from runner_shim.definitions.graph import GraphDefinition
from runner_shim.definitions.plan import GraphInput, NodeOutput, Several
from runner_shim.definitions.signature import parameters, runs_later
from runner_shim.execution.refusal import Refusal, not_supported
from runner_shim.loading.load_failure import near

__all__ = [
    "REMEDY",
    "Step",
    "by_way_of_kept",
    "defaults",
    "not_async",
    "of_assets",
    "of_job",
    "only",
    "sources_of",
]

REMEDY = "call asyncio.run() in a plain function"
"""What to do about an async function."""


class Step:
    """One call of a function.

    ``sources`` are Constant, NodeOutput (of a step's key) or Several, by input; ``waits`` the keys of
    the steps that must have succeeded; ``path`` is where its config stands. ``outputs`` are names.
    ``asset`` is the definition of an asset, or None; ``kept`` the assets whose kept values it takes,
    by input: those that the run does not make, and those that an io manager keeps.
    """

    def __init__(self, key, definition, sources, waits, path, asset=None):
        self.key = key
        self.definition = definition
        self.sources = sources
        self.waits = waits
        self.path = path
        self.asset = asset
        self.outputs = ["result"] if asset is not None else definition.output_names
        self.optional_outputs = [] if asset is not None else definition.optional_outputs
        self.kept = {}
        self.cut_off = {}  # input -> key of the step that would give it, and is not selected

    @property
    def inputs(self):
        """The names of the function's inputs that carry data."""
        if self.asset is not None:
            return list(self.asset.parameters)
        return self.definition.data_inputs

    @property
    def io_keys(self):
        """Keys of the resources that keep the asset's value, or those that it takes."""
        assets = ([self.asset] if self.asset is not None else []) + list(self.kept.values())
        return [one.io_manager_key for one in assets if one.io_manager_key]


def sources_of(source):
    """All NodeOutputs in a source."""
    if isinstance(source, NodeOutput):
        return [source]
    if isinstance(source, Several):
        return [one for each in source.sources for one in sources_of(each)]
    return []


# --- jobs


def of_job(job):
    """The steps of a job, in topological order. Raises Refusal."""
    steps = []
    _flatten(job.plan, "", (), {}, set(), steps)
    return steps


def _flatten(plan, prefix, path, given, outer_waits, steps):
    """Append the steps of a plan; the sources of its outputs, and the keys of its steps."""
    outputs, members = {}, {}

    def resolve(source):
        if isinstance(source, GraphInput):
            return given.get(source.name)
        if isinstance(source, NodeOutput):
            return outputs[source.node].get(source.output)
        if isinstance(source, Several):
            found = [resolve(one) for one in source.sources]
            return None if None in found else Several(found, source.keys)
        return source

    def waits_of(source):
        if isinstance(source, NodeOutput) and not sources_of(resolve(source)):
            return members[source.node]  # a graph that returns nothing: it is waited for as a whole
        if isinstance(source, Several):
            return {key for one in source.sources for key in waits_of(one)}
        return {one.node for one in sources_of(resolve(source))}

    for node in plan.nodes:
        key = prefix + node.name
        waits = set(outer_waits)
        for source in node.after:
            waits |= waits_of(source)
        sources = {name: resolve(source) for name, source in node.inputs.items()}
        where = path + ("ops", node.name)
        if isinstance(node.definition, GraphDefinition):
            first = len(steps)
            inner = node.definition.plan
            outputs[node.name] = _flatten(inner, key + ".", where, sources, waits, steps)
            members[node.name] = {step.key for step in steps[first:]}
            continue
        for source in node.inputs.values():
            waits |= waits_of(source)
        op = node.definition
        sources = {name: source for name, source in sources.items() if source is not None}
        step = Step(key, op, sources, waits, where)
        not_async(op.compute_fn, "op %s" % key, op.source)
        for output in op.dynamic_outputs:
            raise not_supported(
                "op %s has the dynamic output %s, which runs do not have yet" % (key, output),
                op.source,
                "return a list, and work on it in one op",
            )
        steps.append(step)
        outputs[node.name] = {name: NodeOutput(key, name) for name in op.output_names}
        members[node.name] = {key}
    return {name: resolve(source) for name, source in plan.outputs.items()}


def not_async(function, what, place):
    """Refuse a function whose call only begins it, and that nothing here would await."""
    if runs_later(function):
        raise not_supported(
            "%s is an async function, which runs do not await" % what, place, REMEDY
        )


def only(steps, names, what):
    """The steps of these names; a graph's name means all that is in it. Raises Refusal ``unknown_op``."""
    within = {
        name: [s.key for s in steps if (s.key + ".").startswith(name + ".")] for name in names
    }
    unknown = [name for name in names if not within[name]]
    if unknown:
        raise Refusal(
            "unknown_op",
            "%s has no op named %s" % (what, ", ".join(repr(name) for name in unknown[:10])),
            hint=near(unknown[0], [step.key for step in steps]),
        )
    selected = {key for keys in within.values() for key in keys}
    kept = [step for step in steps if step.key in selected]
    for step in kept:
        for name, source in list(step.sources.items()):
            missing = [one.node for one in sources_of(source) if one.node not in selected]
            if missing:
                step.cut_off[name] = missing[0]
                del step.sources[name]
        step.waits &= selected
    return kept


# --- assets


def of_assets(keys, assets):
    """The steps of the assets ``keys``, in topological order. Raises Refusal.

    ``assets`` are all definitions, by name; those that are taken from are no lazy entries.
    """
    steps = {}
    for key in keys:
        asset = assets[key]
        if asset.compute_fn is None:
            raise not_supported(
                "asset %s is external: it has no function that makes it" % key, asset.source
            )
        not_async(asset.compute_fn, "asset %s" % key, asset.source)
        named = asset.sources(assets)
        sources, kept = {}, {}
        for parameter, other in named.items():
            if other in keys and not assets[other].io_manager_key:
                sources[parameter] = NodeOutput(other, "result")
            elif parameter not in defaults(asset.compute_fn) or _is_made(assets.get(other)):
                kept[parameter] = _upstream(asset, other, assets)
        waits = {other for other in list(asset.deps) + list(named.values()) if other in keys}
        steps[key] = Step(key, asset, sources, waits, ("ops", key), asset)
        steps[key].kept = kept
    return _sorted(steps)


def by_way_of_kept(todo):
    """Have assets take the values of others from where these are kept: no second copy is made."""
    assets = {step.key: step.asset for step in todo}
    for step in todo:
        for name, source in list(step.sources.items()):
            if step.asset is not None:
                step.kept[name] = assets[source.node]
                del step.sources[name]


def _is_made(asset):
    return asset is not None and asset.compute_fn is not None


def _upstream(asset, name, assets):
    """The asset ``name``, whose value ``asset`` takes."""
    other = assets.get(name)
    if not _is_made(other):
        raise not_supported(
            "asset %s takes the value of %s, which nothing here makes" % (asset.name, name),
            asset.source,
            asset.source_hint(name, set(assets) - {name}),
        )
    return other


def _sorted(steps):
    """In topological order; among those that could run, in the order given."""
    done, result = set(), []
    left = list(steps.values())
    while left:
        ready = [step for step in left if step.waits <= done]
        if not ready:
            raise Refusal(
                "invalid_definition",
                "the assets %s depend on each other in a circle"
                % ", ".join(sorted(step.key for step in left)[:10]),
                place=left[0].definition.source,
            )
        result.extend(ready)
        done.update(step.key for step in ready)
        left = [step for step in left if step.key not in done]
    return result


def defaults(function):
    """Names of the parameters of a function that have a default."""
    return {one.name for one in parameters(function) if one.is_optional}
