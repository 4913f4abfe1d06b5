"""Values of settings in words, for the command line and the page alike.

Owns which settings are times and which are sizes. What the settings are, and what of them is hidden, is
``supervisor.workspace_files.effective``.
"""

from __future__ import annotations

import json
import re
from typing import Any

from supervisor.presentation import words

__all__ = ["note", "parts", "value"]

_SECONDS = frozenset(
    [
        *("load_timeout", "stop_timeout", "ping_interval", "ping_timeout", "window", "delay"),
        *("initial_delay", "max_delay", "timeout", "run_grace", "age"),
    ]
)
_BYTES = frozenset(("memory", "max_disk"))


def parts(key: str) -> list[str]:
    """``key`` taken apart. A name of a variable or of metadata may have dots in it; no other does."""
    head, _, rest = key.partition(".")
    return [head, rest] if head in ("env", "metadata", "tags") else key.split(".")


def value(key: str, found: Any) -> str:
    """The value of the setting that ``key`` ends in, as YAML has it: ``90s``, ``automatic``, ``[1, 2]``."""
    if found is None:
        return "automatic" if key == "preload" else "none"
    if isinstance(found, bool | dict | list):
        return json.dumps(found, ensure_ascii=False)
    if isinstance(found, int | float):
        return _duration(found) if key in _SECONDS else str(found)
    plain = re.fullmatch(r"[A-Za-z_/(][^:#\n\"']*(?<!\s)", found)
    return (
        found
        if plain and found not in ("true", "false", "none")
        else json.dumps(found, ensure_ascii=False)
    )


def note(key: str, found: Any) -> str:
    """What a number of bytes is in words; empty for others."""
    return words.size(found) if key in _BYTES and found is not None else ""


def _duration(seconds: float) -> str:
    """In the largest unit that leaves no rest: ``30d``, ``90s``, ``0.1s``."""
    for unit, length in (("d", 86400), ("h", 3600)):
        if seconds and seconds % length == 0:
            return f"{seconds // length:g}{unit}"
    return f"{seconds:g}s"
