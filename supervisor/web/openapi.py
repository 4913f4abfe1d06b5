"""The OpenAPI document of ``/api/v1``. Placeholder filled below."""

from __future__ import annotations

from typing import Any

__all__ = ["document"]


def document() -> dict[str, Any]:
    """It."""
    return {}
