"""A run as it goes on: server-sent events until its end, or one page of what is known.

Owns the cursor that readers get: how far they are in its events, its output and its errors, as
``EVENTS/OUT/ERR``, and ``/end`` behind that once all is told. It is the id of an event, so a stream that broke
off goes on where it was, also with the next supervisor, which adopts the run. Each reader has a stream of the
supervisor to itself, of which one piece is on its way: one that reads slowly holds up no other.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from supervisor.errors import (
    ForbiddenError,
    InvalidParameterError,
    SupervisorError,
    UnauthenticatedError,
    UnknownRunError,
)
from supervisor.web.following import BusyError, event
from supervisor.web.views import View, view_of

if TYPE_CHECKING:
    from supervisor.client.runs import AsyncRun
    from supervisor.web.documents import RunPage
    from supervisor.web.link import Link

__all__ = ["CURSOR", "answer"]

# Proxies cut what is silent for a minute.
_HEARTBEAT = 15.0
_RETRY = 1.0
# The supervisor lets one client have 500 requests under way: these, and the logs that are followed.
_MOST = 90
_STREAMS = ("events", "out", "err")
CURSOR = "([0-9]{1,18})/([0-9]{1,18})/([0-9]{1,18})(/end)?"
"""The form of a cursor, as a regular expression."""


async def answer(request: Request, name: str, after: str) -> Response | RunPage:
    """The stream of the run ``name``, or a page where the client takes no stream.

    ``after`` is a cursor or "". Raises ``InvalidParameterError`` and what the client does.
    """
    cursors, done = _read(after)
    view = view_of(request)
    run = await view.link.client.run(name)
    accepted = request.headers.get("accept", "")
    if "application/json" in accepted and "text/event-stream" not in accepted:
        return await _page(run, cursors)
    if done:  # which ends the questions of a browser
        return Response(status_code=204)
    if len(view.runs_followed) >= _MOST:
        raise BusyError(
            f"{_MOST} runs are followed already, which is all that this page allows",
            hint="try again in a few seconds",
        )
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _stream(view, run.id, cursors), media_type="text/event-stream", headers=headers
    )


def _read(text: str) -> tuple[dict[str, int], bool]:
    """The cursors in ``text``, and whether they are at the end."""
    if not text:
        return dict.fromkeys(_STREAMS, 0), False
    found = re.fullmatch(CURSOR, text)
    if found is None:
        raise InvalidParameterError(
            "the cursor of a run must be the id of an event of its stream, such as 120/0/0"
        )
    numbers = map(int, found.groups()[:3])
    return dict(zip(_STREAMS, numbers, strict=True)), found[4] is not None


def _joined(cursors: Mapping[str, int]) -> str:
    return "/".join(str(cursors[name]) for name in _STREAMS)


def _is_range(run: AsyncRun) -> bool:
    return run.row["partitions"] is not None


async def _page(run: AsyncRun, cursors: dict[str, int]) -> RunPage:
    # What is read after this: a page without anything, of a run that has ended, is the last one.
    found: dict[str, Any] = {"run": run.row}
    after = {} if _is_range(run) else cursors
    async with aclosing(run.follow(after, wait=False, ahead=1)) as pages:
        async for news in pages:
            found = {**news, **found}
            cursors |= found.pop("next")
            break
    return cast("RunPage", {**found, "after": _joined(cursors)})


async def _stream(view: View, name: str, cursors: dict[str, int]) -> AsyncGenerator[str, None]:
    pieces = _pieces(view.link, name, cursors)
    waiting = asyncio.create_task(_next(pieces), name=f"run {name}")
    view.runs_followed.add(waiting)
    try:
        yield "retry: 1000\n\n"
        while True:
            done, _ = await asyncio.wait([waiting], timeout=_HEARTBEAT)
            if not done:
                yield ": still here\n\n"
                continue
            text = None if waiting.cancelled() else waiting.result()
            if text is None:
                return
            yield text
            # Not before the reader has taken what there was.
            view.runs_followed.discard(waiting)
            waiting = asyncio.create_task(_next(pieces), name=f"run {name}")
            view.runs_followed.add(waiting)
    finally:
        view.runs_followed.discard(waiting)
        waiting.cancel()
        await asyncio.wait([waiting])
        await pieces.aclose()


async def _next(pieces: AsyncGenerator[str, None]) -> str | None:
    return await anext(pieces, None)


async def _pieces(link: Link, name: str, cursors: dict[str, int]) -> AsyncGenerator[str, None]:
    """The run's events until its end; a supervisor that went away is waited for."""
    state = ""
    while not link.closing:
        try:
            run = await link.following_client.run(name)
            if run.state != state:
                state = run.state
                yield event("run", run.row)
            after = {} if _is_range(run) else cursors
            async with aclosing(run.follow(after, ahead=1)) as found:
                async for news in found:
                    for text in _told(news, cursors):
                        yield text
                    if run.state != state:
                        state = run.state
                        yield event("run", news["run"])
            run = await link.following_client.run(name)
            if run.row["ended"] is not None:
                yield event("end", run.row, f"{_joined(cursors)}/end")
                return
        except (UnknownRunError, UnauthenticatedError, ForbiddenError):
            return  # asked again, the page says which
        except SupervisorError:
            pass
        await link.changed(link.version, _RETRY)


def _told(news: Mapping[str, Any], cursors: dict[str, int]) -> Iterator[str]:
    """The events for ``news``; each moves its part of ``cursors`` on, and has all of them as its id."""
    if "runs" in news:
        yield event("runs", {"runs": news["runs"]})
    for name in _STREAMS:
        if name in news:
            cursors[name] = news["next"][name]
            data = {name if name == "events" else "text": news[name]}
            yield event(name, data, _joined(cursors))
