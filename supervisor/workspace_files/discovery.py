"""Which files make up the workspace, and what the workspace is called.

Owns the rules for combining flags, the search for a workspace without flags, and the key under
which a workspace is known. Reads no more of a file than the search needs and imports nothing heavy:
``supervise status`` comes through here to find the supervisor that runs.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.specs import SourcePosition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.workspace_files import Selection

__all__ = ["COMMAND_LINE", "Sources", "file_in", "locate", "names_of"]

COMMAND_LINE = "command line"
"""The ``file`` of a position that is a flag."""

_CANDIDATES = (
    "pyproject.toml",
    "dg.toml",
    "workspace.yaml",
    "workspace.yml",
    "dagster_cloud.yaml",
    "dagster_cloud.yml",
)
"""The names that a search looks for, in the order in which they win."""
_MAX_PYPROJECT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a workspace comes from: ``files``, or none for flags alone.

    ``directory`` and ``key`` are those of the WorkspaceSpec; ``notes`` become its warnings.
    """

    files: tuple[Path, ...]
    directory: Path
    key: str
    title: str
    notes: tuple[str, ...] = ()


def locate(selection: Selection, *, cwd: Path, links: bool = False) -> Sources:
    """The sources that ``selection`` names, or that a search from ``cwd`` upwards finds.

    Directories are real ones, or with ``links`` as they are named. Raises ConfigurationError for
    flags that do not go together and when nothing is found.
    """
    _check_flags(selection)
    real = _normalized if links else _resolved
    cwd = real(cwd)
    targets = _targets(selection)
    if selection.files:
        wholes = [_normalized(cwd / path) for path in selection.files]
        # The file itself may be a link: see ``_resolved``.
        files = tuple(dict.fromkeys(real(whole.parent) / whole.name for whole in wholes))
        return Sources(files, files[0].parent, _key(files), ", ".join(path.name for path in files))
    if targets:
        options = [*targets, ("-d", selection.working_directory), ("-a", selection.attribute)]
        words = [f"{flag} {value}" for flag, value in options if value is not None]
        return Sources((), cwd, f"command-line-{_digest(words)}", " ".join(words))
    return _search(cwd)


def _targets(selection: Selection) -> list[tuple[str, str | None]]:
    return [
        *(("-f", str(name)) for name in selection.python_files),
        *(("-m", name) for name in selection.modules),
        *(("--package-name", name) for name in selection.packages),
        *(("--autoload-defs-module", name) for name in selection.autoload_modules),
    ]


def _check_flags(selection: Selection) -> None:
    targets = _targets(selection)
    single = [
        flag
        for flag, value in (("-d", selection.working_directory), ("-a", selection.attribute))
        if value is not None
    ]
    problems = []

    def wrong(flag: str, message: str) -> None:
        problems.append(ConfigurationProblem(SourcePosition(COMMAND_LINE), flag, message))

    if selection.files:
        for flag in dict.fromkeys([flag for flag, _ in targets] + single):
            wrong(flag, f"{flag} cannot stand beside -w; write it into the workspace file")
    elif single and not targets:
        for flag in single:
            wrong(flag, f"{flag} needs a target: -f, -m or --package-name")
    elif selection.attribute is not None:
        if len(targets) > 1:
            wrong("-a", f"-a names an object of one target, and there are {len(targets)}")
        elif selection.autoload_modules:
            wrong("-a", "-a cannot stand beside --autoload-defs-module, which loads everything")
    if problems:
        raise ConfigurationError(problems)


