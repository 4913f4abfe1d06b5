"""``supervise logs``: what a location printed.

Owns the form of a log line. Reads through the client alone, so it works for every client.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from supervisor import parameters
from supervisor.cli.insist import insist
from supervisor.cli.options import LOCATION, locating
from supervisor.cli.session import Session
from supervisor.cli.terminal import Terminal
from supervisor.errors import SupervisorError
from supervisor.presentation.text import clean

if TYPE_CHECKING:
    from supervisor.client.client import Client
    from supervisor.documents import LogChunk, LogLine

__all__ = ["logs_"]

_STYLES = {"err": "yellow", "sup": "dim"}


@click.command("logs", short_help="Show the log of a location.")
@click.argument("location", **LOCATION)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0, parameters.MOST_LINES), default=50, show_default=True,
    help="How many of the last lines.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@locating
def logs_(session: Session, location: str, follow: bool, lines: int, as_json: bool) -> int:
    """Show what LOCATION wrote to its standard output (out) and standard error (err).

    Lines of the supervisor's own are marked sup.
    """
    terminal = session.terminal
    with session.client() as client:
        chunk = client.logs(location, lines=lines)
        _show(terminal, chunk, as_json)
        if not follow:
            return 0
        following = _Following(client, location, chunk["next"])
        while True:
            _show(terminal, insist(following.chunk, terminal.say), as_json)


class _Following:
    """The log of ``location`` behind a cursor; asked again after an error, it goes on where it was."""

    def __init__(self, client: Client, location: str, after: int) -> None:
        self._client = client
        self._location = location
        self._after = after
        self._stream: Iterator[LogChunk] | None = None

    def chunk(self) -> LogChunk:
        """The next lines, once there are any. Raises what the client does."""
        if self._stream is None:
            self._stream = self._client.follow(self._location, after=self._after)
        try:
            chunk = next(self._stream)
        except SupervisorError:
            self._stream = None
            raise
        self._after = chunk["next"]
        return chunk


def _show(terminal: Terminal, chunk: LogChunk, as_json: bool) -> None:
    for line in chunk["lines"]:
        if as_json:
            terminal.row(line)
        else:
            terminal.print(_text(terminal, line))
    terminal.out.flush()


def _text(terminal: Terminal, line: LogLine) -> str:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line["time"]))
    head = f"{stamp}.{int(line['time'] % 1 * 1000):03d} {line['stream']}"
    return f"{terminal.paint(head, 'dim')} {terminal.paint(clean(line['text']), _STYLES.get(line['stream'], ''))}"
