"""What may stand in a request: the bounds of numbers, waits and texts, checked at each edge.

Owns one check for each. The client makes it before it sends, the supervisor when it receives, the command
line and the web page when they read. Larger integers cannot be packed or stored, and texts that are no
Unicode cannot be sent.
"""

from __future__ import annotations

import math
from typing import Any

from supervisor.errors import InvalidParameterError

__all__ = [
    "LONGEST_TEXT",
    "MOST",
    "MOST_LINES",
    "MOST_MOMENT",
    "MOST_SECONDS",
    "flag",
    "mapping",
    "moment",
    "seconds",
    "text",
    "texts",
    "whole",
]

MOST = 2**63 - 1
"""The largest integer: of generations, revisions and cursors."""
MOST_LINES = 1_000_000
"""Lines of a log that may be asked for at once."""
MOST_SECONDS = 10**9
"""The longest wait: operating systems have no longer one."""
MOST_MOMENT = 10**11
"""The latest moment, in Unix seconds."""
LONGEST_TEXT = 20_000
"""Characters of a name, kind or repository."""


def whole(name: str, value: Any, least: int = 0, most: int = MOST) -> int:
    """``value``, which must be an integer in these bounds; raises ``InvalidParameterError``."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidParameterError(
            f"{name} must be a whole number from {least} to {most}, not {_shown(value)}"
        )
    return value


def seconds(name: str, value: Any) -> float:
    """``value`` as seconds to wait, from 0; raises ``InvalidParameterError``."""
    if not _is_within(value, MOST_SECONDS):
        raise InvalidParameterError(
            f"{name} must be a number of seconds from 0 to {MOST_SECONDS}, not {_shown(value)}"
        )
    return float(value)


def moment(name: str, value: Any) -> float:
    """``value`` as Unix seconds; raises ``InvalidParameterError``."""
    if not _is_within(value, MOST_MOMENT):
        raise InvalidParameterError(
            f"{name} must be a time in Unix seconds, from 0 to {MOST_MOMENT}, not {_shown(value)}"
        )
    return float(value)


def _is_within(value: Any, most: int) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # An integer may be too large to be a float.
    return number and 0 <= value <= most and math.isfinite(value)


def flag(name: str, value: Any) -> bool:
    """``value``, which must be true or false; raises ``InvalidParameterError``."""
    if not isinstance(value, bool):
        raise InvalidParameterError(f"{name} must be true or false, not {_shown(value)}")
    return value


def mapping(name: str, value: Any) -> dict[str, Any]:
    """``value``, which must be a map with texts for keys; raises ``InvalidParameterError``."""
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value):
        raise InvalidParameterError(f"{name} must be a map, not {_shown(value)}")
    return value


def text(name: str, value: Any) -> str:
    """``value``, which must be a text that can be sent; raises ``InvalidParameterError``."""
    if not isinstance(value, str):
        raise InvalidParameterError(f"{name} must be a text, not {_shown(value)}")
    if len(value) > LONGEST_TEXT:
        raise InvalidParameterError(
            f"{name} must have at most {LONGEST_TEXT} characters, not {len(value)}"
        )
    if "\0" in value or any("\ud800" <= one <= "\udfff" for one in value):
        raise InvalidParameterError(f"{name} must be Unicode text without NUL, not {_shown(value)}")
    return value


def texts(name: str, value: Any) -> list[str]:
    """``value``, which must be a list of texts; raises ``InvalidParameterError``."""
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise InvalidParameterError(f"{name} must be a list of names, not {_shown(value)}")
    return [text(f"each of {name}", one) for one in value]


def _shown(value: Any) -> str:
    if (
        isinstance(value, int) and value.bit_length() > 256
    ):  # Python refuses to print very long ones
        return f"one of {value.bit_length()} bits"
    shown = ascii(value)
    return shown if len(shown) <= 100 else f"{shown[:100]}…"
