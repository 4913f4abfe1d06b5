"""The line of a workspace file that a problem is about, with a caret below it.

Owns which lines are shown: of workspace files alone, since those of env files hold secrets, and none in which
something looks like one. Reads the file as it is now; never raises.
"""

from __future__ import annotations

from pathlib import Path

from runner_shim.masking import masked_text
from supervisor.presentation.text import clean

__all__ = ["excerpt"]

_SUFFIXES = (".yaml", ".yml", ".toml")
_MOST_BYTES = 4 * 1024 * 1024
_WIDTH = 68  # with what stands before it, a terminal of 80 columns has room


def excerpt(file: str, line: int, column: int) -> list[str]:
    """``  4 |   relativ_path: a.py`` and a caret below ``column``; both count from 1. [] where there is none."""
    if line < 1 or not file.endswith(_SUFFIXES):
        return []
    try:
        with Path(file).open("rb") as stream:
            lines = stream.read(_MOST_BYTES).decode("utf-8-sig").splitlines()
        text = lines[line - 1]
    except (OSError, ValueError, IndexError):
        return []
    if not text.strip() or masked_text(text.strip()) != text.strip():
        return []
    at = max(column - 1, 0)
    cut = max(at - _WIDTH // 2, 0) if len(text) > _WIDTH else 0
    shown, at = text[cut : cut + _WIDTH], at - cut
    head = f"{line:>5} | "
    found = [head + clean(shown.replace("\t", " "))]
    if column:
        found.append(" " * (len(head) - 2) + "| " + " " * at + "^")
    return found
