"""``supervise check``: load everything once and print every problem, for CI and pre-commit.

Owns the one-off run and its report. Uses a supervisor of its own, with a private runtime directory,
so it may run beside a live one of the same workspace and disturbs nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli import INTERRUPTED
from supervisor.cli.events import Seen, events
from supervisor.cli.insist import insist_async
from supervisor.cli.options import json_option, selecting
from supervisor.cli.outcome import outcome_line
from supervisor.cli.session import Session
from supervisor.cli.status import warning_lines
from supervisor.cli.terminal import Terminal
from supervisor.presentation import failures, words
from supervisor.presentation.text import clean
from supervisor.states import UNDER_WAY

if TYPE_CHECKING:
    from supervisor.client.client import AsyncClient
    from supervisor.errors import ConfigurationError
    from supervisor.protocol.documents import LocationStatus, StatusDocument
    from supervisor.workspace_files import Selection

__all__ = ["check_"]

_LOG_LINES = 10
_REPEATED = 1  # lines of a failure that are told for each location that has it


@click.command("check", short_help="Load everything once and print every problem.")
@click.option("--config-only", is_flag=True, help="Judge the files alone; start nothing.")
@click.option("--strict", is_flag=True, help="Warnings count as problems.")
@click.option(
    "-v", "--verbose", "--traceback", "verbose", is_flag=True, help="Show whole tracebacks."
)
@json_option
@selecting
def check_(session: Session, config_only: bool, strict: bool, verbose: bool, as_json: bool) -> int:
    """Load every location once, print every problem, and end.

    Exit status 0 when all is well, 1 on any problem (of the files or of a location). Warnings are
    shown; with --strict they are problems. A supervisor that runs is not disturbed.
    """
    from supervisor.errors import ConfigurationError

    terminal = session.terminal
    try:
        if config_only:
            return _config_only(session, strict, as_json)
        document = _load_once(session, quiet=as_json)
    except ConfigurationError as error:
        _report_configuration(terminal, error, as_json)
        return 1
    if document is None:
        return INTERRUPTED
    return _report(terminal, document, strict=strict, verbose=verbose, as_json=as_json)


def _config_only(session: Session, strict: bool, as_json: bool) -> int:
    from supervisor.workspace_files import resolve

    spec = resolve(session.selection, cwd=session.cwd, environ=os.environ)
    ok = not (strict and spec.warnings)
    terminal = session.terminal
    if as_json:
        names = [one.name for one in spec.locations]
        warnings = list(spec.warnings)
        terminal.data({"ok": ok, "problems": [], "warnings": warnings, "locations": names})
        return 0 if ok else 1
    for text in spec.warnings:
        terminal.warn(text)
    files = ", ".join(str(path) for path in spec.files) or spec.title
    terminal.print(f"{files}: {words.plural(len(spec.locations), 'location')}, no problems")
    return 0 if ok else 1


def _report_configuration(terminal: Terminal, error: ConfigurationError, as_json: bool) -> None:
    if as_json:
        problems = [one.as_data() for one in error.problems]
        terminal.data({"ok": False, "problems": problems, "warnings": [], "locations": []})
    else:
        terminal.problems(error)


def _load_once(session: Session, *, quiet: bool) -> StatusDocument | None:
    """The status of everything after one load; None when interrupted."""
    return asyncio.run(_load(session.selection, session, quiet))


async def _load(selection: Selection, session: Session, quiet: bool) -> StatusDocument | None:
    from supervisor.client.client import AsyncClient
    from supervisor.client.locate import Found
    from supervisor.errors import NotRunningError
    from supervisor.server.daemon import Daemon

    daemon = Daemon(selection, cwd=session.cwd, environ=os.environ, once=True)
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()

    def interrupt() -> None:
        interrupted.set()
        daemon.shutdown(at_once=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    if not quiet:
        many = words.plural(len(daemon.spec.locations), "location")
        session.terminal.say(f"loading {many} of {daemon.spec.title}", "dim")

    async def look() -> StatusDocument:
        await daemon.started.wait()
        info = daemon.runtime_directory.running()
        if info is None:
            raise NotRunningError(daemon.spec.title)
        async with AsyncClient(found=Found(info), timeout=60.0) as client:

            async def detail(name: str) -> LocationStatus:
                ask = partial(client.status, name)
                return (await insist_async(ask, session.terminal.say))["locations"][0]

            document = await _settled(client, session.terminal, quiet=quiet)
            entries = [
                one if one["remote"] else await detail(one["name"]) for one in document["locations"]
            ]
            return {**document, "locations": entries}

    serving = asyncio.create_task(daemon.run())
    looking = asyncio.create_task(look())
    try:
        await asyncio.wait({serving, looking}, return_when=asyncio.FIRST_COMPLETED)
        daemon.shutdown()
        await serving
    finally:
        if not looking.done():
            looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    return None if interrupted.is_set() or looking.cancelled() else looking.result()


async def _settled(client: AsyncClient, terminal: Terminal, *, quiet: bool) -> StatusDocument:
    """The status once nothing is under way; what is being done meanwhile goes to standard error."""
    before: Seen | None = None
    document = await insist_async(client.status, terminal.say)
    while any(one["state"] in UNDER_WAY for one in document["locations"]):
        if before is not None and not quiet:
            for event in events(before, document):
                if event.text:
                    terminal.say(clean(event.text), "dim")
        before = Seen(document)
        later = partial(client.status, since=document["revision"])
        document = await insist_async(later, terminal.say)
    # What failed in a forked process is loaded in a fresh one, beside the failure.
    await insist_async(client.wait, terminal.say)
    return await insist_async(client.status, terminal.say)


def _report(
    terminal: Terminal, document: StatusDocument, *, strict: bool, verbose: bool, as_json: bool
) -> int:
    locations = document["locations"]
    notes = document["supervisor"]["warnings"]
    bad = [one for one in locations if not words.good(one["state"])]
    warned = len(notes) + sum(len(one["warnings"]) for one in locations)
    ok = not bad and not (strict and warned)
    if as_json:
        report: dict[str, Any] = {
            "ok": ok,
            "problems": [],
            "warnings": notes,
            "locations": locations,
        }
        terminal.data(report)
        return 0 if ok else 1
    shown: dict[tuple[str, ...], str] = {}
    for one in locations:
        mark, style = words.symbol(one["state"])
        terminal.print(f"{terminal.paint(mark, style)} {outcome_line(one, colour=terminal.colour)}")
        for warning in one["warnings"]:
            first, *rest = warning_lines(terminal, warning)
            terminal.print(f"  {terminal.paint('warning:', 'yellow')} {first}")
            terminal.print(*(f"  {line}" for line in rest))
        rendered = failures.render(
            one,
            colour=terminal.colour,
            traceback=verbose,
            log_lines=_LOG_LINES,
            with_headline=False,
        )
        same = shown.setdefault(tuple(rendered), one["name"])
        if len(rendered) > _REPEATED and same != one["name"]:  # of an environment that they share
            rendered = [f"as for {same}, above"]
        terminal.print(*(f"  {line}" for line in rendered))
    for text in notes:
        terminal.print(f"{terminal.paint('warning:', 'yellow')} {clean(text)}")
    total = words.plural(len(locations), "location")
    said = f", {words.plural(warned, 'warning')}" if warned else ""
    if bad:
        many = total if len(locations) == 1 else f"{len(bad)} of {total}"
        terminal.print(terminal.paint(f"{many} cannot be loaded{said}", "red"))
    else:
        terminal.print(terminal.paint(f"{total} loaded{said}", "" if warned else "green"))
    return 0 if ok else 1
