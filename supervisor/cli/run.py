"""``supervise`` and ``supervise run``: the supervisor in the foreground, and what it shows.

Owns the event loop, the signals and the choice between a live table and plain lines. What is shown
comes through the control socket, from the same documents that every other client gets: this
process's own supervisor is not looked into. Ctrl-C, SIGTERM or a terminal that hangs up once stops
everything cleanly, twice at once; any other SIGHUP has the workspace read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import click

from supervisor.calls import LONGEST_HOLD
from supervisor.cli import SUPERVISORD_HINT, supervisord_beside, words
from supervisor.cli.app import LISTEN, Session, beside_option, selecting
from supervisor.cli.events import Event, Seen, events
from supervisor.cli.outcome import outcome_lines
from supervisor.cli.terminal import Terminal, clean

if TYPE_CHECKING:
    from supervisor.cli.beside import Beside
    from supervisor.client import AsyncClient
    from supervisor.daemon import Daemon
    from supervisor.documents import Diff, StatusDocument

__all__ = ["Display", "PlainDisplay", "follow", "open_display", "run_", "run_workspace", "watch"]

# A live table shows times and memory, which change without any news; lines tell of news alone.
_REFRESH_SECONDS = 1.0
# A document of many locations takes time to make and to read, of the supervisor itself too.
_PAUSE_SECONDS, _PAUSE_EACH = 0.1, 0.001


class Display(Protocol):
    """Where the foreground supervisor shows what goes on."""

    live: bool

    def show(self, document: StatusDocument) -> None:
        """The state of affairs."""

    def tell(self, lines: list[str]) -> None:
        """Something that happened."""

    def close(self) -> None:
        """Leave the terminal as it should be."""


class PlainDisplay:
    """Lines as things happen: for pipes, files and service managers."""

    live = False

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def show(self, document: StatusDocument) -> None:
        """The lines say it all."""

    def tell(self, lines: list[str]) -> None:
        """Each line at once, for whoever reads the other end."""
        self._terminal.print(*lines)
        self._terminal.out.flush()

    def close(self) -> None:
        """Nothing to undo."""


@click.command("run", short_help="Supervise a workspace in the foreground (the default).")
@selecting
@beside_option
@LISTEN
def run_(session: Session, web: Beside | None, listen: str | None) -> int:
    """Supervise a workspace in the foreground until Ctrl-C (twice: at once) or SIGTERM.

    On a terminal a live table, in a pipe a line for each change. Exit status 0 after a clean end, 2
    when the workspace cannot be read or is supervised already.
    """
    return run_workspace(session, web, listen)


def run_workspace(session: Session, web: Beside | None = None, listen: str | None = None) -> int:
    """Run the supervisor of the session's workspace, ``web`` beside it, ``listen`` for clients that
    have keys; returns the exit status."""
    from supervisor.daemon import Daemon
    from supervisor.preflight import preflight

    beside = supervisord_beside()
    if beside is not None:
        session.terminal.warn(beside, SUPERVISORD_HINT)
    daemon = Daemon(session.selection, cwd=session.cwd, environ=os.environ, listen=listen)
    display = open_display(session.terminal)
    logging.basicConfig(handlers=[_LogLines(display)])
    preflight()  # an event loop needs descriptors, too
    # What was imported stays, and need not be looked through again. What comes now does not: a dead
    # process leaves cycles behind, and a rare look would let megabytes of them gather.
    gc.freeze()
    gc.set_threshold(2_000, 10, 10)
    # A thread (the store reads snapshots in one) gives way to the event loop after so many seconds.
    sys.setswitchinterval(0.0005)
    asyncio.run(_serve(daemon, display, session, web))
    return 0


def open_display(terminal: Terminal) -> Display:
    """A live table where somebody looks, plain lines elsewhere."""
    if not terminal.interactive:
        return PlainDisplay(terminal)
    from supervisor.cli.live import LiveDisplay

    return LiveDisplay(terminal)


class _LogLines(logging.Handler):
    """The supervisor's own log, among what is shown."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):  # logging must not end what it reports about
            text = f"{record.levelname}: {record.getMessage()}"
            if record.exc_info and record.exc_info[0] is not None:
                # Its traceback is in supervisor.log: making it reads source files.
                text += f": {record.exc_info[0].__name__}: {record.exc_info[1]}"
            self._display.tell([clean(line) for line in text.splitlines()])


async def _serve(daemon: Daemon, display: Display, session: Session, web: Beside | None) -> None:
    serving = asyncio.create_task(daemon.run(), name="daemon")
    colour = session.terminal.colour
    watching = asyncio.create_task(_watch(daemon, display, colour), name="display")
    page = asyncio.create_task(_page(daemon, display, session, web), name="web page")
    forget = _on_signals(daemon, display)
    try:
        done, _ = await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
        if watching in done and not serving.done():
            # Nobody reads what we print any more, or the display is at fault: end cleanly.
            daemon.shutdown()
        await serving
    finally:
        page.cancel()
        watching.cancel()
        shown, _ = await asyncio.gather(watching, page, return_exceptions=True)
        forget()
        with _closed_terminal_as_closed_pipe():
            display.close()
    with _closed_terminal_as_closed_pipe():
        if isinstance(shown, Exception):
            raise shown
        display.tell(["supervise: everything has stopped"])


