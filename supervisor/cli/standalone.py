"""A supervisor for the time of one command: for CI, where none runs.

Owns its thread, and what of its location is told until that serves. It takes the workspace's lock, as any
supervisor does, starts nothing by itself, and ends with all that was started for the command.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.outcome import outcome_lines
from supervisor.errors import AlreadyRunningError, NotRunningError

if TYPE_CHECKING:
    from supervisor.cli.session import Session
    from supervisor.client.client import Client
    from supervisor.server.daemon import Daemon

__all__ = ["alone"]


@contextlib.contextmanager
def alone(session: Session, location: str | None) -> Iterator[tuple[Client, str]]:
    """A client of a supervisor of the session's workspace, and the location, which serves if it can.

    Without ``location`` it is the only one of the workspace. Raises ``AlreadyRunningError``.
    """
    from supervisor.client.client import Client
    from supervisor.client.locate import Found
    from supervisor.server.daemon import Daemon

    daemon = Daemon(session.selection, cwd=session.cwd, environ=os.environ, idle=True)
    if location is None:
        names = [one.name for one in daemon.spec.locations]
        if len(names) != 1:
            raise click.UsageError(f"say which location is meant: there are {', '.join(names)}")
        location = names[0]
    with _running(daemon), _interrupted_by_sigterm():
        info = daemon.runtime_directory.running()
        if info is None:
            raise NotRunningError(daemon.spec.title)
        with Client(found=Found(info)) as client:
            _have_served(session, client, location)
            yield client, location


@contextlib.contextmanager
def _running(daemon: Daemon) -> Iterator[None]:
    """``daemon`` in a thread, ready for clients within the body."""
    ready = threading.Event()
    failed: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        serving = asyncio.create_task(daemon.run())
        started = asyncio.create_task(daemon.started.wait())
        await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if not serving.done():
            ready.set()
        await serving

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)
        ready.set()

    thread = threading.Thread(target=run, name="supervisor")
    thread.start()
    try:
        ready.wait()
        if not failed:
            yield
    finally:
        with contextlib.suppress(RuntimeError, IndexError):  # it has ended, or never begun
            loops[0].call_soon_threadsafe(daemon.shutdown)
        thread.join()
    for error in failed:
        if isinstance(error, AlreadyRunningError):
            error.hint = "without --standalone the supervisor that runs is asked"
        raise error


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM is what Ctrl-C is: the run is asked to cancel, which would outlive this process."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _have_served(session: Session, client: Client, location: str) -> None:
    terminal = session.terminal
    client.status(location)  # raises for one that there is not
    terminal.say(f"loading {location}", "dim")
    client.start(location)
    client.wait(location)
    (status,) = client.status(location)["locations"]
    style = "dim" if status["state"] == "ready" else ""
    for line in outcome_lines(status, colour=terminal.error_colour):
        terminal.say(line, style)
