"""What is wrong with the workspace files of a supervisor that runs, for a terminal.

Owns the lines of the status document's problems, each with its source line. What is wrong with the files of a
command that has no supervisor is an error, and printed by ``cli.terminal``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from supervisor.presentation import words
from supervisor.presentation.excerpt import excerpt
from supervisor.presentation.text import clean, paint

if TYPE_CHECKING:
    from supervisor.protocol.documents import ProblemRow

__all__ = ["PROBLEMS", "problem_lines"]

PROBLEMS = "the workspace has problems: what they concern keeps its previous settings until they are corrected:"
"""Stands above ``problem_lines``."""


def problem_lines(rows: Iterable[ProblemRow], *, colour: bool) -> list[str]:
    """Each problem of a status document in a line, with its source line below. Reads files."""
    lines: list[str] = []
    for row in rows:
        lines.append(f"  {clean(words.problem(row))}")
        shown = excerpt(row["file"], row["line"], row["column"])
        lines += [paint(f"  {line}", "dim", colour) for line in shown]
    return lines
