"""What a client wants run, resolved from a snapshot before anything starts.

Owns the refusals: an asset, an op or a partition that is not there, a source that no run can make, a
partition that is missing or too many, assets that cannot run together. What is left of a selection is
explicit names, for every framework alike (``supervisor.snapshots.selection`` has the grammar). Pure; what
goes over many definitions is for a thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from supervisor import kinds, nearest
from supervisor.errors import (
    RequestError,
    UnfitOrderError,
    UnknownDefinitionError,
    UnknownPartitionError,
)
from supervisor.protocol import parameters
from supervisor.snapshots import selection

__all__ = ["Wanted", "check_partition", "misfit_partition", "of_assets", "of_job", "order_of"]

_MOST_TAGS = 1000
_DEFAULT_GRACE = 10.0
_MOST_GRACE = 3600.0
# What the selection of assets looks at, and what is asked of those that are selected.
_FIELDS = (
    *("name", "kind", "repository", "dependencies", "group", "kinds", "compute_kind", "owners"),
    *("tags", "is_source", "execution_type", "partitions"),
)
# Names in one sentence.
_MOST_NAMED = 3
# The limits that a run can have: from, to, and whether they are whole numbers.
_LIMITS: Mapping[str, tuple[float, float, bool]] = {
    "memory": (2**20, 2**50, True),
    "cpu": (0.01, 4096, False),
    "processes": (1, 2**22, True),
    "open_files": (16, 2**20, True),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job, its ops or assets, by their names as the framework has them.

    ``steps`` is what will run, in an order in which it can: ops or assets; empty where a job says
    nothing of its ops. ``partitions`` is as a snapshot has it (docs/snapshot.md), None without any.
    """

    what: str
    job: str | None
    assets: tuple[str, ...] | None
    op_selection: tuple[str, ...] | None
    repository: str | None
    steps: tuple[str, ...]
    checks: tuple[str, ...]
    partitions: Mapping[str, Any] | None


def of_job(definition: Mapping[str, Any], text: str | None) -> Wanted:
    """The job ``definition``, or the ops of it that ``text`` selects; raises ``UnfitOrderError``."""
    graph = definition.get("graph")
    nodes = selection.op_nodes(graph) if isinstance(graph, dict) else {}
    chosen = tuple(nodes)
    if text is not None:
        try:
            chosen = selection.select(parameters.text("op_selection", text), nodes)
        except selection.SelectionError as error:
            raise _bad_op(definition["name"], error, nodes) from None
    steps = selection.in_order(chosen, nodes)
    return Wanted(
        what=f"job {definition['name']}",
        job=definition["name"],
        assets=None,
        op_selection=None if text is None else steps,
        repository=definition.get("repository"),
        steps=steps,
        checks=(),
        partitions=definition.get("partitions"),
    )


def _bad_op(job: str, error: selection.SelectionError, nodes: Iterable[str]) -> UnfitOrderError:
    if error.known or not error.unknown:
        return UnfitOrderError(f"the selection of ops {error}", hint=_value_hint(error))
    names = sorted(nodes)
    hint = nearest.hint(error.unknown, names) if names else "it has no ops"
    return UnfitOrderError(f"{job} has no op {error.unknown!r}", hint=hint)


def _value_hint(error: selection.SelectionError) -> str | None:
    """Which group, tag and so on may have been meant by one that nothing has."""
    meant = nearest.near(error.unknown, error.known)
    if meant:
        return f"did you mean {meant}?"
    return nearest.listed(error.known) if error.known else None


def of_assets(
    location: str, definitions: Iterable[Mapping[str, Any]], text: str, repository: str | None
) -> Wanted:
    """The assets of ``location`` that ``text`` selects among its ``definitions``; raises ``RequestError`` and those below it.

    Raises ``UnknownDefinitionError`` for a name that none of them has.
    """
    rows, checks = [], []
    others: dict[str, str] = {}
    for one in definitions:
        if repository not in (None, one.get("repository")):
            continue
        if one["kind"] == "asset":
            rows.append({key: one[key] for key in _FIELDS if key in one})
        elif one["kind"] == "asset_check" and one.get("asset"):
            checks.append((one["asset"], one["name"]))
        else:
            others[one["name"]] = one["kind"]
    nodes = selection.asset_nodes(rows)
    try:
        names = selection.in_order(selection.select(parameters.text("assets", text), nodes), nodes)
    except selection.SelectionError as error:
        raise _bad_asset(location, error, rows, nodes, others) from None
    chosen = set(names)
    found = [one for one in rows if one["name"] in chosen]
    return Wanted(
        what="asset " + names[0] if len(names) == 1 else "the selection of " + _listed(names),
        job=None,
        assets=names,
        op_selection=None,
        repository=_repository(found),
        steps=names,
        checks=tuple(sorted(name for asset, name in checks if asset in chosen)),
        partitions=_partitions(found),
    )


