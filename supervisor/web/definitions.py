"""The pages about definitions: one, all, the graph of assets, the schedules of a day.

Owns what these pages collect from the catalogue; markup is the templates'. The same search answers
people here and programs in ``api``.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from supervisor.web import timing
from supervisor.web.catalogue import GROUPINGS, Asset, Catalogue, Row, Shelf, search
from supervisor.web.drawing import Drawing, Node, draw
from supervisor.web.prose import prose_of
from supervisor.web.render import href, kind_key, numbered, page
from supervisor.web.shapes import LAUNCHED, PLACED, checked, is_external
from supervisor.web.views import view_of

__all__ = ["Graph", "assets", "definition", "everything", "graphs_of", "neighbourhood", "schedules"]

_MOST_NEAR = 60
_MOST_DRAWN = 300
_MOST_NODES = 200
_MOST_GRAPHS = 20


async def definition(request: Request) -> Response:
    """``GET /definition?location=…&kind=…&name=…``, with ``repository`` where there are several."""
    asked = request.query_params
    catalogue: Catalogue = view_of(request).catalogue
    location = asked.get("location", "")
    one, source, generation = await catalogue.definition(
        location, asked.get("name", ""), asked.get("kind"), asked.get("repository")
    )
    one = checked(one)
    context: dict[str, Any] = {}
    if one["kind"] == "asset":
        context |= await _lineage(catalogue, one["name"])
    if one["kind"] == "schedule":
        crons = timing.crons_of(one)
        context["crons"] = [(cron, timing.in_words(cron)) for cron in crons]
        context["ticks"] = timing.next_ticks(one, time.time())
    shelf = await catalogue.shelf(location)
    targets = [one["job"]] if one.get("job") else list(one.get("jobs") or ())
    context["targets"] = [(name, _kind_of_target(shelf, one, name)) for name in targets]
    context["launched_by"] = _launchers(shelf, one)
    twice = await catalogue.defined_twice()
    others = [name for name in twice.get((one["kind"], one["name"]), ()) if name != location]
    graphs = graphs_of(one)
    nodes = (str(node.get("description") or "") for graph in graphs for node in graph.nodes)
    return page(
        request,
        "definition.html",
        one=one,
        location=location,
        source=source,
        generation=generation,
        graphs=graphs,
        prose=await prose_of([str(one.get("description") or ""), *nodes]),
        others=others,
        external=is_external(one),
        rest={key: one[key] for key in sorted(one.keys() - PLACED)},
        **context,
    )


def _kind_of_target(shelf: Shelf | None, one: Mapping[str, Any], name: str) -> str | None:
    """The kind of the job ``name`` in the repository of ``one``."""
    for row in shelf.rows if shelf is not None else ():
        here = (row.name, row.repository) == (name, one.get("repository"))
        if here and row.kind in LAUNCHED:
            return row.kind
    return None


def _launchers(shelf: Shelf | None, one: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The schedules and sensors of a job."""
    if shelf is None or one["kind"] not in LAUNCHED:
        return []
    return [
        other
        for other in shelf.of_kind("schedule", "sensor")
        if other.get("repository") == one.get("repository")
        and (other.get("job") == one["name"] or one["name"] in other.get("jobs", ()))
    ]


async def _lineage(catalogue: Catalogue, name: str) -> dict[str, Any]:
    all_assets = await catalogue.assets()
    here = all_assets.get(name)
    if here is None:
        return {}
    near = neighbourhood(all_assets, name)
    return {
        "asset": here,
        "assets": all_assets,
        "lineage": _drawn(all_assets, near, here=name),
        "upstream": sorted(here.upstream),
        "downstream": sorted(here.downstream),
    }


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


