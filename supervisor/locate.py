"""Which running supervisor a command or a client means.

Owns the one rule: the workspace that was named, else the one that a search from the directory
finds, else the only supervisor that runs for this user. One whose runtime files were taken away is
not one that does not run. Starts nothing. Imported by every command: keep it light.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.errors import ConfigurationError, NotRunningError
from supervisor.rendezvous import living, running_supervisors
from supervisor.workspace import Selection, names

__all__ = ["Found", "find", "find_selected", "name_of"]


@dataclass(frozen=True, slots=True)
class Found:
    """A running supervisor. ``guessed`` is True when nothing pointed to it but its being the only one."""

    info: Mapping[str, Any]
    guessed: bool = False

    @property
    def workspace(self) -> str:
        """The workspace as people name it."""
        return name_of(self.info)

    @property
    def pid(self) -> int:
        """The supervisor's process."""
        return int(self.info["pid"])

    @property
    def address(self) -> str:
        """The ZeroMQ address of its control socket."""
        return str(self.info["control_address"])


def find(
    workspace: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    *,
    directory: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Found:
    """The running supervisor of ``workspace`` (file or files), or of what is found from ``directory``.

    Raises ``NotRunningError``, and ``ConfigurationError`` when a named file does not exist.
    """
    if workspace is None:
        files: tuple[Path, ...] = ()
    elif isinstance(workspace, str | os.PathLike):
        files = (Path(workspace),)
    else:
        files = tuple(Path(one) for one in workspace)
    cwd = Path(directory) if directory is not None else Path.cwd()
    return find_selected(Selection(files=files), cwd=cwd.absolute(), environ=environ)


def find_selected(
    selection: Selection, *, cwd: Path, environ: Mapping[str, str] | None = None
) -> Found:
    """As ``find``, for everything that the flags of ``supervise`` can select."""
    environ = os.environ if environ is None else environ
    named = selection != Selection()
    try:
        identities = names(selection, cwd=cwd, environ=environ)
    except ConfigurationError:
        if named:
            raise
        name = str(cwd)
    else:
        directory, key = identities[0]
        file = directory / key  # the key of a single workspace file is its name
        name = ", ".join(map(str, selection.files)) or str(file if file.exists() else directory)
        info = living(identities, name, environ)
        if info is not None:
            return Found(info)
    # A `supervise check` is nobody's to talk to.
    others = [info for info in running_supervisors(environ) if not info.get("once")]
    if not named and len(others) == 1:
        return Found(others[0], guessed=True)
    raise NotRunningError(name, hint=_hint(others))


def name_of(info: Mapping[str, Any]) -> str:
    """The workspace of a running supervisor: its files, or its flags and where they were given."""
    files = list(info.get("files") or ())
    if files and not str(info.get("workspace", "")).startswith("-"):
        # Beside workspace files there are env files and the like: the title names the former.
        names = {name.strip() for name in str(info.get("workspace", "")).split(",")}
        chosen = [str(one) for one in files if Path(one).name in names]
        return ", ".join(chosen or [str(files[0])])
    return f"{info.get('workspace')} in {info.get('directory')}"


def _hint(others: Sequence[Mapping[str, Any]]) -> str:
    if not others:
        return "start one with `supervise`"
    some = ", ".join(name_of(info) for info in others[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return f"supervisors run for {some}{more}: choose one with -w, or see `supervise ps`"
