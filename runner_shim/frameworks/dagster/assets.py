"""Assets and asset checks as snapshot data.

Owns nothing of Dagster's reasoning about which asset depends on which, belongs to which job and is
computed by which op: that changed with almost every release, so the framework's own listing is
asked (one function in each version, found by name and called by the names of its parameters) and
only what it leaves out is read from the definitions. Where that listing raises, the names still
come from the repository, with a warning.
"""

import importlib
import inspect

from runner_shim.frameworks.dagster.jobs import config_fields
from runner_shim.frameworks.dagster.partitions import partitions_data
from runner_shim.frameworks.dagster.read import (
    asset_name,
    enum_word,
    is_a,
    is_hidden_job,
    key_path,
    peek,
    summary,
)
from runner_shim.plain_data import definition, plain, text

__all__ = ["asset_check_definitions", "asset_definitions", "assets_by_key", "partitions_of"]

# Where the framework's own listing was, newest first.
_MODULES = (
    "dagster._core.remote_representation.external_data",
    "dagster._core.host_representation.external_data",
    "dagster.core.host_representation.external_data",
)
_ASSET_LISTINGS = (
    "asset_node_snaps_from_repo",
    "external_asset_nodes_from_repo",
    "external_asset_nodes_from_defs",
    "external_asset_graph_from_defs",
)
_CHECK_LISTINGS = (
    "asset_check_node_snaps_from_repo",
    "external_asset_checks_from_repo",
    "external_asset_checks_from_defs",
)


def asset_definitions(reader, repository, jobs):
    """All assets as a list of (definition, source). ``jobs`` are the constructed jobs."""
    graph = _asset_graph(repository)
    assets_defs = assets_by_key(repository, jobs)
    source_assets = peek(repository, "source_assets_by_key") or {}
    try:
        listed = _listing(_ASSET_LISTINGS, repository, jobs)
    except Exception as exc:  # one asset that Dagster cannot describe takes its listing along
        reader.warn(
            "undescribable",
            "assets are listed by name only: Dagster's own listing raised %s" % summary(exc),
        )
        listed = None
    if listed is None:
        listed = [_Bare(key) for key in set(assets_defs) | set(source_assets)]
    result = []
    for node in listed:
        key = node.asset_key
        name = asset_name(key)
        reader.begin("asset", name)
        found = peek(node, "_assets_def") or assets_defs.get(key) or source_assets.get(key)
        spec = _graph_node(graph, key)
        if spec is not None and found is None:
            found = getattr(spec, "assets_def", None)
        item = reader.attempt("definition", _asset, reader, node, name, found, spec)
        if item is None:
            item = definition("asset", name, asset_key=key_path(key)), None
        reader.end()
        result.append(item)
    return result


class _Bare:
    """Stands in for Dagster's listing of an asset: the key and nothing else."""

    def __init__(self, key):
        self.asset_key = key


def _listing(names, repository, jobs):
    """What the first of these functions lists, or None where this version has none of them."""
    for module_name in _MODULES:
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            continue
        for name in names:
            function = getattr(module, name, None)
            if function is None:
                continue
            known = {
                "repo": repository,
                "repository": repository,
                "repository_def": repository,
                "pipelines": jobs,
                "jobs": jobs,
                "job_defs": jobs,
                "foreign_assets_by_key": peek(repository, "source_assets_by_key") or {},
                "source_assets_by_key": peek(repository, "source_assets_by_key") or {},
                "assets_defs_by_key": peek(repository, "assets_defs_by_key", "_assets_defs_by_key")
                or {},
                "asset_graph": getattr(repository, "asset_graph", None),
            }
            parameters = inspect.signature(function).parameters
            return function(**{key: known[key] for key in parameters if key in known})
        break
    return None


def _asset_graph(repository):
    graph = getattr(repository, "asset_graph", None)
    # Up to 1.5 the asset graph answers by key, not by node.
    return graph if hasattr(graph, "get") else None


def _graph_node(graph, key):
    if graph is None:
        return None
    try:
        return graph.get(key)
    except Exception:  # an asset that only an old-style job knows
        return None


def partitions_of(repository, jobs, key):
    """The partitions definition of the asset ``key``, or None."""
    found = assets_by_key(repository, jobs).get(key)
    return getattr(_graph_node(_asset_graph(repository), key), "partitions_def", None) or getattr(
        found, "partitions_def", None
    )


