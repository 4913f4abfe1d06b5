"""The ``dagster`` keys of a workspace: their shape, and the settings they become.

Owns how each is written. What serves the locations is ``supervisor.dagster``'s.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from supervisor.face_settings import FaceSettings, Listen
from supervisor.workspace_files.scalars import Boolean, Text
from supervisor.workspace_files.shapes import Field, Named, Record, RecordShape

__all__ = ["DAGSTER", "face_settings"]


def _bad_address(text: str) -> tuple[str, str] | None:
    try:
        Listen.parse(text)
    except ValueError:
        return "is no port, and no host and port", ""
    return None


DAGSTER = Named(
    "dagster",
    RecordShape(
        {
            "serve": Field(
                Boolean(), "Whether locations are served to them, as with --dagster.", default=False
            ),
            "listen": Field(
                Text("a port such as 4000, or 10.0.0.5:4000", written=True, check=_bad_address),
                "Where they are served over TCP, too, as with --dagster-listen. It asks for no "
                "password.",
                examples=(4000, "10.0.0.5:4000"),
            ),
            "instance": Field(
                Text("a path"), "The DAGSTER_HOME of `supervise dagster`, relative to this file."
            ),
        },
        "a map with serve, listen and instance",
    ),
)
"""The map under ``dagster``."""


def face_settings(record: Record, absolute: Callable[[str], Path]) -> FaceSettings:
    """The settings in ``record``; ``absolute`` follows the rule of paths."""
    listen, instance = record.get("listen"), record.get("instance")
    return FaceSettings(
        record.get("serve"),
        Listen.parse(listen) if listen else None,
        absolute(instance) if instance else None,
    )
