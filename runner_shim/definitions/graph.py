"""Ops, graphs and jobs, and how a function body composes them.

Owns composition: while the body of an ``@job`` or ``@graph`` function runs, calling an op records
a node and returns handles for its outputs; outside of a body, calling an op calls its function.
Bodies run once, when the function is decorated. Refuses cycles by construction: a handle exists
only after its node.
"""

from runner_shim import plain_data
from runner_shim.definitions.base import (
    Definition,
    InvalidDefinitionError,
    annotations_of,
    caller,
    check_config,
    check_resource_keys,
    check_retry_policy,
    function_parameters,
    refuse,
    type_name,
)
from runner_shim.definitions.plan import Constant, GraphInput, Node, NodeOutput, Plan, Several
from runner_shim.definitions.signature import docstring

__all__ = ["GraphDefinition", "In", "JobDefinition", "OpDefinition", "Out", "graph", "job", "op"]

_compositions = []  # the bodies that are running, innermost last


class In:
    """An input of an op: ``type`` is a class or a name, None for no data (ordering only)."""

    def __init__(self, type=object, description=None):
        self.type = type_name(type)
        self.description = description


class Out:
    """An output of an op; one that is not required may be left out, and what takes it is skipped."""

    def __init__(self, type=object, description=None, is_dynamic=False, is_required=True):
        self.type = type_name(type)
        self.description = description
        self.is_dynamic = is_dynamic
        self.is_required = is_required


class _Handle:
    """One output of a node, or one input of the graph whose body is running (``node`` None)."""

    __slots__ = ("composition", "name", "node")

    def __init__(self, composition, node, name):
        self.composition = composition
        self.node = node
        self.name = name

    def __iter__(self):
        raise InvalidDefinitionError(
            "output %s of %s is one value and cannot be unpacked while composing"
            % (self.name, self.node or "the graph"),
            caller(),
            hint="give the op several outputs: @op(out={'a': Out(), 'b': Out()})",
        )

    def __bool__(self):
        raise InvalidDefinitionError(
            "output %s of %s has no value yet: a body composes ops, it does not run them"
            % (self.name, self.node or "the graph"),
            caller(),
            hint="decide inside an op",
        )

    def text(self):
        return "%s.%s" % (self.node, self.name)


class _Handles(tuple):
    """The handles of a node with several outputs, in order; also attributes by name."""

    def __getattr__(self, name):
        for handle in self:
            if handle.name == name:
                return handle
        raise AttributeError("no output is named %r" % name)


