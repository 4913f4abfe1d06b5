"""Templates, and the words and addresses that they use.

Owns the one template environment: everything is escaped, and a field that a document leaves out is
empty, as the documents mean it. Addresses carry names as query parameters, because a location or an asset may be named anything, ``..`` and slashes
included. Makes no request.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from supervisor.presentation import failures, words
from supervisor.web.prose import plain

if TYPE_CHECKING:
    from supervisor.web.link import Link

__all__ = [
    "KIND_ORDER",
    "PAGE_SIZE",
    "href",
    "kind_key",
    "numbered",
    "page",
    "paged",
    "plural_kind",
    "templates",
    "whole",
]

PAGE_SIZE = 100
"""Rows of one page of a list."""

KIND_ORDER = (
    "job", "pipeline", "asset", "asset_check", "schedule", "sensor", "resource", "partition_set",
    "graph", "op", "solid", "component",
)  # fmt: skip
"""The kinds in the order people ask for them; others follow by name."""

_ADDRESS = re.compile(r"https?://[^\s/]\S{0,2000}")
_WORDS = {"partition_set": "partition set", "asset_check": "asset check"}


def href(path: str, /, **params: Any) -> str:
    """``path`` with ``params`` as a query; what is None or empty is left out, lists repeat."""
    found = {name: value for name, value in params.items() if value not in (None, "", [], ())}
    return f"{path}?{urlencode(found, doseq=True, quote_via=quote)}" if found else path


def plural_kind(kind: str, count: int = 2) -> str:
    """``asset checks``, and ``asset check`` for one."""
    word = _WORDS.get(kind, kind.replace("_", " "))
    return word if count == 1 else words.plural(2, word)[2:]


def kind_key(kind: str) -> tuple[int, str]:
    """Sorts kinds in ``KIND_ORDER``."""
    return (KIND_ORDER.index(kind) if kind in KIND_ORDER else len(KIND_ORDER), kind)


def clock(then: float | None) -> Markup:
    """A time as people read it, with the exact one for machines."""
    if then is None:
        return Markup("")
    exact = datetime.fromtimestamp(then, UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        exact, words.moment(then), words.moment(then)
    )


def ago(then: float | None, now: float) -> Markup:
    """``3m ago``, with the exact time in the title."""
    if then is None:
        return Markup("")
    exact = datetime.fromtimestamp(then, UTC).isoformat(timespec="seconds")
    passed = now - then
    text = "now" if passed < 1 else f"{words.ago(then, now)} ago"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        exact, words.moment(then), text
    )


def lasting(then: float | None, now: float) -> Markup:
    """``for 3m``, with the exact time since when in the title."""
    if then is None:
        return Markup("")
    exact = datetime.fromtimestamp(then, UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}" title="since {}">for {}</time>').format(
        exact, words.moment(then), words.ago(then, now)
    )


def clock_time(then: float) -> str:
    """The time of day of a log line, UTC, as its file has it."""
    return datetime.fromtimestamp(then, UTC).strftime("%H:%M:%S.%f")[:-3]


def pretty(value: Any) -> str:
    """Plain data as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def inline(value: Any) -> str:
    """Plain data in one line: text as it is, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def breakable(text: str) -> Markup:
    """``text`` that may be broken after slashes, dots and underscores."""
    shown = str(escape(text))
    for one in ("/", "_", "."):
        shown = shown.replace(one, f"{one}<wbr>")
    return Markup(shown)  # noqa: S704 - escaped two lines above


def is_web_address(value: Any) -> bool:
    """True for a text that is a web address and nothing else."""
    return isinstance(value, str) and _ADDRESS.fullmatch(value) is not None


def whole(text: str) -> int | None:
    """``text`` as a whole number, None for what is none or too long to be meant."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def numbered(
    request: Request, found: Sequence[Any], size: int = PAGE_SIZE, key: str = "page"
) -> tuple[list[Any], dict[str, Any]]:
    """The page of ``found`` that was asked for as ``key``, and what is said about the others."""
    paging = paged(request, len(found), size, key)
    return list(found[paging["first"] - 1 : paging["last"]]), paging


def paged(request: Request, total: int, size: int = PAGE_SIZE, key: str = "page") -> dict[str, Any]:
    """What is said about the page of ``total`` rows that was asked for as ``key``, and the others."""
    text = request.query_params.get(key, "1")
    pages = max(-(-total // size), 1)
    number = min(max(whole(text) or 1, 1), pages)
    first = (number - 1) * size
    others = {
        name: request.query_params.getlist(name) for name in request.query_params if name != key
    }
    return {
        "page": number,
        "pages": pages,
        "first": first + 1,
        "last": min(first + size, total),
        "total": total,
        "key": key,
        "path": request.url.path,
        "params": others,
    }


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(
        href=href,
        symbol=words.symbol,
        headline=failures.headline,
        remedy=failures.remedy,
        python_of=words.python_of,
        framework_of=words.framework_of,
        environment_of=words.environment_of,
        problem_in_words=words.problem,
        plural=words.plural,
        plural_kind=plural_kind,
        good=words.good,
        verified_in_words=words.verified,
        code_servers=lambda one: words.code_servers(one, time.time()),
    )
    made.tests["web_address"] = is_web_address
    made.filters.update(
        ago=ago,
        breakable=breakable,
        clock=clock,
        clock_time=clock_time,
        counts=words.counts,
        inline=inline,
        lasting=lasting,
        plain=plain,
        pretty=pretty,
        seconds=words.seconds,
        size=words.size,
    )
    return made


templates = _environment()


def page(
    request: Request, template: str, *, status: int = 200, live: str = "change", **context: Any
) -> HTMLResponse:
    """``template`` as an answer.

    ``live`` says when an open page fetches itself again: at every ``change``, or also at every
    ``tick`` of figures that change without an event.
    """
    view = request.scope.get("view")
    link: Link | None = None if view is None else view.link
    document = None if link is None else link.document
    shown: Mapping[str, Any] = {
        "link": link,
        "may": (lambda role: False) if link is None else link.may,
        "supervisor": None if document is None else document["supervisor"],
        "revision": -1 if document is None else document["revision"],
        "now": time.time(),
        "path": request.url.path,
        "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "live": live,
        "logged_in": _logged_in(request),
        **context,
    }
    return HTMLResponse(templates.get_template(template).render(shown), status)


def _logged_in(request: Request) -> bool:
    state = request.app.state
    return state.policy.token is not None or state.sessions.cookie in request.cookies
