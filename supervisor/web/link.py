"""The connections to the supervisor, and what was last heard over them.

Owns a client for what is looked at, one for orders and one for logs that are followed, so that neither takes
the room of another, all of them in the name of one credential; the newest status document, and the waiting of pages for something newer. It belongs
to one workspace for life: when its supervisor goes away the last document stays, marked as old, and a
new supervisor of the same workspace is looked for until there is one, also when others run. A page that
has not heard of one shows the snapshots that the last one kept (``kept``). Orders
nothing by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from supervisor.client.client import AsyncClient
from supervisor.client.locate import Identity, name_of
from supervisor.errors import (
    NotRunningError,
    ProtocolError,
    RequestTimeoutError,
    SupervisorError,
    UnauthenticatedError,
    UnknownLocationError,
)
from supervisor.roles import Role
from supervisor.web.credentials import OPERATOR, Credential
from supervisor.web.kept import kept_location, kept_snapshots

if TYPE_CHECKING:
    from supervisor.protocol.access_documents import Asker
    from supervisor.protocol.documents import LocationStatus, Memory, StatusDocument
    from supervisor.snapshots.snapshot import Snapshot

__all__ = ["Link"]

_log = logging.getLogger(__name__)

# Memory and CPU change without an event: so often (seconds) the document is had anyway.
_REFRESH = 5.0
# Many locations that start make many changes: a few looks a second are enough, and less than that
# where a document takes long to make and to read.
_PAUSE, _PAUSE_EACH = 0.1, 0.001
_RETRY = 0.5
# Private memory costs the kernel a walk over the process: asked for what is looked at, this often.
_MEMORY_AGE = 15.0
_MEMORY_AT_ONCE = 4


class Link:
    """What this page knows of the supervisor of ``identity``, as far as ``credential`` is told.

    ``asker`` is who that is to the supervisor. ``version`` counts what was heard; ``document`` is the last status document or None, ``kept`` are the locations of which there
    is only a snapshot on the disk, ``error`` why there is no supervisor now (None while one runs), ``changed_at`` the Unix time when it came or
    went.
    """

    def __init__(
        self,
        identity: Identity,
        environ: Mapping[str, str] | None = None,
        credential: Credential = OPERATOR,
    ) -> None:
        self.identity = identity
        self.asker: Asker | None = None
        self._credential = credential
        self._environ = os.environ if environ is None else environ
        self._clients: tuple[AsyncClient, AsyncClient, AsyncClient] | None = None
        self._news = asyncio.Event()
        self._memory: dict[str, tuple[int, Memory]] = {}
        self._measured: dict[str, float] = {}
        self._measuring: asyncio.Task[None] | None = None
        self._wanted: set[str] = set()
        self.version = 0
        self.document: StatusDocument | None = None
        self.kept: list[LocationStatus] = []
        self._snapshots: Mapping[str, Snapshot] | None = None
        self.error: SupervisorError | None = NotRunningError(identity.name)
        self.changed_at = time.time()
        self.closing = False

    @property
    def running(self) -> bool:
        """True while a supervisor answers."""
        return self.error is None

    def may(self, role: str) -> bool:
        """True when the one who asks has ``role``, as far as is known."""
        return self.asker is not None and Role(self.asker["role"]).includes(Role(role))

    @property
    def workspace(self) -> str:
        """The workspace as people name it."""
        if self.document is None:
            return self.identity.name
        name = name_of(self.document["supervisor"])
        return name if self.identity.elsewhere is None else f"{name} at {self.identity.name}"

    @property
    def client(self) -> AsyncClient:
        """The client of the running supervisor; raises why there is none."""
        return self._running()[0]

    @property
    def ordering_client(self) -> AsyncClient:
        """The client that orders are given with; as ``client``."""
        return self._running()[1]

    @property
    def following_client(self) -> AsyncClient:
        """The client that waits for lines of logs; as ``client``."""
        return self._running()[2]

    def _running(self) -> tuple[AsyncClient, AsyncClient, AsyncClient]:
        if self.error is not None:
            raise self.error.with_traceback(None)  # raised again and again
        if self._clients is None:
            raise NotRunningError(self.workspace)
        return self._clients

    @property
    def locations(self) -> list[LocationStatus]:
        """The locations of the last document, with private memory where it is known; those of which there is
        a snapshot, where there is no document."""
        found = self.kept if self.document is None else self.document["locations"]
        for one in found:
            process = one["process"]
            known = self._memory.get(one["name"])
            if process is not None and known is not None and known[0] == process["pid"]:
                memory = process["memory"] or {"rss": None}
                process["memory"] = {"rss": memory.get("rss"), "uss": known[1].get("uss")}
        return found

    def location(self, name: str) -> LocationStatus:
        """One location of the last document. Raises ``UnknownLocationError``, and why nothing was
        heard yet."""
        if self.document is None and not self.kept and self.error is not None:
            raise self.error.with_traceback(None)
        for one in self.locations:
            if one["name"] == name:
                return one
        raise UnknownLocationError(name)

    async def run(self) -> None:
        """Follow the supervisor, for ever, or until its token is not valid any more."""
        while not isinstance(self.error, UnauthenticatedError):
            try:
                await self._follow()
            except SupervisorError as error:
                await self._look_back(error)
                self._lost(error)
            except Exception as error:  # the page must outlive what it did not expect
                _log.exception("the connection to the supervisor")
                self._lost(ProtocolError(f"the supervisor's answer could not be used: {error}"))
            await asyncio.sleep(_RETRY)

    async def snapshots(self) -> Mapping[str, Snapshot]:
        """The newest snapshots that are on the disk, by location, read once while no supervisor runs; none for
        who must show a token, which nothing else can judge."""
        if self._credential.token is not None:
            return {}
        if self._snapshots is None:
            self._snapshots = await kept_snapshots(self.identity)
        return self._snapshots

    async def _look_back(self, error: SupervisorError) -> None:
        """Without a supervisor from the beginning, what the last one kept is known."""
        if self.document is None and not self.kept and isinstance(error, NotRunningError):
            kept = await self.snapshots()
            self.kept = [kept_location(kept[name]) for name in sorted(kept)]

    async def heard(self, timeout: float) -> bool:
        """Wait until the supervisor has answered, or has been looked for, once."""
        return await self.changed(0, timeout)

    async def changed(self, version: int, timeout: float) -> bool:
        """Wait until ``version`` is no longer the newest, or ``timeout`` seconds passed."""
        deadline = time.monotonic() + timeout
        while self.version == version and not self.closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                    await self._news.wait()
            if time.monotonic() >= deadline:
                break
        return self.version != version

    def close(self) -> None:
        """End every wait."""
        self.closing = True
        self._tell()

    def measure(self, names: list[str]) -> None:
        """Ask for the private memory of ``names``, in the background, where it is not known."""
        now = time.monotonic()
        old = now - _MEMORY_AGE
        stale = [name for name in names if self._measured.get(name, old) <= old]
        self._measured.update(dict.fromkeys(stale, now))
        self._wanted.update(stale)
        if self._wanted and (self._measuring is None or self._measuring.done()):
            self._measuring = asyncio.create_task(self._measure(), name="memory")

    async def _measure(self) -> None:
        gate = asyncio.Semaphore(_MEMORY_AT_ONCE)

        async def one(name: str) -> None:
            async with gate:
                with contextlib.suppress(SupervisorError):
                    document = await self.client.status(name)
                    process = document["locations"][0]["process"]
                    if process is not None and process["memory"]:
                        self._memory[name] = (process["pid"], process["memory"])

        names, self._wanted = self._wanted, set()
        await asyncio.gather(*map(one, names))
        self._tell()

    async def _follow(self) -> None:
        # Light, but it reads files: the disk that they are on may be slow.
        try:
            found = await asyncio.to_thread(self.identity.find, self._environ)
        except NotRunningError:  # which others run is nothing to this page
            raise NotRunningError(self.identity.name, hint="start it with `supervise`") from None
        token, role = self._credential.token, self._credential.role
        async with (
            AsyncClient(found=found, token=token, role=role) as client,
            AsyncClient(found=found, token=token, role=role) as ordering,
            AsyncClient(found=found, token=token, role=role) as following,
            contextlib.aclosing(client.watch(refresh=_REFRESH)) as documents,
        ):
            self.asker = cast("Asker", await client.call_method("whoami", {}))
            try:
                async for document in documents:
                    self._clients = (client, ordering, following)
                    self._take(document)
                    await asyncio.sleep(_PAUSE + _PAUSE_EACH * len(document["locations"]))
            finally:
                self._clients = None

    def _take(self, document: StatusDocument) -> None:
        if self.error is not None:
            self.error = None
            self.changed_at = time.time()
        self.document, self.kept, self._snapshots = document, [], None
        names = {one["name"] for one in document["locations"]}
        for name in self._measured.keys() - names:
            del self._measured[name]
            self._memory.pop(name, None)
        self._tell()

    def _lost(self, error: SupervisorError) -> None:
        if self.error is None:
            self.changed_at = time.time()
            if isinstance(error, RequestTimeoutError):
                _log.warning("%s", error)
        before, self.error = self.error, error
        if before is None or str(before) != str(error) or not self.version:
            self._tell()

    def _tell(self) -> None:
        self.version += 1
        self._news.set()
        self._news = asyncio.Event()
