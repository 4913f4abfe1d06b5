"""Live updates: server-sent events for a page that is open.

Owns one stream a page. It says that something changed and lets the page fetch itself again, so that
there is one way of drawing everything; log lines of one location come with it, with the cursor as
event id, so that a stream that broke off goes on where it was. Sends no markup.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import StreamingResponse

from supervisor.errors import SupervisorError, UnauthenticatedError
from supervisor.web.following import event
from supervisor.web.render import whole
from supervisor.web.views import view_of

if TYPE_CHECKING:
    from supervisor.web.following import Following
    from supervisor.web.link import Link

__all__ = ["events"]

# Proxies cut what is silent for a minute.
_HEARTBEAT = 15.0
_RETRY = 1.0
# What a browser that reads slowly is behind at most; the rest it asks for with the last event's number.
_QUEUE = 8


async def events(request: Request) -> StreamingResponse:
    """``GET /events``; with ``logs=LOCATION`` also that location's lines after ``after``."""
    link: Link = view_of(request).link
    name = request.query_params.get("logs")
    after = _cursor(request.headers.get("last-event-id") or request.query_params.get("after"))
    stream = _merged(link, view_of(request).following, name, after)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


def _cursor(text: str | None) -> int | None:
    return whole(text) if text is not None else None


async def _merged(
    link: Link, following: Following, name: str | None, after: int | None
) -> AsyncIterator[str]:
    queue: asyncio.Queue[str | None] = asyncio.Queue(_QUEUE)
    tasks = [asyncio.create_task(_changes(link, queue))]
    if name is not None:
        tasks.append(asyncio.create_task(_lines(link, following, name, after, queue)))
    try:
        yield "retry: 1000\n\n"
        while (text := await queue.get()) is not None:
            yield text
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _changes(link: Link, queue: asyncio.Queue[str | None]) -> None:
    version = -1
    while not link.closing and not isinstance(link.error, UnauthenticatedError):
        if await link.changed(version, _HEARTBEAT) or version < 0:
            version = link.version
            document = link.document
            revision = document["revision"] if document is not None else -1
            data = {"version": version, "running": link.running, "revision": revision}
            await queue.put(event("change", data))
        else:
            await queue.put(": still here\n\n")
    await queue.put(None)


async def _lines(
    link: Link,
    following: Following,
    name: str,
    after: int | None,
    queue: asyncio.Queue[str | None],
) -> None:
    """Lines as they come; a supervisor that went away is waited for."""
    while not link.closing:
        try:
            client = link.client
            end = (await client.logs(name, lines=0))["next"]
            # Old files are thrown away between two supervisors: the count may be another.
            after = end if after is None else min(after, end)
            while not link.closing:
                chunk, text = await following.after(name, after)
                after = chunk["next"]
                if text:
                    await queue.put(text)
        except SupervisorError:
            pass  # the page says so; the lines go on when there is a supervisor again
        await link.changed(link.version, _RETRY)
