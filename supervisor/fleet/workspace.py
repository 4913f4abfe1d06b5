"""The workspace's files as a source of desired state.

Owns the reading of them in a thread, and what is watched so that it is known when they change. ``workspace_files`` interprets
them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from supervisor.desired import Desired
from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.specs import SourcePosition, WorkspaceSpec
from supervisor.watching.dependencies import Looked
from supervisor.watching.reloading import FileWatch
from supervisor.workspace_files import Selection, missing_hint, reread

__all__ = ["WorkspaceFiles"]


class WorkspaceFiles:
    """The workspace that ``selection`` names.

    It is read at once, in the calling thread: raises ``ConfigurationError`` with all problems. Later
    a broken entry is a problem and the others count. ``spec`` is what was read last.
    """

    def __init__(self, selection: Selection, *, cwd: Path, environ: Mapping[str, str]) -> None:
        self._selection = selection
        self._cwd = cwd
        self._environ = environ
        self._read_ns = time.time_ns()
        self._file: tuple[Path, ...] = ()  # the first, where a search found it
        self.spec: WorkspaceSpec
        self.spec, first = self._reread()
        if first.problems:
            raise ConfigurationError(first.problems, hint=missing_hint(selection, cwd))
        self._first: Desired | None = first
        self._touched: set[str] = set()
        self._broken = False
        self._changed: Callable[[], None] = lambda: None
        self._files: FileWatch | None = None

    @property
    def title(self) -> str:
        """The names of its files."""
        return self.spec.title

    def listen(self, changed: Callable[[], None]) -> None:
        """See ``Source``."""
        self._changed = changed

    def watch(self, files: FileWatch) -> None:
        """Have ``files`` watched from now on; it tells ``inputs_changed``."""
        self._files = files
        self._watch(self._read_ns)

    def inputs_changed(self, paths: set[str], _late: bool) -> None:
        """Files that it was read from changed."""
        self._touched |= paths
        self._changed()

    def something_changed(self) -> None:
        """Anything that is watched did: what is wrong may be a file that is missing, and that no spec
        names yet."""
        if self._broken:
            self._changed()

    async def read(self) -> Desired:
        """See ``Source``."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        touched, self._touched = self._touched, set()
        began = time.time_ns()
        try:
            # In a thread: a file may be large, or on a disk that hangs.
            spec, desired = await asyncio.to_thread(self._reread)
        except Exception as error:
            self._broken = self._broken or isinstance(error, ConfigurationError)
            self._touched |= touched  # told once something can be read
            raise
        else:
            self._broken = bool(desired.problems)
            # What a broken entry names may be known to the last good reading alone.
            more = [one for one in self.spec.files if self._broken and one not in spec.files]
            runs = self.spec.runs if spec.runs is None else spec.runs
            notify = self.spec.notify if spec.notify is None else spec.notify
            face = self.spec.face if spec.face is None else spec.face
            self.spec = replace(
                spec, files=(*spec.files, *more), runs=runs, notify=notify, face=face
            )
            outdated = _outdated(spec, touched)
            if (
                self._broken
            ):  # a broken entry may be made from the others: it is told once it is sound
                used = (path for one in spec.locations for path in one.environment.inputs)
                self._touched |= touched - set(map(str, used))
            return replace(desired, outdated=outdated)
        finally:
            self._watch(began)

    def _reread(self) -> tuple[WorkspaceSpec, Desired]:
        found = reread(self._selection, cwd=self._cwd, environ=self._environ)
        searched, (before, now) = not self._selection.files, (self._file, found[0].files[:1])
        if searched and now != (before or now):
            problem = ConfigurationProblem(
                SourcePosition(str(before[0])),
                "",
                f"the workspace was read from this file, and a search finds {now[0]} now",
                "this file again, or a restart of the supervisor",
            )
            raise ConfigurationError([problem])
        self._file = now
        return found

    def _watch(self, wall_ns: int) -> None:
        """Watch its files, which were read after ``wall_ns``, by whatever links."""
        if self._files is not None:
            named = (self._cwd / path for path in self._selection.files)
            files = (*self.spec.files, *self.spec.awaited, *named)
            self._files.take(Looked(tuple(os.path.normpath(path) for path in files)), wall_ns)


def _outdated(spec: WorkspaceSpec, touched: set[str]) -> dict[str, str]:
    """The locations whose environments are made from files in ``touched``, each with the reason."""
    found = {}
    for one in spec.locations:
        inputs = {str(path) for path in one.environment.inputs} & touched
        if inputs:
            found[one.name] = f"{', '.join(sorted(Path(path).name for path in inputs))} changed"
    return found
