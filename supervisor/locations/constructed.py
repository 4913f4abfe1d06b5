"""Definitions that a snapshot only names, constructed by the process that serves them.

Owns the asking and what a client is told when it cannot be done. Keeps nothing.
"""

from __future__ import annotations

from typing import Any

from supervisor.errors import (
    NotServedError,
    RequestError,
    RequestTimeoutError,
    UnknownDefinitionError,
)
from supervisor.locations.generation import Generation, LoadFailedError, ProcessDiedError

__all__ = ["TIMEOUT", "constructed"]

TIMEOUT = 60.0


async def constructed(
    location: str, serving: Generation | None, kind: str, name: str, repository: str | None
) -> dict[str, Any]:
    """``{"definition", "source"}`` of one definition of ``location``; raises ``RequestError``, ``NotServedError`` without
    a process."""
    if serving is None or not serving.alive:
        raise NotServedError(
            f"{name!r} is constructed on demand, and no process of {location} runs",
            hint=f"use `supervise start {location}`",
        )
    try:
        return await serving.describe(kind, name, repository, TIMEOUT)
    except LoadFailedError as error:
        if error.failure.kind == "unknown_definition":
            raise UnknownDefinitionError(name) from None
        if error.failure.kind == "unresponsive":
            raise RequestTimeoutError(
                f"{name!r} cannot be constructed: {error.failure.message}",
                hint=error.failure.hint,
            ) from None
        raise RequestError(
            f"{name!r} cannot be constructed: {error.failure.message}", hint=error.failure.hint
        ) from None
    except ProcessDiedError as error:
        raise RequestError(f"the process {error.ended} while it constructed {name!r}") from None
