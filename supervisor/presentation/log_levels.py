"""The level that a line of a log has.

Owns the recognition of levels in what programs print, which has no form that all keep to: a line without a
sign of one has none. Pure.
"""

from __future__ import annotations

import re

__all__ = ["LEVELS", "level_of"]

LEVELS = ("debug", "info", "warning", "error")

_LOOKED_AT = 200
_WORDS = {
    **dict.fromkeys(("DEBUG", "TRACE"), "debug"),
    **dict.fromkeys(("INFO", "NOTICE"), "info"),
    **dict.fromkeys(("WARN", "WARNING"), "warning"),
    **dict.fromkeys(("ERROR", "CRITICAL", "FATAL"), "error"),
}
# The word as logging libraries print it, or as a field of JSON or logfmt.
_WORD = re.compile(rf"(?<![\w.])({'|'.join(_WORDS)})(?![\w.])")
_FIELD = re.compile(r"\b(?:level|levelname|severity)[\"']?\s*[=:]\s*[\"']?([A-Za-z]+)")
_RAISED = re.compile(r"(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit)(?::|$)")
_WARNED = re.compile(r"(?:^|: )[A-Z]\w*Warning: ")


def level_of(text: str) -> str | None:
    """One of ``LEVELS``, "" for none, and None for a line that goes on with the one before."""
    start = text[:_LOOKED_AT]
    if start[:1].isspace():
        return None
    if start.startswith("Traceback (most recent call last)") or _RAISED.match(start):
        return "error"
    found = _FIELD.search(start) or _WORD.search(start)
    if found is not None:
        return _WORDS.get(found[1].upper(), "")
    return "warning" if _WARNED.search(start) else ""
