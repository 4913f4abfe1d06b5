"""The pages about locations, the orders given on them, and what errors look like.

Owns the table of pages. Reads what was asked, collects what the templates show, and leaves markup to
them. Every page is whole without JavaScript; live updates fetch the same page again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from supervisor import parameters
from supervisor.errors import (
    InvalidParameterError,
    NotRunningError,
    RequestError,
    RequestTimeoutError,
    SupervisorError,
    UnknownDefinitionError,
    UnknownLocationError,
)
from supervisor.presentation.words import SYMBOLS
from supervisor.web import api, definitions, environments
from supervisor.web.catalogue import Catalogue, search
from supervisor.web.following import BusyError
from supervisor.web.link import Link, chosen_locations
from supervisor.web.render import kind_key, numbered, page, whole
from supervisor.web.room import RETRY_AFTER
from supervisor.web.security import safe_path

if TYPE_CHECKING:
    from supervisor.client.client import Order
    from supervisor.documents import LocationStatus

__all__ = ["EXCEPTIONS", "ROUTES", "status_of"]

VIEWS = ("definitions", "logs", "process", "history", "workspace")
_REMEMBERED = 30 * 86400
_MOST_CHANGES = 200
ORDERS = ("reload", "restart", "stop", "start")


async def locations(request: Request) -> Response:
    """``GET /``: all locations; ``q``, ``state`` (repeated), ``sort`` and ``page`` choose."""
    link: Link = request.app.state.link
    text = request.query_params.get("q", "")
    states = request.query_params.getlist("state")
    sort = request.query_params.get("sort", "name")
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
    link: Link = request.app.state.link
    catalogue: Catalogue = request.app.state.catalogue
    name = request.query_params.get("name", "")
    one = await status_of(link, name)
    view = request.query_params.get("view", "definitions")
    view = view if view in VIEWS else "definitions"
    more: dict[str, Any] = {}
    if view == "definitions":
        more = await _listed(request, catalogue, name)
    elif view == "logs" and link.running and one["log"] is not None:
        more = {"chunk": await link.client.logs(name, lines=500)}
    elif view == "process" and link.running and not one["remote"]:
        more = {"environment_row": next(iter(await link.client.environments(name)), None)}
    elif view == "history" and link.running and not one["remote"]:
        more = await _history(request, name)
    live = "tick" if view == "definitions" else "change"
    return page(request, "location.html", live=live, one=one, view=view, views=VIEWS, **more)


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
    link: Link = request.app.state.link
    catalogue: Catalogue = request.app.state.catalogue
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


async def form(request: Request) -> dict[str, list[str]]:
    """A form that was sent, at most as large as the guard lets through."""
    text = (await request.body()).decode("utf-8", "replace")
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=5000)
    except ValueError:
        raise HTTPException(400, "the form cannot be read") from None


async def order(request: Request) -> Response:
    """``POST /orders``: ``order``, ``location`` (repeated) or ``all=1``, ``back``."""
    link: Link = request.app.state.link
    sent = await form(request)
    wanted, names = sent.get("order", [""])[0], sent.get("location", [])
    if wanted not in ORDERS:
        raise HTTPException(400, "there is no such order")
    if not names and sent.get("all") != ["1"]:
        raise HTTPException(400, "the order names no location")
    done = await link.ordering_client.order(cast("Order", wanted), names)
    refused = [f"{name} {word}" for name, word in done.items() if word.startswith("is ")]
    if refused and len(refused) == len(done):
        raise RequestError("; ".join(refused[:10]))
    return RedirectResponse(safe_path(sent.get("back", ["/"])[0]), 303)


async def login(request: Request) -> Response:
    """``GET`` and ``POST /login``: a token becomes a cookie, and ``back`` is where one wanted to be."""
    policy = request.app.state.policy
    back = safe_path(request.query_params.get("back", "/"))
    if policy.token is None:
        return RedirectResponse(back, 303)
    if request.method == "POST":
        sent = await form(request)
        back = safe_path(sent.get("back", ["/"])[0])
        if policy.is_token(sent.get("token", [""])[0].strip()):
            answer = RedirectResponse(back, 303)
            name, value = policy.cookie
            # A proxy in front may speak HTTPS where we do not: the form's origin tells.
            secure = request.headers.get("origin", "").startswith("https:")
            answer.set_cookie(
                # Not "strict": a link in a message would lead to the form every time.
                name,
                value,
                httponly=True,
                samesite="lax",
                secure=secure,
                max_age=_REMEMBERED,
            )
            return answer
        return page(request, "login.html", status=403, wrong=True, back=back)
    return page(request, "login.html", wrong=False, back=back)


async def logout(request: Request) -> Response:
    """``POST /logout``."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(request.app.state.policy.cookie[0])
    return answer


def status_code(error: SupervisorError) -> int:
    """The HTTP status of an error."""
    for kind, status in (
        (InvalidParameterError, 400),
        (BusyError, 503),
        (NotRunningError, 503),
        (UnknownLocationError, 404),
        (UnknownDefinitionError, 404),
        (RequestTimeoutError, 504),
        (RequestError, 409),
    ):
        if isinstance(error, kind):
            return status
    return 502


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, SupervisorError)
    status = status_code(error)
    answer: Response
    if request.url.path.startswith("/api/"):
        answer = api.error(status, error.code, str(error), error.hint)
    else:
        answer = page(
            request, "error.html", status=status, message=str(error), hint=error.hint, live="tick"
        )
    if isinstance(error, BusyError):
        answer.headers["Retry-After"] = RETRY_AFTER
    return answer


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if request.url.path.startswith("/api/"):
        code = {404: "unknown", 405: "refused", 413: "refused"}.get(error.status_code, "protocol")
        refused = api.error(error.status_code, code, str(error.detail), None)
        refused.headers.update(error.headers or {})
        return refused
    message = "there is no such page" if error.status_code == 404 else str(error.detail)
    answer: Response
    if request.app.state.policy.shown(request.headers):
        answer = page(request, "error.html", status=error.status_code, message=message, hint=None)
    else:  # every page says at its top what is supervised
        answer = PlainTextResponse(f"{message}\n", error.status_code)
    answer.headers.update(error.headers or {})
    return answer


async def _gone(request: Request, error: Exception) -> Response:
    return PlainTextResponse("the request did not come to its end\n", 400)


EXCEPTIONS: Mapping[Any, Any] = {
    SupervisorError: _failed,
    HTTPException: _refused,
    ClientDisconnect: _gone,
}

ROUTES = [
    Route("/", locations),
    Route("/location", location),
    Route("/definition", definitions.definition),
    Route("/definitions", definitions.everything),
    Route("/assets", definitions.assets),
    Route("/schedules", definitions.schedules),
    Route("/environments", environments.environments),
    Route("/orders", order, methods=["POST"]),
    Route("/login", login, methods=["GET", "POST"]),
    Route("/logout", logout, methods=["POST"]),
]
