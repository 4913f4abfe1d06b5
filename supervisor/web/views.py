"""One view of the supervisor for each identity.

Owns a ``View`` for each credential: connections to the supervisor with that identity, and the documents received over
them. So a page shows what the supervisor allows that token to see, and this process decides nothing. The
supervisor checks a token before a view is made for it, and again at each request. Unused views
are closed; their number is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from supervisor.client.locate import Identity
from supervisor.errors import NotRunningError, SupervisorError, UnauthenticatedError
from supervisor.web.asset_results import AssetResults
from supervisor.web.catalogue import Catalogue
from supervisor.web.credentials import Credential
from supervisor.web.following import BusyError, Following
from supervisor.web.link import Link
from supervisor.web.run_record import Records
from supervisor.web.security import is_machine, to_login

__all__ = ["Entrance", "View", "Views", "view_of"]

_FIRST_WORDS = 2.0
_MOST = 32
_IDLE, _LOOK = 300.0, 30.0


class View:
    """What is shown to ``credential``; ``users`` are the requests that it is being shown to,
    ``runs_followed`` waits for the next piece of each stream of a run among them."""

    def __init__(
        self, identity: Identity, environ: Mapping[str, str] | None, credential: Credential
    ) -> None:
        self.credential = credential
        self.link = Link(identity, environ, credential)
        self.following = Following(self.link)
        self.catalogue = Catalogue(self.link)
        self.records = Records()
        self.asset_results = AssetResults()
        self.users = 0
        self.runs_followed: set[asyncio.Task[str | None]] = set()
        self.seen = time.monotonic()
        self._running = asyncio.create_task(self.link.run(), name="link")

    def let_go(self) -> None:
        """End what is live."""
        self.link.close()
        self.following.close()
        for one in self.runs_followed:
            one.cancel()

    async def close(self) -> None:
        """End it."""
        self.let_go()
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


class Views:
    """The views of the supervisor of ``identity``. ``first`` is the credential of the one that is always
    there, and by which the page knows whether all is well."""

    def __init__(
        self, identity: Identity, environ: Mapping[str, str] | None, first: Credential
    ) -> None:
        self._identity = identity
        self._environ = environ
        self._views: dict[Credential, View] = {}
        self._opening = asyncio.Lock()
        self._first = first
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin with the first one."""
        self._views[self._first] = View(self._identity, self._environ, self._first)
        # The first page that is opened should not say that nothing is known yet.
        await self.first.link.heard(_FIRST_WORDS)
        self._task = asyncio.create_task(self._look(), name="views")

    @property
    def first(self) -> View:
        """The one that is always there."""
        return self._views[self._first]

    def known(self, credential: Credential | None) -> View | None:
        """The view of ``credential``, if there is one whose credential cannot be revoked."""
        known = credential is not None and credential.token is None
        return self._views.get(credential) if known and credential is not None else None

    def let_go(self) -> None:
        """End what is live in all of them."""
        for one in self._views.values():
            one.let_go()

    async def close(self) -> None:
        """End all of them."""
        if self._task is not None:
            self._task.cancel()
        await asyncio.gather(*(one.close() for one in self._views.values()))

    @contextlib.asynccontextmanager
    async def entered(self, credential: Credential) -> AsyncIterator[View]:
        """The view of ``credential``. Raises ``UnauthenticatedError`` for a token that is not valid,
        ``NotRunningError`` when none can be judged, ``BusyError`` when there are too many views."""
        view = self._views.get(credential)
        if view is None:
            async with self._opening:
                view = self._views.get(credential) or await self._made(credential)
        elif credential.token is not None:
            await self._judge(view)
        view.users += 1
        try:
            yield view
        finally:
            view.users -= 1
            view.seen = time.monotonic()

    async def _made(self, credential: Credential) -> View:
        await self._make_room()
        view = View(self._identity, self._environ, credential)
        try:
            await view.link.heard(_FIRST_WORDS)
            if credential.token is not None:
                self._refuse(view)
        except BaseException:
            await view.close()
            raise
        self._views[credential] = view
        return view

    async def _judge(self, view: View) -> None:
        """Have the supervisor say whether the token is still valid."""
        try:
            self._refuse(view)
            await view.link.client.call_method("whoami", {})
        except SupervisorError as error:
            if isinstance(error, UnauthenticatedError):
                await self._drop(view)
            raise

    def _refuse(self, view: View) -> None:
        error = view.link.error
        if isinstance(error, UnauthenticatedError):
            raise error.with_traceback(None)
        if error is not None:  # who may not be known is told no name
            raise NotRunningError("this page", hint="tokens are judged by the supervisor")

    async def _drop(self, view: View) -> None:
        if self._views.get(view.credential) is view:
            del self._views[view.credential]
        await view.close()

    async def _make_room(self) -> None:
        idle = [one for one in self._views.values() if not one.users and one is not self.first]
        if len(self._views) >= _MOST:
            if not idle:
                raise BusyError(
                    f"the page is shown to {_MOST} tokens already, which is all that it allows",
                    hint="try again in a few seconds",
                )
            await self._drop(min(idle, key=lambda one: one.seen))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            for one in list(self._views.values()):
                idle = time.monotonic() - one.seen > _IDLE
                gone = isinstance(one.link.error, UnauthenticatedError)
                if one is not self.first and (gone or (idle and not one.users)):
                    await self._drop(one)


def view_of(request: Request) -> View:
    """What the one who asks is shown."""
    view: View = request.scope["view"]
    return view


class Entrance:
    """The middleware that finds the view of a request whose credential the guard has read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with the view."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        views: Views = scope["app"].state.views
        credential: Credential | None = scope["credential"]
        if scope["open"]:
            scope["view"] = views.known(credential)
            await self._app(scope, receive, send)
            return
        assert credential is not None  # the guard refuses who shows nothing
        refusal = None
        try:
            async with views.entered(credential) as view:
                scope["view"] = view
                await self._app(scope, receive, send)
        except SupervisorError as error:
            if scope.get("view") is not None:
                raise
            refusal = _refused(scope, error)
        if refusal is not None:
            await refusal(scope, receive, send)


def _refused(scope: Scope, error: SupervisorError) -> Response:
    unknown = isinstance(error, UnauthenticatedError)
    headers = {"WWW-Authenticate": "Bearer"} if unknown else {}
    status = 401 if unknown else 503
    if is_machine(scope["path"]):
        data = {"code": error.code, "message": str(error), "hint": error.hint}
        return JSONResponse({"error": data}, status, headers)
    shown = Headers(scope=scope).get("authorization")
    if unknown and shown is None:
        return RedirectResponse(to_login(scope), 303)
    return PlainTextResponse(f"{error}\n", status, headers)
