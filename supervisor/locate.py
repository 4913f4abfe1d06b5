"""Which running supervisor a command or a client means.

Owns the one rule: the workspace that was named, else the one that a search from the directory
finds, else the only supervisor that runs for this user. One whose runtime files were taken away is
not one that does not run. Starts nothing. Imported by every command: keep it light.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor.errors import ConfigurationError, NotRunningError, UnreachableError
from supervisor.rendezvous import reachable, running_supervisors, supervised
from supervisor.workspace import Selection, names

if TYPE_CHECKING:
    from supervisor.presence import Holder

__all__ = ["Found", "find", "find_selected", "name_of"]

# How long a supervisor may take to make its runtime files anew.
_MENDING_SECONDS = 4.0


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
        info: Mapping[str, Any] | None = supervised(identities, environ)
        directory, key = identities[0]
        file = directory / key  # the key of a single workspace file is its name
        name = ", ".join(map(str, selection.files)) or str(file if file.exists() else directory)
        if info is None or not reachable(info):
            info = _without_files(identities, name)
        if info is not None:
            return Found(info)
    # A `supervise check` is nobody's to talk to.
    others = [info for info in running_supervisors(environ) if not info.get("once")]
    if not named and len(others) == 1:
        return Found(others[0], guessed=True)
    raise NotRunningError(name, hint=_hint(others))


def _without_files(identities: Sequence[tuple[Path, str]], name: str) -> Mapping[str, Any] | None:
    """What the supervisor with one of these names says of itself though its files are gone.

    It makes them anew at once, so it is waited for. None when none runs, or it is only starting.
    """
    from supervisor.presence import holder_of

    deadline = time.monotonic() + _MENDING_SECONDS
    while True:
        holder = next(filter(None, map(holder_of, identities)), None)
        if holder is None:
            return None
        if holder.info is not None:
            address = holder.info.get("control_address")
            if address is None:
                hint = f"pid {holder.pid} is starting: `supervise wait` waits for it"
                raise NotRunningError(name, hint=hint)
            if reachable(holder.info):
                return holder.info
        if time.monotonic() >= deadline:
            raise _unreachable(holder, name)
        time.sleep(0.05)


def _unreachable(holder: Holder, name: str) -> UnreachableError:
    from supervisor import proc

    pid = holder.pid
    if proc.state(pid) in ("T", "t"):
        reason = "its runtime files are gone, and it is suspended"
        hint = f"`kill -CONT {pid}` lets it go on, and it makes them anew"
    elif holder.info is None:
        reason, hint = "its runtime files are gone, and it does not answer", f"see `ps -p {pid}`"
    else:
        directory = Path(str(holder.info["control_address"]).removeprefix("ipc://")).parent
        reason = f"its runtime directory {directory} is gone and it cannot make it anew"
        hint = f"log in again, or stop it with `kill {pid}`"
    return UnreachableError(name, pid, reason, hint=hint)


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
