"""The live table of the foreground supervisor on a terminal.

Owns the drawing, with rich: what happened scrolls by above a table that stays at the bottom and
fits the window, whatever its size. Decides nothing about what is worth telling.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from supervisor.cli.terminal import Terminal
from supervisor.presentation import failures, words
from supervisor.presentation.text import clean, cut, plain

if TYPE_CHECKING:
    from supervisor.protocol.documents import LocationStatus, StatusDocument

__all__ = ["LiveDisplay"]

# Rows of a window that the table leaves to what scrolls by above it.
_LEAVE_ROWS = 6
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_LINE_UP, _CLEAR_LINE = "\x1b[1A", "\x1b[2K"
_SPACE_BEHIND = re.compile(r" +((?:\x1b\[[0-9;]*m)*)$")


class LiveDisplay:
    """See ``supervisor.cli.screen.Display``."""

    live = True

    def __init__(self, terminal: Terminal, interrupt: str) -> None:
        self._terminal = terminal
        self._view = _View(interrupt)
        self._drawn: list[int] = []  # how wide each line of the last table is
        self._console = Console(
            file=terminal.out, no_color=not terminal.colour, highlight=False, markup=False
        )

    def show(self, document: StatusDocument) -> None:
        """Draw the table anew."""
        self._view.document = document
        self._draw([])

    def tell(self, lines: list[str]) -> None:
        """Print above the table."""
        self._draw(lines)

    def fresh(self) -> None:
        """Forget where the last table is: others have written below it."""
        self._drawn = []

    def close(self) -> None:
        """Leave the last table where it is, and the cursor visible."""
        if self._drawn:
            self._write(f"\n{_SHOW_CURSOR}")
        self._view.document = None
        self.fresh()

    def _draw(self, told: list[str]) -> None:
        text = self._rendered([Text.from_ansi(line) for line in told]) if told else ""
        widths: list[int] = []
        if self._view.document is not None:  # not before there is something to show
            height = max(self._console.height - 1, 1)
            table = self._rendered([self._view]).rstrip("\n").split("\n")[:height]
            # A line that is no longer than its text is not wrapped when the window gets narrower.
            lines = [_SPACE_BEHIND.sub(r"\1", line) for line in table]
            widths = [cell_len(plain(line)) for line in lines]
            text += _HIDE_CURSOR + "\n".join(lines)
        # Last, for the window may have become narrower meanwhile.
        self._write(self._erased() + text)
        self._drawn = widths

    def _erased(self) -> str:
        """What takes away the last table. A terminal that has become narrower has wrapped its lines."""
        if not self._drawn:
            return ""
        width = max(self._console.width, 1)
        rows = sum(max(1, -(-one // width)) for one in self._drawn)
        # Line by line: what clears a whole window at once is kept by some terminals as if it had scrolled.
        return f"\r{_CLEAR_LINE}" + f"{_LINE_UP}{_CLEAR_LINE}" * (rows - 1)

    def _rendered(self, what: Sequence[RenderableType]) -> str:
        with self._console.capture() as captured:
            for one in what:
                self._console.print(one, soft_wrap=False)
        return captured.get()

    def _write(self, text: str) -> None:
        self._terminal.out.write(text)
        self._terminal.out.flush()


class _View:
    """The table for the newest document, made for the window as it is when it is drawn."""

    def __init__(self, interrupt: str) -> None:
        self.document: StatusDocument | None = None
        self._interrupt = interrupt

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.document is None:
            yield Text("starting…", style="dim")
            return
        locations = self.document["locations"]
        now = time.time()
        yield Text("")
        room = max(options.size.height - _LEAVE_ROWS, 3)
        shown = _most_notable(locations, room)
        yield _table(shown, options.max_width, now)
        if len(shown) < len(locations):
            yield Text(f"… and {len(locations) - len(shown)} more ready", style="dim")
        yield _footer(self.document, now, self._interrupt)


def _most_notable(locations: list[LocationStatus], room: int) -> list[LocationStatus]:
    """All, or as many as fit: those that are not ready come first, in their own order."""
    if len(locations) <= room:
        return locations
    bad = [one["name"] for one in locations if not words.good(one["state"])]
    good = [one["name"] for one in locations if words.good(one["state"])]
    chosen = set([*bad, *good][:room])
    return [one for one in locations if one["name"] in chosen]


def _table(locations: list[LocationStatus], width: int, now: float) -> Table:
    """The columns of `supervise status`, as many as fit."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", expand=True)
    wide = width >= 100
    table.add_column("LOCATION", no_wrap=True, overflow="ellipsis", max_width=max(width // 3, 12))
    table.add_column("STATE", no_wrap=True)
    table.add_column("SINCE", no_wrap=True, justify="right")
    if wide:
        table.add_column("GEN", no_wrap=True, justify="right")
    table.add_column("PYTHON", no_wrap=True)
    if wide:
        table.add_column("FRAMEWORK", no_wrap=True)
    table.add_column("MEMORY", no_wrap=True, justify="right")
    table.add_column("DEFINITIONS", no_wrap=True, overflow="ellipsis", ratio=1)
    for one in locations:
        mark, style = words.symbol(one["state"])
        process = one["process"]
        memory = process["memory"]["rss"] if process is not None and process["memory"] else None
        cells = [
            Text.assemble((mark, style), " ", clean(one["name"])),
            Text(one["state"], style=style),
            Text(words.ago(one["since"], now)),
            Text(str(one["generation"] or "")) if wide else None,
            Text(words.python_of(one)),
            Text(words.framework_of(one["serving"])) if wide else None,
            Text(words.size(memory)),
            _last_cell(one),
        ]
        table.add_row(*(cell for cell in cells if cell is not None))
    return table


def _last_cell(one: LocationStatus) -> Text:
    if one["state"] == "ready" and one["serving"] is not None:
        return Text(words.counts(one["serving"]["counts"]))
    style = "red" if one["state"] in ("failed", "crashed") else ""
    return Text(clean(failures.headline(one)), style=style)


def _footer(document: StatusDocument, now: float, interrupt: str) -> Text:
    locations = document["locations"]
    supervisor = document["supervisor"]
    ready = sum(words.good(one["state"]) for one in locations)
    memory = supervisor["memory"]["rss"] if supervisor["memory"] else None
    text = f"{ready} of {len(locations)} ready · pid {supervisor['pid']}"
    text += f" · up {words.ago(supervisor['started'], now)}"
    text += f" · {words.size(memory)}" if memory else ""
    face = supervisor.get("face")
    text += f" · {face['url']}" if face is not None and face["usable"] else ""
    text += f" · {cut(clean(supervisor['workspace']), 40)} · Ctrl-C {interrupt}"
    return Text(text, style="dim", no_wrap=True, overflow="ellipsis")
