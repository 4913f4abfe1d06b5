"""The plain data of this package: what is asked for, what is had, what is going on.

Owns the frozen shapes that cross its border. Does no I/O and holds no rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .interpreters import Interpreter

__all__ = [
    "Environment",
    "EnvironmentInfo",
    "EnvironmentRequest",
    "Progress",
    "ProgressCallback",
    "Stage",
]


class Stage(StrEnum):
    """What a sync is busy with, in the order in which the stages come."""

    INTERPRETER = "interpreter"
    CREATE = "create"
    RESOLVE = "resolve"
    INSTALL = "install"
    OVERLAY = "overlay"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Progress:
    """One step, or one line that the installer said. ``environment`` is its name."""

    environment: str
    stage: Stage
    text: str


ProgressCallback = Callable[[Progress], None]
"""Called in the thread that syncs; what it raises ends the sync."""


@dataclass(frozen=True, slots=True)
class EnvironmentRequest:
    """The Python environment that a location needs. Three forms, told apart by what is set:

    * ``executable_path``: an interpreter that exists already, used as it is: an absolute path, a
      virtualenv's directory, or a bare command name (``python3.8``) to be found on PATH.
    * ``python`` and/or ``requirements``, ``requirements_file``, ``project``: a virtualenv that is
      made and kept here. ``python`` is a version (``3.8``), a specifier (``>=3.8,<3.11``), a command
      name or an absolute path; None takes the default interpreter. Paths are absolute; a relative
      path within ``requirements`` is relative to the workspace's directory.
    * nothing: the default interpreter, used as it is (the active virtualenv, else our own).

    ``extras`` and ``groups`` are those of ``project`` that are installed, too. ``script`` is a Python
    file whose block of metadata (PEP 723) says all, instead of the others. ``lock`` pins what
    ``requirements`` and ``requirements_file`` resolve to (``envs.locking``).
    ``name`` is the name in the workspace file's ``environments``, or None for an anonymous one.
    """

    name: str | None = None
    executable_path: str | None = None
    python: str | None = None
    requirements: tuple[str, ...] = ()
    requirements_file: Path | None = None
    project: Path | None = None
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    script: Path | None = None
    lock: Path | None = None

    @property
    def inputs(self) -> list[Path]:
        """The files that a virtualenv of ours is made from. A script is among what its location loads."""
        project = self.project
        names = ("pyproject.toml", "uv.lock", "poetry.lock")
        found = [] if project is None else [project / name for name in names]
        if self.script is not None:
            found.append(self.script.with_name(f"{self.script.name}.lock"))
        return [*found, *(one for one in (self.requirements_file, self.lock) if one is not None)]

    @property
    def managed(self) -> bool:
        """True when the virtualenv is ours to make."""
        return self.executable_path is None and bool(
            self.python
            or self.requirements
            or self.requirements_file
            or self.project
            or self.script
        )


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that is ready to be launched in.

    ``interpreter.executable`` is what to launch. ``name`` is the requested name, else one made
    from the key (``env-1a2b3c``) or from the interpreter (``python-3.8.18``). ``managed`` tells a
    virtualenv of ours from an interpreter used as it is. ``created`` is True when this very sync
    built it. ``installed`` is empty for one that is not managed. ``pinned`` says, as a clause, which lock
    its versions are from, or which was passed over and why.
    """

    name: str
    key: str
    interpreter: Interpreter
    prefix: Path
    managed: bool
    created: bool = False
    anonymous: bool = False
    requirements: tuple[str, ...] = ()
    requirements_file: Path | None = None
    project: Path | None = None
    script: Path | None = None
    pinned: str = ""
    installed: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def label(self) -> str:
        """``risk (python 3.8.18)``, as messages name it."""
        return f"{self.name} (python {self.interpreter.version_text})"


@dataclass(frozen=True, slots=True)
class EnvironmentInfo:
    """A virtualenv on disk. ``current`` is the one its name stands for; ``complete`` is False for
    what an interrupted build left. ``created_at`` in seconds since the epoch, ``size`` in bytes
    (None unless it was asked for).
    """

    name: str
    key: str
    prefix: Path
    complete: bool
    current: bool
    anonymous: bool
    python: str
    interpreter: Path | None
    requirements: tuple[str, ...]
    requirements_file: Path | None
    project: Path | None
    script: Path | None = None
    pinned: str = ""
    installed: Mapping[str, str] = field(default_factory=dict, hash=False)
    created_at: float = 0.0
    size: int | None = None