def _drawn(assets: Mapping[str, Asset], names: Iterable[str], here: str | None = None) -> Drawing:
    chosen = dict.fromkeys(names)
    nodes = []
    for name in chosen:
        one = assets[name]
        places = one.homes or one.seen_in
        link = (
            href("/definition", location=one.location, kind="asset", name=name)
            if one.location is not None
            else None
        )
        marks = " ".join(
            word for word, on in (("here", name == here), ("unknown", not one.homes)) if on
        )
        note = ", ".join(places) or "defined nowhere"
        nodes.append(Node(name, name, note, link, marks))
    edges = [(up, name) for name in chosen for up in assets[name].upstream if up in chosen]
    return draw(nodes, edges)


@dataclass(frozen=True, slots=True)
class Graph:
    """The graph of a job, or one nested in it. ``drawing`` shows ``drawn`` of ``nodes``; None for
    those after the first few."""

    title: str
    nodes: list[Mapping[str, Any]]
    drawn: int
    drawing: Drawing | None


def graphs_of(one: Mapping[str, Any]) -> list[Graph]:
    """The graph of a job, then those nested in it, each with its title; none for other kinds."""
    found: list[Graph] = []
    waiting = deque([("", one.get("graph"))])
    while waiting:
        title, graph = waiting.popleft()
        nodes = graph.get("nodes") if isinstance(graph, Mapping) else None
        if not isinstance(nodes, list) or not nodes:
            continue
        nodes = [node for node in nodes if isinstance(node, Mapping)]
        some = nodes[:_MOST_NODES] if len(found) < _MOST_GRAPHS else []
        drawing = draw([_op(node) for node in some], _edges(some)) if some else None
        found.append(Graph(title, nodes, len(some), drawing))
        for node in nodes:
            if node.get("graph"):
                waiting.append((f"{title} / {node['name']}".strip(" /"), node["graph"]))
    return found


def _op(node: Mapping[str, Any]) -> Node:
    definition = node.get("definition")
    kind = str(node.get("kind", "op"))
    note = f"{kind} {definition}" if definition else kind
    return Node(str(node.get("name", "")), str(node.get("name", "")), note)


