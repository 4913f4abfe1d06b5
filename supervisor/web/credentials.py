"""In whose name a request of the page is made: what it shows, and what that stands for.

Owns the reading of headers and cookies, and the sessions of those who logged in with a token. Judges no
token: the supervisor does, for each request. The page itself has no power to lend but what it says here.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from supervisor.access.tokens import PREFIX
from supervisor.roles import Role
from supervisor.web.peer import user_of
from supervisor.web.security import Policy

__all__ = ["OPERATOR", "REMEMBERED", "Credential", "Sessions", "credential_of"]

REMEMBERED = 30 * 86400
"""Seconds for which a browser keeps its cookies."""
_MOST_SESSIONS = 1000
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Credential:
    """What requests to the supervisor are made with: a token, or no more than a role of the page's own
    connection; neither for the operator."""

    token: str | None = field(default=None, repr=False)
    role: Role | None = None


OPERATOR = Credential()


class Sessions:
    """Who logged in with a token: a browser gets a random name for it, and never the token back.

    Forgotten when the page ends: one logs in again then. ``cookie`` is the name of the cookie: those of
    several pages on one host need several.
    """

    def __init__(self, page: str) -> None:
        self.cookie = f"supervise-session-{hashlib.sha256(page.encode()).hexdigest()[:8]}"
        self._tokens: dict[str, tuple[str, float]] = {}  # the oldest first

    def begin(self, token: str) -> str:
        """The value of a cookie that stands for ``token``."""
        while len(self._tokens) >= _MOST_SESSIONS:
            del self._tokens[next(iter(self._tokens))]
        name = secrets.token_urlsafe(32)
        self._tokens[name] = token, time.monotonic() + REMEMBERED
        return name

    def token(self, name: str) -> str | None:
        """The token that it stands for."""
        token, until = self._tokens.get(name, ("", 0.0))
        return token if token and time.monotonic() < until else None

    def end(self, name: str) -> None:
        """Forget it."""
        self._tokens.pop(name, None)


def credential_of(
    policy: Policy, sessions: Sessions, headers: Headers, scope: Mapping[str, Any]
) -> Credential | None:
    """In whose name the request is made; None for one that shows nothing, or nothing that can be right.

    A token counts before a session, and that before what needs neither. On a page of this machine that
    asks nothing of anyone, a process of our own user is the operator's, as over the control socket.
    """
    scheme, _, given = headers.get("authorization", "").partition(" ")
    given = given.strip()
    if scheme.lower() == "bearer" and policy.is_token(given):
        return Credential(role=policy.role)
    if scheme.lower() == "bearer" and (given.startswith(PREFIX) or not policy.proxies):
        right = given.startswith(PREFIX) and len(given) <= _LONGEST and given.isascii()
        return Credential(token=given) if right else None
    cookies = cookie_parser(headers.get("cookie", ""))
    if policy.has_cookie(cookies):
        return Credential(role=policy.role)
    token = sessions.token(cookies.get(sessions.cookie, ""))
    if token is not None:
        return Credential(token=token)
    if policy.asks:
        return None
    return OPERATOR if policy.local and _is_ours(scope) else Credential(role=policy.role)


def _is_ours(scope: Mapping[str, Any]) -> bool:
    theirs, ours = scope.get("client"), scope.get("server")
    if theirs is None or ours is None or ours[1] is None:
        return False
    return user_of(tuple(theirs), tuple(ours)) == os.getuid()
