"""The web page as an application and as a process: what is put together, and how it is served.

Owns the table of routes, the life of the connections to the supervisor, the rules of where it may be
bound, and the server. What a page says is in ``pages``, what a program gets in ``api``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from supervisor.client.locate import Identity
from supervisor.descriptors import descriptor_limit, raise_descriptor_limit
from supervisor.errors import NotRunningError, RequestError
from supervisor.roles import Role
from supervisor.web import api, events, metrics, pages
from supervisor.web.connections import Connections, protocol
from supervisor.web.credentials import OPERATOR, Credential, Sessions, credential_of
from supervisor.web.link import Link
from supervisor.web.room import Room
from supervisor.web.security import LOOPBACK, Guard, Policy, is_loopback
from supervisor.web.views import Entrance, Views

__all__ = ["DEFAULT_PORT", "application", "policy_of", "serve"]

DEFAULT_PORT = 3070
_STATIC = Path(__file__).parent / "static"
_SHORTEST_TOKEN = 16
_HOUR = 3600.0
# Connections at most; those that asyncio accepts in one go, of which several may be on their way in or
# out; and descriptors for everything else.
_MOST_CONNECTIONS = 2048
_BACKLOG, _WAITING = 32, 512
_ON_THEIR_WAY, _OF_OUR_OWN = 4 * _BACKLOG, 64


def application(
    identity: Identity,
    *,
    policy: Policy | None = None,
    environ: Mapping[str, str] | None = None,
    closing: Callable[[Callable[[], None]], None] = lambda close: None,
    streams: int = _MOST_CONNECTIONS // 2,
    told: Callable[[str], None] | None = None,
) -> ASGIApp:
    """The application for the supervisor of the workspace ``identity``, and of no other.

    ``closing`` is handed a function that ends all live streams, for who stops the server; ``streams``
    is how many of them there may be. ``told`` hears a line when the supervisor is missed, and when it is
    found again.
    """
    policy = policy if policy is not None else Policy(local=True)
    sessions = Sessions(f"{identity.directory}/{identity.key}")
    first = OPERATOR if policy.local and not policy.asks else Credential(role=policy.role)

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        views = Views(identity, environ, first)
        app.state.views = views
        app.state.policy = policy
        app.state.sessions = sessions
        loop = asyncio.get_running_loop()

        def close() -> None:
            loop.call_soon_threadsafe(views.let_go)

        closing(close)
        telling = None
        try:
            await views.open()
            if told is not None:
                telling = asyncio.create_task(_tell(views.first.link, told), name="telling")
            yield
        finally:
            if telling is not None:
                telling.cancel()
            await views.close()

    def read(headers: Headers, scope: Mapping[str, Any]) -> Credential | None:
        return credential_of(policy, sessions, headers, scope)

    routes = [
        *pages.ROUTES,
        *api.ROUTES,
        Route("/events", events.events),
        Route("/metrics", metrics.metrics),
        Route("/healthz", metrics.healthz),
        Route("/readyz", metrics.readyz),
        Mount("/static", StaticFiles(directory=_STATIC), name="static"),
    ]
    return Starlette(
        routes=routes,
        lifespan=life,
        exception_handlers=pages.EXCEPTIONS,
        middleware=[
            Middleware(Guard, policy=policy, read=read),
            Middleware(Room, streams=streams),
            Middleware(Entrance),
            Middleware(GZipMiddleware, minimum_size=2000, compresslevel=5),
        ],
    )


async def _tell(link: Link, told: Callable[[str], None]) -> None:
    """Say when the supervisor is missed, and when it is found again; one that is there at first is no news."""
    there, version = True, link.version
    while not link.closing:
        if link.running is not there:
            there = link.running
            with contextlib.suppress(OSError):  # what read it has gone
                await asyncio.to_thread(told, _found(link) if there else _missed(link))
        await link.changed(version, _HOUR)
        version = link.version


def _found(link: Link) -> str:
    document = link.document
    pid = document["supervisor"]["pid"] if document is not None else "unknown"
    return f"the supervisor of {link.workspace} is there (pid {pid})"


def _missed(link: Link) -> str:
    if not isinstance(link.error, NotRunningError):
        return f"{link.error}; trying again"
    if link.document is None:
        return f"no supervisor of {link.workspace} runs; waiting for one: start it with `supervise`"
    return f"the supervisor of {link.workspace} has gone; waiting for the next one"


def policy_of(
    host: str,
    token: str | None,
    behind_proxy: Sequence[str],
    required: bool = False,
    role: Role | None = None,
) -> Policy:
    """What is allowed on a page bound to ``host``; raises ``RequestError`` for what is unsafe.

    ``role`` is that of who shows ``token``, or where there is none, of who shows nothing.
    """
    if token is not None and len(token) < _SHORTEST_TOKEN:
        raise RequestError(
            f"the token has {len(token)} characters, which can be guessed",
            hint="make one with: python3 -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    named = frozenset(one.lower().rstrip(".") for one in behind_proxy)
    role = role or (Role.VIEWER if token is None else Role.EDITOR)
    policy = Policy(proxies=named, token=token, required=required, role=role)
    if is_loopback(host):
        # Requests through a proxy come from the proxy's process, for all of its clients.
        return replace(policy, hosts=LOOPBACK | {host.lower()}, local=not named)
    if not policy.asks and not named:
        raise RequestError(
            f"{host} can be reached from other machines, and this page can stop locations",
            hint="ask for tokens of `supervise tokens` with --require-token, for one of your own with "
            "--token-file FILE, or name the proxy that knows who asks with --behind-proxy HOST",
        )
    if named:
        return policy
    own = {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
    return replace(policy, hosts=LOOPBACK | own, addresses=True)


class _Server(uvicorn.Server):
    """uvicorn, which lets live streams go before it waits for requests to end."""

    close_streams: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        for one in sockets or ():  # more may wait than are accepted in one go
            one.listen(_WAITING)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal to stop."""
        self.close_streams()
        super().handle_exit(sig, frame)


def serve(
    identity: Identity,
    *,
    host: str,
    port: int,
    policy: Policy,
    said: Callable[[str], None],
    told: Callable[[str], None] | None = None,
) -> None:
    """Serve the page of ``identity`` until SIGINT or SIGTERM; ``said(url)`` is called once it can be
    opened, ``told(line)`` when the supervisor is missed and when it is found again.

    Port 0 takes a free one. Raises ``RequestError`` when it cannot be bound.
    """
    bound = _bound(host, port)
    server: _Server

    def closing(close: Callable[[], None]) -> None:
        server.close_streams = close

    raise_descriptor_limit()
    most = min(_MOST_CONNECTIONS, max(descriptor_limit() - _ON_THEIR_WAY - _OF_OUR_OWN, 16))
    app = application(identity, policy=policy, closing=closing, streams=most // 2, told=told)
    config = uvicorn.Config(
        app,
        log_level="error",  # what others send is no concern of who reads this
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        http=protocol(Connections(most)),
        backlog=_BACKLOG,
        lifespan="on",
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    name = f"[{host}]" if ":" in host else host
    said(f"http://{name}:{bound.getsockname()[1]}/")
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises them once more when it has ended well: that is no failure.
        signal.signal(number, lambda _number, _frame: None)
    with bound:
        server.run(sockets=[bound])


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, proto)
    except OSError as error:
        raise RequestError(f"{host} is no address of this machine: {error.strerror}") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_WAITING)
    except OSError as error:
        bound.close()
        what = "is in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
        raise RequestError(
            f"port {port} of {host} {what}", hint="choose another with --port, 0 takes a free one"
        ) from None
    bound.set_inheritable(False)
    return bound
