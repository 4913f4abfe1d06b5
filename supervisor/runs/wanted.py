"""What a client wants run, checked against the snapshot before anything starts.

Owns the refusals: a tag that is no text, a configuration that is no map, an op that the job has not,
and the grammar of selections: names with commas between them, ``+`` before or after a name for one
layer of what it depends on or what depends on it, ``*`` for all of them. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from supervisor import nearest, parameters
from supervisor.errors import UnfitOrderError

__all__ = ["order_of", "selected"]

_TERM = re.compile(r"(?P<up>\*|\++)?(?P<name>[^*+,\s][^*+,]*?)(?P<down>\*|\++)?\Z")
_MOST_TAGS = 1000
_DEFAULT_GRACE = 10.0
# The limits that a run can have: from, to, and whether they are whole numbers.
_LIMITS: Mapping[str, tuple[float, float, bool]] = {
    "memory": (2**20, 2**50, True),
    "cpu": (0.01, 4096, False),
    "processes": (1, 2**22, True),
    "open_files": (16, 2**20, True),
}


def order_of(params: Mapping[str, Any], definition: Mapping[str, Any]) -> dict[str, Any]:
    """The order for the job ``definition``; raises ``UnfitOrderError``."""
    timeout = params.get("timeout")
    if timeout is not None and timeout <= 0:
        raise UnfitOrderError("the timeout of a run must be more than 0 seconds")
    selection = params.get("op_selection")
    return {
        "job": definition["name"],
        "repository": definition.get("repository"),
        "config": params.get("config") or {},
        "tags": _tags(params.get("tags") or {}),
        "op_selection": None if not selection else selected(selection, definition),
        "assets": None,
        "partition_key": None,
        "timeout": timeout,
        "limits": _limits(params.get("limits") or {}),
        "grace": params.get("grace", _DEFAULT_GRACE),
    }


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
                f"no limit of a run is named {name[:100]!r}", hint=f"there are {', '.join(_LIMITS)}"
            )
        least, most, whole = _LIMITS[name]
        number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not number or not least <= value <= most:
            what = "a whole number" if whole else "a number"
            raise UnfitOrderError(f"the limit {name} must be {what} from {least:g} to {most:g}")
    return dict(limits)


def selected(selection: Any, definition: Mapping[str, Any]) -> list[str]:
    """The names of the ops of a job that ``selection`` means, sorted.

    Raises ``UnfitOrderError`` that names what was near.
    """
    text = parameters.text("op_selection", selection)
    graph = definition.get("graph")
    nodes = {one["name"]: one for one in graph["nodes"]} if isinstance(graph, dict) else {}
    above = {name: set(_sources(node)) & nodes.keys() for name, node in nodes.items()}
    below: dict[str, set[str]] = {name: set() for name in nodes}
    for name, sources in above.items():
        for source in sources:
            below[source].add(name)
    found: set[str] = set()
    for term in filter(None, (one.strip() for one in text.split(","))):
        match = _TERM.match(term)
        if match is None:
            raise UnfitOrderError(f"the selection {term!r} cannot be read")
        name = match["name"]
        if name not in nodes:
            hint = nearest.hint(name, sorted(nodes)) if nodes else "it has no ops"
            raise UnfitOrderError(f"{definition['name']} has no op {name!r}", hint=hint)
        found |= {name, *_layers(name, match["up"], above), *_layers(name, match["down"], below)}
    if not found:
        raise UnfitOrderError("the selection names no op")
    return sorted(found)


def _layers(name: str, how: str | None, next_to: Mapping[str, set[str]]) -> Iterator[str]:
    left = {None: 0, "*": len(next_to)}.get(how, len(how or ""))
    layer, seen = {name}, {name}
    while left > 0 and layer:
        layer = {other for one in layer for other in next_to[one]} - seen
        seen |= layer
        yield from layer
        left -= 1


def _sources(node: Mapping[str, Any]) -> Iterator[str]:
    for item in node.get("inputs") or ():
        for source in item.get("from") or ():
            yield source.partition(".")[0]
    for source in node.get("after") or ():
        yield source.partition(".")[0]