class _Composition:
    """The nodes that one body has recorded: their data, and the plan of them."""

    def __init__(self, owner):
        self.owner = owner
        self.nodes = {}
        self.plan = Plan()

    def add(self, definition, alias, positional, named, after):
        name = alias or definition.name
        if name in self.nodes:
            if alias:
                raise InvalidDefinitionError(
                    "%s has two nodes named %r" % (self.owner, alias), caller()
                )
            number = 2
            while "%s_%d" % (name, number) in self.nodes:
                number += 1
            name = "%s_%d" % (name, number)
        node = definition._node(name)
        given = self._connect(definition, node, positional, named)
        waits = []
        if after is not None:
            node["after"] = sorted(self._sources(definition, "after", after))
            waits.append(self.source(after))
        self.nodes[name] = node
        inputs = {key: self.source(value) for key, value in given.items()}
        self.plan.nodes.append(Node(name, definition, inputs, waits))
        handles = _Handles(_Handle(self, name, output) for output in definition.output_names)
        return handles[0] if len(handles) == 1 else handles

    def source(self, value, depth=3):
        """Where a value that the body gives comes from; handles are found in lists and dicts, too."""
        if isinstance(value, _Handle):
            if value.node is None:
                return GraphInput(value.name)
            return NodeOutput(value.node, value.name)
        if depth and type(value) in (list, tuple, dict, _Handles):
            keys = list(value) if isinstance(value, dict) else None
            items = value.values() if isinstance(value, dict) else value
            sources = [self.source(one, depth - 1) for one in items]
            if not all(isinstance(one, Constant) for one in sources):
                return Several(sources, keys)
        return Constant(value)

    def _connect(self, definition, node, positional, named):
        """Connect the inputs in the node's data; what they are given, by name."""
        inputs = definition.input_names
        if len(positional) > len(inputs):
            raise InvalidDefinitionError(
                "%s: %s takes %d inputs, not %d"
                % (self.owner, definition.name, len(inputs), len(positional)),
                caller(),
                hint="its inputs are the named parameters of its function: %s"
                % (", ".join(inputs) or "there are none"),
            )
        given = dict(zip(inputs, positional))  # noqa: B905 - checked above
        for key, value in named.items():
            if key not in inputs or key in given:
                raise InvalidDefinitionError(
                    "%s: %s has %s input named %r"
                    % (self.owner, definition.name, "already an" if key in given else "no", key),
                    caller(),
                    hint="it has %s" % (", ".join(inputs) or "no inputs"),
                )
            given[key] = value
        for item in node.get("inputs", ()):
            if item["name"] in given:
                sources = self._sources(definition, item["name"], given[item["name"]])
                if sources:
                    item["from"] = sources
        return given

    def _sources(self, definition, name, value):
        values = value if isinstance(value, (list, tuple)) else [value]
        sources = []
        for each in values:
            if not isinstance(each, _Handle):
                continue  # a constant
            if each.composition is not self:
                raise InvalidDefinitionError(
                    "%s: input %s of %s is an output of another graph"
                    % (self.owner, name, definition.name),
                    caller(),
                )
            if each.node is not None:
                sources.append(each.text())
        return sources


class _Node(Definition):
    """What can be called in a body: has ``input_names``, ``output_names`` and ``_node(name)``."""

    input_names = ()
    output_names = ()

    def _invoke(self, alias, positional, named):
        after = named.pop("after", None) if "after" not in self.input_names else None
        return _compositions[-1].add(self, alias, positional, named, after)

    def alias(self, name):
        """The same node under another name: ``clean.alias("clean_again")(rows)``."""
        return _Alias(self, name)


class _Alias:
    def __init__(self, definition, name):
        self._definition = definition
        self._name = name

    def __call__(self, *positional, **named):
        if not _compositions:
            return self._definition(*positional, **named)
        return self._definition._invoke(self._name, positional, named)