def _bad_asset(
    location: str,
    error: selection.SelectionError,
    rows: Sequence[Mapping[str, Any]],
    nodes: Iterable[str],
    others: Mapping[str, str],
) -> Exception:
    if error.known or not error.unknown:
        return UnfitOrderError(f"the selection of assets {error}", hint=_value_hint(error))
    if any(one["name"] == error.unknown for one in rows):
        return UnfitOrderError(
            f"asset {error.unknown!r} is made elsewhere: it is a source or external, and no run of "
            "this location makes it",
            hint="select the assets that depend on it by their own names",
        )
    names = sorted(nodes)
    if error.unknown in others:
        hint = kinds.remedy(location, error.unknown, others[error.unknown])
    else:
        hint = nearest.hint(error.unknown, names) if names else "it has no assets"
    said = f"{location} has no asset {error.unknown!r}"
    return UnknownDefinitionError(error.unknown, said, hint=hint)


def _repository(found: Sequence[Mapping[str, Any]]) -> str | None:
    names: list[str] = [one["name"] for one in found]
    where = list(dict.fromkeys(one.get("repository") for one in found))
    if len(where) == 1:
        repository: str | None = where[0]
        return repository
    shown = ", ".join(map(str, where[:_MOST_NAMED]))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RequestError(f"{twice!r} is an asset of {shown}", hint="say which with --repository")
    raise UnfitOrderError(
        f"the assets are of several repositories, {shown}: one run is of one of them",
        hint="launch those of each apart, with --repository",
    )


def _partitions(found: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The partitions that all of those have which have any."""
    first: Mapping[str, Any] | None = None
    for one in found:
        partitions = one.get("partitions")
        if not partitions:
            continue
        if first is None:
            first = one
        elif _identity(partitions) != _identity(first["partitions"]):
            raise UnfitOrderError(
                f"the assets {first['name']} and {one['name']} have different partitions: one run is "
                "of one partition",
                hint="launch those of each partitions definition apart",
            )
    return None if first is None else first["partitions"]


def _identity(partitions: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in partitions.items() if key != "description"}


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"


def check_partition(wanted: Wanted, key: str | None, *, of_range: bool = False) -> None:
    """Refuse a partition that is missing, too many, or not one of those that the snapshot knows.

    Those of a time window, of a function and of an instance are known to the location's process alone.
    """
    partitions = wanted.partitions
    if partitions is None:
        # A partition set of the oldest releases stands beside its job.
        if of_range:
            raise UnfitOrderError(f"{wanted.what} has no partitions, and a range of them was given")
        return
    keys, count = partitions.get("keys"), partitions.get("count")
    if key is None:
        if keys and not of_range:
            raise misfit_partition(wanted.what, None, keys, count)
        return
    if isinstance(keys, list) and count == len(keys) and key not in keys:
        raise misfit_partition(wanted.what, key, keys, count)


def misfit_partition(
    what: str, key: str | None, keys: Sequence[str], count: int | None
) -> RequestError:
    """The error for a ``key`` that is none of ``keys``, or for one that was not given (None)."""
    if key is not None:
        return UnknownPartitionError(
            f"{what} has no partition {key!r}", hint=nearest.hint(key, list(keys)) if keys else None
        )
    many = f"{count:,} partitions" if count is not None else "partitions"
    last = f"--partition {keys[-1]}" if keys else "--partition KEY"
    return UnfitOrderError(
        f"{what} has {many}, and none was given", hint=f"give one of them, such as {last}"
    )


def order_of(wanted: Wanted, params: Mapping[str, Any]) -> dict[str, Any]:
    """The order (docs/runs.md) for what is wanted; raises ``UnfitOrderError``."""
    timeout = params.get("timeout")
    if timeout is not None and timeout <= 0:
        raise UnfitOrderError("the timeout of a run must be more than 0 seconds")
    return {
        "job": wanted.job,
        "repository": wanted.repository,
        "config": params.get("config") or {},
        "tags": _tags(params.get("tags") or {}),
        "op_selection": None if wanted.op_selection is None else list(wanted.op_selection),
        "assets": None if wanted.assets is None else list(wanted.assets),
        "partition_key": params.get("partition"),
        "timeout": timeout,
        "retries": params.get("retries"),
        "limits": _limits(params.get("limits") or {}),
        "grace": _grace(params.get("grace")),
    }


def _grace(grace: float | None) -> float:
    if grace is None:
        return _DEFAULT_GRACE
    if grace > _MOST_GRACE:  # an end of the supervisor waits for it
        raise UnfitOrderError(
            f"the grace of a run is at most {_MOST_GRACE:g} seconds, not {grace:g}"
        )
    return grace


def _tags(tags: Mapping[str, Any]) -> dict[str, str]:
    if len(tags) > _MOST_TAGS:
        raise UnfitOrderError(f"a run has at most {_MOST_TAGS} tags, not {len(tags)}")
    return {
        parameters.text("the name of a tag", name): parameters.text(f"tag {name!r}", value)
        for name, value in tags.items()
    }


def _limits(limits: Mapping[str, Any]) -> dict[str, float]:
    for name, value in limits.items():
        if name not in _LIMITS:
            raise UnfitOrderError(
                f"no limit of a run is named {name[:100]!r}", hint=nearest.listed(list(_LIMITS))
            )
        least, most, whole = _LIMITS[name]
        number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not number or not least <= value <= most:
            what = "a whole number" if whole else "a number"
            raise UnfitOrderError(f"the limit {name} must be {what} from {least:g} to {most:g}")
    return dict(limits)
