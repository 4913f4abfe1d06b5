"""Forms that pages send: read, and bounded."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request

__all__ = ["form"]


async def form(request: Request) -> dict[str, list[str]]:
    """A form that was sent, at most as large as the guard lets through."""
    text = (await request.body()).decode("utf-8", "replace")
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=5000)
    except ValueError:
        raise HTTPException(400, "the form cannot be read") from None
