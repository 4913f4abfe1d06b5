"""Dagster's own client in an environment of its own, for tests of the servers that it uses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from places import PROGRAMS

__all__ = ["Host", "hosting"]


class Host:
    """A process of tests/programs/dagster_host.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, function: str, *arguments: Any) -> Any:
        """The result of one of its functions; raises AssertionError with what it raised."""
        answer = await self.answer(function, *arguments)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    async def answer(self, function: str, *arguments: Any) -> dict[str, Any]:
        """``{"result"}`` or ``{"error"}``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([function, *arguments]).encode() + b"\n")
        async with asyncio.timeout(120):
            await self._process.stdin.drain()
            while line := await self._process.stdout.readline():
                if line.startswith(b"@"):
                    found: dict[str, Any] = json.loads(line[1:])
                    return found
        raise AssertionError("the host has ended")

    async def until_answered(self, function: str, *arguments: Any) -> Any:
        """As ``ask``, again until there is a result."""
        async with asyncio.timeout(180):
            while True:
                answer = await self.answer(function, *arguments)
                if "error" not in answer:
                    return answer["result"]


@contextlib.asynccontextmanager
async def hosting(python: Path, home: Path) -> AsyncIterator[Host]:
    """A host with the instance in ``home``."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "DAGSTER"))}
    process = await asyncio.create_subprocess_exec(
        python,
        PROGRAMS / "dagster_host.py",
        home,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environ,
        limit=64 * 1024 * 1024,
    )
    try:
        yield Host(process)
    finally:
        process.kill()
        await process.wait()
