"""The source lines of a dumped stack: faulthandler names files and lines, and shows no code.

Owns the reading of those files, which may be large, on a disk that hangs, or no files of code at all: what
a process wrote names them. In a thread, bounded. Judges nothing.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from supervisor.locations.failures import Failure

__all__ = ["lacks_code", "quoted"]

# Whose frames come from a dump; a shim sends code along.
_DUMPED = frozenset({"died", "timeout", "unresponsive"})
_MOST_BYTES = 4 * 1024 * 1024
_PATIENCE = 5.0


def lacks_code(failure: Failure) -> bool:
    """True when it has frames, and no code in them."""
    frames = failure.details.get("frames", ())
    return failure.kind in _DUMPED and any(not one.get("code") for one in frames)


async def quoted(failure: Failure) -> Failure:
    """``failure`` with code in its frames, as far as that lacks and can be read within a few seconds."""
    if not lacks_code(failure):
        return failure
    try:
        async with asyncio.timeout(_PATIENCE):
            frames = await asyncio.to_thread(_with_code, failure.details["frames"])
    except (TimeoutError, RuntimeError):  # no thread can be started
        return failure
    return replace(failure, details={**failure.details, "frames": frames})


def _with_code(frames: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    files = {one["file"]: _lines(one["file"]) for one in frames}
    return [{**one, "code": _line(files[one["file"]], one["line"])} for one in frames]


def _line(lines: list[bytes], number: int) -> str:
    if not 0 < number <= len(lines):
        return ""
    return lines[number - 1].decode("utf-8", "replace").strip()


def _lines(path: str) -> list[bytes]:
    try:
        # Nothing that blocks, and nothing without an end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return []
            return file.read(_MOST_BYTES).split(b"\n")
    except (OSError, ValueError):
        return []
