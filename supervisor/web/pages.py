"""The table of pages, the orders given on them, and what errors look like.

Owns which address is which page; those of locations are ``locations``. Reads what was asked, collects what the templates show, and leaves markup to
them. Every page is whole without JavaScript; live updates fetch the same page again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from supervisor.access.tokens import PREFIX
from supervisor.errors import (
    ForbiddenError,
    InvalidParameterError,
    NotRunningError,
    RequestError,
    RequestTimeoutError,
    SupervisorError,
    UnauthenticatedError,
    UnfitOrderError,
    UnknownDefinitionError,
    UnknownLocationError,
    UnknownRunError,
)
from supervisor.roles import Role
from supervisor.web import (
    api,
    automations,
    definitions,
    environments,
    graphs,
    launching,
    log_file,
    runs,
)
from supervisor.web.credentials import REMEMBERED, Credential, Sessions
from supervisor.web.finding import everything_like
from supervisor.web.following import BusyError
from supervisor.web.forms import form
from supervisor.web.link import Link
from supervisor.web.locations import location, locations
from supervisor.web.render import page
from supervisor.web.room import RETRY_AFTER
from supervisor.web.security import safe_path
from supervisor.web.views import Views, view_of

if TYPE_CHECKING:
    from supervisor.client.client import Order

__all__ = ["EXCEPTIONS", "ROUTES"]

ORDERS = ("reload", "restart", "stop", "start")
ASKED: Mapping[str, str] = {
    "stop": "What was served last can still be read, and runs under way go on. Schedules and sensors wait "
    "until it is started.",
    "restart": "The process ends and a new one loads the code. Runs under way go on.",
}
"""The orders that are asked about before, and what each does."""

_MOST_NAMED = 50


async def order(request: Request) -> Response:
    """``POST /orders``: ``order``, ``location`` (repeated) or ``all=1``, ``back``; the orders of ``ASKED`` are
    given with ``sure=1``, and are asked about without."""
    link: Link = view_of(request).link
    sent = await form(request)
    wanted, names = sent.get("order", [""])[0], sent.get("location", [])
    if wanted not in ORDERS:
        raise HTTPException(400, "there is no such order")
    if not names and sent.get("all") != ["1"]:
        raise HTTPException(400, "the order names no location")
    # Who may not give it is not asked, but refused by the supervisor.
    if wanted in ASKED and sent.get("sure") != ["1"] and link.running and link.may(Role.EDITOR):
        return _question(request, wanted, sent)
    done = await link.ordering_client.order(cast("Order", wanted), names)
    refused = [f"{name} {word}" for name, word in done.items() if word.startswith("is ")]
    if refused and len(refused) == len(done):
        raise RequestError("; ".join(refused[:10]))
    return RedirectResponse(safe_path(sent.get("back", ["/"])[0]), 303)


def _question(request: Request, wanted: str, sent: Mapping[str, list[str]]) -> Response:
    link: Link = view_of(request).link
    names = [link.location(name)["name"] for name in sent.get("location", ())]
    if not names:
        names = [one["name"] for one in link.locations if not one["remote"]]
    return page(
        request,
        "confirm.html",
        live="none",
        order=wanted,
        effect=ASKED[wanted],
        names=names,
        most=_MOST_NAMED,
        sent=sent,
        back=safe_path(sent.get("back", ["/"])[0]),
    )


async def login(request: Request) -> Response:
    """``GET`` and ``POST /login``: a token becomes a cookie, and ``back`` is where one wanted to be."""
    policy = request.app.state.policy
    back = safe_path(request.query_params.get("back", "/"))
    if request.method != "POST":
        return page(request, "login.html", wrong=False, back=back)
    sent = await form(request)
    back = safe_path(sent.get("back", ["/"])[0])
    given = sent.get("token", [""])[0].strip()
    if policy.is_token(given):
        name, value = policy.cookie
    elif await _is_valid(request, given):
        sessions: Sessions = request.app.state.sessions
        name, value = sessions.cookie, sessions.begin(given)
    else:
        return page(request, "login.html", status=403, wrong=True, back=back)
    answer = RedirectResponse(back, 303)
    # A proxy in front may speak HTTPS where we do not: the form's origin tells.
    secure = request.headers.get("origin", "").startswith("https:")
    answer.set_cookie(
        # Not "strict": a link in a message would lead to the form every time.
        name,
        value,
        httponly=True,
        samesite="lax",
        secure=secure,
        max_age=REMEMBERED,
    )
    return answer


async def _is_valid(request: Request, token: str) -> bool:
    """True when the supervisor knows ``token``; raises ``NotRunningError`` when none says."""
    views: Views = request.app.state.views
    if not token.startswith(PREFIX):
        return False
    try:
        async with views.entered(Credential(token=token)):
            return True
    except UnauthenticatedError:
        return False


async def logout(request: Request) -> Response:
    """``POST /logout``."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(request.app.state.policy.cookie[0])
    sessions: Sessions = request.app.state.sessions
    sessions.end(request.cookies.get(sessions.cookie, ""))
    answer.delete_cookie(sessions.cookie)
    return answer


def status_code(error: SupervisorError) -> int:
    """The HTTP status of an error."""
    for kind, status in (
        (InvalidParameterError, 400),
        (BusyError, 503),
        (NotRunningError, 503),
        (UnknownLocationError, 404),
        (UnknownRunError, 404),
        (UnknownDefinitionError, 404),
        (UnauthenticatedError, 401),
        (ForbiddenError, 403),
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
        problems = error.problems if isinstance(error, UnfitOrderError) else ()
        answer = api.error(status, error.code, str(error), error.hint, problems)
    elif request.scope.get("view") is None:
        answer = PlainTextResponse(f"{error}\n", status)
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
    if request.scope.get("view") is not None:
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
    Route("/location/log", log_file.download),
    Route("/definition", definitions.definition),
    Route("/definitions", definitions.everything),
    Route("/assets", definitions.assets),
    Route("/graph", graphs.graph),
    Route("/schedules", definitions.schedules),
    Route("/environments", environments.environments),
    Route("/search", everything_like),
    Route("/runs", runs.runs),
    Route("/run", runs.run),
    Route("/runs/orders", runs.orders, methods=["POST"]),
    Route("/automations", automations.automations),
    Route("/automation", automations.automation),
    Route("/automations/switch", automations.switch, methods=["POST"]),
    Route("/timeline", automations.timeline),
    Route("/launch", launching.launch, methods=["GET", "POST"]),
    Route("/orders", order, methods=["POST"]),
    Route("/login", login, methods=["GET", "POST"]),
    Route("/logout", logout, methods=["POST"]),
]
