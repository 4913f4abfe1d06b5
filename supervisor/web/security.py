"""Who may ask the web page: hosts, origins, what must be shown, and the headers of every answer.

Owns one middleware that every request passes before anything else looks at it. A request must name a host
that this page is known by (so that no foreign name can be pointed at it), what changes something must come
from a page of its own, and where a token is asked for one must be there. Every answer forbids scripts,
styles, frames and connections from elsewhere. What a token allows is the supervisor's to say. Knows nothing
of locations.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from supervisor.roles import Role

__all__ = [
    "LOOPBACK",
    "MAX_BODY",
    "Guard",
    "Policy",
    "is_loopback",
    "is_machine",
    "safe_path",
    "to_login",
]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_BODY = 256 * 1024
"""Bytes that a request may send."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN_PATHS = frozenset({"/login", "/healthz", "/readyz"})

_HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "worker-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "font-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers then send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What is allowed.

    ``hosts`` are the names this page is asked by, without port, in lower case, ``proxies`` those
    that a proxy in front is asked by. ``addresses`` lets any literal IP address be one: it cannot be
    the victim of a rebound name. ``token`` is the page's own: it, or one of the supervisor's, is asked of
    everyone when set; with ``required`` one of the supervisor's. ``role`` is that of who shows the page's
    own, or needs to show none; with ``local`` the operator's own processes are known without.
    """

    hosts: frozenset[str] = LOOPBACK
    proxies: frozenset[str] = frozenset()
    addresses: bool = False
    token: str | None = field(default=None, repr=False)
    required: bool = False
    role: Role = Role.VIEWER
    local: bool = False

    @property
    def asks(self) -> bool:
        """True when every request needs a token."""
        return self.required or self.token is not None

    def names(self, host: str) -> bool:
        """True when ``host`` (a ``Host`` header) names this page."""
        place = _place(host)
        if place is None:
            return False
        name = _name_of(place)
        return name in self.hosts | self.proxies or (self.addresses and _is_address(name))

    def is_own(self, origin: str, host: str) -> bool:
        """True when ``origin`` is that of a page which was asked for as ``host``."""
        try:
            ours, theirs = _place(host), urlsplit(origin)
            port = theirs.port
        except ValueError:
            return False
        if ours is None or not theirs.hostname:
            return False
        if theirs.netloc.lower() == host.lower():
            return True
        # Other ports of a host are other sites. But a proxy may leave its own out of ``Host``, or
        # ask by the name that it knows us by.
        name = _name_of(theirs)
        if name not in self.proxies:
            return False
        if _name_of(ours) in self.proxies:
            return _name_of(ours) == name and ours.port is None
        return port is None

    @property
    def cookie(self) -> tuple[str, str]:
        """Name and value of the cookie that stands for the token; neither tells it."""
        secret = (self.token or "").encode()
        # Cookies do not know ports: two pages on one host need two names.
        name = hmac.new(secret, b"supervise web cookie", "sha256").hexdigest()[:8]
        value = hmac.new(secret, b"supervise web session", "sha256").hexdigest()
        return f"supervise-{name}", value

    def is_token(self, text: str) -> bool:
        """True when ``text`` is the token."""
        return self.token is not None and hmac.compare_digest(text.encode(), self.token.encode())

    def has_cookie(self, cookies: Mapping[str, str]) -> bool:
        """True when the cookie that stands for the token is among ``cookies``."""
        if self.token is None:
            return False
        name, value = self.cookie
        return hmac.compare_digest(cookies.get(name, "").encode(), value.encode())


class Guard:
    """The middleware. ``read(headers, scope)`` gives the credential of a request, None for one that shows
    nothing that can be right; it is passed on in the scope."""

    def __init__(
        self, app: ASGIApp, policy: Policy, read: Callable[[Headers, Mapping[str, Any]], Any]
    ) -> None:
        self._app = app
        self._policy = policy
        self._read = read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with our headers on the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answered = False

        async def guarded(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                found = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    found[name] = value
                if not scope["path"].startswith("/static/"):
                    found["Cache-Control"] = "no-store"
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, guarded)
        else:
            try:
                await self._app(scope, _bounded(receive), guarded)
            except asyncio.CancelledError:  # the server ends, and has waited for a while
                if not answered:
                    await _refused(scope, 503, "this page is ending", "try again")(
                        scope, receive, guarded
                    )

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._policy.names(host):
            return _refused(
                scope, 421, f"this page is not known as {host[:200]!r}", "see --behind-proxy"
            )
        if int(headers.get("content-length") or 0) > MAX_BODY:
            return _refused(scope, 413, "the request is too large", f"at most {MAX_BODY} bytes")
        if scope["method"] not in _SAFE_METHODS and not self._of_ours(scope, headers, host):
            return _refused(
                scope,
                403,
                "the request comes from another site",
                "only this page may change things, and programs that send `Content-Type: application/json`",
            )
        path = scope["path"]
        scope["open"] = path in _OPEN_PATHS or path.startswith("/static/")
        scope["credential"] = self._read(headers, scope)
        if scope["open"] or scope["credential"] is not None:
            return None
        if is_machine(path):
            wrong = "authorization" in headers
            message = "that is no token of this page" if wrong else "a token is needed"
            hint = "send it as `Authorization: Bearer TOKEN`"
            refusal = _refused(scope, 401, message, hint, "unauthenticated")
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return refusal
        return RedirectResponse(to_login(scope), 303)

    def _of_ours(self, scope: Scope, headers: Headers, host: str) -> bool:
        site = headers.get("sec-fetch-site")
        if site not in (None, "same-origin", "none"):
            return False
        origin = headers.get("origin")
        if origin is not None:
            return self._policy.is_own(origin, host)
        # No browser leaves both out where it matters, nor sends JSON elsewhere unasked: this is a program.
        json = headers.get("content-type", "").startswith("application/json")
        return site is not None or (is_machine(scope["path"]) and json)


def _bounded(receive: Receive) -> Receive:
    """``receive`` that ends a body that says less than it sends."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY:
            raise HTTPException(413, "the request is too large")
        return message

    return bounded


def to_login(scope: Scope) -> str:
    """Where one logs in, and comes back from to what was asked for."""
    query = scope["query_string"].decode("latin-1")
    back = f"{scope['path']}?{query}" if query else scope["path"]
    wanted = scope["method"] == "GET" and back != "/"
    return f"/login?{urlencode({'back': back})}" if wanted else "/login"


def is_machine(path: str) -> bool:
    """True for what programs ask for."""
    return path.startswith("/api/") or path == "/metrics"


def _refused(scope: Scope, status: int, message: str, hint: str, code: str = "refused") -> Response:
    if is_machine(scope["path"]):
        return JSONResponse({"error": {"code": code, "message": message, "hint": hint}}, status)
    return PlainTextResponse(f"{message}\nhint: {hint}\n", status)


def _place(host: str) -> SplitResult | None:
    """A ``Host`` header taken apart, None for what is none."""
    if not host or any(one in host for one in "/@?#\\ \t"):
        return None
    try:
        place = urlsplit(f"//{host}")
        _ = place.port  # raises for what is no port
    except ValueError:
        return None
    return place if place.hostname else None


def _name_of(place: SplitResult) -> str:
    return (place.hostname or "").rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """True when only this machine can reach what is bound to ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def safe_path(path: str) -> str:
    """``path`` when it is one of this page, else ``/``: no form may send people elsewhere."""
    if not path.startswith("/") or path.startswith(("//", "/\\")):
        return "/"
    return "/" if any(ord(one) < 32 for one in path) else path
