"""Lines that stay at the bottom of a terminal, below what scrolls by.

Owns the escapes that draw them and take them away, so that nothing is left of them when the window's size
changes. Between two drawings the cursor stands at the *start* of the first line: a terminal that wraps lines
anew in a narrower window keeps the cursor at its character, so the start is found again however many rows
the lines take by then. While they are drawn, the terminal neither wraps nor scrolls: each takes one row, also
in a window that has become smaller since its size was asked for. No size is remembered.

A terminal that wraps lines anew pushes as many rows out at the top, also where rows at the bottom are free;
what is out there cannot be erased any more. So a table is drawn in the last rows of a window that is new or
has changed (``at_bottom``), with all others above it to be pushed out; empty rows may be left between. One
that, wrapped, is higher than the window still leaves rows behind, in the terminal's history. What the lines
say, and when, is decided by the callers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["ERASED", "HIDE_CURSOR", "SHOW_CURSOR", "drawn"]

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_WRAP, _NO_WRAP = "\x1b[?7h", "\x1b[?7l"
_LAST_ROW = "\x1b[9999B"
_NEXT = "\r\x1b[B\x1b[2K"
_SPACE_BEHIND = re.compile(r" +((?:\x1b\[[0-9;]*m)*)$")

ERASED = "\r\x1b[2K\x1b7\x1b[B\x1b[J\x1b8"
"""Takes away the lines that were drawn, from the start of the first one, where the cursor stays.

The first row is erased by itself: where the whole window is erased at once, some terminals keep it in
their history as if it had scrolled.
"""


def drawn(lines: Sequence[str], *, at_bottom: bool = False) -> str:
    """Draws ``lines`` (painted, without control characters); the cursor is left at the start of the first.

    It stands at the start of an empty row before, with nothing below it; the first line comes there, or as
    far below it as ``at_bottom`` needs. Lines that are wider than the window are cut by the terminal.
    """
    up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
    room = "\n" * (len(lines) - 1) + (_LAST_ROW if at_bottom else "") + up
    # A line that is no longer than its text is wrapped only in a window that is narrower than that.
    shown = [_SPACE_BEHIND.sub(r"\1", line) for line in lines]
    # What does not fit into a window that has become lower goes over the last row: nothing scrolls.
    return f"{room}{_NO_WRAP}{_NEXT.join(shown)}{_WRAP}\r{up}"
