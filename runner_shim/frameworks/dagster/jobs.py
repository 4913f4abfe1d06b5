"""Jobs and pipelines: their op graphs, config fields, resource keys, as snapshot data.

Owns the walk over Dagster's graph structure, which was called solids and pipelines up to 0.12 and
ops and jobs since, and the description of config schemas. Does not build a run config schema or
an execution plan: both cost much and say nothing that the nodes do not.
"""

import json

from runner_shim.frameworks.dagster.read import enum_word, is_a, is_dagster_function, peek
from runner_shim.plain_data import definition, field, ordered, plain, text

__all__ = [
    "bound_config_fields",
    "config_fields",
    "graph_data",
    "is_job",
    "job_definition",
    "job_kind",
    "node_definitions",
    "node_places",
]

_MAX_DEPTH = 12  # of nested config shapes and nested graphs


def is_job(value):
    """True for a job or a pipeline that can be run.

    0.9 had a JobDefinition of another meaning (a preset of a pipeline), and 0.10 made it the base
    of schedules and sensors: neither has a graph.
    """
    if is_a(value, "PipelineDefinition"):
        return True
    return is_a(value, "JobDefinition") and hasattr(type(value), "graph")


def job_kind(value):
    """``job`` or ``pipeline``, as the framework calls it."""
    return "job" if is_a(value, "JobDefinition") else "pipeline"


def node_definitions(job):
    """All op, solid and graph definitions inside a job."""
    found = peek(job, "all_node_defs", "all_solid_defs")
    return list(found) if found else []


def node_places(reader, job):
    """``({kind, name}, [file, line])`` of the ops, solids and graphs inside a job."""
    found = []
    for one in node_definitions(job):
        place = reader.source(
            getattr(one, "composition_fn", None),
            getattr(one, "__wrapped__", None),
            getattr(one, "compute_fn", None),
        )
        kind = _node_kind(one, is_a(one, "GraphDefinition"))
        found.append(({"kind": kind, "name": text(one.name)}, place))
    return found


def job_definition(reader, job, partitions=None):
    """A job or pipeline as (definition, source); ``partitions`` is its plain description."""
    kind = job_kind(job)
    graph = reader.peek(job, "graph") or job
    metadata = reader.peek(job, "metadata")
    mapping = reader.peek(graph, "config_mapping")
    config = config_fields(reader, mapping) if mapping is not None else None
    place = reader.source(
        getattr(graph, "composition_fn", None),
        getattr(job, "__wrapped__", None),
        getattr(graph, "__wrapped__", None),
    ) or reader.referenced_source(metadata)
    executor = reader.peek(job, "executor_def") if kind == "job" else None
    hooks = reader.peek(job, "hook_defs")
    tags = reader.tags(job)
    run_tags = None
    if reader.peek(job, "has_separately_defined_run_tags"):
        run_tags = reader.tags(job, "run_tags")
        if run_tags == tags:
            run_tags = None
    result = definition(
        kind,
        job.name,
        description=reader.text(job, "description"),
        tags=tags,
        owners=reader.owners(job),
        metadata=reader.metadata(metadata),
        markdown=reader.markdown(metadata),
        graph=reader.attempt("graph", graph_data, reader, graph),
        config=config,
        resource_keys=reader.attempt("resource keys", _resource_keys, job),
        partitions=partitions,
        executor=reader.text(executor, "name") if executor is not None else None,
        modes=reader.attempt("modes", _modes, job) if kind == "pipeline" else None,
        presets=reader.attempt("presets", _presets, job),
        hooks=reader.strings([hook.name for hook in hooks]) if hooks else None,
        run_tags=run_tags,
        op_retry_policy=reader.attempt("retry policy", _retry_policy, job),
    )
    return result, place


def _resource_keys(job):
    keys = set()
    for node in node_definitions(job):
        if not is_a(node, "GraphDefinition"):
            keys.update(peek(node, "required_resource_keys") or ())
    return sorted(text(key) for key in keys)


def _modes(pipeline):
    modes = []
    for mode in peek(pipeline, "mode_definitions") or ():
        item = {"name": text(mode.name)}
        keys = sorted(text(key) for key in mode.resource_defs or ())
        if keys:
            item["resource_keys"] = keys
        if mode.description:
            item["description"] = text(mode.description)
        modes.append(item)
    return sorted(modes, key=lambda mode: mode["name"])