class OpDefinition(_Node):
    """One step: a function with named inputs and outputs.

    ``ins`` and ``out`` are what the function's signature does not say: dicts of name to In or
    Out. Without ``out`` there is one output named ``result`` of the annotated return type.
    ``retry_policy`` is a RetryPolicy.
    """

    KIND = "op"

    def __init__(
        self,
        compute_fn,
        name=None,
        description=None,
        ins=None,
        out=None,
        required_resource_keys=None,
        config_schema=None,
        tags=None,
        retry_policy=None,
    ):
        source = plain_data.source_of(compute_fn) or caller()
        name = name or getattr(compute_fn, "__name__", None)
        description = description or docstring(compute_fn)
        Definition.__init__(self, name, source, description, tags)
        self.compute_fn = compute_fn
        self.resource_keys = check_resource_keys(self, required_resource_keys)
        self.config = check_config(self, config_schema)
        self.config_schema = config_schema
        annotations = annotations_of(compute_fn)
        self._inputs = self._make_inputs(ins or {}, annotations)
        self.optional_outputs = []
        self._outputs = self._make_outputs(out, annotations)
        self.retry_policy = check_retry_policy(self, retry_policy)
        self.input_names = [item["name"] for item in self._inputs]
        self.output_names = [item["name"] for item in self._outputs]

    @property
    def data_inputs(self):
        """Names of the inputs that carry a value: those of the type Nothing only order."""
        return [item["name"] for item in self._inputs if item["type"] != "Nothing"]

    @property
    def dynamic_outputs(self):
        """Names of the outputs that are dynamic."""
        return [item["name"] for item in self._outputs if item.get("dynamic")]

    def _make_inputs(self, ins, annotations):
        inputs = []
        names = function_parameters(self.compute_fn)
        for name in names + [name for name in ins if name not in names]:
            given = ins.get(name)
            if given is None:
                inputs.append({"name": name, "type": type_name(annotations.get(name, object))})
                continue
            given = given if isinstance(given, In) else In(given)
            item = {"name": plain_data.text(name), "type": given.type}
            if given.description:
                item["description"] = plain_data.text(given.description)
            inputs.append(item)
        return inputs

    def _make_outputs(self, out, annotations):
        if out is None:
            out = Out(annotations.get("return", object))
        if not isinstance(out, dict):
            out = {"result": out}
        outputs = []
        for name, given in out.items():
            given = given if isinstance(given, Out) else Out(given)
            item = {"name": plain_data.text(name), "type": given.type}
            if given.description:
                item["description"] = plain_data.text(given.description)
            if given.is_dynamic:
                item["dynamic"] = True
            if not given.is_required:
                self.optional_outputs.append(item["name"])
            outputs.append(item)
        return outputs

    def _node(self, name):
        node = plain_data.definition(
            "op",
            name,
            definition=self.name if name != self.name else None,
            description=self.common.get("description"),
            tags=self.common.get("tags"),
            resource_keys=self.resource_keys,
            config=self.config,
            inputs=[dict(item) for item in self._inputs],
            outputs=self._outputs,
        )
        return node

    def __call__(self, *positional, **named):
        if _compositions:
            return self._invoke(None, positional, named)
        return self.compute_fn(*positional, **named)


class GraphDefinition(_Node):
    """Ops composed by a function; a node of other graphs, and a job through ``to_job``."""

    KIND = "graph"

    def __init__(self, compose_fn, name=None, description=None, tags=None):
        source = plain_data.source_of(compose_fn) or caller()
        name = name or getattr(compose_fn, "__name__", None)
        description = description or docstring(compose_fn)
        Definition.__init__(self, name, source, description, tags)
        self.input_names = function_parameters(compose_fn)
        self.nodes, self.output_names, self.plan = _compose(self, compose_fn, self.input_names)

    def graph(self):
        """The graph as in docs/snapshot.md."""
        return {"nodes": [self.nodes[name] for name in sorted(self.nodes)]}

    def _node(self, name):
        return plain_data.definition(
            "graph",
            name,
            definition=self.name if name != self.name else None,
            description=self.common.get("description"),
            tags=self.common.get("tags"),
            inputs=[{"name": each, "type": "Any"} for each in self.input_names],
            outputs=[{"name": each, "type": "Any"} for each in self.output_names],
            graph=self.graph(),
        )

    def __call__(self, *positional, **named):
        if not _compositions:
            refuse(self, "is called outside of a job or graph", hint="use to_job() to run it")
        return self._invoke(None, positional, named)

    def to_job(self, name=None, **options):
        """A JobDefinition of this graph; ``options`` as of JobDefinition."""
        options.setdefault("description", self.common.get("description"))
        return JobDefinition(name or self.name, graph=self, **options)


def _compose(owner, function, names):
    """Run a body; returns its nodes by name, the names of its outputs, and its plan."""
    composition = _Composition("%s %r" % (owner.KIND, owner.name))
    _compositions.append(composition)
    try:
        result = function(**{name: _Handle(composition, None, name) for name in names})
    finally:
        _compositions.pop()
    if isinstance(result, dict):
        outputs = {plain_data.text(name): value for name, value in result.items()}
    elif isinstance(result, _Handles):
        outputs = {handle.name: handle for handle in result}
    else:
        outputs = {"result": result}
    plan = composition.plan
    plan.outputs = {name: composition.source(value) for name, value in outputs.items()}
    return composition.nodes, list(outputs), plan