def names_of(selection: Selection, *, cwd: Path, environ: Mapping[str, str]) -> list[Sources]:
    """The sources by each name that they have: as they were named, and by their real directory.

    The name is what stays when a link on the way is made to lead elsewhere. A shell that went through
    a link says so in PWD. Raises as ``locate``.
    """
    real = locate(selection, cwd=cwd)
    shown = Path(environ.get("PWD", ""))
    if not (shown.is_absolute() and _same(shown, cwd)):
        shown = cwd
    places = [_normalized(shown / path).parent for path in selection.files] or [shown]
    if all(os.path.realpath(place) == str(place) for place in places):
        return [real]
    try:
        named = locate(selection, cwd=shown, links=True)
    except ConfigurationError:
        return [real]
    files = [path.name for path in named.files] == [path.name for path in real.files]
    if named.directory == real.directory or not files or not _same(named.directory, real.directory):
        return [real]
    return [named, real]


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def _normalized(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _resolved(path: Path) -> Path:
    """The real directory at ``path``.

    That of a file is: a mounted configuration file is often a link whose destination changes with
    each update; its own place is what stays, and what its relative paths mean.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of symlinks, a NUL
        shown = str(path).encode("unicode_escape").decode()
        problem = ConfigurationProblem(
            SourcePosition(shown), "", "the path cannot be followed to a directory"
        )
        raise ConfigurationError([problem]) from None


def _digest(words: list[str]) -> str:
    import hashlib

    text = "\0".join(words).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:12]


def _key(files: tuple[Path, ...]) -> str:
    joined = "+".join(path.name for path in files)
    safe = re.sub(r"[^A-Za-z0-9._+-]", "_", joined)[:64]
    plain = safe == joined and safe.strip(".") and len({path.parent for path in files}) == 1
    return safe if plain else f"{safe}-{_digest([str(path) for path in files])}"


def _search(cwd: Path) -> Sources:
    notes: list[str] = []
    for directory in (cwd, *cwd.parents):
        found = _found_in(directory, notes)
        if found:
            chosen, others = found[0], found[1:]
            notes += [
                f"{other}: not read, because {chosen.name} beside it is; name it with -w to use it"
                for other in others
                if not other.name.startswith("dagster_cloud")  # for a cloud, beside the local one
            ]
            return Sources((chosen,), directory, _key((chosen,)), chosen.name, tuple(notes))
    problem = ConfigurationProblem(
        SourcePosition(str(cwd)),
        "",
        "no workspace is here or in a directory above",
        "a workspace.yaml, a dg.toml, a dagster_cloud.yaml or a pyproject.toml with [tool.dagster] "
        "or [tool.dg]",
    )
    hint = (
        "`supervise init` writes a workspace.yaml for what it finds; or name a workspace file with -w, a "
        "target with -f, -m or --package-name"
    )
    raise ConfigurationError([problem], hint="; ".join([*notes, hint]))


def file_in(directory: Path) -> Path | None:
    """The workspace file of ``directory``, as a search that begins there chooses it; None where it has none."""
    return next(iter(_found_in(directory, [])), None)


def _found_in(directory: Path, notes: list[str]) -> list[Path]:
    """The workspace files in ``directory``, the one that counts first; ``notes`` gets what is passed over."""
    found: list[Path] = []
    empty: list[Path] = []
    for name in _CANDIDATES:
        path = directory / name
        if not os.path.lexists(path):
            continue
        kind = _toml_kind(path) if name.endswith(".toml") else "locations"
        if kind == "bare":
            notes.append(f"{path}: [tool.dg] names no project and is passed over")
        elif kind == "empty":
            empty.append(path)
        elif kind:
            found.append(path)
    if found:
        notes += [f"{path}: names no project and is passed over" for path in empty]
    return found or empty[:1]  # reading it says where projects are missing


def _toml_kind(path: Path) -> str:
    """What a pyproject.toml or dg.toml has for us: ``locations``; ``empty``, a workspace without
    projects; ``bare``, a [tool.dg] without any table of the kind; or an empty text for nothing."""
    is_pyproject = path.name == "pyproject.toml"
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "" if is_pyproject else "locations"
        with path.open("rb") as stream:
            data = stream.read(_MAX_PYPROJECT_BYTES)
    except OSError:
        return "" if is_pyproject else "locations"
    if is_pyproject and b"dagster" not in data and b"dg" not in data:
        return ""
    import tomllib

    try:
        document: dict[str, Any] = tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        # Broken, but meant for us: reading it says where.
        header = rb"(?m)^\s*\[\[?\s*tool\s*\.\s*(dagster|dg)\b"
        return "locations" if not is_pyproject or re.search(header, data) else ""
    if not is_pyproject:
        return _dg_kind(document)
    tool = document.get("tool")
    if not isinstance(tool, dict):
        return ""
    if "dagster" in tool:
        return "locations"
    if "dg" not in tool:
        return ""
    kind = _dg_kind(tool["dg"])
    return (
        "bare"
        if kind == "empty" and not {"workspace", "directory_type"} & set(tool["dg"])
        else kind
    )


def _dg_kind(table: Any) -> str:
    """``locations`` or ``empty``; a table that is wrong has locations: reading it says where."""
    if not isinstance(table, dict) or "project" in table or "tool" in table:
        return "locations"
    if table.get("directory_type") == "project":
        return "locations"
    workspace = table.get("workspace", {})
    projects = workspace.get("projects", []) if isinstance(workspace, dict) else True
    return "locations" if projects != [] else "empty"