def _presets(job):
    presets = peek(job, "preset_defs")
    if presets is not None:
        return sorted(text(preset.name) for preset in presets)
    return ["default"] if getattr(job, "run_config", None) is not None else None


def _retry_policy(job):
    policy = getattr(job, "_op_retry_policy", None) or getattr(job, "_solid_retry_policy", None)
    found = plain(policy)
    if not isinstance(found, dict):
        return found
    return {key: value for key, value in found.items() if value is not None}


def graph_data(reader, graph, depth=_MAX_DEPTH):
    """The nodes of a graph, sorted by name, as docs/snapshot.md ``graph``."""
    structure = graph.dependency_structure
    upstream = peek(
        structure, "input_to_upstream_outputs_for_node", "input_to_upstream_outputs_for_solid"
    )
    nodes = [
        _node_data(reader, node, upstream(node.name), depth)
        for node in peek(graph, "nodes", "solids") or ()
    ]
    return {"nodes": sorted(nodes, key=lambda node: node["name"])} if nodes else None


def _node_data(reader, node, upstream, depth):
    found = node.definition
    nested = is_a(found, "GraphDefinition")
    sources = _sources_by_input(upstream)
    inputs, after = [], set()
    for item in found.input_defs:
        produced = sorted(sources.get(item.name, ()))
        type_name = _type_name(item)
        if type_name == "Nothing":
            after.update(produced)
        else:
            inputs.append(_port(item, type_name, produced))
    data = definition(
        _node_kind(found, nested),
        node.name,
        definition=text(found.name) if found.name != node.name else None,
        description=_description(reader, found),
        tags=reader.tags(node),
        resource_keys=None if nested else reader.strings(peek(found, "required_resource_keys")),
        config=config_fields(reader, found),
        inputs=inputs,
        outputs=[_port(item, _type_name(item), None) for item in found.output_defs],
        after=sorted(after),
    )
    if nested and depth > 0:
        inner = graph_data(reader, found, depth - 1)
        if inner:
            data["graph"] = inner
    return data


def _description(reader, found):
    # An op that gets its description from an asset's docstring keeps it as it is written there.
    description = reader.text(found, "description")
    return description.strip() if description else None


def _node_kind(found, nested):
    if nested:
        return "graph"
    return "op" if is_a(found, "OpDefinition") else "solid"


def _sources_by_input(upstream):
    """{input name: {"node.output", …}} from Dagster's {input handle: [output handle, …]}."""
    result = {}
    for handle, outputs in upstream.items():
        result[_port_name(handle, "input_name", "input_def")] = set(
            "%s.%s"
            % (
                text(peek(output, "node_name", "solid_name")),
                text(_port_name(output, "output_name", "output_def")),
            )
            for output in outputs
        )
    return result


def _port_name(handle, name, definition_name):
    found = getattr(handle, name, None)
    return found if isinstance(found, str) else getattr(handle, definition_name).name


def _port(item, type_name, produced):
    data = {"name": text(item.name)}
    if type_name:
        data["type"] = type_name
    description = getattr(item, "description", None)
    if description:
        data["description"] = text(description)
    if produced:
        data["from"] = produced
    if getattr(item, "is_dynamic", False):
        data["dynamic"] = True
    return data


def _type_name(item):
    name = peek(item.dagster_type, "display_name")
    return text(name) if isinstance(name, str) else ""


# --- config -------------------------------------------------------------------------------------


def config_fields(reader, found):
    """The config fields of an op, resource or config mapping, or None where it takes none."""
    return reader.attempt("config schema", _config_fields, found)


def bound_config_fields(reader, found):
    """The config fields of a resource, those that its author has bound included.

    A bound field is not required. Where it is bound to an environment variable its default is
    ``{"env": NAME}``; other bound values are not shown: they may be secrets.
    """
    return reader.attempt("config schema", _bound_config_fields, found)


