"""The one search over everything: locations, definitions, automations, environments and runs.

Owns what is looked through, the order of what is found and how much of it is shown. People get it as a page
of its own, and the field at the top of every page shows what that page would.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from starlette.requests import Request
from starlette.responses import Response

from supervisor.errors import SupervisorError
from supervisor.presentation import runs as run_words
from supervisor.web import environments
from supervisor.web.catalogue import Catalogue, Row, search
from supervisor.web.locations import chosen_locations
from supervisor.web.prose import plain
from supervisor.web.render import href, page, plural_kind
from supervisor.web.views import view_of

if TYPE_CHECKING:
    from supervisor.protocol.run_documents import RunRow, RunRows
    from supervisor.web.link import Link

__all__ = ["Found", "Group", "everything_like"]

_MOST = 20
_FEW = 5
_AUTOMATED = ("schedule", "sensor")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was found: its ``name``, what it is, and where its page is."""

    name: str
    note: str
    link: str


@dataclass(frozen=True, slots=True)
class Group:
    """What was found of one sort: the first of ``total``, and where all of them are listed."""

    title: str
    rows: list[Found]
    total: int
    link: str


async def everything_like(request: Request) -> Response:
    """``GET /search``: ``q`` is looked for everywhere; ``few`` shows the first few of each sort."""
    view = view_of(request)
    text = request.query_params.get("q", "").strip()
    most = _FEW if request.query_params.get("few") else _MOST
    groups: list[Group] = []
    if text:
        found, used, ran = await asyncio.gather(
            _definitions(view.catalogue, text, most),
            _environments(view.link, text, most),
            _runs(view.link, text, most),
        )
        groups = [_locations(view.link, text, most), *found, used, ran]
    shown = [one for one in groups if one.rows]
    total = sum(one.total for one in shown)
    return page(request, "search.html", q=text, groups=shown, total=total)


def _nearest(text: str, found: Iterable[_T], name: Callable[[_T], str], most: int) -> list[_T]:
    """The first of ``found``: what is called so, what begins so, what has it in its name, the rest."""
    text = text.lower()

    def rank(one: _T) -> tuple[int, int, str]:
        own = name(one).lower()
        last = own.rpartition("/")[2]  # of an asset, which people call by the end of its key
        place = (
            0 if text in (own, last) else 1 if own.startswith(text) or last.startswith(text) else 2
        )
        return (place if place < 2 or text in own else 3), len(own), own

    return heapq.nsmallest(most, found, key=rank)


def _locations(link: Link, text: str, most: int) -> Group:
    found = chosen_locations(link.locations, text, ())
    rows = [
        Found(one["name"], one["state"], href("/location", name=one["name"]))
        for one in _nearest(text, found, lambda one: one["name"], most)
    ]
    return Group("Locations", rows, len(found), href("/", q=text))


async def _definitions(catalogue: Catalogue, text: str, most: int) -> list[Group]:
    found = search(await catalogue.rows(), text)
    ticking = [row for row in found if row.kind in _AUTOMATED]
    return [
        Group(
            "Definitions",
            [_definition(row) for row in _nearest(text, found, lambda row: row.name, most)],
            len(found),
            href("/definitions", q=text),
        ),
        Group(
            "Automations",
            [_automation(row) for row in _nearest(text, ticking, lambda row: row.name, most)],
            len(ticking),
            href("/automations", q=text),
        ),
    ]


def _definition(row: Row) -> Found:
    parts = [f"{plural_kind(row.kind, 1)} of {row.location}", plain(row.description)[:80]]
    asked = {"location": row.location, "kind": row.kind, "name": row.name}
    link = href("/definition", **asked, repository=row.repository)
    return Found(row.name, " · ".join(part for part in parts if part), link)


def _automation(row: Row) -> Found:
    link = href("/automation", location=row.location, name=row.name)
    return Found(row.name, f"{row.kind} of {row.location}: its switch and its ticks", link)


async def _environments(link: Link, text: str, most: int) -> Group:
    words = text.lower().split()
    try:
        rows = await environments.known(link)
    except SupervisorError:
        rows = []
    found = [
        one
        for one in rows
        if all(word in f"{one['name']} python {one['python']}".lower() for word in words)
    ]
    shown = [
        Found(
            one["name"] or "default",
            f"Python {one['python']}" if one["python"] else "environment",
            "/environments",
        )
        for one in _nearest(text, found, lambda one: one["name"] or "", most)
    ]
    return Group("Environments", shown, len(found), "/environments")


async def _runs(link: Link, text: str, most: int) -> Group:
    asked: dict[str, Any] = {"words": text, "limit": most}
    rows: Sequence[RunRow] = ()
    total = 0
    try:
        answer = cast("RunRows", await link.client.call_method("runs", asked))
    except SupervisorError:
        pass
    else:
        rows, total = answer["runs"], answer["total"]
    shown = [
        Found(
            f"…{one['run'][-8:]}",
            f"{one['state'].replace('_', ' ')} run of {run_words.subject(one)}, {one['location']}",
            href("/run", id=one["run"]),
        )
        for one in rows
    ]
    return Group("Runs", shown, total, href("/runs", q=text))
