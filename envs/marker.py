"""The marker of a virtualenv that is complete: what it is and what it was made from.

Owns its form. It is written last, so an environment without one is what an interrupted build left.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from .installed import package_directories
from .interpreters import Interpreter
from .model import Environment

__all__ = ["MARKER", "environment_of", "read_marker", "write_marker"]

MARKER: Final = ".complete"
_SCHEMA: Final = 1


def write_marker(prefix: Path, found: Environment) -> None:
    """Say that ``found``, at ``prefix``, is complete. It is on disk when this returns."""
    data = {
        "schema": _SCHEMA,
        "name": found.name,
        "anonymous": found.anonymous,
        "interpreter": found.interpreter.as_dict(),
        "requirements": list(found.requirements),
        "requirements_file": str(found.requirements_file) if found.requirements_file else None,
        "project": str(found.project) if found.project else None,
        "script": str(found.script) if found.script else None,
        "pinned": found.pinned,
        "installed": dict(found.installed),
        "created_at": time.time(),
    }
    temporary = prefix / f"{MARKER}.new"
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(data, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(prefix / MARKER)
    descriptor = os.open(prefix, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_marker(prefix: Path) -> dict[str, Any] | None:
    """What the marker of the environment at ``prefix`` says; None without one."""
    try:
        data = json.loads((prefix / MARKER).read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and data.get("schema") == _SCHEMA else None


def environment_of(prefix: Path, data: Mapping[str, Any]) -> Environment | None:
    """What a marker says, or None when it says nothing usable: then it is no environment."""
    try:
        interpreter = Interpreter.from_dict(data["interpreter"])
        # A workspace that was moved or copied: scripts and links in it name the old place.
        if interpreter.prefix != prefix or not interpreter.executable.exists():
            return None
        if not package_directories(prefix):
            return None
        file, project, script = data["requirements_file"], data["project"], data.get("script")
        return Environment(
            name=str(data["name"]),
            key=prefix.name,
            interpreter=interpreter,
            prefix=prefix,
            managed=True,
            anonymous=bool(data["anonymous"]),
            requirements=tuple(data["requirements"]),
            requirements_file=Path(file) if file else None,
            project=Path(project) if project else None,
            script=Path(script) if script else None,
            pinned=str(data.get("pinned", "")),
            installed=dict(data["installed"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
