"""``supervise`` and ``supervise run``: the supervisor in the foreground, and what it shows.

Owns the event loop, the signals and what is told. What is shown comes through the control socket,
from the same documents that every other client gets: this process's own supervisor is not looked
into. Ctrl-C, SIGTERM or a terminal that hangs up once stops everything cleanly, twice at once; SIGUSR2
does so but for runs, which go on; any other SIGHUP has the workspace read again. Nothing else ends the supervisor: its display, a client
like any other, may get no answer or fail, and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.events import Event, Seen, events
from supervisor.cli.insist import insist_async
from supervisor.cli.options import LISTEN, beside_option, face_option, selecting
from supervisor.cli.outcome import outcome_lines
from supervisor.cli.screen import Display, Screen, job_control, open_display, resizing
from supervisor.cli.session import Session
from supervisor.cli.supervisord import SUPERVISORD_HINT, supervisord_beside
from supervisor.presentation import words
from supervisor.presentation.problems import PROBLEMS, problem_lines
from supervisor.presentation.text import clean
from supervisor.protocol.methods import LONGEST_HOLD

if TYPE_CHECKING:
    from supervisor.cli.beside import Beside
    from supervisor.client.client import AsyncClient
    from supervisor.dagster.face import Face
    from supervisor.protocol.documents import Diff, StatusDocument
    from supervisor.server.daemon import Daemon

__all__ = ["Pace", "run_", "run_workspace", "watch"]

# A document of many locations takes time to make and to read, of the supervisor itself too.
_PAUSE_SECONDS, _PAUSE_EACH = 0.1, 0.001
# A display that failed tries again after so many seconds.
_AGAIN_SECONDS = 1.0

# A line of a program's log that is worth more than its log.
_TROUBLE = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b")

_log = logging.getLogger("supervisor")


@dataclass(frozen=True, slots=True)
class Pace:
    """How a display asks, in seconds: it is content with an old answer for ``lines`` where it tells
    of a change alone, and for ``table`` where times and memory are shown, which change without any
    change; ``timeout`` is how long an answer may take beyond that."""

    lines: float = LONGEST_HOLD
    table: float = 1.0
    timeout: float = 10.0


@click.command("run", short_help="Supervise a workspace in the foreground (the default).")
@selecting
@beside_option
@face_option
@LISTEN
def run_(session: Session, web: Beside | None, face: Face | None, listen: str | None) -> int:
    """Supervise a workspace in the foreground until Ctrl-C (twice: at once) or SIGTERM.

    On a terminal a live table, in a pipe a line for each change. Exit status 0 after a clean end, 2
    when the workspace cannot be read or is supervised already.
    """
    return run_workspace(session, web, listen, face=face)


def run_workspace(
    session: Session,
    web: Beside | None = None,
    listen: str | None = None,
    pace: Pace = Pace(),
    *,
    face: Face | None = None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Run the supervisor of the session's workspace, ``web`` beside it, ``listen`` for clients that
    have keys, ``face`` for those of a framework; returns the
    exit status: ``pid1.REPLACED`` when it has left its runs to the next one."""
    from supervisor.processes import pid1

    if os.getpid() == 1:
        pid1.become()
    from supervisor.server.daemon import Daemon
    from supervisor.server.preflight import preflight

    beside = supervisord_beside()
    if beside is not None:
        session.terminal.warn(beside, SUPERVISORD_HINT)
    daemon = Daemon(session.selection, cwd=session.cwd, environ=environ, listen=listen, face=face)
    preflight()  # an event loop needs descriptors, too
    # What was imported stays, and need not be looked through again. What comes now does not: a dead
    # process leaves cycles behind, and a rare look would let megabytes of them gather.
    gc.freeze()
    gc.set_threshold(2_000, 10, 10)
    # A thread (the store reads snapshots in one) gives way to the event loop after so many seconds.
    sys.setswitchinterval(0.0005)
    display = open_display(session.terminal, "stops")  # what it imports is not for the loop
    written = asyncio.run(_serve(daemon, display, session, web, pace))
    status = pid1.REPLACED if daemon.leaves_runs else 0
    if not written:
        # All has ended but the thread that writes what is not read: an orderly exit waits for it.
        os._exit(status)
    return status