@contextlib.contextmanager
def _closed_terminal_as_closed_pipe() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EIO:
            raise BrokenPipeError from error
        raise


def _on_signals(daemon: Daemon, display: Display) -> Callable[[], None]:
    loop = asyncio.get_running_loop()
    asked = 0

    def stop(number: signal.Signals) -> None:
        nonlocal asked
        asked += 1
        daemon.shutdown(at_once=asked > 1)
        # Told afterwards: the terminal may be what went away.
        if asked == 1:
            again = " (Ctrl-C again stops at once)" if number == signal.SIGINT else ""
            display.tell([f"supervise: stopping everything{again}"])
        elif asked == 2:
            display.tell(["supervise: stopping at once"])

    terminals = [descriptor for descriptor in (0, 1, 2) if os.isatty(descriptor)]

    def hang_up() -> None:
        # A terminal that has hung up is none any more.
        if asked or not all(os.isatty(descriptor) for descriptor in terminals):
            stop(signal.SIGHUP)
        else:
            display.tell(["supervise: reading the workspace again"])
            daemon.reread()

    numbers = [signal.SIGINT, signal.SIGTERM]
    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else nohup has us ignore it
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        numbers.append(signal.SIGHUP)

    def forget() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)

    return forget


async def _page(daemon: Daemon, display: Display, session: Session, web: Beside | None) -> None:
    """The web page beside the supervisor; nothing that becomes of it concerns the supervisor."""
    if web is None:
        return
    from supervisor.cli.beside import run_beside

    def tell(lines: list[str]) -> None:
        display.tell([clean(line) for line in lines])

    await daemon.started.wait()
    try:
        await run_beside(web, session.selection, session.cwd, tell)
    except OSError as error:
        tell([f"supervise: the web page could not be started: {error.strerror}"])


async def _watch(daemon: Daemon, display: Display, colour: bool) -> None:
    """Show what the control socket says until the supervisor ends."""
    from supervisor.client import AsyncClient
    from supervisor.errors import NotRunningError
    from supervisor.locate import Found

    await daemon.started.wait()
    info = daemon.rendezvous.running()
    if info is None:
        raise NotRunningError(daemon.spec.title)
    async with AsyncClient(found=Found(info)) as client:
        await follow(client, display, colour)


async def follow(client: AsyncClient, display: Display, colour: bool) -> None:
    """Show what ``client`` says of its supervisor, until that ends (``NotRunningError``)."""
    hold = _REFRESH_SECONDS if display.live else LONGEST_HOLD
    before: Seen | None = None
    document = await client.status()
    if not display.live:
        many = words.plural(len(document["locations"]), "location")
        display.tell([f"supervise: {many} of {client.workspace} (pid {client.pid})"])
    while True:
        display.show(document)
        for event in events(before, document):
            if event.notable or not display.live:
                display.tell(await _lines(client, event, document, colour))
        before, revision = Seen(document), document["revision"]
        pause = _PAUSE_SECONDS + _PAUSE_EACH * len(document["locations"])
        del document  # of many locations it is large, and nothing may happen for days
        # Many locations that start make many changes: a few looks a second are enough.
        await asyncio.sleep(pause)
        document = await client.status(since=revision, timeout=hold)


def watch(session: Session) -> int:
    """Show a supervisor that runs elsewhere as the foreground one shows itself, until Ctrl-C."""
    from supervisor.client import AsyncClient

    display = open_display(session.terminal)

    async def look() -> None:
        async with AsyncClient(found=session.found()) as client:
            await follow(client, display, session.terminal.colour)

    try:
        asyncio.run(look())
    finally:
        display.close()
    return 0


async def _lines(
    client: AsyncClient, event: Event, document: StatusDocument, colour: bool
) -> list[str]:
    """What is said of an event, after asking for what it wants."""
    from supervisor.errors import RequestError, UnknownLocationError

    if not event.wants or event.location is None:
        return [clean(line) for line in event.text.split("\n")]
    one = next(one for one in document["locations"] if one["name"] == event.location)
    diff: Diff | None = None
    try:
        if "failure" in event.wants:
            detailed = (await client.status(event.location))["locations"][0]
            if detailed["generation"] == one["generation"] and detailed["failure"] is not None:
                one = detailed
        serving = one["serving"]
        if "diff" in event.wants and event.before is not None and serving is not None:
            diff = await client.diff(event.location, event.before, serving["generation"])
    except (RequestError, UnknownLocationError):
        pass  # it has moved on since: what the document says is still true of that moment
    return outcome_lines(one, colour=colour, diff=diff, log_lines=5)
