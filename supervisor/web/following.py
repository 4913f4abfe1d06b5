"""Logs that are followed: one request to the supervisor, however many follow.

Owns the requests that wait for lines. All who have the same lines of a log wait for the same answer; it is
made into the text of an event once. Knows no browser.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from supervisor.errors import RequestError
from supervisor.presentation.log_levels import level_of

if TYPE_CHECKING:
    from supervisor.protocol.documents import LogChunk
    from supervisor.web.link import Link

__all__ = ["BusyError", "Following", "event"]

# The supervisor lets one client have 500 requests under way: these, and the runs that are followed.
_MOST = 400
_HOLD = 10.0


class BusyError(RequestError):
    """There is no room for this now; later there may be."""


class Following:
    """The followed logs of the supervisor behind ``link``."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waits: dict[tuple[str, int], asyncio.Task[tuple[LogChunk, str]]] = {}

    async def after(self, name: str, cursor: int, timeout: float = _HOLD) -> tuple[LogChunk, str]:
        """Lines of the log ``name`` behind ``cursor`` as soon as there are any, and their event.

        Without any, after ``timeout`` seconds or a little earlier. Raises what the client does, and
        ``BusyError``.
        """
        key = (name, cursor)
        wait = self._waits.get(key)
        if wait is None:
            if len(self._waits) >= _MOST:
                raise BusyError(
                    f"{_MOST} logs are followed already, which is all that this page allows",
                    hint="try again in a few seconds",
                )
            wait = asyncio.create_task(self._wait(name, cursor), name=f"lines of {name}")
            self._waits[key] = wait
            wait.add_done_callback(lambda done: self._forget(key, done))
        await asyncio.wait([wait], timeout=timeout)
        if wait.done() and not wait.cancelled():
            return wait.result()
        return {"lines": [], "next": cursor, "before": None}, ""

    def close(self) -> None:
        """Let all go who wait."""
        for wait in self._waits.values():
            wait.cancel()

    async def _wait(self, name: str, cursor: int) -> tuple[LogChunk, str]:
        chunk = await self._link.following_client.logs(name, after=cursor, timeout=_HOLD)
        if not chunk["lines"]:
            return chunk, ""
        lines = [{**line, "level": level_of(line["text"])} for line in chunk["lines"]]
        return chunk, event("log", {"lines": lines}, number=chunk["next"])

    def _forget(self, key: tuple[str, int], wait: asyncio.Task[Any]) -> None:
        self._waits.pop(key, None)
        if not wait.cancelled():
            wait.exception()  # those who wait hear of it; there may be none


def event(name: str, data: Any, number: int | str | None = None) -> str:
    """A server-sent event; ``number`` is where a stream that broke off goes on."""
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n"