class JobDefinition(Definition):
    """Something that can be run: a graph of ops, or a plain function.

    ``graph`` is a GraphDefinition; ``ops`` a list of ops without connections; ``partitions_def``
    anything that ``partitions_data`` takes; ``resource_defs`` a dict whose keys are
    added to the resource keys. More than one step at a time, each in a process of its own, run where
    ``max_concurrent`` is more than 1.
    """

    KIND = "job"

    def __init__(
        self,
        name,
        graph=None,
        ops=None,
        description=None,
        tags=None,
        owners=None,
        metadata=None,
        resource_defs=None,
        required_resource_keys=None,
        config_schema=None,
        partitions_def=None,
        run_tags=None,
        max_concurrent=None,
        hooks=None,
        source=None,
    ):
        Definition.__init__(self, name, source or caller(), description, tags, owners, metadata)
        if hooks:
            refuse(
                self,
                "has hooks, which native jobs do not have",
                hint="call the function in an op of its own, after the others: notify(after=done)",
            )
        if max_concurrent is not None and (
            isinstance(max_concurrent, bool)
            or not isinstance(max_concurrent, int)
            or max_concurrent < 1
        ):
            refuse(self, "has the max_concurrent %r" % (plain_data.plain(max_concurrent),))
        self.max_concurrent = max_concurrent
        nodes = dict(graph.nodes) if graph is not None else {}
        self.plan = Plan()
        self.plan.nodes.extend(graph.plan.nodes if graph is not None else ())
        if ops:
            composition = _Composition("job %r" % name)
            for each in ops:
                if not isinstance(each, _Node):
                    refuse(self, "has %s among its ops, which is no op" % plain_data.plain(each))
                composition.add(each, None, (), {}, None)
            nodes.update(composition.nodes)
            self.plan.nodes.extend(composition.plan.nodes)
        self.nodes = nodes
        self.config = check_config(self, config_schema)
        self.config_schema = config_schema
        self.resource_defs = resource_defs if isinstance(resource_defs, dict) else {}
        self.partitions_def = partitions_def
        keys = set(check_resource_keys(self, required_resource_keys))
        keys.update(check_resource_keys(self, list(resource_defs or ())))
        _gather_resource_keys(nodes.values(), keys)
        self.resource_keys = sorted(keys)
        self.run_tags = plain_data.plain(run_tags) if run_tags else None
        self.partitions = None
        if partitions_def is not None:
            from runner_shim.definitions.partitions import partitions_data

            self.partitions = partitions_data(self, partitions_def)

    def data(self):
        """The definition as in docs/snapshot.md."""
        nodes = [self.nodes[name] for name in sorted(self.nodes)]
        return plain_data.definition(
            "job",
            self.name,
            graph={"nodes": nodes} if nodes else None,
            config=self.config,
            resource_keys=self.resource_keys,
            partitions=self.partitions,
            run_tags=self.run_tags,
            **self.common,
        )


def _gather_resource_keys(nodes, keys):
    for node in nodes:
        keys.update(node.get("resource_keys", ()))
        if "graph" in node:
            _gather_resource_keys(node["graph"]["nodes"], keys)


def op(name=None, **options):
    """``@op`` or ``@op(name=…, ins=…, out=…, …)``: options as of OpDefinition."""
    if callable(name):
        return OpDefinition(name)
    return lambda function: OpDefinition(function, name=name, **options)


def graph(name=None, **options):
    """``@graph`` or ``@graph(name=…, description=…)``."""
    if callable(name):
        return GraphDefinition(name)
    return lambda function: GraphDefinition(function, name=name, **options)


def job(name=None, **options):
    """``@job`` or ``@job(name=…, …)``: the function's body composes ops; options of JobDefinition."""
    if callable(name):
        return _job(name, None, {})
    return lambda function: _job(function, name, options)


def _job(function, name, options):
    if not hasattr(function, "__code__"):
        raise InvalidDefinitionError("@job decorates a function", caller())
    composed = GraphDefinition(function, name=name)
    options.setdefault("description", composed.common.get("description"))
    return JobDefinition(composed.name, graph=composed, source=composed.source, **options)
