"""Where words go: streams, colours, width, and the layout of tables.

Owns the rules for colour (``NO_COLOR`` beats ``FORCE_COLOR`` beats what the stream is; see
no-color.org and force-color.org) and for width, and the one table layout of the commands. Data goes
to standard output and nothing else does; progress, warnings and errors go to standard error. Draws
without rich: importing it costs more than the whole of ``supervise status``.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from supervisor.presentation.excerpt import excerpt
from supervisor.presentation.text import clean, cut, paint, plain, visible_width

if TYPE_CHECKING:
    from supervisor.errors import ConfigurationError

__all__ = ["Terminal", "window_of"]

# Columns that the last column of a table should have before another is left out for it.
_ENOUGH = 24


class Terminal:
    """The two streams of one command, and what they can show."""

    def __init__(
        self,
        out: TextIO | None = None,
        err: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.out = out if out is not None else sys.stdout
        self.err = err if err is not None else sys.stderr
        self._environ = os.environ if environ is None else environ
        self.colour = self._has_colour(self.out)
        self.error_colour = self._has_colour(self.err)

    @property
    def interactive(self) -> bool:
        """True when standard output is a terminal, on which changes are seen."""
        return (
            _is_terminal(self.out)
            and self._environ.get("TERM") != "dumb"
            and not self._environ.get("CI")
        )

    @property
    def live(self) -> bool:
        """True when standard error is a terminal, on which lines may be drawn anew."""
        return (
            _is_terminal(self.err)
            and self._environ.get("TERM") != "dumb"
            and not self._environ.get("CI")
        )

    @property
    def width(self) -> int | None:
        """Columns of standard output; None in a pipe, where nothing is cut."""
        if not _is_terminal(self.out) and "COLUMNS" not in self._environ:
            return None
        return max(shutil.get_terminal_size().columns, 40)

    def _has_colour(self, stream: TextIO) -> bool:
        if self._environ.get("NO_COLOR"):
            return False
        if self._environ.get("FORCE_COLOR", "0") not in ("", "0"):
            return True
        return _is_terminal(stream) and self._environ.get("TERM") != "dumb"

    def paint(self, text: str, style: str) -> str:
        """``text`` in ``style`` when standard output has colours."""
        return paint(text, style, self.colour)

    def print(self, *lines: str) -> None:
        """Lines to standard output."""
        if lines:
            self.out.write("\n".join(lines) + "\n")

    def data(self, value: Any) -> None:
        """``value`` as JSON to standard output: indented, keys in their own order."""
        import json

        self.out.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")

    def row(self, value: Any) -> None:
        """``value`` as one line of JSON to standard output, sent at once."""
        import json

        self.out.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
        self.out.flush()

    def say(self, text: str, style: str = "") -> None:
        """Progress, to standard error."""
        self.err.write(paint(text, style, self.error_colour) + "\n")
        self.err.flush()

    def warn(self, text: str, hint: str | None = None) -> None:
        """A warning, to standard error."""
        self._tagged("warning", "yellow", text, hint)

    def error(self, text: str, hint: str | None = None) -> None:
        """An error, to standard error."""
        self._tagged("error", "bold red", text, hint)

    def problems(self, error: ConfigurationError) -> None:
        """What is wrong with the workspace's files, each with its source line, to standard error."""
        for one in error.problems:
            self._tagged("error", "bold red", str(one), None)
            lines = excerpt(one.position.file, one.position.line, one.position.column)
            self.err.writelines(f"{paint(line, 'dim', self.error_colour)}\n" for line in lines)
        if error.hint:
            self.err.write(f"{paint('hint:', 'cyan', self.error_colour)} {clean(error.hint)}\n")
        self.err.flush()

    def _tagged(self, tag: str, style: str, text: str, hint: str | None) -> None:
        label = paint(f"{tag}:", style, self.error_colour)
        first, *more = text.splitlines() or [""]
        self.err.write(f"{label} {clean(first)}\n")
        self.err.writelines(f"{clean(line)}\n" for line in more)  # a source line and its caret
        if hint:
            self.err.write(f"{paint('hint:', 'cyan', self.error_colour)} {clean(hint)}\n")
        self.err.flush()

    def fits(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
        """True when a table needs nothing left out or cut: as in a pipe, always."""
        widths = {
            n: max([len(head), *(visible_width(row[n]) for row in rows)])
            for n, head in enumerate(heads)
        }
        return self.width is None or _total(widths, list(widths)) <= self.width

    def table(
        self,
        heads: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        right: frozenset[int] = frozenset(),
        spare: Sequence[int] = (),
    ) -> None:
        """A table to standard output: left-aligned, two spaces apart, no lines.

        Cells may be painted. When it is too wide for the terminal, the columns of ``spare`` are left
        out, in that order, as long as the last column has not ``_ENOUGH``; at last that one is cut.
        Columns without any content are left out.
        """
        body = [list(row) for row in rows]
        kept = [n for n in range(len(heads)) if n == 0 or any(row[n] for row in body)]
        widths = {n: max([len(heads[n]), *(visible_width(row[n]) for row in body)]) for n in kept}
        limit = self.width
        loose = kept[-1]
        if limit is not None:
            candidates = [n for n in spare if n in kept and n != loose]
            while (over := _total(widths, kept) - limit) > 0:
                if widths[loose] - over >= _ENOUGH or not candidates:
                    widths[loose] = max(widths[loose] - over, 8)
                    break
                kept.remove(candidates.pop(0))
        titles = [self.paint(cut(head, widths.get(n, 0)), "bold") for n, head in enumerate(heads)]
        lines = [self._line(titles, kept, widths, right)]
        for row in body:
            if visible_width(row[loose]) > widths[loose]:
                row[loose] = cut(plain(row[loose]), widths[loose])
            lines.append(self._line(row, kept, widths, right))
        self.print(*lines)

    @staticmethod
    def _line(
        row: Sequence[str], kept: Sequence[int], widths: Mapping[int, int], right: frozenset[int]
    ) -> str:
        cells = []
        for n in kept:
            padding = " " * (widths[n] - visible_width(row[n]))
            cells.append(padding + row[n] if n in right else row[n] + padding)
        return "  ".join(cells).rstrip()


def _total(widths: Mapping[int, int], kept: Sequence[int]) -> int:
    return sum(widths[n] for n in kept) + 2 * (len(kept) - 1)


def window_of(stream: TextIO) -> os.terminal_size | None:
    """The size of its window, whatever COLUMNS and LINES say: they are not renewed when it changes."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return None
    return size if size.columns and size.lines else None


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False
