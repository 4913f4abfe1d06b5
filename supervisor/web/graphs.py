"""The graphs that pages draw: all assets, the assets around one, the nodes of a job.

Owns what is in them, as plain data that ``static/graph.js`` lays out and draws: items, which are nodes and
groups of nodes, and edges between them. Draws nothing and places nothing. A group may be folded; a graph
nested in a job is a group.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from supervisor.presentation import words
from supervisor.web.catalogue import Asset, Catalogue
from supervisor.web.render import href
from supervisor.web.shapes import checked
from supervisor.web.views import view_of

__all__ = [
    "Drawn",
    "Edge",
    "Item",
    "Nodes",
    "assets_drawn",
    "graph",
    "neighbourhood",
    "nodes_of",
    "ops_drawn",
]

_MOST_NEAR = 60
_NOWHERE = "defined nowhere"


class Port(TypedDict):
    """An input or an output of an op."""

    name: str
    type: str


class Item(TypedDict):
    """A node or a group. ``lines`` stand below its title; ``parent`` is the place in the list of the group
    that it is in; ``marks`` are ``here`` and ``unknown``."""

    key: str
    title: str
    lines: list[str]
    is_group: bool
    parent: NotRequired[int]
    href: NotRequired[str]
    marks: NotRequired[list[str]]
    inputs: NotRequired[list[Port]]
    outputs: NotRequired[list[Port]]
    locations: NotRequired[list[str]]
    group: NotRequired[str | None]


Edge = tuple[int, int, str, str]
"""From an item to one that needs it, by their places in the list, and the output and the input."""


class Drawn(TypedDict):
    """A graph."""

    items: list[Item]
    edges: list[Edge]


async def graph(request: Request) -> Response:
    """``GET /graph``: all assets; with ``asset`` those around it; with ``location``, ``kind`` and ``name``
    (and ``repository``) the nodes of that job."""
    asked = request.query_params
    catalogue: Catalogue = view_of(request).catalogue
    location = asked.get("location", "")
    if location:
        one, _source, _generation = await catalogue.definition(
            location, asked.get("name", ""), asked.get("kind"), asked.get("repository")
        )
        return JSONResponse(ops_drawn(checked(one)))
    everyone = await catalogue.assets()
    name = asked.get("asset", "")
    if name:
        near = neighbourhood(everyone, name) if name in everyone else []
        return JSONResponse(assets_drawn(everyone, near, here=name))
    return JSONResponse(assets_drawn(everyone, sorted(everyone), grouped=True))


def neighbourhood(
    assets: Mapping[str, Asset], name: str, hops: int = 3, most: int = _MOST_NEAR
) -> list[str]:
    """The assets up to ``hops`` upstream and downstream of ``name``, nearest first."""
    found = {name: None}
    for direction in ("upstream", "downstream"):
        edge = [name]
        for _ in range(hops):
            edge = sorted({other for one in edge for other in getattr(assets[one], direction)})
            for other in edge:
                if len(found) < most:
                    found.setdefault(other)
            edge = [other for other in edge if other in found]
    return list(found)


def assets_drawn(
    assets: Mapping[str, Asset],
    names: Iterable[str],
    *,
    here: str | None = None,
    grouped: bool = False,
) -> Drawn:
    """``names`` of ``assets`` with the edges among them, in a group for each location and group if
    ``grouped``."""
    items: list[Item] = []
    groups: dict[tuple[str, str], int] = {}
    members: Counter[int] = Counter()
    places: dict[str, int] = {}
    for name in dict.fromkeys(names):
        one = assets[name]
        item = _asset(one, here=name == here)
        if grouped:
            group = (one.location or "", one.group or "")
            if group not in groups:
                groups[group] = len(items)
                items.append(_group(*group))
            item["parent"] = groups[group]
            members[groups[group]] += 1
        places[name] = len(items)
        items.append(item)
    for at, count in members.items():
        items[at]["lines"].append(words.plural(count, "asset"))
    edges: list[Edge] = [
        (places[up], places[name], "", "")
        for name in places
        for up in sorted(assets[name].upstream)
        if up in places and up != name
    ]
    return {"items": items, "edges": edges}


def _group(location: str, group: str) -> Item:
    if not location:
        return {"key": "group:", "title": _NOWHERE, "lines": [], "is_group": True}
    return {
        "key": f"group:{location}:{group}",
        "title": group or "without a group",
        "lines": [location],
        "is_group": True,
    }


def _asset(one: Asset, *, here: bool) -> Item:
    places = one.homes or one.seen_in
    where = ", ".join(places) or _NOWHERE
    item: Item = {
        "key": one.name,
        "title": one.name,
        "lines": [f"{where} · {one.group}" if one.group else where],
        "is_group": False,
        "locations": [*one.homes, *one.seen_in],
        "group": one.group,
    }
    told = [*one.kinds, *([words.plural(len(one.checks), "check")] if one.checks else [])]
    if told:
        item["lines"].append(" · ".join(told))
    if one.location is not None:
        item["href"] = href("/definition", location=one.location, kind="asset", name=one.name)
    marks = [word for word, on in (("here", here), ("unknown", not one.homes)) if on]
    if marks:
        item["marks"] = marks
    return item


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a job's graph, or of one nested in it. ``path`` is that of the node it is nested in."""

    path: tuple[str, ...]
    nodes: list[Mapping[str, Any]]

    def mark(self, node: Mapping[str, Any]) -> str:
        """The id of the row that describes ``node``."""
        return "node-" + "/".join((*self.path, str(node["name"])))


