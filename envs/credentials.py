"""Credentials in the arguments of an installer: kept off its command line, which every user of a machine can read.

Owns which arguments are passed otherwise: addresses of package indexes as environment variables, other words
with credentials (``https://user:token@host``) as lines of a requirements file. What the installer starts
itself, such as git, is not under this rule.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["apart", "write_private"]

_CREDENTIALS: Final = re.compile(r"://[^/\s@]+@")
_WITH_VALUE: Final = frozenset(
    [
        "-e",
        "--editable",
        "-r",
        "--requirement",
        "-c",
        "--constraint",
        "-f",
        "--find-links",
        "-i",
        "--index-url",
        "--extra-index-url",
        "--index",
        "--default-index",
    ]
)


def apart(
    arguments: Sequence[str], variables: Mapping[str, str]
) -> tuple[list[str], dict[str, str], list[str]]:
    """``arguments`` without what others must not see: the rest, environment variables, and lines of a file.

    ``variables`` maps the options that the installer takes from the environment, too, to the variable's name;
    several values of one are separated by a space.
    """
    shown: list[str] = []
    moved: dict[str, str] = {}
    lines: list[str] = []
    for word in arguments:
        option = shown[-1] if shown and shown[-1] in _WITH_VALUE else ""
        if option in variables:
            shown.pop()
            name = variables[option]
            moved[name] = f"{moved[name]} {word}" if name in moved else word
        elif _CREDENTIALS.search(word):
            if option:
                shown.pop()
            lines.append(f"{option} {word}".lstrip())
        else:
            shown.append(word)
    return shown, moved, lines


def write_private(path: Path, lines: Sequence[str]) -> None:
    """Write ``lines`` into a file that its owner alone can read."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join([*lines, ""]))