def _edges(nodes: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    found = []
    for node in nodes:
        inputs = node.get("inputs") or ()
        ends = [end for one in inputs for end in (one.get("from") or ())]
        for end in [*ends, *(node.get("after") or ())]:
            # An output has no dot in its name, a node neither.
            found.append((str(end).partition(".")[0], str(node["name"])))
    return found


async def everything(request: Request) -> Response:
    """``GET /definitions``: ``q``, ``kind``, ``location``, ``group`` (one of ``GROUPINGS``), ``in``."""
    asked = request.query_params
    catalogue: Catalogue = view_of(request).catalogue
    all_rows = await catalogue.rows()
    text, kind, location = (asked.get(key, "") for key in ("q", "kind", "location"))
    by = asked.get("group", "")
    by = by if by in GROUPINGS else ""
    found = search(all_rows, text, kind=kind, location=location)
    groups: dict[str, int] = {}
    heads: dict[int, str] = {}
    inside = asked.get("in", "") if by else ""
    if inside and any(inside in row.groups(by) for row in all_rows):
        found = [row for row in found if inside in row.groups(by)]
        rows, paging = numbered(request, found)
    elif by:
        inside = ""
        members: dict[str, list[Row]] = {}
        for row in found:
            for group in row.groups(by):
                members.setdefault(group, []).append(row)
        order = sorted(members, key=lambda group: (-len(members[group]), group))
        groups = {group: len(members[group]) for group in order}
        pairs, paging = numbered(request, [(g, row) for g in order for row in members[g]])
        rows = [row for _, row in pairs]
        before = [None, *(group for group, _ in pairs)]
        heads = {n: group for n, (group, _) in enumerate(pairs) if group != before[n]}
    else:
        rows, paging = numbered(request, found)
    kinds = Counter(row.kind for row in all_rows)
    twice = await catalogue.defined_twice()
    return page(
        request,
        "definitions.html",
        rows=rows,
        heads=heads,
        paging=paging,
        found=len(found),
        q=text,
        kind=kind,
        location=location,
        by=by,
        inside=inside,
        groups=dict(list(groups.items())[:200]),
        more_groups=max(len(groups) - 200, 0),
        groupings=GROUPINGS,
        kinds={key: kinds[key] for key in sorted(kinds, key=kind_key)},
        locations=sorted({row.location for row in all_rows}),
        total=len(all_rows),
        twice=sorted(twice.items())[:200],
        twice_total=len(twice),
        numbers=Counter(row.location for row in all_rows),
    )


async def assets(request: Request) -> Response:
    """``GET /assets``: the graph of all assets; ``q``, ``location`` and ``group`` narrow it."""
    asked = request.query_params
    catalogue: Catalogue = view_of(request).catalogue
    everyone = await catalogue.assets()
    text, location, group = (asked.get(key, "") for key in ("q", "location", "group"))
    words = text.lower().split()
    chosen = [
        name
        for name, one in sorted(everyone.items())
        if all(word in name.lower() for word in words)
        and (not location or location in one.homes or location in one.seen_in)
        and (not group or one.group == group)
    ]
    shown = chosen[:_MOST_DRAWN]
    if text or location or group:
        # What is next to what was asked for says where it comes from and goes to.
        near = {n for one in shown for n in (*everyone[one].upstream, *everyone[one].downstream)}
        shown = list(dict.fromkeys([*shown, *sorted(near)]))[:_MOST_DRAWN]
    else:
        # Those that depend on something first: the rest is a list, not a graph.
        shown = sorted(chosen, key=lambda name: not _connected(everyone[name]))[:_MOST_DRAWN]
    return page(
        request,
        "assets.html",
        drawing=_drawn(everyone, shown),
        assets=everyone,
        rows=numbered(request, chosen)[0],
        paging=numbered(request, chosen)[1],
        found=len(chosen),
        shown=len(shown),
        total=len(everyone),
        q=text,
        location=location,
        group=group,
        locations=sorted({place for one in everyone.values() for place in one.homes}),
        groups=sorted({one.group for one in everyone.values() if one.group}),
    )


def _connected(one: Asset) -> bool:
    return bool(one.upstream or one.downstream)


async def schedules(request: Request) -> Response:
    """``GET /schedules``: a line a schedule over the 24 hours from now; ``q``, ``location``."""
    asked = request.query_params
    catalogue: Catalogue = view_of(request).catalogue
    shelves = await catalogue.fresh()
    text, location = asked.get("q", ""), asked.get("location", "")
    zone_name = asked.get("zone", "") or "UTC"
    where = timing.zone(zone_name) or UTC
    begin = datetime.fromtimestamp(time.time(), where).replace(minute=0, second=0, microsecond=0)
    words = text.lower().split()
    everyone = [
        (name, one) for name in sorted(shelves) for one in shelves[name].of_kind("schedule")
    ]
    found = [
        (name, one)
        for name, one in everyone
        if location in ("", name)
        and all(word in f"{one['name']} {name} {one.get('job', '')}".lower() for word in words)
    ]
    chosen, paging = numbered(request, found, 50)
    rows = [
        {
            "location": name,
            "one": one,
            "crons": [(cron, timing.in_words(cron)) for cron in timing.crons_of(one)],
            "day": timing.day_of(one, begin),
            "zone": str(one.get("execution_timezone") or "UTC"),
        }
        for name, one in chosen
    ]
    zones = {str(one.get("execution_timezone") or "UTC") for _, one in found}
    return page(
        request,
        "schedules.html",
        rows=rows,
        paging=paging,
        q=text,
        location=location,
        locations=sorted({name for name, _ in everyone}),
        zone=zone_name if timing.zone(zone_name) else "UTC",
        zones=sorted({"UTC", *zones}),
        hours=[datetime.fromtimestamp(begin.timestamp() + n * 3600, where).hour for n in range(24)],
        passed=(time.time() - begin.timestamp()) / 3600,
        found=len(found),
        total=len(everyone),
    )
