"""The virtualenvs of one workspace: ``.supervise/envs/<name>/<key>/``.

Owns making them, finding them and removing them. The rules:

* An environment is built at its final path, under a lock beside it, and is there once its
  ``.complete`` marker is, which is written last. Whatever has no marker is deleted and built anew,
  never repaired: an interrupted install can look finished and fail at import.
* The key is the hash of everything it is made from, so nothing is ever changed in place and a
  sync with nothing new reads a few files and starts no process.
* A failed or cancelled build removes what it began and leaves the previous environment as it was.
* ``current`` is a link to the key that a name stands for, replaced atomically.
* Nothing is removed while a live process runs in it.

Does not know what locations, generations and supervisors are.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from . import disk
from .builder import build, python_of_files
from .discovery import default_interpreter, find_command, find_interpreter, parse_wanted
from .errors import EnvError
from .inputs import environment_key
from .installers import Choice, find_installer
from .interpreters import Interpreter, probe
from .locking import write_lock
from .locks import exclusive
from .marker import environment_of, read_marker, write_marker
from .model import (
    Environment,
    EnvironmentInfo,
    EnvironmentRequest,
    Progress,
    ProgressCallback,
    Stage,
)
from .usage import used_prefixes

__all__ = ["EnvironmentStore"]

_CURRENT: Final = "current"
_TRASH: Final = ".trash-"
_KEY: Final = re.compile(r"^[0-9a-f]{32}$")
# An anonymous environment without a user may just have been made by another process, for a location
# that is about to start.
_ANONYMOUS_GRACE: Final = 600.0
_BUILDS: Final = 3


class EnvironmentStore:
    """The environments under ``root``; every method blocks and may be called in any thread.

    ``environ`` is what tools and searches see. ``directory`` is what relative paths among a
    request's ``requirements`` are relative to; by default the workspace's directory, two above ``root``
    (``<workspace>/.supervise/envs``). ``installer`` is ``auto``, ``uv`` or ``pip``. What is made already under ``made``
    is used, and nothing is written there.
    """

    def __init__(
        self,
        root: Path,
        environ: Mapping[str, str],
        *,
        directory: Path | None = None,
        search_dirs: Iterable[Path] = (),
        installer: Choice = "auto",
        made: Path | None = None,
    ) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - a link's own path stays in shebangs
        self._environ = dict(environ)
        self._directory = directory if directory is not None else self.root.parent.parent
        self._search_dirs = tuple(search_dirs)
        self._installer: Choice = installer
        self._made = made

    def sync(
        self,
        request: EnvironmentRequest,
        *,
        progress: ProgressCallback | None = None,
        cancel: threading.Event | None = None,
    ) -> Environment:
        """The environment that ``request`` describes, built when it is not there yet.

        When the files that it names change while it is built, it is built again from what they say
        now; a build that changes them itself does so for ever, and is believed after ``_BUILDS``.
        Raises ``EnvError``; ``cancelled`` soon after ``cancel`` is set.
        """
        if not request.managed:
            return self._as_it_is(request)
        for left in reversed(range(_BUILDS)):
            found = self._sync(request, progress, cancel, final=not left)
            if found is not None:
                return found
        raise AssertionError

    def _sync(
        self,
        request: EnvironmentRequest,
        progress: ProgressCallback | None,
        cancel: threading.Event | None,
        *,
        final: bool,
    ) -> Environment | None:
        """As ``sync``; None when what was built is not what is asked for any more."""
        base = self._base(request)
        installer = find_installer(self._environ, base, self._installer)
        fingerprint = partial(
            environment_key,
            request,
            base,
            environ=self._environ,
            directory=self._directory,
            installer=installer.name,
        )
        key = fingerprint()
        name = request.name or f"env-{key[:6]}"
        home = self.root / _slug(name)
        prefix = home / key
        found = self._complete(prefix)
        if found is not None and _points_to(home / _CURRENT, key):
            return found
        if self._made is not None:
            found = self._complete(self._made / home.name / key)
            if found is not None:
                return found

        def say(stage: Stage, text: str) -> None:
            if progress is not None:
                progress(Progress(name, stage, text))

        with exclusive(
            self._lock(home),
            cancel=cancel,
            waiting=lambda: say(Stage.CREATE, "waiting for another process that syncs it"),
        ):
            found = self._complete(prefix)
            created = found is None
            if found is None:
                say(Stage.INTERPRETER, f"python {base.version_text} at {base.executable}")
                self._discard(prefix)
                try:
                    found = build(
                        request,
                        base,
                        name=name,
                        key=key,
                        prefix=prefix,
                        installer=installer,
                        environ=self._environ,
                        directory=self._directory,
                        say=say,
                        cancel=cancel,
                    )
                    if not final and fingerprint() != key:
                        say(Stage.CREATE, "what it is made from has changed: once more")
                        self._discard(prefix)
                        return None
                    write_marker(prefix, found)
                except BaseException as error:
                    # Looked at while the disk still holds what it was too small for.
                    refusal = self._refusal(error, name)
                    self._discard(prefix)
                    self._tidy(home)
                    stopped = final or (cancel is not None and cancel.is_set())
                    if isinstance(error, EnvError) and not stopped and fingerprint() != key:
                        return None  # what failed was an earlier text
                    if refusal is not None:
                        raise refusal from error
                    raise
            _point(home / _CURRENT, key)
        say(Stage.DONE, f"{found.label} is ready")
        return replace(found, created=created)

    def _base(self, request: EnvironmentRequest) -> Interpreter:
        """The interpreter asked for; without one, the default if the project or script takes that, else
        the newest that it takes; of locked requirements, the version that they were locked for."""
        subject, required = python_of_files(request)
        wanted = None if required is None else parse_wanted(required)
        if wanted is None or wanted.accepts(default_interpreter(self._environ)):
            required = request.python
        try:
            return find_interpreter(required, environ=self._environ, search_dirs=self._search_dirs)
        except EnvError as error:
            if required == request.python:
                raise
            raise EnvError(
                error.kind,
                f"{subject} takes python {required}: {error.message}",
                hint=error.hint,
            ) from error

    def lock(self, request: EnvironmentRequest, path: Path) -> bool:
        """Write the lock of ``request``'s requirements (``envs.locking``); True when it has changed.

        What is locked is resolved anew. Raises ``EnvError``.
        """
        request = replace(request, lock=None)
        environ, directory = self._environ, self._directory
        return write_lock(request, path, self._base(request), environ=environ, directory=directory)

    def _refusal(self, error: BaseException, name: str) -> EnvError | None:
        if isinstance(error, OSError) and _is_of_the_disk(error):
            return _storage(self.root, error, f"environment {name}")
        return None

    def _as_it_is(self, request: EnvironmentRequest) -> Environment:
        given = request.executable_path
        if given is None:
            interpreter = default_interpreter(self._environ)
        elif "/" in given:
            interpreter = probe(given, environ=self._environ)
        else:
            command = find_command(given, environ=self._environ, directory=self._directory)
            interpreter = probe(command, environ=self._environ)
        return Environment(
            name=request.name or f"python-{interpreter.version_text}",
            key=hashlib.sha256(f"{interpreter.key}\0{interpreter.executable}".encode()).hexdigest()[
                :32
            ],
            interpreter=interpreter,
            prefix=interpreter.prefix,
            managed=False,
            anonymous=request.name is None,
        )

    def list(self, *, sizes: bool = False) -> tuple[EnvironmentInfo, ...]:
        """Every environment on disk, by name, the current one of each name first."""
        found = [self._info(prefix, sizes=sizes) for prefix in self._prefixes()]
        found.sort(key=lambda info: (info.name, not info.current, -info.created_at))
        return tuple(found)

    def show(self, name: str) -> EnvironmentInfo:
        """The current environment of ``name``, or the one whose key begins with ``name`` (6 digits
        or more). Raises ``EnvError`` (``unknown``)."""
        return self._select(name)[0]

    def remove(self, name: str, *, in_use: Iterable[Path] = ()) -> tuple[EnvironmentInfo, ...]:
        """Remove every environment of a name, or the one of a key; returns what was removed.

        Raises ``EnvError``: ``unknown``; ``in_use`` when one of them is in ``in_use`` or a live
        process runs in it, and then removes none.
        """
        chosen = self._select(name)
        busy = self._busy([info.prefix for info in chosen], in_use)
        for info in chosen:
            if info.prefix in busy:
                raise EnvError(
                    "in_use",
                    f"environment {info.name} is in use by {busy[info.prefix]}",
                    hint="stop the locations that run in it first",
                )
        for info in chosen:
            with exclusive(self._lock(info.prefix.parent)):
                self._discard(info.prefix)
                self._tidy(info.prefix.parent)
        return chosen

    def collect(self, in_use: Iterable[Path] = ()) -> tuple[EnvironmentInfo, ...]:
        """Remove what is not needed; returns what was removed.

        Goes: what an interrupted build left, a key that its name no longer stands for, and an
        anonymous environment that is not in ``in_use`` and was made more than ten minutes ago.
        Stays: the current environment of every name, every prefix in ``in_use``, every one that a
        live process runs in, and every name that is being synced right now.
        """
        wanted = {Path(os.path.realpath(path)) for path in in_use}
        doomed: list[EnvironmentInfo] = []
        for info in self.list():
            fresh = time.time() - info.created_at < _ANONYMOUS_GRACE
            superfluous = info.anonymous and not fresh
            if not info.current or not info.complete or superfluous:
                doomed.append(info)
        busy = self._busy([info.prefix for info in doomed], wanted)
        removed: list[EnvironmentInfo] = []
        for info in doomed:
            if info.prefix in busy:
                continue
            home = info.prefix.parent
            with exclusive(self._lock(home), wait=False) as held:
                # Looked at again: a sync may have completed it, or made it current, meanwhile.
                now = self._info(info.prefix)
                if held and (now.current, now.complete) == (info.current, info.complete):
                    self._discard(info.prefix)
                    self._tidy(home)
                    removed.append(info)
        self._empty_trash()
        return tuple(removed)

    def _select(self, name: str) -> tuple[EnvironmentInfo, ...]:
        everything = self.list()
        chosen = tuple(info for info in everything if info.name == name)
        if not chosen and re.fullmatch(r"[0-9a-f]{6,32}", name):
            chosen = tuple(info for info in everything if info.key.startswith(name))
            if len(chosen) > 1:
                raise EnvError("unknown", f"more than one environment's key begins with {name}")
        if not chosen:
            known = ", ".join(dict.fromkeys(info.name for info in everything))
            hint = f"there are {known}" if known else "none has been made: `supervise env sync`"
            raise EnvError("unknown", f"no environment is named {name!r}", hint=hint)
        return chosen

    def _busy(self, prefixes: Sequence[Path], in_use: Iterable[Path]) -> dict[Path, str]:
        wanted = {Path(os.path.realpath(path)) for path in in_use}
        busy = {path: "a location" for path in prefixes if Path(os.path.realpath(path)) in wanted}
        for path, pid in used_prefixes([path for path in prefixes if path not in busy]).items():
            busy[path] = f"process {pid}"
        return busy

    def _prefixes(self) -> Iterator[Path]:
        for home in _entries(self.root):
            if home.name.startswith(".") or home.is_symlink() or not home.is_dir():
                continue
            for prefix in _entries(home):
                if _KEY.match(prefix.name) and prefix.is_dir() and not prefix.is_symlink():
                    yield prefix

    def _info(self, prefix: Path, *, sizes: bool = False) -> EnvironmentInfo:
        data = read_marker(prefix) or {}
        found = environment_of(prefix, data)
        file, project = data.get("requirements_file"), data.get("project")
        return EnvironmentInfo(
            name=found.name if found else prefix.parent.name,
            key=prefix.name,
            prefix=prefix,
            complete=found is not None,
            current=_points_to(prefix.parent / _CURRENT, prefix.name),
            anonymous=found.anonymous if found else False,
            python=found.interpreter.version_text if found else "",
            interpreter=found.interpreter.real_executable if found else None,
            requirements=found.requirements if found else (),
            requirements_file=Path(file) if found and file else None,
            project=Path(project) if found and project else None,
            script=found.script if found else None,
            pinned=found.pinned if found else "",
            installed=found.installed if found else {},
            created_at=float(data.get("created_at", 0.0)) if found else 0.0,
            size=_size(prefix) if sizes else None,
        )

    def _complete(self, prefix: Path) -> Environment | None:
        data = read_marker(prefix)
        return None if data is None else environment_of(prefix, data)

    def _lock(self, home: Path) -> Path:
        # Beside the name's directory, not in it: removing the directory must not remove the lock.
        return self.root / f".{home.name}.lock"

    def _discard(self, prefix: Path) -> None:
        """Take ``prefix`` away at once, then delete it: no process sees half an environment, and a
        dying installer of an earlier sync finds no directory to write to."""
        trash = self.root / f"{_TRASH}{uuid.uuid4().hex}"
        try:
            prefix.rename(trash)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _storage(self.root, error, str(prefix)) from error
        shutil.rmtree(trash, ignore_errors=True)

    def _tidy(self, home: Path) -> None:
        link = home / _CURRENT
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            home.rmdir()

    def _empty_trash(self) -> None:
        for entry in _entries(self.root):
            if entry.name.startswith(_TRASH):
                shutil.rmtree(entry, ignore_errors=True)


def _slug(name: str) -> str:
    """A directory name for any environment name; the same for the same name."""
    plain = re.sub(r"[^\w.\-]", "_", name).lstrip(".")
    if plain == name and len(plain) <= 80 and plain not in {"", _CURRENT}:
        return plain
    return f"{plain[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _size(prefix: Path) -> int:
    total = 0
    for folder, _, names in os.walk(prefix):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
    return total


def _points_to(link: Path, key: str) -> bool:
    try:
        return str(link.readlink()) == key
    except OSError:
        return False


def _point(link: Path, key: str) -> None:
    if _points_to(link, key):
        return
    fresh = link.with_name(f".{_CURRENT}-{uuid.uuid4().hex}")
    try:
        fresh.symlink_to(key)
        fresh.replace(link)
    except OSError as error:
        raise _storage(link.parent, error, str(link)) from error


def _is_of_the_disk(error: OSError) -> bool:
    """False for what a progress callback raised, say a broken pipe to a terminal that is gone."""
    ours = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS}
    return error.filename is not None or error.errno in ours


def _storage(root: Path, error: OSError, what: str) -> EnvError:
    return disk.refused(error, root, what) or EnvError(
        "storage",
        f"{error.filename or root} cannot be written: {(error.strerror or str(error)).lower()}",
        hint="check the permissions of the workspace's .supervise directory",
    )