def assets_by_key(repository, jobs):
    """Dagster's definitions of assets, by key; ``jobs`` are asked where the repository does not know."""
    found = peek(repository, "assets_defs_by_key", "_assets_defs_by_key")
    if found is None:
        found = {}
        for job in jobs:
            layer = getattr(job, "asset_layer", None)
            found.update(getattr(layer, "assets_defs_by_key", None) or {})
    return found


def _asset(reader, node, name, found, spec):
    metadata = reader.peek(spec, "metadata") or reader.peek(node, "metadata", "metadata_entries")
    op = reader.attempt("op", _op, found)
    parents, mappings = _parents(node, spec)
    jobs = [job for job in peek(node, "job_names") or () if not is_hidden_job(job)]
    partitions = reader.peek(spec, "partitions_def") or (
        reader.peek(found, "partitions_def") if found is not None else None
    )
    resources = reader.peek(node, "required_top_level_resources")
    if not resources and op is not None and not is_a(op, "GraphDefinition"):
        resources = reader.peek(op, "required_resource_keys")
    place = reader.referenced_source(metadata) or reader.source(
        getattr(op, "__wrapped__", None),
        getattr(op, "compute_fn", None),
        getattr(op, "composition_fn", None),
        getattr(found, "observe_fn", None),
    )
    result = definition(
        "asset",
        name,
        description=reader.text(node, "description", "op_description")
        or reader.text(spec, "description"),
        tags=reader.tags(node) or reader.tags(spec),
        owners=_owners(reader, node) or _owners(reader, spec),
        metadata=reader.metadata(metadata),
        markdown=reader.markdown(metadata),
        asset_key=key_path(node.asset_key),
        dependencies=sorted(parents),
        group=reader.text(node, "group_name") or reader.text(spec, "group_name"),
        compute_kind=reader.text(node, "compute_kind"),
        kinds=reader.strings(reader.peek(spec, "kinds")),
        op=reader.text(node, "op_name"),
        code_version=reader.text(node, "code_version") or reader.text(spec, "code_version"),
        execution_type=_execution_type(reader, node, spec),
        is_source=_flag(reader, node, "is_source") or is_a(found, "SourceAsset") or None,
        is_observable=_flag(reader, node, "is_observable"),
        is_virtual=_flag(reader, node, "is_virtual"),
        partitions=partitions_data(reader, partitions),
        partition_mappings=mappings,
        jobs=reader.strings(jobs),
        resource_keys=reader.strings(resources),
        io_manager_key=reader.attempt("io manager key", _io_manager_key, found, spec, node),
        output=reader.text(node, "output_name"),
        freshness_policy=_policy(reader, node, "freshness_policy", "legacy_freshness_policy"),
        automation_condition=_condition(reader, spec, node),
        auto_materialize_policy=_auto_materialize(reader, spec, node),
        backfill_policy=_policy(reader, node, "backfill_policy"),
        execution_set=reader.text(node, "execution_set_identifier", "atomic_execution_unit_id"),
        auto_observe_interval_minutes=plain(reader.peek(node, "auto_observe_interval_minutes")),
        pools=reader.strings(reader.peek(node, "pools")),
        config=config_fields(reader, op) if op is not None else None,
    )
    return result, place


def _op(found):
    """The op, or graph, that computes an asset; None for one that nothing here computes."""
    if hasattr(found, "computation"):
        return getattr(found.computation, "node_def", None)
    return getattr(found, "node_def", None)


def _parents(node, spec):
    """The names of upstream assets, and what each partition mapping is."""
    names, mappings = set(), {}
    edges = peek(node, "parent_edges", "dependencies")
    if edges is None:
        return set(asset_name(key) for key in peek(spec, "parent_keys") or ()), {}
    for edge in edges:
        name = asset_name(peek(edge, "parent_asset_key", "upstream_asset_key"))
        names.add(name)
        mapping = getattr(edge, "partition_mapping", None)
        if mapping is not None:
            mappings[name] = type(mapping).__name__
    return names, mappings


def _owners(reader, node):
    owners = reader.peek(node, "owners")
    if not owners:
        return None
    # 1.6 wrapped an owner into an object with an email or a team.
    result = []
    for owner in owners:
        if not isinstance(owner, str):
            team = getattr(owner, "team", None)
            owner = "team:" + team if team else peek(owner, "email") or plain(owner)
        result.append(text(owner))
    return result


def _execution_type(reader, node, spec):
    word = enum_word(reader.peek(node, "execution_type") or reader.peek(spec, "execution_type"))
    return {
        "materialization": "materialization",
        "observation": "observable",
        "unexecutable": "external",
    }.get(word)


