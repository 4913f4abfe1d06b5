"""The pages about definitions: one, all, the graph of assets, the schedules of a day.

Owns what these pages collect from the catalogue; markup is the templates'. The same search answers
people here and programs in ``api``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from supervisor.errors import SupervisorError
from supervisor.web import timing
from supervisor.web.catalogue import GROUPINGS, Catalogue, Row, Shelf, search
from supervisor.web.graphs import nodes_of
from supervisor.web.link import Link
from supervisor.web.prose import prose_of
from supervisor.web.render import kind_key, numbered, page
from supervisor.web.shapes import LAUNCHED, PLACED, checked, is_external
from supervisor.web.views import view_of

__all__ = ["assets", "definition", "everything", "schedules"]

_LAST_RUNS = 5
_NEEDS = frozenset({"resource_keys", "nested", "graph"})


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
    marked = _marked(one.get("metadata") or {}, one.get("markdown") or ())
    if one["kind"] == "asset":
        context |= await _lineage(catalogue, one["name"])
        asset = context.get("asset")
        checks = asset is not None and any(each.location == location for each in asset.checks)
        if checks or not is_external(one):
            results, link = view_of(request).asset_results, view_of(request).link
            jobs = one.get("jobs") or ()
            context["lately"] = lately = await results.last(link, location, one["name"], jobs)
            if lately.made is not None:
                marked += _marked(lately.made.metadata, lately.made.markdown)
    if one["kind"] == "asset_check":
        everyone = await catalogue.assets()
        looked_at = [one["asset"]] if one.get("asset") else []
        looked_at += one.get("additional_assets") or []
        context["checked_assets"] = [
            (name, everyone[name].location if name in everyone else None) for name in looked_at
        ]
    shelf = await catalogue.shelf(location)
    if one["kind"] in LAUNCHED:
        context["last_runs"] = await _last_runs(view_of(request).link, location, one["name"])
    if one["kind"] == "resource" and shelf is not None:
        context["users"] = await asyncio.to_thread(_users, shelf, one)
    if one["kind"] == "schedule":
        crons = timing.crons_of(one)
        context["crons"] = [(cron, timing.in_words(cron)) for cron in crons]
        context["ticks"] = timing.next_ticks(one, time.time())
    targets = [one["job"]] if one.get("job") else list(one.get("jobs") or ())
    context["targets"] = [(name, _kind_of_target(shelf, one, name)) for name in targets]
    context["launched_by"] = _launchers(shelf, one)
    twice = await catalogue.defined_twice()
    others = [name for name in twice.get((one["kind"], one["name"]), ()) if name != location]
    graphs = nodes_of(one)
    nodes = (str(node.get("description") or "") for graph in graphs for node in graph.nodes)
    return page(
        request,
        "definition.html",
        one=one,
        location=location,
        source=source,
        generation=generation,
        graphs=graphs,
        place_of=lambda node: shelf and shelf.source_of_node(node, one.get("repository")),
        prose=await prose_of([str(one.get("description") or ""), *marked, *nodes]),
        others=others,
        external=is_external(one),
        rest={key: one[key] for key in sorted(one.keys() - PLACED)},
        **context,
    )


def _marked(metadata: Mapping[str, Any], markdown: Iterable[str]) -> list[str]:
    """The values that are Markdown."""
    return [metadata[key] for key in markdown if isinstance(metadata.get(key), str)]


async def _last_runs(link: Link, location: str, job: str) -> list[Any]:
    """The newest runs of ``job``; empty if the supervisor refuses or does not answer."""
    if not link.running:
        return []
    params = {"location": location, "job": job, "limit": _LAST_RUNS}
    with contextlib.suppress(SupervisorError):  # it has gone meanwhile
        found: Any = await link.client.call_method("runs", params)
        return list(found["runs"])
    return []


def _kind_of_target(shelf: Shelf | None, one: Mapping[str, Any], name: str) -> str | None:
    """The kind of the job ``name`` in the repository of ``one``."""
    for row in shelf.rows if shelf is not None else ():
        here = (row.name, row.repository) == (name, one.get("repository"))
        if here and row.kind in LAUNCHED:
            return row.kind
    return None


def _users(shelf: Shelf, resource: Mapping[str, Any]) -> list[Row]:
    """What needs ``resource``: jobs, one of whose ops does, assets, and resources that are made of it."""
    return [
        row
        for row in shelf.rows
        if row.kind in (*LAUNCHED, "asset", "resource")
        and row.repository == resource.get("repository")
        and resource["name"] in _needs(checked(shelf.definition(row), _NEEDS))
    ]


def _needs(one: Mapping[str, Any]) -> set[str]:
    found = {*one.get("resource_keys", ()), *one.get("nested", ())}
    graphs = [one["graph"]] if one.get("graph") else []
    while graphs:
        for node in graphs.pop()["nodes"]:
            found.update(node["resource_keys"])
            graphs += [node["graph"]] if "graph" in node else []
    return found


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
    return {
        "asset": here,
        "assets": all_assets,
        "version": catalogue.version,
        "upstream": sorted(here.upstream),
        "downstream": sorted(here.downstream),
    }


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
    return page(
        request,
        "assets.html",
        version=catalogue.version,
        assets=everyone,
        rows=numbered(request, chosen)[0],
        paging=numbered(request, chosen)[1],
        found=len(chosen),
        total=len(everyone),
        q=text,
        location=location,
        group=group,
        locations=sorted({place for one in everyone.values() for place in one.homes}),
        groups=sorted({one.group for one in everyone.values() if one.group}),
    )


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
