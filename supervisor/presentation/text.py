"""Text for a terminal: colours, width, and what must not reach it.

Owns the escapes. Whether there is colour, and how wide the terminal is, the caller says.
"""

from __future__ import annotations

import re

__all__ = ["clean", "cut", "paint", "plain", "visible_width"]

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
_ESCAPES = re.compile("\x1b\\[[0-9;]*m")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def paint(text: str, style: str, colour: bool = True) -> str:
    """``text`` in ``style`` (``"bold red"``), or as it is without ``colour`` or style."""
    if not colour or not style or not text:
        return text
    codes = ";".join(_STYLES[word] for word in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m"


def plain(text: str) -> str:
    """``text`` without escapes."""
    return _ESCAPES.sub("", text)


def visible_width(text: str) -> int:
    """Columns that ``text`` takes; escapes take none."""
    return len(plain(text))


def clean(text: str) -> str:
    """``text`` without control characters: what user code said must not drive the terminal. Colours are
    left out, any other is replaced."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", plain(text))


def cut(text: str, width: int) -> str:
    """Plain ``text`` in at most ``width`` columns, an ellipsis where something is left out."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"
