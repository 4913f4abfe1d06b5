"""The Dagster instance of our page and daemon, and the variables that ``dagster dev`` would set.

Owns the choice of DAGSTER_HOME, the directory, and the reading of the ``.env`` beside the workspace. Never
takes an instance silently: ``Home.why`` says whose it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.specs import SourcePosition

__all__ = [
    "FOLDER",
    "Home",
    "choose_home",
    "development_environ",
    "for_development",
    "prepare_home",
]

FOLDER = "dagster-home"
"""Our own instance, in the state directory of the workspace."""

_CONFIGURATIONS = ("dagster.yaml", "dagster.yml")
# Without one, Dagster warns at each start that there is none, and tells its makers how it is used.
_OURS = """\
# Written by supervise. A dagster.yaml beside the workspace is used in place of this one.
telemetry:
  enabled: false
"""


@dataclass(frozen=True, slots=True)
class Home:
    """A DAGSTER_HOME. ``ours`` is one that this workspace made; ``why`` says where it comes from."""

    path: Path
    why: str
    ours: bool = False


def development_environ(directory: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` as ``dagster dev`` hands it on: with ``.env`` of ``directory``, which wins, and
    DAGSTER_IS_DEV_CLI, by which libraries know that their projects are to be built."""
    from dotenv import dotenv_values

    file = directory / ".env"
    found: Mapping[str, str | None] = {}
    try:
        with contextlib.suppress(FileNotFoundError):
            found = dotenv_values(file)
    except (OSError, ValueError) as error:
        reason = "it is not UTF-8"
        if isinstance(error, OSError):
            reason = (error.strerror or str(error)).lower()
        problem = ConfigurationProblem(
            SourcePosition(str(file)), "", f"this file cannot be read: {reason}"
        )
        raise ConfigurationError([problem]) from None
    own = {key: value for key, value in found.items() if value is not None}
    return {**environ, **own, "DAGSTER_IS_DEV_CLI": "1"}


def for_development(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` of a location as ``dagster dev`` has it, unless DAGSTER_IS_DEV_CLI is said there: empty,
    it says that this is no development."""
    return {"DAGSTER_IS_DEV_CLI": "1", **environ}


def choose_home(
    option: Path | None, named: Path | None, environ: Mapping[str, str], state: Path
) -> Home:
    """``option``, else what the workspace has ``named``, else DAGSTER_HOME of ``environ``, else one in
    ``state``."""
    if option is not None:
        return Home(option, "--home")
    if named is not None:
        return Home(named, "named in the workspace file")
    home = environ.get("DAGSTER_HOME")
    if home:
        return Home(Path(home).expanduser().absolute(), "DAGSTER_HOME")
    return Home(state / FOLDER, "this workspace's own", ours=True)


def prepare_home(home: Home, directory: Path) -> list[str]:
    """Make the directory; blocks. Returns what the operator should know, each one sentence.

    Our own gets a link to the ``dagster.yaml`` beside the workspace in ``directory``, as ``dagster dev``
    reads that of its own directory; where there is none, one of ours. Raises ``OSError`` where it cannot be used.
    """
    home.path.mkdir(parents=True, exist_ok=True)
    if not os.access(home.path, os.W_OK | os.X_OK):
        raise PermissionError(13, "permission denied", str(home.path))
    beside = next((one for name in _CONFIGURATIONS if (one := directory / name).exists()), None)
    own = home.path / "dagster.yaml"
    if home.ours:
        if own.is_symlink() or (own.is_file() and own.read_bytes() == _OURS.encode()):
            own.unlink()
        if not own.exists():
            if beside is None:
                own.write_text(_OURS)
            else:
                own.symlink_to(beside)
    elif beside is not None and home.path.resolve() != directory.resolve():
        return [f"{beside} is not used: the instance is {home.path}, which has a file of its own"]
    return []
