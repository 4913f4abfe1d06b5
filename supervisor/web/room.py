"""How many requests of each kind are handled at the same time: pages, live streams, orders.

Owns one middleware. Each kind has its own limit, so that orders are handled while many clients follow a log.
A request above the limit is refused, with the time after which to try again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["RETRY_AFTER", "Room"]

RETRY_AFTER = "5"
"""Seconds after which one may try again."""

_WORDS = {
    "streams": "pages and programs follow it",
    "orders": "orders are being given",
    "pages": "requests are being answered",
}


class Room:
    """The middleware; ``streams`` is how many live streams there may be."""

    def __init__(self, app: ASGIApp, streams: int) -> None:
        self._app = app
        self._most: Mapping[str, int] = {"streams": streams, "orders": 50, "pages": 200}
        self._now: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or say that there is no room."""
        kind = _kind(scope) if scope["type"] == "http" else None
        if kind is None:
            await self._app(scope, receive, send)
        elif self._now[kind] >= self._most[kind]:
            await self._refusal(scope, kind)(scope, receive, send)
        else:
            self._now[kind] += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._now[kind] -= 1

    def _refusal(self, scope: Scope, kind: str) -> Response:
        message = f"{self._most[kind]} {_WORDS[kind]} already, which is all that this page allows"
        hint = f"try again in {RETRY_AFTER} seconds"
        headers = {"Retry-After": RETRY_AFTER}
        if scope["path"].startswith("/api/"):
            error = {"code": "refused", "message": message, "hint": hint}
            return JSONResponse({"error": error}, 503, headers)
        return PlainTextResponse(f"{message}\nhint: {hint}\n", 503, headers)


def _kind(scope: Scope) -> str | None:
    path = scope["path"]
    if path.startswith("/static/") or path in ("/healthz", "/login", "/logout"):
        return None
    if path.startswith("/api/v1/runs/") and path.endswith("/events"):
        return "streams"
    # One that waits for lines is a stream of one answer.
    if path == "/events" or (path == "/api/v1/logs" and b"timeout=" in scope["query_string"]):
        return "streams"
    return "orders" if path in ("/orders", "/api/v1/orders") else "pages"
