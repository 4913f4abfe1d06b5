"""Warns about supervisord, whose import package has the same name.

Owns the look and the words.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["SUPERVISORD_HINT", "supervisord_beside"]


def supervisord_beside() -> str | None:
    """A sentence when supervisord's own ``supervisor`` package shares our directory, else None."""
    if not (Path(__file__).parent.parent / "supervisord.py").exists():
        return None
    return (
        "supervisord is installed in this environment too, and its import package is also named "
        "'supervisor': each overwrites files of the other"
    )


SUPERVISORD_HINT = (
    "install workspace-supervisor in an environment of its own: "
    "`uv tool install workspace-supervisor` or `pipx install workspace-supervisor`"
)
