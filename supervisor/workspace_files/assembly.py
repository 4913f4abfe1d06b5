"""What all kinds of files have in common on the way to specs: paths, names, environments, env files.

Owns the one path rule, the rules for location names, the register of named environments, env
files and the list of files that were read. An ``Assembly`` is one run over all files of a
workspace. Does not know the keys of any one kind of file.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from envs.adding import making_command
from envs.scripts import has_block
from supervisor.desired import Entry
from supervisor.errors import ConfigurationProblem
from supervisor.face_settings import FaceSettings
from supervisor.nearest import near
from supervisor.notify_settings import Notify
from supervisor.run_settings import RunSettings
from supervisor.specs import (
    EnvironmentSpec,
    LocationSpec,
    Source,
    SourcePosition,
    Target,
    TargetKind,
)
from supervisor.workspace_files.document import DocumentError, read_text, shorten
from supervisor.workspace_files.face_keys import face_settings
from supervisor.workspace_files.problems import Reading
from supervisor.workspace_files.run_keys import run_settings
from supervisor.workspace_files.shapes import Record
from supervisor.workspace_files.tool_table import ToolTables

__all__ = ["Assembly", "absolute", "default_name", "is_directory", "lock_path", "name_problem"]

_EDITABLE = re.compile(r"(-e|--editable)[\s=]+\S")
PROJECT_FILES = ("pyproject.toml", "setup.py", "requirements.txt")
"""What makes a directory a project that can be installed; the first one that is there counts."""
LOCKS = "supervise-locks"
"""The directory, beside the workspace file, of the locks that ``supervise env lock`` writes."""
MAX_NAME_BYTES = 200
"""A name becomes part of a file name; those hold 255 bytes on the file systems we know."""


def absolute(text: str, base: Path, environ: Mapping[str, str]) -> Path:
    """``text`` as an absolute path: ``~`` expanded, relative to ``base``, symlinks untouched.

    Symlinks stay because a virtualenv's ``bin/python`` is one, and resolving it would leave the
    virtualenv.
    """
    if text == "~" or text.startswith("~/"):
        home = environ.get("HOME", "")
        text = home + text[1:] if home.startswith("/") else os.path.expanduser(text)  # noqa: PTH111
    elif text.startswith("~"):
        text = os.path.expanduser(text)  # noqa: PTH111 - pathlib raises for an unknown user
    return Path(os.path.normpath(base / text))


def lock_path(spec: EnvironmentSpec, base: Path) -> Path | None:
    """Where ``supervise env lock`` writes the lock of an environment in a file of the directory ``base``;
    None for one that has no name, a lock of its own kind, or nothing to resolve."""
    if spec.name is None or spec.project or not (spec.requirements or spec.requirements_file):
        return None
    name = re.sub(r"[^\w.-]", "_", spec.name)
    return base / LOCKS / f"{name}.txt"


def default_name(kind: TargetKind, name: str, attribute: str | None) -> str:
    """The name that Dagster gives a location without one: ``b.py``, ``team.defs``, ``b.py:defs``."""
    shown = os.path.basename(name) if kind is TargetKind.PYTHON_FILE else name  # noqa: PTH119
    return f"{shown}:{attribute}" if attribute else shown


def name_problem(name: str) -> str:
    """What is wrong with ``name`` as the name of a location that we start, or an empty text.

    It becomes a file name (logs, snapshots) and a word on the command line.
    """
    if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", name):
        return "holds a control character"
    if "/" in name:
        return "holds a slash; a location name becomes a file name"
    if not name.strip() or name in (".", ".."):
        return "cannot be a file name"
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    return ""


@dataclass(slots=True)
class Assembly:
    """Everything that one reading of a workspace has found so far.

    ``entries`` are its locations, sound or broken. ``flawed`` are the environments that cannot be used,
    by name. ``awaited`` may be missing. ``incomplete`` is why a file could not be read: what seems to be
    missing may be in it. ``runs`` are the settings of runs of the whole workspace,
    ``notify`` the receivers of all its files, ``face`` what they say of Dagster's own programs.
    """

    reading: Reading
    tables: ToolTables
    entries: list[Entry] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    awaited: list[Path] = field(default_factory=list)
    environments: dict[str, EnvironmentSpec] = field(default_factory=dict)
    environment_names: dict[str, SourcePosition] = field(default_factory=dict)
    flawed: dict[str, ConfigurationProblem] = field(default_factory=dict)
    incomplete: ConfigurationProblem | None = None
    runs: RunSettings = field(default_factory=RunSettings)
    notify: tuple[Notify, ...] = ()
    face: FaceSettings = field(default_factory=FaceSettings)
    face_sources: dict[str, Source] = field(default_factory=dict)
    runs_sources: dict[str, Source] = field(default_factory=dict)
    _face_said: SourcePosition | None = None
    _runs_said: dict[str, SourcePosition] = field(default_factory=dict)
    _env_files: dict[Path, tuple[dict[str, str], ConfigurationProblem | None]] = field(
        default_factory=dict
    )
    _lines: dict[Path, dict[str, SourcePosition]] = field(default_factory=dict)

    @property
    def environ(self) -> Mapping[str, str]:
        return self.reading.environ

    def add_file(self, path: Path) -> None:
        if path not in self.files:
            self.files.append(path)

    def warn(self, position: SourcePosition, message: str) -> None:
        self.reading.warn(position, message)

    def document_problems(self, problems: Iterable[ConfigurationProblem]) -> None:
        for found in problems:
            self.reading.problem(
                found.position,
                found.path,
                found.message,
                expected=found.expected,
                suggestion=found.suggestion,
            )

    # -- environments ---------------------------------------------------------------------------

    def environment(
        self, record: Record, base: Path, *, name: str | None = None
    ) -> EnvironmentSpec:
        """The environment that the keys of ``record`` describe; the default one without any."""
        conflicting = [
            key
            for key in (
                "python",
                "requirements",
                "requirements_file",
                "project",
                "extras",
                "groups",
            )
            if record.written(key)
        ]
        if record.written("executable_path") and conflicting:
            self.reading.problem(
                record.position(conflicting[0]),
                record.path,
                f"{conflicting[0]} cannot stand beside executable_path: an interpreter that exists "
                "is used as it is and nothing is installed into it",
                expected=f"executable_path or {conflicting[0]}",
                suggestion="python" if conflicting[0] != "python" else "",
            )
        for key in ("extras", "groups"):
            if record.written(key) and not record.written("project"):
                self.reading.problem(
                    record.position(key),
                    record.at(key),
                    f"{key} are those of a project, and none is named",
                    expected="project beside it",
                )
        spec = EnvironmentSpec(
            name=name,
            executable_path=self.command(record.get("executable_path"), base),
            python=self.command(record.get("python"), base),
            requirements=self._requirements(record),
            requirements_file=self._input(record, "requirements_file", base),
            project=self._project(record, base),
            extras=tuple(record.get("extras", ())),
            groups=tuple(record.get("groups", ())),
            origin=record.node.position,
            sources=record.sources(),
        )
        lock = lock_path(spec, base)
        if lock is None:
            return spec
        self.awaited.append(lock)
        return replace(spec, lock=lock) if lock.is_file() else spec

    def own_environment(self, target: Target, base: Path) -> EnvironmentSpec:
        """The environment of a target that no key says one for: that of its script's block (PEP 723), else that
        of the directory ``base``. The block may appear later, so the file is watched."""
        if target.kind is TargetKind.PYTHON_FILE:
            script = Path(target.name)
            self.awaited.append(script)
            with contextlib.suppress(DocumentError):  # loading it says why
                if has_block(read_text(script)):
                    return EnvironmentSpec(script=script)
        return self.virtualenv(base)

    def virtualenv(self, directory: Path, *, own: bool = False) -> EnvironmentSpec:
        """The ``.venv`` of a directory; without one that which is made from its project, where the tool table says so;
        else the default environment, and what it lacks where that is the directory of a project. Where a
        virtualenv is active, it counts, but for an ``own`` one or one that is made."""
        prefix = directory / ".venv"
        managed = self.tables.managed(directory)
        if managed is not None and not making_command(prefix):
            managed = None  # nothing declares what to install
        if self.environ.get("VIRTUAL_ENV") and not own and managed is None:
            return EnvironmentSpec()
        python = prefix / "bin" / "python"
        if os.path.lexists(python) or (prefix / "pyvenv.cfg").is_file():  # a broken one is reported
            source = Source(SourcePosition(str(python)), discovered=True)
            return EnvironmentSpec(executable_path=str(python), sources={"executable_path": source})
        self.awaited.append(python)
        if managed is not None:
            declared = (directory / name for name in PROJECT_FILES)
            self.files += [one for one in declared if one.is_file() and one not in self.files]
            return EnvironmentSpec(project=directory, sources={"project": managed})
        project = own or any((directory / name).is_file() for name in PROJECT_FILES)
        return EnvironmentSpec(lacks=prefix if project else None)

    def command(self, text: str | None, base: Path) -> str | None:
        """A path is made absolute; a bare command name or a version stays as it is."""
        if text is None or not ("/" in text or text.startswith("~")):
            return text
        return str(absolute(text, base, self.environ))

    def _requirements(self, record: Record) -> tuple[str, ...]:
        found = []
        for text, position in record.get("requirements", ()):
            for line in text.splitlines():
                requirement = re.sub(r"(^|\s)#.*", "", line).strip()
                if requirement.startswith("-") and not _EDITABLE.match(requirement):
                    self.reading.problem(
                        position,
                        record.at("requirements"),
                        f'"{shorten(requirement)}" is an option, not a requirement',
                        expected="options in a file that requirements_file names",
                    )
                elif requirement:
                    found.append(requirement)
        return tuple(found)

    def _input(self, record: Record, key: str, base: Path) -> Path | None:
        """A file that configuration depends on: it must exist, and is watched."""
        text = record.get(key)
        if text is None:
            return None
        path = absolute(text, base, self.environ)
        self._load(path, record.value_position(key), record.at(key))
        return path

    def _project(self, record: Record, base: Path) -> Path | None:
        text = record.get("project")
        if text is None:
            return None
        path = absolute(text, base, self.environ)
        position, at = record.value_position("project"), record.at("project")
        if path.name == "pyproject.toml" and not is_directory(path):
            path = path.parent
        if not is_directory(path):
            self.reading.problem(position, at, f"the directory {path} does not exist")
        else:
            declared = [name for name in PROJECT_FILES if os.path.lexists(path / name)]
            self._load(path / (declared or PROJECT_FILES)[0], position, at)
        return path

    def _load(self, path: Path, position: SourcePosition, at: str) -> str | None:
        self.add_file(path)
        try:
            return read_text(path, what=f"the file {path}")
        except DocumentError as error:
            for found in error.problems:
                inside = found.position if found.position.line else position
                self.reading.problem(inside, at, found.message)
            return None

    def reference(self, name: str, position: SourcePosition, at: str) -> EnvironmentSpec:
        """The environment of that name; the default one, and a problem, when there is none."""
        found = self.environments.get(name)
        if found is None or name in self.flawed:
            self.reading.blame(self.flawed.get(name, self.incomplete))
        if found is None and name not in self.environment_names and not self.incomplete:
            known = sorted(self.environment_names)
            self.reading.problem(
                position,
                at,
                f'no environment is named "{shorten(name)}"',
                expected=f"one of {', '.join(known[:20])}"
                if known
                else "an entry of `environments`",
                suggestion=near(name, known),
            )
        return found or EnvironmentSpec()

    # -- env files ------------------------------------------------------------------------------

    def env_file(self, path: Path, position: SourcePosition, at: str) -> dict[str, str]:
        """The variables of an env file. ``${NAME}`` takes the file's own, then our environment's.

        That is python-dotenv's rule. A name without ``=`` sets nothing, as there.
        """
        if path not in self._env_files:
            with self.reading.apart() as scope:
                values = self._read_env_file(path, position, at)
            self._env_files[path] = values, scope.problem
        values, problem = self._env_files[path]
        self.reading.blame(problem)
        return values

    def dotenv(self, directory: Path) -> dict[str, str]:
        """The variables of the ``.env`` beside a workspace, which Dagster loads, too; {} without one.

        It is not named, so what is wrong with it is a warning. Its appearing is noticed later.
        """
        path = directory / ".env"
        if path not in self._env_files:
            self.awaited.append(path)
            try:
                text = read_text(path)
            except DocumentError as error:
                if os.path.lexists(path):
                    self.warn(SourcePosition(str(path)), error.problems[0].message)
                text = ""
            self._env_files[path] = self._variables(path, text, self.warn), None
        return self._env_files[path][0]

    def _read_env_file(self, path: Path, position: SourcePosition, at: str) -> dict[str, str]:
        def wrong(position: SourcePosition, message: str) -> None:
            expected = 'NAME=value or NAME="value"'
            self.reading.problem(position, "", message, expected=expected)

        return self._variables(path, self._load(path, position, at) or "", wrong)

    def _variables(
        self, path: Path, text: str, wrong: Callable[[SourcePosition, str], None]
    ) -> dict[str, str]:
        from dotenv.parser import parse_stream
        from dotenv.variables import parse_variables

        values: dict[str, str] = {}
        lines = self._lines.setdefault(path, {})
        known: Mapping[str, str] = ChainMap(values, dict(self.environ))
        for binding in parse_stream(io.StringIO(text)):
            # The parser names the line where the empty ones before a statement begin.
            statement = binding.original.string.lstrip()
            empty = binding.original.string.removesuffix(statement).count("\n")
            line = SourcePosition(str(path), binding.original.line + empty, 1)
            if binding.error:
                wrong(line, "this line cannot be read")  # its text may be secret
            elif binding.key is not None and binding.value is not None:
                atoms = parse_variables(binding.value)
                values[binding.key] = "".join(atom.resolve(known) for atom in atoms)
                lines[binding.key] = line
        return values

    def variable_sources(self, path: Path, *, discovered: bool = False) -> dict[str, Source]:
        """Where the variables of an env file that was read stand, by ``env.NAME``."""
        return {
            f"env.{name}": Source(line, discovered, hidden=True)
            for name, line in self._lines.get(path, {}).items()
        }

    # -- runs -----------------------------------------------------------------------------------

    def add_runs(self, record: Record) -> None:
        """Takes the ``runs`` of one file; a key that another file has said already is a problem."""
        for key in record.values:
            position = record.position(key)
            first = self._runs_said.setdefault(key, position)
            if first is not position:
                self.reading.problem(
                    position,
                    record.at(key),
                    f"{key} is said of all runs already, at {first}",
                    expected="it once in the workspace, or under defaults or in a location",
                )
        self.runs = self.runs.over(run_settings(record))
        self.runs_sources |= record.sources()

    def add_face(self, record: Record, base: Path) -> None:
        """Takes the ``dagster`` of one file; only one of them may say it."""
        if self._face_said is not None:
            self.reading.problem(
                record.node.position,
                record.path,
                f"dagster is said already, at {self._face_said}",
                expected="it once in the workspace",
            )
            return
        self._face_said = record.node.position
        self.face = face_settings(record, lambda path: absolute(path, base, self.environ))
        self.face_sources |= record.sources()

    # -- locations ------------------------------------------------------------------------------

    def target(
        self, kind: TargetKind, name: str, attribute: str | None, record: Record, base: Path
    ) -> Target:
        """A target whose paths follow the path rule; ``base`` is the unset working directory."""
        directory = record.get("working_directory")
        return Target(
            kind=kind,
            name=str(absolute(name, base, self.environ))
            if kind is TargetKind.PYTHON_FILE
            else name,
            working_directory=absolute(directory, base, self.environ) if directory else base,
            attribute=attribute,
        )

    @contextlib.contextmanager
    def entry(
        self, *places: str, problem: ConfigurationProblem | None = None, name: str | None = None
    ) -> Iterator[None]:
        """What is read meanwhile are entries that stand or fall together; others may be among them.

        ``places`` say where it stands inside of what is read around it. ``problem`` is what is known
        to be wrong with it. When it has one and no location, that is an entry ``name``.
        """
        first = len(self.entries)
        with self.reading.apart() as scope:
            self.reading.blame(problem)
            yield
        found = self.entries[first:]
        if not found and scope.problem is not None:
            found = [Entry(name, ())]
        self.entries[first:] = [
            replace(one, places=(*places, *one.places), problem=one.problem or scope.problem)
            for one in found
        ]

    def add_location(self, spec: LocationSpec, position: SourcePosition, at: str) -> None:
        """Registers ``spec`` after checking its name against the rules and against the others."""
        bad = name_problem(spec.name) if spec.target else ""
        if bad:
            self.reading.problem(
                position,
                at,
                f'the location name "{shorten(spec.name)}" {bad}',
                expected="a short name without slashes or control characters",
            )
            return
        self.entries.append(Entry(spec.name, (), spec, at=at))

    def check_names(self) -> None:
        """Two locations of one name: a problem at the second that names the place of the first."""
        first: dict[str, LocationSpec] = {}
        for one in self.entries:
            spec = one.spec
            if spec is None:
                continue
            before = first.setdefault(spec.name, spec)
            if before is spec or spec.origin is None:
                continue
            again = before.origin == spec.origin  # by an alias, whose anchor is meant by both
            first_at = "by the entry that an alias repeats" if again else f"at {before.origin}"
            self.reading.problem(
                spec.origin,
                one.at,
                f'the location name "{spec.name}" is taken already, {first_at}',
                expected="names that differ; set location_name in one of them",
            )


def is_directory(path: Path) -> bool:
    """``path.is_dir()`` that takes a name no file can have for what it is: not a directory."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
