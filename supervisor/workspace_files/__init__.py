"""The workspace reader: files and flags in, frozen specs or located problems out.

Owns everything between what an operator writes (``workspace.yaml`` in every form since Dagster
0.7, ``dagster_cloud.yaml``, ``[tool.dagster]``, ``[tool.dg]``, ``dg.toml``, command-line flags) and
``supervisor.specs``. Starts nothing, looks for no interpreter and does not ask whether a target
exists: that is known when it is loaded.

Only the functions import what they need, so that ``identify`` costs milliseconds.

May import the modules of supervisor/ itself alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisor.desired import Desired
    from supervisor.specs import WorkspaceSpec

__all__ = [
    "Selection",
    "file_in",
    "identify",
    "json_schema",
    "missing_hint",
    "names",
    "reread",
    "resolve",
]


@dataclass(frozen=True, slots=True)
class Selection:
    """What the flags say: ``-w -f -m --package-name --autoload-defs-module -d -a``.

    Empty means: search from the current directory upwards. Paths may be relative to it.
    """

    files: tuple[Path, ...] = ()
    python_files: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    autoload_modules: tuple[str, ...] = ()
    working_directory: str | None = None
    attribute: str | None = None


def resolve(selection: Selection, *, cwd: Path, environ: Mapping[str, str]) -> WorkspaceSpec:
    """Reads the workspace that ``selection`` names or, when it is empty, that a search finds.

    ``environ`` answers ``{env: NAME}`` and ``${NAME}`` in env files. Raises ConfigurationError with
    every problem of every file; nothing else.
    """
    from supervisor.errors import ConfigurationError

    spec, desired = reread(selection, cwd=cwd, environ=environ)
    if desired.problems:
        raise ConfigurationError(desired.problems, hint=missing_hint(selection, cwd))
    return spec


def missing_hint(selection: Selection, cwd: Path) -> str | None:
    """What to do about a file that was named and is not there."""
    missing = [path for path in selection.files if not os.path.lexists(cwd / path)]
    if not missing:
        return None
    import shlex

    beside = file_in((cwd / missing[0]).parent)
    if beside is not None:
        from supervisor.nearest import near

        if near(missing[0].name, [beside.name]):
            return None  # the error says so
        return f"there is {missing[0].with_name(beside.name)}"
    return f"`supervise init -o {shlex.quote(str(missing[0]))}` writes one for what it finds"


def file_in(directory: Path) -> Path | None:
    """The workspace file that ``directory`` itself has, or None."""
    from supervisor.workspace_files.discovery import file_in as found

    return found(directory)


def reread(
    selection: Selection, *, cwd: Path, environ: Mapping[str, str]
) -> tuple[WorkspaceSpec, Desired]:
    """As ``resolve``, for a workspace that runs: what is sound counts, beside what is broken.

    The spec has the sound locations alone. Of a file that cannot be read there is one broken entry
    without a name. Raises ConfigurationError when there is no workspace any more.
    """
    from supervisor.workspace_files.reader import read_workspace

    return read_workspace(selection, cwd=cwd, environ=environ)


def identify(selection: Selection, *, cwd: Path) -> tuple[Path, str]:
    """``directory`` and ``key`` of the WorkspaceSpec that ``resolve`` would give, without reading.

    Takes about a millisecond. Raises ConfigurationError when nothing can be found.
    """
    from supervisor.workspace_files.discovery import locate

    sources = locate(selection, cwd=cwd)
    return sources.directory, sources.key


def names(selection: Selection, *, cwd: Path, environ: Mapping[str, str]) -> list[tuple[Path, str]]:
    """As ``identify``, by each name that the workspace has: the first is the one it was named by.

    They differ when a link leads to its directory; where that leads may change, and the name stays.
    """
    from supervisor.workspace_files.discovery import names_of

    found = [(one.directory, one.key) for one in names_of(selection, cwd=cwd, environ=environ)]
    return list(dict.fromkeys(found))


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of workspace files, for editors.

    Made from the shapes that validate them.
    """
    from supervisor.workspace_files.keys import json_schema as schema

    return schema()
