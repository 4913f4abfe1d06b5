"""``supervise --web``: the web page as a process beside the foreground supervisor.

Owns the start of that process, the passing on of what it says, and its end. It is the same
``supervise web`` that anyone can start: when it dies the supervisor says so and goes on. It hangs on
a lifeline, so that it does not outlive a supervisor that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner_shim import lifeline

if TYPE_CHECKING:
    from supervisor.workspace import Selection

__all__ = ["Beside", "arguments_of", "run_beside"]

_PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class Beside:
    """Where the page listens: ``host`` and ``port`` (0 takes a free one)."""

    host: str = "127.0.0.1"
    port: int = 3070


def arguments_of(selection: Selection) -> list[str]:
    """The options that select ``selection``."""
    found: list[str] = []
    for option, values in (
        ("--workspace", selection.files),
        ("--python-file", selection.python_files),
        ("--module-name", selection.modules),
        ("--package-name", selection.packages),
        ("--autoload-defs-module", selection.autoload_modules),
        ("--working-directory", (selection.working_directory,)),
        ("--attribute", (selection.attribute,)),
    ):
        for value in values:
            if value is not None:
                found += [option, str(value)]
    return found


async def run_beside(
    beside: Beside, selection: Selection, cwd: Path, tell: Callable[[list[str]], None]
) -> None:
    """Run the page until it ends or this is cancelled; ``tell`` hears each line of it."""
    ours, theirs = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", str(Path(lifeline.__file__)), str(ours)),
            # -P: a directory `supervisor` where we were started is not ours.
            *(sys.executable, "-P", "-m", "supervisor.cli", "web"),
            *arguments_of(selection),
            *("--host", beside.host, "--port", str(beside.port)),
            cwd=cwd,
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
