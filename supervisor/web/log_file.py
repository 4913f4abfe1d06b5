"""The log of a location as one file.

Owns its text and its name. Reads no file: the lines come from the supervisor, piece by piece.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import StreamingResponse

from supervisor.web.views import view_of

if TYPE_CHECKING:
    from supervisor.client.client import AsyncClient
    from supervisor.protocol.documents import LogLine

__all__ = ["download"]


async def download(request: Request) -> StreamingResponse:
    """``GET /location/log?name=…``: all of a log that is kept, a line each with its time (UTC) and stream."""
    name = request.query_params.get("name", "")
    client = view_of(request).link.client
    end = (await client.logs(name, lines=0))["next"]
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}.log"}
    return StreamingResponse(
        _lines(client, name, end), media_type="text/plain; charset=utf-8", headers=headers
    )


async def _lines(client: AsyncClient, name: str, end: int) -> AsyncIterator[str]:
    cursor = 0
    while cursor < end:
        chunk = await client.logs(name, after=cursor, timeout=0)
        if chunk["next"] <= cursor:
            return
        cursor = chunk["next"]
        yield "".join(map(_line, chunk["lines"]))


def _line(one: LogLine) -> str:
    when = datetime.fromtimestamp(one["time"], UTC).isoformat(timespec="milliseconds")
    return f"{when.removesuffix('+00:00')}Z {one['stream']} {one['text']}\n"
