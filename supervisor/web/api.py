"""``/api/v1``: what the pages show, as JSON for programs, and the document that describes it.

Owns the addresses, the reading of their parameters and the shape of answers; ``openapi.json`` is
made from the same table that is served. Errors are ``{"error": {"code", "message", "hint"}}`` with
the codes of docs/protocol.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from supervisor.errors import InvalidParameterError
from supervisor.protocol import parameters
from supervisor.protocol.methods import METHODS, Method
from supervisor.web import environments as environment_pages
from supervisor.web import run_events, timing
from supervisor.web.catalogue import Catalogue, search
from supervisor.web.link import Link
from supervisor.web.locations import chosen_locations
from supervisor.web.openapi import document
from supervisor.web.views import view_of

if TYPE_CHECKING:
    from supervisor.client.client import Order
    from supervisor.protocol import documents as control
    from supervisor.protocol import run_documents
    from supervisor.web import documents
    from supervisor.web.following import Following

__all__ = ["ROUTES", "error"]

_MOST_ROWS = 1000
_ORDERS = ("reload", "restart", "stop", "start")
_DECIMAL = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")


def error(
    status: int, code: str, message: str, hint: str | None, problems: Sequence[Any] = ()
) -> JSONResponse:
    """An error as programs get it."""
    data: dict[str, Any] = {"code": code, "message": message, "hint": hint}
    if problems:
        data["problems"] = list(problems)
    return JSONResponse({"error": data}, status)


class _InvalidError(Exception):
    """A parameter is missing or no good; the text says which."""


def _answered(handler: Any) -> Any:
    async def answer(request: Request) -> Response:
        try:
            _ = _link(request).client  # raises while there is none to ask
            result = await handler(request)
        except (_InvalidError, InvalidParameterError) as problem:
            return error(422, "protocol", str(problem), "see /api/v1/openapi.json")
        return result if isinstance(result, Response) else JSONResponse(result)

    answer.__name__ = handler.__name__
    return answer


def _text(request: Request, name: str, *, required: bool = False) -> str | None:
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise _InvalidError(f"{name!r} is given more than once")
    if required and not (values and values[0]):
        raise _InvalidError(f"{name!r} is missing")
    return parameters.text(name, values[0]) if values else None


def _number(request: Request, name: str, least: int, most: int) -> int | None:
    text = _text(request, name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(parameters.MOST)):
        raise _InvalidError(f"{name!r} must be a whole number")
    number = int(text)
    if not least <= number <= most:
        raise _InvalidError(f"{name!r} must be from {least} to {most}")
    return number


def _moment(request: Request, name: str) -> float | None:
    text = _text(request, name)
    if text is None:
        return None
    if not _DECIMAL.fullmatch(text):
        raise _InvalidError(f"{name!r} must be a time in Unix seconds")
    return parameters.moment(name, float(text))


def _link(request: Request) -> Link:
    link: Link = view_of(request).link
    return link


async def status(request: Request) -> documents.ApiStatus:
    """The status document, and which workspace this page belongs to."""
    link = _link(request)
    assert link.document is not None  # one runs
    return {
        **link.document,
        "locations": link.locations,
        "workspace": {
            "name": link.workspace,
            "directory": str(link.identity.directory or link.document["supervisor"]["directory"]),
            "key": link.identity.key,
        },
    }


async def locations(request: Request) -> documents.Locations:
    """Locations, those in a ``state`` and with all words of ``q``."""
    states = parameters.texts("state", request.query_params.getlist("state"))
    states = [one for one in states if one]
    text = _text(request, "q") or ""
    found = chosen_locations(_link(request).locations, text, states)
    return {"locations": found}


async def location(request: Request) -> control.LocationStatus:
    """One location in detail."""
    name = _text(request, "name", required=True)
    found = await _link(request).client.status(name)
    return found["locations"][0]


async def definitions(request: Request) -> documents.Definitions:
    """Rows of definitions."""
    catalogue: Catalogue = view_of(request).catalogue
    text, kind, place = (_text(request, name) or "" for name in ("q", "kind", "location"))
    offset = _number(request, "offset", 0, 10**9) or 0
    limit = _number(request, "limit", 1, _MOST_ROWS) or _MOST_ROWS
    found = search(await catalogue.rows(), text, kind=kind, location=place)
    rows: list[documents.FoundDefinition] = [
        {
            "location": row.location,
            "kind": row.kind,
            "name": row.name,
            "repository": row.repository,
            "lazy": row.lazy,
            "description": row.description,
            "group": row.group,
            "owners": list(row.owners),
            "tags": list(row.tags),
        }
        for row in found[offset : offset + limit]
    ]
    return {"total": len(found), "offset": offset, "definitions": rows}


async def definition(request: Request) -> control.Shown:
    """One definition in full."""
    catalogue: Catalogue = view_of(request).catalogue
    place, name = (_text(request, one, required=True) or "" for one in ("location", "name"))
    one, source, generation = await catalogue.definition(
        place, name, _text(request, "kind"), _text(request, "repository")
    )
    return {"definition": one, "source": source, "generation": generation}


async def duplicates(request: Request) -> documents.Duplicates:
    """Names that more than one location defines."""
    catalogue: Catalogue = view_of(request).catalogue
    twice = await catalogue.defined_twice()
    return {
        "duplicates": [
            {"kind": kind, "name": name, "locations": places}
            for (kind, name), places in sorted(twice.items())
        ]
    }


async def assets(request: Request) -> documents.Assets:
    """The graph of assets over all locations."""
    catalogue: Catalogue = view_of(request).catalogue
    everyone = await catalogue.assets()
    return {
        "assets": [
            {
                "name": name,
                "locations": one.homes,
                "known_in": one.seen_in,
                "group": one.group,
                "kinds": list(one.kinds),
                "checks": [check.name for check in one.checks],
                "upstream": sorted(one.upstream),
                "downstream": sorted(one.downstream),
            }
            for name, one in sorted(everyone.items())
        ]
    }


async def schedules(request: Request) -> documents.Schedules:
    """Schedules in words with their next ticks."""
    import time

    catalogue: Catalogue = view_of(request).catalogue
    shelves = await catalogue.fresh()
    place = _text(request, "location")
    rows: list[documents.Schedule] = []
    for name in sorted(shelves):
        for one in shelves[name].of_kind("schedule") if place in (None, name) else ():
            crons = timing.crons_of(one)
            ticks = timing.next_ticks(one, time.time())
            rows.append(
                {
                    "location": name,
                    "name": one["name"],
                    "repository": one.get("repository"),
                    "cron_schedule": list(crons),
                    "in_words": [timing.in_words(cron) for cron in crons],
                    "timezone": ticks.zone,
                    "next_ticks": [at.isoformat() for at in ticks.times],
                    "problem": ticks.problem or None,
                }
            )
    return {"schedules": rows}


async def environments(request: Request) -> control.EnvironmentRows:
    """Environments in use, with what is installed."""
    return {"environments": await environment_pages.known(_link(request))}


async def history(request: Request) -> control.History:
    """The generations of a location that are kept."""
    return await _link(request).client.history(_text(request, "location", required=True) or "")


async def diff(request: Request) -> control.Diff:
    """What changed between two generations."""
    name = _text(request, "location", required=True) or ""
    before, after = (_number(request, key, 1, parameters.MOST) for key in ("from", "to"))
    return await _link(request).client.diff(name, before, after)


async def logs(request: Request) -> control.LogChunk:
    """Lines of a log, the last ones or those after a cursor."""
    name = _text(request, "location", required=True) or ""
    lines = _number(request, "lines", 0, 10_000)
    after = _number(request, "after", 0, parameters.MOST)
    wait = _number(request, "timeout", 0, 30)
    client = _link(request).client
    if after is not None:
        if not wait:
            return await client.logs(name, after=after, timeout=0)
        following: Following = view_of(request).following
        chunk, _event = await following.after(name, after, wait)
        return chunk
    return await client.logs(name, lines=50 if lines is None else lines)


async def runs(request: Request) -> run_documents.RunRows:
    """The newest runs."""
    location, job, parent = (_text(request, one) for one in ("location", "job", "parent"))
    states = parameters.texts("state", request.query_params.getlist("state"))
    params = {
        "location": location or None,
        "job": job or None,
        "words": _text(request, "q") or None,
        "tag": _text(request, "tag") or None,
        "states": [one for one in states if one],
        "since": _moment(request, "since") or 0.0,
        "limit": _number(request, "limit", 1, _MOST_ROWS),
        "offset": _number(request, "offset", 0, parameters.MOST),
        "parent": parent or None,
    }
    found = await _link(request).client.call_method("runs", params)
    return cast("run_documents.RunRows", found)


async def run(request: Request) -> run_documents.RunDetail:
    """One run in full."""
    name = parameters.text("run", request.path_params["run"])
    found: Any = await _link(request).client.run(name)
    return cast("run_documents.RunDetail", found.row)


async def run_news(request: Request) -> Response | documents.RunPage:
    """What happened in a run and what it wrote, as it goes on, or one page of it."""
    name = parameters.text("run", request.path_params["run"])
    text = request.headers.get("last-event-id") or _text(request, "after") or ""
    return await run_events.answer(request, name, text)


def _as_json_has_it(text: str) -> float:
    """``96.0`` is a whole number in JSON."""
    number = float(text)
    return int(number) if number.is_integer() else number


async def _body(request: Request) -> dict[str, Any]:
    try:
        sent = json.loads(await request.body(), parse_float=_as_json_has_it)
    except (ValueError, RecursionError):
        raise _InvalidError("the body is no JSON") from None
    if not isinstance(sent, dict):
        raise _InvalidError("the body must be an object")
    return sent


def _served(method: Method) -> Any:
    async def served(request: Request) -> Any:
        link = _link(request)
        client = link.ordering_client if method.is_order else link.client
        return await client.call_method(method.name, await _body(request))

    served.__name__ = method.name
    return served


async def order(request: Request) -> control.Orders:
    """Give an order."""
    sent = await _body(request)
    names = sent.get("locations", [])
    if sent.get("order") not in _ORDERS:
        raise _InvalidError(f"'order' must be one of {', '.join(_ORDERS)}")
    if not isinstance(names, list) or not all(isinstance(one, str) and one for one in names):
        raise _InvalidError("'locations' must be a list of names")
    if not isinstance(sent.get("all", False), bool):
        raise _InvalidError("'all' must be true or false")
    if not names and sent.get("all") is not True:
        raise _InvalidError("name 'locations', or say 'all': true")
    done = await _link(request).ordering_client.order(cast("Order", sent["order"]), names)
    return {"locations": done}


async def openapi(request: Request) -> JSONResponse:
    """This document."""
    return JSONResponse(document())


_TABLE: Mapping[str, Any] = {
    "/status": status,
    "/locations": locations,
    "/location": location,
    "/definitions": definitions,
    "/definition": definition,
    "/duplicates": duplicates,
    "/assets": assets,
    "/schedules": schedules,
    "/environments": environments,
    "/history": history,
    "/diff": diff,
    "/logs": logs,
    "/runs": runs,
    "/runs/{run}": run,
    "/runs/{run}/events": run_news,
}

ROUTES = [
    *(Route(f"/api/v1{path}", _answered(handler)) for path, handler in _TABLE.items()),
    *(
        Route(f"/api/v1/methods/{one.name}", _answered(_served(one)), methods=["POST"])
        for one in METHODS.values()
        if one.over_http
    ),
    Route("/api/v1/orders", _answered(order), methods=["POST"]),
    Route("/api/v1/openapi.json", openapi),
]
