"""The draft of a workspace file: its parts as plain data, and its text.

Owns the form of the text: comments that say what was found where, and keys that could be added. What is
found is decided elsewhere.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Draft", "DraftEnvironment", "DraftLocation", "below", "unique"]

_PLAIN = re.compile(r"[A-Za-z_./~][\w./~@+-]*")


@dataclass(slots=True)
class DraftEnvironment:
    """An entry of ``environments``: its keys, and what to say about it."""

    name: str
    keys: dict[str, Any]
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class DraftLocation:
    """An item of ``load_from``: the selector and its map, and what to say about it."""

    name: str
    selector: str
    keys: dict[str, Any]
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """A workspace file to be. ``notes`` are remarks for the user."""

    environments: list[DraftEnvironment] = field(default_factory=list)
    locations: list[DraftLocation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The file."""
        lines = [
            "# What `supervise` runs here: code locations, each in its own environment.",
            "# `supervise check` loads each once and shows what is wrong; `supervise` runs them.",
            "# All keys are in docs/workspace.md. Editors complete them with:",
            "#   supervise schema > workspace.schema.json",
            "# yaml-language-server: $schema=./workspace.schema.json",
            *(f"# {note}" for note in self.notes),
            "",
        ]
        if self.environments:
            lines.append("environments:                 # virtualenvs that we make, by name")
            for one in self.environments:
                lines += [f"  # {note}" for note in one.notes]
                lines.append(f"  {_quoted(one.name)}:")
                lines += _map(one.keys, "    ")
        else:
            lines += [
                "# environments:               # virtualenvs that we make, shared by locations",
                "#   risk:",
                '#     python: "3.11"          # found on this machine: PATH, pyenv, uv',
                "#     requirements: [dagster, pandas<3]",
            ]
        lines += ["", "load_from:" if self.locations else "load_from: []"]
        if not self.locations:
            lines += [
                "#  - python_file: {relative_path: defs.py, location_name: risk, environment: risk}",
                "#  - python_module: {module_name: team.definitions, executable_path: team/.venv/bin/python}",
            ]
        for at, item in enumerate(self.locations):
            lines += [""] if at else []
            lines += [f"  # {note}" for note in item.notes]
            lines.append(f"  - {item.selector}:")
            lines += _map(item.keys, "      ")
            if not at:
                lines += [
                    "      # env: {REGION: eu}     # variables of its process",
                    "      # load_timeout: 60s",
                    "      # limits: {memory: 2GB}",
                ]
        return "\n".join([*lines, ""])


def _map(keys: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for key, value in keys.items():
        if isinstance(value, dict):
            lines.append(f"{indent}{key}:")
            lines += [f"{indent}  {_quoted(name)}: {_scalar(one)}" for name, one in value.items()]
        elif isinstance(value, list):
            lines.append(f"{indent}{key}: [{', '.join(map(_scalar, value))}]")
        else:
            lines.append(f"{indent}{key}: {_scalar(value)}")
    return lines


def _scalar(value: Any) -> str:
    """A value in YAML on one line, in which no ``${`` refers to a variable."""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_quoted(key)}: {_scalar(one)}' for key, one in value.items())}}}"
    return _quoted(str(value).replace("${", "$${"))


def _quoted(text: str) -> str:
    """A text in YAML; without quotes where that reads as the same text."""
    if _PLAIN.fullmatch(text) and isinstance(yaml.safe_load(text), str):
        return text
    return json.dumps(text, ensure_ascii=False)


def below(path: Path, root: Path) -> str:
    """``path`` as a workspace file in ``root`` names it: relative where it lies in there."""
    place = Path(os.path.normpath(path))
    return str(place.relative_to(root)) if place.is_relative_to(root) else str(place)


def unique(name: str, taken: set[str]) -> str:
    """``name``, or with the first number that makes it differ from ``taken``; it is then taken, too."""
    name = re.sub(r"[/\x00-\x1f]", "_", name).strip() or "location"
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    taken.add(found)
    return found