def _flag(reader, node, name):
    """True, or None where it is False or unknown: flags are said only when they are set."""
    return True if reader.peek(node, name) else None


def _io_manager_key(found, spec, node):
    if found is None or is_a(found, "SourceAsset"):
        key = getattr(found, "io_manager_key", None)
        return text(key) if isinstance(key, str) else None
    if getattr(spec, "is_external", False):
        return None
    if hasattr(found, "get_io_manager_key_for_asset_key"):
        return text(found.get_io_manager_key_for_asset_key(node.asset_key))
    output = getattr(node, "output_name", None)
    op = _op(found)
    if output is None or op is None:
        return None
    return text(op.output_def_named(output).io_manager_key)


def _policy(reader, node, *names):
    policy = reader.peek(node, *names)
    if policy is None:
        return None
    return reader.attempt(names[0].replace("_", " "), _record, policy)


def _record(value, depth=6):
    """Dagster's records (named tuples that refuse to be iterated) as {"type": …, fields}."""
    fields = getattr(value, "_fields", None)
    if not isinstance(fields, tuple) or depth <= 0:
        return plain(value)
    if hasattr(value, "to_timedelta"):
        return value.to_timedelta().total_seconds()
    result = {"type": enum_word(getattr(value, "policy_type", None)) or type(value).__name__}
    for name in fields:
        item = _record(getattr(value, name, None), depth - 1)
        if item is not None:
            result[name] = item
    return result


def _condition(reader, spec, node):
    condition = reader.peek(spec, "automation_condition")
    if condition is None:
        condition = reader.peek(node, "automation_condition")
    if condition is None:
        return None
    return reader.attempt("automation condition", _condition_text, condition, 8)


def _condition_text(condition, depth):
    """An automation condition as one line: labels where there are any, else the tree."""
    label = condition.get_label() if hasattr(condition, "get_label") else None
    if label:
        return text(label)
    described = peek(condition, "description", "name") or type(condition).__name__
    children = list(getattr(condition, "children", None) or ())
    if not children or depth <= 0:
        return text(described)
    inner = ", ".join(_condition_text(child, depth - 1) for child in children)
    return "%s(%s)" % (text(described), inner)


def _auto_materialize(reader, spec, node):
    policy = reader.peek(spec, "auto_materialize_policy")
    if policy is None and spec is None:
        policy = reader.peek(node, "auto_materialize_policy")
    if policy is None:
        return None
    rules = getattr(policy, "rules", None)
    if not rules and getattr(policy, "asset_condition", None) is not None:
        return None  # how newer versions present an automation condition to old clients
    result = {"type": enum_word(getattr(policy, "policy_type", None)) or "lazy"}
    if rules:
        result["rules"] = sorted(type(rule).__name__ for rule in rules)
    return result


# --- checks -------------------------------------------------------------------------------------


def asset_check_definitions(reader, repository, jobs):
    """All asset checks as a list of (definition, source)."""
    try:
        listed = _listing(_CHECK_LISTINGS, repository, jobs)
    except Exception as exc:  # as for assets
        reader.warn(
            "undescribable",
            "asset checks are not listed: Dagster's own listing raised %s" % summary(exc),
        )
        return []
    result = []
    by_key = peek(repository, "asset_checks_defs_by_key") or {}
    for node in listed or ():
        asset = asset_name(node.asset_key)
        reader.begin("asset_check", "%s:%s" % (asset, node.name))
        result.append(_asset_check(reader, node, asset, by_key))
        reader.end()
    return result


def _asset_check(reader, node, asset, by_key):
    op = None
    for key, found in by_key.items():
        if key.name == node.name and key.asset_key == node.asset_key:
            op = peek(found, "node_def", "op")
            break
    jobs = [job for job in peek(node, "job_names") or () if not is_hidden_job(job)]
    others = [asset_name(key) for key in peek(node, "additional_asset_keys") or ()]
    result = definition(
        "asset_check",
        "%s:%s" % (asset, text(node.name)),
        description=reader.text(node, "description"),
        asset=asset,
        check=text(node.name),
        blocking=bool(reader.peek(node, "blocking")) or None,
        additional_assets=sorted(others),
        automation_condition=_condition(reader, node, node),
        jobs=reader.strings(jobs),
    )
    place = reader.source(getattr(op, "__wrapped__", None), getattr(op, "compute_fn", None))
    return result, place