def _bound_config_fields(found):
    schema = getattr(found, "config_schema", None)
    bound = {}
    if schema is not None and getattr(schema, "default_provided", False):
        bound = schema.default_value
    for _ in range(50):
        parent = getattr(getattr(schema, "parent_def", None), "config_schema", None)
        if parent is None or getattr(parent, "config_type", None) is None:
            break
        schema = parent
    fields = _schema_fields(schema)
    if not isinstance(bound, dict):
        return fields
    for item in fields or ():
        if item["name"] in bound:
            value = bound[item["name"]]
            shown = json.dumps(ordered(plain(value)), sort_keys=True, ensure_ascii=False)
            item["required"] = False
            if isinstance(value, dict) and list(value) == ["env"]:
                item["default"] = shown
            elif item.get("default") != shown:
                item.pop("default", None)
    return fields


def _config_fields(found):
    return _schema_fields(getattr(found, "config_schema", None))


def _schema_fields(schema):
    if schema is None or schema is False:
        return None
    # Since 0.10 a schema is a wrapper around its field.
    top = schema.as_field() if hasattr(schema, "as_field") else schema
    if top is None or not hasattr(top, "config_type"):
        return None
    fields = _shape_fields(top.config_type, _MAX_DEPTH)
    if fields is not None and _type_kind(top.config_type) in ("STRICT_SHAPE", "PERMISSIVE_SHAPE"):
        return fields or None
    name = _config_type_name(top.config_type, _MAX_DEPTH)
    if name == "Any" and not top.is_required and not top.default_provided:
        return None  # how Dagster says that no schema was given
    return [_field("", top, _MAX_DEPTH)]


def _type_kind(config_type):
    kind = getattr(config_type, "kind", None)
    return enum_word(kind).upper() if kind is not None else ""


def _shape_fields(config_type, depth):
    """The fields of a shape, also inside of Noneable and Array, sorted by name; None if not one."""
    kind = _type_kind(config_type)
    if kind in ("NONEABLE", "ARRAY"):
        return _shape_fields(config_type.inner_type, depth)
    if kind == "MAP":
        return _shape_fields(peek(config_type, "inner_type", "value_type"), depth)
    if kind not in ("STRICT_SHAPE", "PERMISSIVE_SHAPE", "SELECTOR") or depth <= 0:
        return None
    fields = config_type.fields
    return [_field(name, fields[name], depth - 1) for name in sorted(fields)]


def _field(name, found, depth):
    default = None
    if found.default_provided and not getattr(found, "is_secret", False):
        default = _default(found)
    description = getattr(found, "description", None)
    return field(
        name,
        _config_type_name(found.config_type, depth),
        required=bool(found.is_required),
        default=default,
        description=text(description) if isinstance(description, str) else None,
        fields=_shape_fields(found.config_type, depth),
    )


def _default(found):
    value = found.default_value
    if callable(value) and not is_dagster_function(value):
        return None
    return json.dumps(ordered(plain(value)), sort_keys=True, ensure_ascii=False)


def _config_type_name(config_type, depth):
    kind = _type_kind(config_type)
    given = getattr(config_type, "given_name", None)
    if depth <= 0:
        return given or kind.title()
    if kind == "NONEABLE":
        return _config_type_name(config_type.inner_type, depth - 1) + "?"
    if kind == "ARRAY":
        return "[%s]" % _config_type_name(config_type.inner_type, depth - 1)
    if kind == "MAP":
        key = peek(config_type, "key_type")
        value = peek(config_type, "inner_type", "value_type")
        return "{%s: %s}" % (
            _config_type_name(key, depth - 1) if key is not None else "Any",
            _config_type_name(value, depth - 1) if value is not None else "Any",
        )
    if kind == "ENUM":
        values = [text(value.config_value) for value in config_type.enum_values]
        return "%s(%s)" % (given or "Enum", " | ".join(values))
    if kind == "SCALAR_UNION":
        # A scalar, or {"env": NAME}: what Dagster's users call StringSource, IntSource, BoolSource.
        if given and given.endswith("SourceType"):
            return text(given[: -len("Type")])
        if list(getattr(config_type.non_scalar_type, "fields", None) or ()) == ["env"]:
            return _config_type_name(config_type.scalar_type, depth - 1) + "Source"
        if given:
            return text(given)
        return "%s | %s" % (
            _config_type_name(config_type.scalar_type, depth - 1),
            _config_type_name(config_type.non_scalar_type, depth - 1),
        )
    if given:
        return text(given)
    return {
        "STRICT_SHAPE": "Shape",
        "PERMISSIVE_SHAPE": "Permissive",
        "SELECTOR": "Selector",
        "ANY": "Any",
    }.get(kind, kind.title())
