"""Which running supervisor a command, a client or a page means.

Owns the one rule. It is the supervisor of the workspace that was named, else of the one that a search
from the directory upwards finds. Only where no workspace file is found may the only supervisor that
runs for this user be taken instead: that is a guess, good enough for a look and refused to an order.
One whose runtime files were taken away is not one that does not run. Starts nothing and opens no
socket. Imported by every command: keep it light.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor.errors import ConfigurationError, NotRunningError
from supervisor.runtime_dir import living, running_supervisors
from supervisor.specs import STATE_DIRECTORY
from supervisor.workspace_files import Selection, file_in, names

if TYPE_CHECKING:
    from supervisor.curve_keys import ClientKeys

__all__ = ["Found", "Identity", "find", "find_selected", "identity_of", "name_of"]

_HERE = "start one with `supervise`"
_ANOTHER = "or start another with `supervise`"


@dataclass(frozen=True, slots=True)
class Found:
    """A running supervisor.

    ``guessed_in`` is the directory from which no workspace file was found, so that this one was taken
    for being the only one that runs; None when it was meant. ``keys`` are those of a client, for one on another
    machine, whose process is not known.
    """

    info: Mapping[str, Any]
    guessed_in: Path | None = None
    keys: ClientKeys | None = None

    @classmethod
    def at(cls, address: str, keys: ClientKeys) -> Found:
        """The one at ``address`` (``tcp://host:port``), which may run or not."""
        return cls({"pid": 0, "files": [address], "control_address": address}, keys=keys)

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

    def take_order(self) -> None:
        """Raises ``NotRunningError`` when this supervisor was guessed: an order is for one that was
        meant."""
        if self.guessed_in is not None:
            raise _nothing_here(self.guessed_in, [self.info])


@dataclass(frozen=True, slots=True)
class Identity:
    """One workspace, whether a supervisor of it runs or not.

    ``places`` are its directory and key by each name that it has: as it was named, and by where links
    lead; none for that of a supervisor at an address, ``elsewhere``. ``name`` is what people call it.
    ``guessed_in`` as for ``Found``.
    """

    places: tuple[tuple[Path, str], ...]
    name: str
    guessed_in: Path | None = None
    elsewhere: Found | None = None

    @classmethod
    def of(cls, *places: tuple[Path, str]) -> Identity:
        """The workspace with these names."""
        directory, key = places[0]
        file = directory / key  # the key of a single workspace file is its name
        return cls(places, str(file if file.exists() else directory))

    @classmethod
    def at(cls, address: str, keys: ClientKeys) -> Identity:
        """Whichever workspace the supervisor at ``address`` (``tcp://host:port``) has."""
        return cls((), address, elsewhere=Found.at(address, keys))

    @property
    def directory(self) -> Path | None:
        """Its directory, as it was named; None where only an address is known."""
        return self.places[0][0] if self.places else None

    @property
    def key(self) -> str:
        """What tells it from others in its directory, or the address."""
        return self.places[0][1] if self.places else self.name

    def find(self, environ: Mapping[str, str]) -> Found:
        """Its running supervisor; raises ``NotRunningError``, or ``UnreachableError`` for one that runs
        and cannot be talked to. Whether one at an address runs, its answers tell alone."""
        if self.elsewhere is not None:
            return self.elsewhere
        info = living(self.places, self.name, environ)
        if info is None:
            others = _others(environ)
            above = self._above(others)
            if above is not None:  # it may have this workspace as a location
                one = f"one runs for {name_of(above)}, in a directory above: {_choosing(above)}"
                hints = [one, _ANOTHER, *self._left()]
            else:
                hints = [_HERE, *self._left(), *([_hint(others)] if others else [])]
            raise NotRunningError(
                self.name, hint="; ".join(hints), others=tuple(name_of(one) for one in others)
            )
        return Found(info)

    def _above(self, others: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """The supervisor among ``others`` whose workspace is in the nearest directory above."""
        parents = {
            str(above)
            for directory, _ in self.places
            for above in Path(os.path.realpath(directory)).parents
        }
        found = {os.path.realpath(str(one.get("directory"))): one for one in others}
        nearest = max(parents & found.keys(), key=len, default="")
        return found.get(nearest)

    def _left(self) -> list[str]:
        """Where to look at what the last supervisor left, in words."""
        for directory, key in self.places:
            state = directory / STATE_DIRECTORY / key
            if (state / "logs").is_dir():
                return [f"logs and runs of the last one are in {state}"]
        return []


def find(
    workspace: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    *,
    directory: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Found:
    """The running supervisor of ``workspace`` (files, or directories that have one), or of what is found from ``directory``.

    Raises ``NotRunningError``, and ``ConfigurationError`` when a named file cannot be followed.
    """
    if workspace is None:
        files: tuple[Path, ...] = ()
    elif isinstance(workspace, str | os.PathLike):
        files = (Path(workspace),)
    else:
        files = tuple(Path(one) for one in workspace)
    cwd = (Path(directory) if directory is not None else Path.cwd()).absolute()
    files = tuple((file_in(cwd / one) or one) for one in files)
    return find_selected(Selection(files=files), cwd=cwd, environ=environ)


def find_selected(
    selection: Selection, *, cwd: Path, environ: Mapping[str, str] | None = None
) -> Found:
    """As ``find``, for everything that the flags of ``supervise`` can select."""
    environ = os.environ if environ is None else environ
    identity = identity_of(selection, cwd=cwd, environ=environ)
    try:
        return Found(identity.find(environ).info, identity.guessed_in)
    except NotRunningError as error:
        gone = [str(one) for one in selection.files if not (cwd / one).exists()]
        if gone:  # a supervisor may outlive its file; without one it is a slip
            error.hint = f"there is no file {', '.join(gone)}" + (
                f"; {error.hint}" if error.others else ""
            )
        raise


def identity_of(
    selection: Selection, *, cwd: Path, environ: Mapping[str, str] | None = None
) -> Identity:
    """The workspace that ``selection`` means as seen from ``cwd``, whether it is supervised or not.

    Raises ``NotRunningError`` when no workspace file is found and not exactly one supervisor runs, and
    ``ConfigurationError`` for a selection that makes no sense.
    """
    environ = os.environ if environ is None else environ
    try:
        identities = names(selection, cwd=cwd, environ=environ)
    except ConfigurationError:
        if selection != Selection():
            raise
        others = _others(environ)
        if len(others) != 1:
            raise _nothing_here(cwd, others) from None
        only = others[0]
        place = (Path(only["directory"]), str(only["key"]))
        return Identity((place,), name_of(only), guessed_in=cwd)
    found = Identity.of(*identities)
    return replace(found, name=", ".join(map(str, selection.files)) or found.name)


def name_of(info: Mapping[str, Any]) -> str:
    """The workspace of a running supervisor: its files, or its flags and where they were given."""
    return ", ".join(_files_of(info)) or f"{info.get('workspace')} in {info.get('directory')}"


def _files_of(info: Mapping[str, Any]) -> list[str]:
    """The workspace files of a running supervisor; none for one that was started by flags."""
    files = list(info.get("files") or ())
    if not files or str(info.get("workspace", "")).startswith("-"):
        return []
    # Beside workspace files there are env files and the like: the title names the former.
    names = {name.strip() for name in str(info.get("workspace", "")).split(",")}
    return [str(one) for one in files if Path(one).name in names] or [str(files[0])]


def _others(environ: Mapping[str, str]) -> list[Mapping[str, Any]]:
    # A `supervise check` takes no orders and answers no questions.
    return [info for info in running_supervisors(environ) if not info.get("once")]


def _nothing_here(directory: Path, others: Sequence[Mapping[str, Any]]) -> NotRunningError:
    return NotRunningError(
        str(directory),
        hint=_hint(others)
        if others
        else "`supervise init` writes one for what it finds; -w names one elsewhere",
        others=tuple(name_of(one) for one in others),
        nothing_here=True,
    )


def _hint(others: Sequence[Mapping[str, Any]]) -> str:
    if len(others) == 1:
        return f"the only supervisor runs for {name_of(others[0])}: {_choosing(others[0])}"
    some = ", ".join(name_of(info) for info in others[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return f"supervisors run for {some}{more}: choose one with -w, or see `supervise ps`"


def _choosing(info: Mapping[str, Any]) -> str:
    files = _files_of(info)
    if files:
        return "choose it with " + " ".join(f"-w {shlex.quote(one)}" for one in files)
    return f"choose it with `supervise {info.get('workspace')} ...` in that directory"