class _LogLines(logging.Handler):
    """The supervisor's own log, among what is shown."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):  # logging must not end what it reports about
            text = f"{record.levelname}: {record.getMessage()}"
            if record.exc_info and record.exc_info[0] is not None:
                # Its traceback is in supervisor.log: making it reads source files.
                text += f": {record.exc_info[0].__name__}: {record.exc_info[1]}"
            self._screen.tell([clean(line) for line in text.splitlines()])


async def _serve(
    daemon: Daemon,
    display: Display,
    session: Session,
    web: Beside | None,
    pace: Pace,
) -> bool:
    """Serve until the end; False when what was left to be shown could not be written."""
    terminal = session.terminal
    screen = Screen(display, 1, daemon.fleet.conditions.tell("output"))
    logging.basicConfig(handlers=[_LogLines(screen)])
    if daemon.face is not None:
        daemon.face.show = partial(_show_programs, screen)
    serving = asyncio.create_task(daemon.run(), name="daemon")
    following = asyncio.create_task(_show(daemon, screen, terminal.colour, pace), name="display")
    page = asyncio.create_task(_page(daemon, screen, web), name="web page")
    forget = _on_signals(daemon, screen)
    last_words: list[str] = []
    try:
        with contextlib.ExitStack() as stack:
            if screen.live:
                stack.enter_context(job_control(screen.suspend, screen.resume))
                stack.enter_context(resizing(screen.redraw))
            ends: set[asyncio.Future[Any]] = {serving, screen.gone}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if screen.gone.done():
            daemon.shutdown()  # the output is closed: end cleanly
        await serving
        last_words.append("supervise: everything has stopped")
    finally:
        page.cancel()
        following.cancel()
        await asyncio.gather(following, page, return_exceptions=True)
        forget()
        written = screen.close(last_words)
    if screen.gone.done():
        raise BrokenPipeError
    return written


def _on_signals(daemon: Daemon, screen: Screen) -> Callable[[], None]:
    loop = asyncio.get_running_loop()
    asked = 0

    def stop(number: signal.Signals) -> None:
        nonlocal asked
        asked += 1
        daemon.shutdown(at_once=asked > 1)
        # Told afterwards: the terminal may be what went away.
        if asked == 1:
            again = " (Ctrl-C again stops at once)" if number == signal.SIGINT else ""
            screen.tell([f"supervise: stopping everything{again}"])
        elif asked == 2:
            screen.tell(["supervise: stopping at once"])

    terminals = [descriptor for descriptor in (0, 1, 2) if os.isatty(descriptor)]

    def hang_up() -> None:
        # A terminal that has hung up is none any more.
        if asked or not all(os.isatty(descriptor) for descriptor in terminals):
            stop(signal.SIGHUP)
        else:
            screen.tell(["supervise: reading the workspace again"])
            daemon.reread()

    def leave() -> None:
        screen.tell(["supervise: ending; runs go on, and the next supervisor adopts them"])
        daemon.shutdown(leave_runs=True)

    numbers = [signal.SIGINT, signal.SIGTERM]
    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    loop.add_signal_handler(signal.SIGUSR2, leave)
    numbers.append(signal.SIGUSR2)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else nohup has us ignore it
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        numbers.append(signal.SIGHUP)

    def forget() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)

    return forget


def _show_programs(screen: Screen, name: str, lines: list[str]) -> None:
    """Lines of the programs beside us; over a table only those that tell of trouble."""
    if name and screen.live:
        lines = [line for line in lines if _TROUBLE.search(line)]
    head = f"{name} | " if name else ""
    if lines:
        screen.tell([head + clean(line) for line in lines])


async def _page(daemon: Daemon, screen: Screen, web: Beside | None) -> None:
    """The web page beside the supervisor; nothing that becomes of it concerns the supervisor."""
    if web is None:
        return
    from supervisor.cli.beside import run_beside

    def tell(lines: list[str]) -> None:
        screen.tell([clean(line) for line in lines])

    await daemon.started.wait()
    meant = daemon.runtime_directory
    try:
        await run_beside(web, meant.workspace_directory, meant.key, tell)
    except OSError as error:
        tell([f"supervise: the web page could not be started: {error.strerror}"])


async def _show(daemon: Daemon, screen: Screen, colour: bool, pace: Pace) -> None:
    """Show what the control socket says; a request or a drawing that fails ends nothing."""
    from supervisor.client.client import AsyncClient
    from supervisor.client.locate import Found
    from supervisor.errors import NotRunningError

    await daemon.started.wait()
    follower = _Follower(screen, colour, pace)
    told = ""
    while True:
        try:
            info = daemon.runtime_directory.running()
            if info is None:
                raise NotRunningError(daemon.spec.title)
            async with AsyncClient(found=Found(info), timeout=pace.timeout) as client:
                await follower.follow(client)
        except Exception as error:  # a display is no reason to end what it shows
            text = f"{type(error).__name__}: {error}"
            if not daemon.stopping and text != told:
                told = text
                _log.warning("what goes on cannot be shown, trying again (%s)", text)
        await asyncio.sleep(_AGAIN_SECONDS)


class _Follower:
    """Shows on ``screen`` what a client says of its supervisor, and goes on where it was."""

    def __init__(
        self,
        screen: Display | Screen,
        colour: bool,
        pace: Pace,
        chosen: Callable[..., StatusDocument] = lambda document, any_state=False: document,
    ) -> None:
        self._chosen = chosen
        self._screen = screen
        self._colour = colour
        self._hold = pace.table if screen.live else pace.lines
        self._before: Seen | None = None

    async def follow(self, client: AsyncClient) -> None:
        """Until the supervisor ends (``NotRunningError``)."""
        document = await insist_async(client.status, self._say)
        if self._before is None and not self._screen.live:
            shown = self._chosen(document, any_state=True)["locations"]
            many = words.plural(len(shown), "location")
            self._say(f"supervise: {many} of {client.workspace} (pid {client.pid})")
        while True:
            self._screen.show(self._chosen(document))
            document = self._chosen(document, any_state=True)
            for event in events(self._before, document):
                if event.notable or not self._screen.live:
                    lines = await _lines(client, event, document, self._colour)
                    self._screen.tell(lines)
            self._before, revision = Seen(document), document["revision"]
            pause = _PAUSE_SECONDS + _PAUSE_EACH * len(document["locations"])
            del document  # of many locations it is large, and nothing may happen for days
            # Many locations that start make many changes: a few looks a second are enough.
            await asyncio.sleep(pause)
            ask = partial(client.status, since=revision, timeout=self._hold)
            document = await insist_async(ask, self._say)

    def _say(self, line: str) -> None:
        self._screen.tell([clean(line)])


def watch(session: Session, chosen: Callable[..., StatusDocument]) -> int:
    """Show a supervisor that runs elsewhere as the foreground one shows itself, until Ctrl-C.

    ``chosen`` gives of a document what is shown; with ``any_state`` what there is to tell of.
    """
    from supervisor.client.client import AsyncClient

    display = open_display(session.terminal, "ends this view")
    pace = Pace()

    async def look() -> None:
        with contextlib.ExitStack() as stack:
            if display.live:
                stack.enter_context(job_control(display.close, display.fresh))
                stack.enter_context(resizing(display.redraw))
            found, token = session.found(), session.token
            async with AsyncClient(found=found, timeout=pace.timeout, token=token) as client:
                follower = _Follower(display, session.terminal.colour, pace, chosen)
                await follower.follow(client)

    try:
        asyncio.run(look())
    finally:
        display.close()
    return 0


async def _lines(
    client: AsyncClient, event: Event, document: StatusDocument, colour: bool
) -> list[str]:
    """What is said of an event, after asking for what it wants."""
    from supervisor.errors import RequestError, RequestTimeoutError, UnknownLocationError

    if "problems" in event.wants:
        rows = document["supervisor"]["configuration_problems"]
        return [PROBLEMS, *await asyncio.to_thread(problem_lines, rows, colour=colour)]
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
    except (RequestError, RequestTimeoutError, UnknownLocationError):
        pass  # it has moved on since: what the document says is still true of that moment
    return outcome_lines(one, colour=colour, diff=diff, log_lines=5)
