"""``supervise --web``: the web page as a process beside the foreground supervisor.

Owns the start of that process, the passing on of what it says, and its end. It is the same
``supervise web`` that anyone can start, with the workspace as an argument: when it dies, the supervisor
reports it and continues. It hangs on a lifeline, so that it does not outlive a supervisor that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner_shim import lifeline

__all__ = ["Beside", "run_beside"]

_PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class Beside:
    """Where the page listens: ``host`` and ``port`` (0 takes a free one)."""

    host: str = "127.0.0.1"
    port: int = 3070


async def run_beside(
    beside: Beside, directory: Path, key: str, tell: Callable[[list[str]], None]
) -> None:
    """Run the page of the workspace ``key`` in ``directory`` until it ends or this is cancelled;
    ``tell`` hears each line of it."""
    ours, theirs = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", str(Path(lifeline.__file__)), str(ours)),
            # -P: a directory `supervisor` where we were started is not ours.
            *(sys.executable, "-P", "-m", "supervisor.cli", "web"),
            *("--of", str(directory), key),
            *("--host", beside.host, "--port", str(beside.port)),
            cwd=directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=(ours,),
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                tell([line.decode("utf-8", "replace").rstrip()])
            status = await process.wait()
            tell(
                [
                    f"supervise: the web page ended with status {status}; the supervisor goes on",
                    "hint: `supervise web` starts it again",
                ]
            )
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PATIENCE):
                        await process.wait()
    finally:
        os.close(ours)
        os.close(theirs)  # what is still there ends now
