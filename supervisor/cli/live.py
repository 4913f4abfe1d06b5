"""The live table of the foreground supervisor on a terminal.

Owns the drawing, with rich: what happened scrolls by above a table that stays at the bottom and
fits a window of any size (how it stays there: ``anchored``). Decides nothing about what is
worth telling.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from supervisor.cli.anchored import ERASED, HIDE_CURSOR, SHOW_CURSOR, drawn
from supervisor.cli.terminal import Terminal, window_of
from supervisor.presentation import failures, words
from supervisor.presentation.text import clean, cut

if TYPE_CHECKING:
    from supervisor.protocol.documents import LocationStatus, StatusDocument

__all__ = ["LiveDisplay"]

# Rows of a window that the table leaves to what scrolls by above it.
_LEAVE_ROWS = 6


class LiveDisplay:
    """See ``supervisor.cli.screen.Display``."""

    live = True

    def __init__(self, terminal: Terminal, interrupt: str) -> None:
        self._terminal = terminal
        self._view = _View(interrupt)
        self._stands = False  # a table is drawn, and the cursor is at its start
        self._size: ConsoleDimensions | None = None  # of the window it was drawn for
        cell_len(
            "\N{CJK UNIFIED IDEOGRAPH-4E00}"
        )  # rich reads its table of widths: not in an event loop
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

    def redraw(self) -> None:
        """Draw the table for a window of another size."""
        self._draw([])

    def fresh(self) -> None:
        """Forget where the last table is: others have written over it."""
        self._stands = False

    def close(self) -> None:
        """Leave the last table where it is, the cursor visible and below it."""
        if self._stands:
            self._write(ERASED + "\n".join(self._table()) + f"\n{SHOW_CURSOR}")
        self._view.document = None
        self.fresh()

    def _draw(self, told: list[str]) -> None:
        window = window_of(self._terminal.out)
        if window is not None:
            self._console.size = ConsoleDimensions(*window)
        text = ERASED if self._stands else ""
        if told:
            text += self._rendered([Text.from_ansi(line) for line in told])
        if self._view.document is not None:  # not before there is something to show
            size = self._console.size
            moved = not self._stands or size != self._size
            text += HIDE_CURSOR + drawn(self._table(), at_bottom=moved)
            self._size = size
        self._write(text)
        self._stands = self._view.document is not None

    def _table(self) -> list[str]:
        height = max(self._console.height - 1, 1)
        return self._rendered([self._view]).rstrip("\n").split("\n")[:height]

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
    sentence, _, _ = failures.headline(one).partition("\n")  # without the source of a syntax error
    return Text(clean(sentence), style=style)


def _footer(document: StatusDocument, now: float, interrupt: str) -> Text:
    locations = document["locations"]
    supervisor = document["supervisor"]
    ready = sum(words.good(one["state"]) for one in locations)
    memory = supervisor["memory"]["rss"] if supervisor["memory"] else None
    head = f"{ready} of {len(locations)} ready"
    if supervisor["stopping"]:
        head = "stopping"
        interrupt = "stops at once" if interrupt == "stops" else interrupt
    text = f"{head} · pid {supervisor['pid']}"
    text += f" · up {words.ago(supervisor['started'], now)}"
    text += f" · {words.size(memory)}" if memory else ""
    face = supervisor.get("face")
    text += f" · {face['url']}" if face is not None and face["usable"] else ""
    text += f" · {cut(clean(supervisor['workspace']), 40)} · Ctrl-C {interrupt}"
    return Text(text, style="dim", no_wrap=True, overflow="ellipsis")
