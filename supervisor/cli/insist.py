"""Retries of commands that follow a supervisor until it ends.

Owns what a follower does about silence: it says so once, asks again, and says when the answers come
again. Only the end of the supervisor (``NotRunningError``) or of the command ends it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from supervisor.errors import RequestTimeoutError

__all__ = ["insist", "insist_async"]

T = TypeVar("T")

Say = Callable[[str], None]


def insist(ask: Callable[[], T], say: Say, until: float | None = None) -> T:
    """What ``ask`` returns, asked again after each ``RequestTimeoutError``.

    ``until`` is a moment (``time.monotonic()``) after which the next of these is raised.
    """
    silent = False
    while True:
        try:
            answer = ask()
        except RequestTimeoutError as error:
            if until is not None and time.monotonic() >= until:
                raise
            silent = _silent(error, say, silent)
        else:
            if silent:
                say(_AGAIN)
            return answer


async def insist_async(ask: Callable[[], Awaitable[T]], say: Say) -> T:
    """As ``insist``, for ever."""
    silent = False
    while True:
        try:
            answer = await ask()
        except RequestTimeoutError as error:
            silent = _silent(error, say, silent)
        else:
            if silent:
                say(_AGAIN)
            return answer


_AGAIN = "supervise: the supervisor answers again"


def _silent(error: RequestTimeoutError, say: Say, told: bool) -> bool:
    if not told:
        say(f"supervise: {error}: still waiting")
    return True