def nodes_of(one: Mapping[str, Any]) -> list[Nodes]:
    """The graph of a job, then those nested in it; none for other kinds."""
    found: list[Nodes] = []
    waiting: deque[tuple[tuple[str, ...], Any]] = deque([((), one.get("graph"))])
    while waiting:
        path, graph = waiting.popleft()
        nodes = graph.get("nodes") if isinstance(graph, Mapping) else None
        if not isinstance(nodes, list) or not nodes:
            continue
        found.append(Nodes(path, [node for node in nodes if isinstance(node, Mapping)]))
        waiting += [((*path, node["name"]), node["graph"]) for node in nodes if node.get("graph")]
    return found


def ops_drawn(one: Mapping[str, Any]) -> Drawn:
    """The nodes of a job, which is ``checked``; nested graphs are groups."""
    items: list[Item] = []
    edges: list[Edge] = []
    groups: dict[tuple[str, ...], int] = {}
    for graph in nodes_of(one):
        places = {}
        for node in graph.nodes:
            name = str(node["name"])
            places[name] = len(items)
            if node.get("graph"):
                groups[(*graph.path, name)] = len(items)
            item = _op(node)
            item["key"] = "/".join((*graph.path, name))
            item["href"] = "#" + quote(graph.mark(node))
            if graph.path:
                item["parent"] = groups[graph.path]
            items.append(item)
        for node in graph.nodes:
            ends = [(end, put["name"]) for put in node["inputs"] for end in put["from"]]
            for end, put in [*ends, *((end, "") for end in node["after"])]:
                # An output has no dot in its name, a node neither.
                name, _, output = end.partition(".")
                if name in places and name != node["name"]:
                    edges.append((places[name], places[node["name"]], output, put))
    return {"items": items, "edges": edges}


def _op(node: Mapping[str, Any]) -> Item:
    definition = node.get("definition")
    kind = str(node["kind"])
    return {
        "key": "",
        "title": str(node["name"]),
        "lines": [f"{kind} {definition}" if definition else kind],
        "is_group": bool(node.get("graph")),
        "inputs": [_port(put) for put in node["inputs"]],
        "outputs": [_port(put) for put in node["outputs"]],
    }


def _port(put: Mapping[str, Any]) -> Port:
    return {"name": put["name"], "type": put.get("type", "")}
