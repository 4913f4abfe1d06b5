"""A number of bytes in words, the same in every message, list and page."""

from __future__ import annotations

__all__ = ["size"]


def size(count: float) -> str:
    """``512 B``, ``31.2 MiB``, ``1.5 GiB``: one decimal at most."""
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if count < 1024:
            break
        count, unit = count / 1024, larger
    return f"{count:.0f} {unit}" if unit == "B" else f"{round(count, 1):g} {unit}"
