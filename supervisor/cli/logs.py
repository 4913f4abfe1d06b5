"""``supervise logs``: what locations printed.

Owns the form of a log line, and how the logs of several locations become one. Reads through the client alone,
so it works for every client.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from supervisor.cli.choosing import Choice, tag_option
from supervisor.cli.insist import insist_async
from supervisor.cli.launch import DURATION
from supervisor.cli.options import LOCATION, locating
from supervisor.cli.session import Session
from supervisor.cli.terminal import Terminal
from supervisor.errors import SupervisorError, UnknownLocationError
from supervisor.presentation.text import clean
from supervisor.protocol import parameters

if TYPE_CHECKING:
    from supervisor.client.client import AsyncClient
    from supervisor.protocol.documents import LogChunk, LogLine

__all__ = ["logs_"]

_STYLES = {"err": "yellow", "sup": "dim"}
_NAME_STYLES = ("cyan", "green", "magenta", "blue", "yellow")
_LINES = 50


def _pattern(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> re.Pattern[str] | None:
    if value is None:
        return None
    try:
        # As ripgrep and journalctl have it: capitals in the pattern make capitals count.
        return re.compile(value, re.IGNORECASE if value == value.lower() else 0)
    except re.error as error:
        raise click.BadParameter(
            f"{value!r} is no regular expression: {error}", ctx, param
        ) from None


@click.command("logs", short_help="Show the logs of locations.")
@click.argument("locations", nargs=-1, metavar="[LOCATION]...", **LOCATION)
@tag_option
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0, parameters.MOST_LINES),
    help=f"How many of the last lines; {_LINES} without --since and --grep, else all.",
)  # fmt: skip
@click.option(
    "--since", type=DURATION, metavar="TIME", help="Only lines of this time, such as 10m or 1d."
)
@click.option(
    "-g", "--grep", callback=_pattern, metavar="PATTERN",
    help="Only lines with this regular expression; capitals count only if it has some.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@locating
def logs_(
    session: Session,
    locations: tuple[str, ...],
    tags: tuple[str, ...],
    follow: bool,
    lines: int | None,
    since: float | None,
    grep: re.Pattern[str] | None,
    as_json: bool,
) -> int:
    """Show what each LOCATION (all, by default) wrote to its standard output (out) and standard error (err).

    Lines of the supervisor's own are marked sup. LOCATION is a name or a pattern such as 'team-*'; the lines of
    several are in one order, each behind the name of its location.
    """
    begin = None if since is None else time.time() - since
    if lines is None:
        lines = _LINES if since is None and grep is None else parameters.MOST_LINES
    choice = Choice(locations, tags)
    terminal = session.terminal
    found = session.found()
    with session.client_of(found) as client:
        if len(locations) == 1 and not choice.needs_look:
            names = [locations[0]]
        else:
            chosen = choice.of(client.status()["locations"], order=True)
            names = [one["name"] for one in chosen]
        # What is left out by --since or --grep is not among the last lines that are wanted.
        wanted = lines if begin is None and grep is None else parameters.MOST_LINES
        chunks = {name: client.logs(name, lines=wanted) for name in names}
    printing = _Printing(terminal, names, grep, as_json)
    shown = [
        (line, name)
        for name, chunk in chunks.items()
        for line in chunk["lines"]
        if (begin is None or line["time"] >= begin) and printing.wants(line)
    ]
    if len(names) > 1:
        shown.sort(key=lambda one: one[0]["time"])
    for line, name in shown[len(shown) - lines :] if lines < len(shown) else shown:
        printing.print(line, name)
    terminal.out.flush()
    if follow and names:
        after = {name: chunk["next"] for name, chunk in chunks.items()}
        import zmq.asyncio  # noqa: F401 - what a client imports is not for its event loop

        from supervisor.client.client import AsyncClient

        client_of = partial(AsyncClient, found=found, timeout=10.0, token=session.token)
        asyncio.run(_follow_all(client_of, after, printing, terminal.say))
    return 0


async def _follow_all(
    client_of: Callable[[], AsyncClient],
    after: dict[str, int],
    printing: _Printing,
    say: Callable[[str], None],
) -> None:
    """Print new lines for ever; ends with ``NotRunningError``, or when none of the locations is there."""
    async with client_of() as client:
        alone = len(after) == 1
        tasks = [
            asyncio.create_task(_follow(client, name, cursor, printing, say, alone=alone))
            for name, cursor in after.items()
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()


async def _follow(
    client: AsyncClient,
    name: str,
    after: int,
    printing: _Printing,
    say: Callable[[str], None],
    *,
    alone: bool,
) -> None:
    stream = client.follow(name, after=after)

    async def chunk() -> LogChunk:
        nonlocal stream
        try:
            return await anext(stream)
        except SupervisorError:  # asked again after an error, it goes on where it was
            stream = client.follow(name, after=after)
            raise

    while True:
        try:
            found = await insist_async(chunk, say)
        except UnknownLocationError:
            if alone:
                raise
            say(f"{name}: removed from the workspace")
            return
        after = found["next"]
        for line in found["lines"]:
            if printing.wants(line):
                printing.print(line, name)
        printing.flush()


class _Printing:
    """Prints lines, each behind its location's name where there are several."""

    def __init__(
        self,
        terminal: Terminal,
        names: Sequence[str],
        grep: re.Pattern[str] | None,
        as_json: bool,
    ) -> None:
        self._terminal = terminal
        self._grep = grep
        self._as_json = as_json
        self._several = len(names) > 1
        self._width = max((len(clean(name)) for name in names), default=0)
        self._styles = {
            name: _NAME_STYLES[number % len(_NAME_STYLES)] for number, name in enumerate(names)
        }
        self.flush = terminal.out.flush

    def wants(self, line: LogLine) -> bool:
        """True for a line that is asked for."""
        return self._grep is None or self._grep.search(line["text"]) is not None

    def print(self, line: LogLine, name: str) -> None:
        terminal = self._terminal
        if self._as_json:
            terminal.row({"location": name, **line} if self._several else line)
            return
        text = _text(terminal, line)
        if self._several:
            head = f"{clean(name).ljust(self._width)} |"
            text = f"{terminal.paint(head, self._styles[name])} {text}"
        terminal.print(text)


def _text(terminal: Terminal, line: LogLine) -> str:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line["time"]))
    head = f"{stamp}.{int(line['time'] % 1 * 1000):03d} {line['stream']}"
    return f"{terminal.paint(head, 'dim')} {terminal.paint(clean(line['text']), _STYLES.get(line['stream'], ''))}"
