"""The web page as an application and as a process: what is put together, and how it is served.

Owns the table of routes, the life of the connection to the supervisor, the rules of where it may be
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
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from supervisor.client.locate import Identity
from supervisor.descriptors import descriptor_limit, raise_descriptor_limit
from supervisor.errors import RequestError
from supervisor.web import api, events, metrics, pages
from supervisor.web.catalogue import Catalogue
from supervisor.web.connections import Connections, protocol
from supervisor.web.following import Following
from supervisor.web.link import Link
from supervisor.web.room import Room
from supervisor.web.security import LOOPBACK, Guard, Policy, is_loopback

__all__ = ["DEFAULT_PORT", "application", "policy_of", "serve"]

DEFAULT_PORT = 3070
_STATIC = Path(__file__).parent / "static"
_SHORTEST_TOKEN = 16
_FIRST_WORDS = 2.0
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
) -> ASGIApp:
    """The application for the supervisor of the workspace ``identity``, and of no other.

    ``closing`` is handed a function that ends all live streams, for who stops the server; ``streams``
    is how many of them there may be.
    """
    policy = policy if policy is not None else Policy()

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        link = Link(identity, environ)
        following = Following(link)
        app.state.link = link
        app.state.following = following
        app.state.catalogue = Catalogue(link)
        app.state.policy = policy
        loop = asyncio.get_running_loop()

        def let_go() -> None:
            link.close()
            following.close()

        def close() -> None:
            loop.call_soon_threadsafe(let_go)

        closing(close)
        running = asyncio.create_task(link.run(), name="link")
        try:
            # The first page that is opened should not say that nothing is known yet.
            await link.heard(_FIRST_WORDS)
            yield
        finally:
            let_go()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

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
            Middleware(Guard, policy=policy),
            Middleware(Room, streams=streams),
            Middleware(GZipMiddleware, minimum_size=2000, compresslevel=5),
        ],
    )


def policy_of(host: str, token: str | None, behind_proxy: Sequence[str]) -> Policy:
    """What is allowed on a page bound to ``host``; raises ``RequestError`` for what is unsafe."""
    if token is not None and len(token) < _SHORTEST_TOKEN:
        raise RequestError(
            f"the token has {len(token)} characters, which can be guessed",
            hint="make one with: python3 -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    named = frozenset(one.lower().rstrip(".") for one in behind_proxy)
    if is_loopback(host):
        return Policy(LOOPBACK | {host.lower()}, named, token=token)
    if token is None and not named:
        raise RequestError(
            f"{host} can be reached from other machines, and this page can stop locations",
            hint="ask for a token with --token-file FILE, or name the proxy that knows who asks with "
            "--behind-proxy HOST",
        )
    if named:
        return Policy(proxies=named, token=token)
    own = {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
    return Policy(LOOPBACK | own, addresses=True, token=token)


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
) -> None:
    """Serve the page of ``identity`` until SIGINT or SIGTERM; ``said(url)`` is called once it can be
    opened.

    Port 0 takes a free one. Raises ``RequestError`` when it cannot be bound.
    """
    bound = _bound(host, port)
    server: _Server

    def closing(close: Callable[[], None]) -> None:
        server.close_streams = close

    raise_descriptor_limit()
    most = min(_MOST_CONNECTIONS, max(descriptor_limit() - _ON_THEIR_WAY - _OF_OUR_OWN, 16))
    app = application(identity, policy=policy, closing=closing, streams=most // 2)
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
