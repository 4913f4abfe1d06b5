"""The list of locations, and the page of each one.

Owns which locations of the last status document a page or a program gets, their order, and what the
views of one location show. Leaves markup to the templates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from supervisor.errors import RequestError
from supervisor.presentation import settings as in_words
from supervisor.presentation.log_levels import level_of
from supervisor.presentation.words import SYMBOLS
from supervisor.protocol import parameters
from supervisor.states import TROUBLED, UNDER_WAY
from supervisor.web.catalogue import Catalogue, search
from supervisor.web.face import place_in_face
from supervisor.web.link import Link
from supervisor.web.render import kind_key, numbered, page, whole
from supervisor.web.views import view_of

if TYPE_CHECKING:
    from supervisor.protocol.documents import LocationStatus

__all__ = ["VIEWS", "chosen_locations", "location", "locations", "status_of"]

VIEWS = ("definitions", "logs", "process", "history", "workspace")
_MOST_CHANGES = 200
_LINES = 500


async def locations(request: Request) -> Response:
    """``GET /``: all locations; ``q``, ``state`` (repeated), ``sort`` (one of ``_SORTS``) and
    ``page`` choose. What is wrong comes first where nothing else is asked for."""
    link: Link = view_of(request).link
    text = request.query_params.get("q", "")
    states = request.query_params.getlist("state")
    sort = request.query_params.get("sort", "failed")
    found = chosen_locations(link.locations, text, states, sort)
    rows, paging = numbered(request, found)
    if link.running:
        link.measure([one["name"] for one in rows if one["process"] is not None])
    counts = Counter(one["state"] for one in link.locations)
    return page(
        request,
        "locations.html",
        live="tick",
        rows=rows,
        paging=paging,
        q=text,
        states=states,
        sort=sort,
        sorts=_SORTS,
        counts={state: counts[state] for state in SYMBOLS if counts[state] or state in states},
        total=len(link.locations),
    )


async def status_of(link: Link, name: str) -> LocationStatus:
    """One location in detail; while no supervisor runs, as it was last heard of."""
    if not link.running:
        return link.location(name)
    return (await link.client.status(name))["locations"][0]


async def location(request: Request) -> Response:
    """``GET /location?name=…``, with ``view`` one of ``VIEWS``."""
    link: Link = view_of(request).link
    catalogue: Catalogue = view_of(request).catalogue
    name = request.query_params.get("name", "")
    one = await status_of(link, name)
    view = request.query_params.get("view", "definitions")
    view = view if view in VIEWS else "definitions"
    more: dict[str, Any] = {}
    if view == "definitions":
        more = await _listed(request, catalogue, name)
    elif view == "logs" and link.running and one["log"] is not None:
        more = {"chunk": await link.client.logs(name, lines=_LINES), "level_of": level_of}
    elif view == "process" and link.running and not one["remote"]:
        more = {"environment_row": next(iter(await link.client.environments(name)), None)}
    elif view == "history" and link.running and not one["remote"]:
        more = await _history(request, name)
    elif view == "workspace" and link.running:
        more = {"settings": await _settings(link, name)}
    if link.document is not None:
        host = request.url.hostname or ""
        more["elsewhere"] = place_in_face(link.document["supervisor"], one, "location", name, host)
    live = "tick" if view == "definitions" else "change"
    return page(request, "location.html", live=live, one=one, view=view, views=VIEWS, **more)


async def _settings(link: Link, name: str) -> list[dict[str, str]]:
    """The settings of a location as rows; places are told from the workspace's directory on."""
    found = (await link.client.settings(name))["settings"]
    base = f"{link.document['supervisor']['directory']}/" if link.document is not None else ""
    rows = []
    for key, one in found.items():
        last = in_words.parts(key)[-1]
        place = one["at"].removeprefix(base) if one["at"] is not None else ""
        text = one["value"] if isinstance(one["value"], str) else in_words.value(last, one["value"])
        note = in_words.note(last, one["value"])
        rows.append({"key": key, "value": text, "note": note, "from": one["from"], "at": place})
    return rows


async def _listed(request: Request, catalogue: Catalogue, name: str) -> dict[str, Any]:
    shelf = await catalogue.shelf(name)
    text, kind = request.query_params.get("q", ""), request.query_params.get("kind", "")
    all_rows = shelf.rows if shelf is not None else ()
    found = search(all_rows, text, kind=kind)
    rows, paging = numbered(request, found)
    counts = Counter(row.kind for row in all_rows)
    kinds = {key: counts[key] for key in sorted(counts, key=kind_key)}
    return {"rows": rows, "paging": paging, "q": text, "kind": kind, "kinds": kinds}


async def _history(request: Request, name: str) -> dict[str, Any]:
    link: Link = view_of(request).link
    catalogue: Catalogue = view_of(request).catalogue
    history = await link.client.history(name)
    kept = history["generations"]
    numbers = [one["generation"] for one in kept]
    before, after = (_number(request, key) for key in ("from", "to"))
    diff = problem = None
    if before is None and after is None and len(numbers) > 1:
        before, after = numbers[-2:]
    if before is not None and after is not None and before != after:
        try:
            diff = await catalogue.diff(name, before, after, history)
        except RequestError as error:
            problem = error
    return {
        "history": history,
        "generations": list(reversed(kept)),
        "before": before,
        "after": after,
        "diff": diff,
        "most": _MOST_CHANGES,
        "problem": problem,
    }


def _number(request: Request, name: str) -> int | None:
    number = whole(request.query_params.get(name, ""))
    return number if number is not None and number <= parameters.MOST else None


def chosen_locations(
    locations: Sequence[LocationStatus], text: str, states: Sequence[str], sort: str = "name"
) -> list[LocationStatus]:
    """Those in one of ``states`` that hold every word of ``text``, sorted."""
    words = text.lower().split()
    found = [
        one
        for one in locations
        if (not states or one["state"] in states)
        and (not words or all(word in _text(one) for word in words))
    ]
    key = _SORTS.get(sort)
    return found if key is None else sorted(found, key=key)


def _text(one: LocationStatus) -> str:
    environment: Mapping[str, Any] = one["environment"] or {}
    serving: Mapping[str, Any] = one["serving"] or {}
    frameworks = (f"{x['name']} {x['version']}" for x in serving.get("frameworks", ()))
    parts = (one["name"], environment.get("name"), environment.get("python"), one["reason"])
    return "\n".join([*(str(part or "") for part in parts), *frameworks]).lower()


def _rank(state: str) -> tuple[bool, bool, str]:
    """What is wrong comes first, what is under way second."""
    return state not in TROUBLED, state not in UNDER_WAY, state


_SORTS: Mapping[str, Any] = {
    "failed": lambda one: (one["state"] not in TROUBLED, one["name"].lower()),
    "name": lambda one: one["name"].lower(),
    "state": lambda one: (_rank(one["state"]), one["name"].lower()),
    "loaded": lambda one: -((one["serving"] or {}).get("loaded_at") or 0),
    "memory": lambda one: -(((one["process"] or {}).get("memory") or {}).get("rss") or 0),
    "cpu": lambda one: -((one["process"] or {}).get("cpu_percent") or 0),
    "restarts": lambda one: -one["restarts"],
}
