"""``supervise config``: the effective workspace, and where each setting comes from.

Owns how that is printed. Reads the files alone: it starts nothing and asks no supervisor.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.options import LOCATION, json_option, selecting
from supervisor.cli.session import Session
from supervisor.cli.terminal import Terminal
from supervisor.errors import UnknownLocationError
from supervisor.presentation import settings as settings_in_words
from supervisor.presentation.text import clean

if TYPE_CHECKING:
    from supervisor.specs import LocationSpec, SourcePosition, WorkspaceSpec
    from supervisor.workspace_files.effective import Setting

__all__ = ["config_"]

_COMMENTS = 44


@click.command("config", short_help="Show the settings that count, and where each comes from.")
@click.argument("locations", nargs=-1, metavar="[LOCATION]...", **LOCATION)
@json_option
@selecting
def config_(session: Session, locations: tuple[str, ...], as_json: bool) -> int:
    """Show the workspace as it counts: all files merged, defaults and variables filled in.

    Behind each setting stands where it comes from. Secrets are hidden. No supervisor is needed, and
    nothing is started.
    """
    from supervisor.machine import cores
    from supervisor.run_settings import RunSettings, most_at_once
    from supervisor.workspace_files import Selection, resolve
    from supervisor.workspace_files.effective import (
        face_settings,
        location_settings,
        run_settings,
        workspace_environments,
    )

    spec = resolve(session.selection, cwd=session.cwd, environ=os.environ)
    chosen = _chosen(spec, locations)
    below = spec.runs or RunSettings()
    runs = [] if locations else run_settings(spec, most_at_once(cores()))
    face = [] if locations else face_settings(spec)
    environments = {} if locations else workspace_environments(spec)
    found = {one.name: location_settings(one, below) for one in chosen}
    terminal = session.terminal
    searched = session.selection == Selection()
    if as_json:
        terminal.data(
            {
                "directory": str(spec.directory),
                "key": spec.key,
                "files": [str(path) for path in spec.files],
                "discovered": searched,
                "warnings": list(spec.warnings),
                "runs": _data(runs),
                "dagster": _data(face),
                "environments": {name: _data(one) for name, one in environments.items()},
                "locations": {
                    one.name: {
                        "form": one.form,
                        "at": None if one.origin is None else str(one.origin),
                        "settings": _data(found[one.name]),
                    }
                    for one in chosen
                },
            }
        )
        return 0
    for text in spec.warnings:
        terminal.warn(text)
    files = ", ".join(str(path) for path in spec.files) or spec.title
    how = f" (found from {session.cwd} upwards)" if searched else ""
    printing = _Printing(terminal, spec)
    terminal.print(terminal.paint(f"# {clean(files)}{clean(how)}", "dim"))
    if runs:
        printing.section("runs", runs)
    if face:
        printing.section("dagster", face)
    if environments:
        terminal.print("environments:")
        for name, settings in environments.items():
            printing.section(name, settings, "  ")
    if not locations or chosen:
        terminal.print("locations:" if chosen else "locations: {}")
    for one in chosen:
        printing.section(one.name, found[one.name], "  ", one.origin)
    return 0


def _chosen(spec: WorkspaceSpec, names: Iterable[str]) -> list[LocationSpec]:
    known = {one.name: one for one in spec.locations}
    for name in names:
        if name not in known:
            from supervisor.nearest import hint

            raise UnknownLocationError(name, hint=hint(name, list(known)))
    return [known[name] for name in dict.fromkeys(names)] or list(known.values())


def _data(settings: Iterable[Setting]) -> dict[str, Any]:
    return {one.key: one.as_data() for one in settings}


class _Printing:
    """Settings as lines of YAML, where each comes from as the comment behind it."""

    def __init__(self, terminal: Terminal, spec: WorkspaceSpec) -> None:
        self._terminal = terminal
        self._base = f"{spec.directory}{os.sep}"

    def section(
        self,
        name: str,
        settings: Iterable[Setting],
        indent: str = "",
        origin: SourcePosition | None = None,
    ) -> None:
        """The settings below their name; those that have a dot in their key below what stands before it."""
        self._line(f"{indent}{_quoted(name)}:", "" if origin is None else self._place(origin))
        opened: list[str] = []
        indent += "  "
        for one in settings:
            *groups, key = settings_in_words.parts(one.key)
            while opened != groups[: len(opened)]:
                opened.pop()
            while len(opened) < len(groups):
                self._line(f"{indent}{'  ' * len(opened)}{_quoted(groups[len(opened)])}:", "")
                opened.append(groups[len(opened)])
            comment = one.origin
            if one.position is not None:
                comment = self._place(one.position)
                comment += " (discovered)" if one.origin == "discovered" else ""
            if note := settings_in_words.note(key, one.value):
                comment += f", {note}"
            text = f"{indent}{'  ' * len(opened)}{_quoted(key)}: {settings_in_words.value(key, one.value)}"
            self._line(text, comment)

    def _place(self, position: SourcePosition) -> str:
        place = f"{position.file}:{position.line}" if position.line else position.file
        return place.removeprefix(self._base)

    def _line(self, text: str, comment: str) -> None:
        text = clean(text)
        if comment:
            text = f"{text.ljust(_COMMENTS)} {self._terminal.paint(clean(f'# {comment}'), 'dim')}"
        self._terminal.print(text)


def _quoted(text: str) -> str:
    return (
        text if re.fullmatch(r"[A-Za-z_][\w.\-]*", text) else json.dumps(text, ensure_ascii=False)
    )
