"""``${VARIABLE}`` and ``${VARIABLE:-default}`` in the values of a workspace file.

Owns the form of a reference, and what is wrong with one. ``$${`` is a ``${`` that is meant; any other ``$``
stands for itself. Knows no key, and never shows the value of a variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.nearest import near
from supervisor.workspace_files.document import shorten

__all__ = ["PATTERN", "Expansion", "expand", "has_variables"]

PATTERN = r"\$\{"
"""What a text with a reference matches, as JSON Schema has it."""

_REFERENCE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\})?")


@dataclass(frozen=True, slots=True)
class Expansion:
    """A text with its references replaced.

    ``variables`` are the names of those that it refers to. ``problems`` are what is wrong: message,
    expected, suggestion.
    """

    text: str
    variables: tuple[str, ...] = ()
    problems: tuple[tuple[str, str, str], ...] = ()


def has_variables(text: str) -> bool:
    """True when ``expand`` may change ``text``."""
    return "${" in text


def expand(text: str, environ: Mapping[str, str]) -> Expansion:
    """``text`` with each reference replaced by the value in ``environ``.

    A default stands for a variable that is not set or is empty.
    """
    variables: dict[str, None] = {}
    malformed: list[tuple[str, str, str]] = []
    unset: list[tuple[str, str, str]] = []

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name, default = match[1], match[2]
        if name is None:
            malformed.append(
                (
                    "a ${ in this text begins no name of a variable",
                    "${NAME}, ${NAME:-default}, or $${ for the characters ${",
                    "",
                )
            )
            return ""
        variables[name] = None
        value = environ.get(name)
        if default is not None:
            return value or default
        if value is None:
            unset.append(
                (
                    f"the environment variable {shorten(name, 200)} is not set",
                    f"it in the supervisor's environment, or a default: ${{{shorten(name, 200)}:-…}}",
                    near(name, environ),
                )
            )
        return value or ""

    result = _REFERENCE.sub(replaced, text)
    return Expansion(result, tuple(variables), tuple(dict.fromkeys(malformed or unset)))
