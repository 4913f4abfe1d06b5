"""Where a workspace keeps its state (``.supervise`` beside its file), and whether that is ours.

Owns the one check that all who use it make: where all users may write, as in ``/tmp``, what another user
has put there is refused, for what runs here comes from it. Makes nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.specs import STATE_DIRECTORY, SourcePosition

__all__ = ["AnothersError", "check_owner", "own_state", "unusable"]


class AnothersError(OSError):
    """Another user has made it, where all users may make things."""


def check_owner(root: Path, *below: Path) -> None:
    """Raises ``AnothersError`` where ``root``, or what is there of ``below``, is another user's and stands
    where all users may write. A missing directory belongs to no other user."""
    try:
        shared = bool(root.parent.stat().st_mode & stat.S_IWOTH)
    except OSError:
        return
    for directory in (root, *below) if shared else ():
        try:
            owner = directory.lstat().st_uid
        except OSError:
            continue
        if owner not in (0, os.getuid()):
            text = f"it belongs to the user {owner}, and all users may write to {root.parent}"
            raise AnothersError(errno.EPERM, text, str(directory))


def own_state(directory: Path, *names: str) -> Path:
    """``.supervise`` in the workspace's ``directory``, for one who reads or writes it without being the
    supervisor; with ``names`` what is below it. Raises ``ConfigurationError`` for another user's."""
    root = directory / STATE_DIRECTORY
    path = root.joinpath(*names)
    try:
        check_owner(root, *(root / name for name in names[:1]))
    except AnothersError as error:
        raise unusable(path, error) from None
    return path


def unusable(path: Path, error: OSError) -> ConfigurationError:
    """``path`` cannot be used for the state of a workspace."""
    problem = ConfigurationProblem(
        SourcePosition(str(path)),
        "",
        f"the state directory cannot be used: {(error.strerror or str(error)).lower()}",
    )
    hint = (
        "move the workspace to a directory that other users may not write to"
        if isinstance(error, AnothersError)
        else "logs, environments and snapshots are kept beside the workspace file: "
        "make that directory writable for this user"
    )
    return ConfigurationError([problem], hint=hint)
