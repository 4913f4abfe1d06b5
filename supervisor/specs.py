"""What the operator asked for, as frozen data: the only form in which a workspace travels inwards.

Owns the shapes that the workspace reader produces and everything else consumes. Reads no file,
looks at no environment variable and knows no default that depends on the machine: every path here
is absolute and every ``{env: VAR}`` is resolved. Two specs that are equal need no restart when a
workspace file changes; where something stands in a file (``origin``) does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from envs import EnvironmentRequest
from supervisor.face_settings import FaceSettings
from supervisor.notify_settings import Notify
from supervisor.run_settings import RunSettings

__all__ = [
    "STATE_DIRECTORY",
    "EnvironmentSpec",
    "KillScope",
    "Limits",
    "LocationSpec",
    "RemoteEndpoint",
    "RestartPolicy",
    "RestartSpec",
    "Source",
    "SourcePosition",
    "StartMethod",
    "Target",
    "TargetKind",
    "WorkspaceSpec",
]

STATE_DIRECTORY = ".supervise"
"""The name of the directory, beside the workspace file, in which a supervisor keeps what it makes."""


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """A place in a file; ``line`` and ``column`` count from 1, 0 where there is none."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return (
            f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"
        )


@dataclass(frozen=True, slots=True)
class Source:
    """Where a setting comes from; one without a source is a default.

    ``discovered``: it was not named, but found. ``hidden``: its value stands in no workspace file, and may
    be a secret.
    """

    position: SourcePosition
    discovered: bool = False
    hidden: bool = False


class TargetKind(StrEnum):
    """How a target is named; the values are the workspace file's own keys."""

    PYTHON_FILE = "python_file"
    PYTHON_MODULE = "python_module"
    PYTHON_PACKAGE = "python_package"
    AUTOLOAD = "autoload_defs_module"


@dataclass(frozen=True, slots=True)
class Target:
    """What the shim imports.

    ``name`` is an absolute path for ``python_file`` and a dotted module name otherwise.
    ``attribute`` names one object in the module, or None to search the module.
    ``working_directory`` is absolute; the process runs there and has it first on ``sys.path``.
    """

    kind: TargetKind
    name: str
    working_directory: Path
    attribute: str | None = None

    def as_data(self) -> dict[str, str | None]:
        """What a shim is told (docs/protocol.md)."""
        return {
            "kind": self.kind.value,
            "name": self.name,
            "attribute": self.attribute,
            "working_directory": str(self.working_directory),
        }


@dataclass(frozen=True, slots=True)
class EnvironmentSpec(EnvironmentRequest):
    """The Python environment a location is loaded in, and where the workspace file asks for it.

    ``lacks`` is the virtualenv that its project should have and has not: the default interpreter stands
    in for it. ``sources`` are where its keys stand.
    """

    lacks: Path | None = None
    origin: SourcePosition | None = field(default=None, compare=False)
    sources: Mapping[str, Source] = field(default_factory=dict, compare=False, repr=False)


class RestartPolicy(StrEnum):
    """When a process that died is started again. A failed load is not a death."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class RestartSpec:
    """Restart limits; times in seconds. More than ``max_restarts`` within ``window`` gives up."""

    policy: RestartPolicy = RestartPolicy.ON_FAILURE
    max_restarts: int = 5
    window: float = 60.0
    initial_delay: float = 0.1
    max_delay: float = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of one shim. ``memory`` in bytes, ``cpu`` in cores; None is unlimited."""

    memory: int | None = None
    cpu: float | None = None
    open_files: int | None = None
    processes: int | None = None
    nice: int | None = None


class KillScope(StrEnum):
    """What ends with a location's process: its session, or also what left that session."""

    SESSION = "session"
    TREE = "tree"


class StartMethod(StrEnum):
    """How a shim's process comes to life."""

    AUTO = "auto"
    FORKSERVER = "forkserver"
    SPAWN = "spawn"


@dataclass(frozen=True, slots=True)
class RemoteEndpoint:
    """A ``grpc_server`` entry: served elsewhere, listed but never started by us."""

    host: str
    port: int | None = None
    socket: str | None = None
    ssl: bool = False

    def __str__(self) -> str:
        return f"grpc:{self.host}:{self.port if self.port is not None else self.socket}"


@dataclass(frozen=True, slots=True)
class LocationSpec:
    """One code location. Exactly one of ``target`` and ``remote`` is set.

    ``env`` holds the merged ``env_file`` and ``env`` values: secrets, never shown.
    ``preload`` names the modules of the forkserver; None: those that locations import. ``verify``:
    what was loaded forked is loaded once more, fresh, and compared.
    ``load_timeout``, ``stop_timeout``, ``ping_interval`` (0: never) and ``ping_timeout`` are seconds.
    ``history`` is how many generations are kept on disk. ``runs`` are its own settings of runs, which lie
    over those of the workspace. ``notify`` are its own receivers; None: those of the workspace. ``tags``
    are what commands may choose it by. ``metadata`` is shown to people, never
    interpreted (a cloud file's image, agent_queue, …; additional_metadata of a remote one).
    ``form`` is the selector or file kind it was written in, for messages. ``sources`` say where settings
    come from, by their keys (``load_timeout``, ``restart.policy``, ``env.NAME``).
    """

    name: str
    target: Target | None
    environment: EnvironmentSpec = EnvironmentSpec()
    remote: RemoteEndpoint | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    load_timeout: float = 180.0
    stop_timeout: float = 5.0
    ping_interval: float = 30.0
    ping_timeout: float = 10.0
    history: int = 20
    kill: KillScope = KillScope.SESSION
    restart: RestartSpec = RestartSpec()
    limits: Limits = Limits()
    start_method: StartMethod = StartMethod.AUTO
    preload: tuple[str, ...] | None = None
    verify: bool = True
    runs: RunSettings = field(default_factory=RunSettings)
    notify: tuple[Notify, ...] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    form: str = ""
    origin: SourcePosition | None = field(default=None, compare=False)
    sources: Mapping[str, Source] = field(default_factory=dict, compare=False, repr=False)

    def process_differs(self, other: LocationSpec) -> bool:
        """True when a process made for this one will not do for ``other``."""
        names = ("target", "environment", "env", "limits", "kill", "start_method", "preload")
        return any(getattr(self, name) != getattr(other, name) for name in names)


@dataclass(frozen=True, slots=True)
class WorkspaceSpec:
    """A whole workspace, ready to run.

    ``title`` names it for people (its file names). ``directory`` is where relative paths of an
    ad-hoc workspace start and where ``.supervise`` lies. ``files`` are all files that were read
    (workspace files, env files, pyproject files): a change in one means reading them again.
    ``awaited`` are files that are not there, or may not be: the same, and their appearing.
    ``key`` names the workspace inside ``.supervise``: two runs with one key are the same workspace.
    ``warnings`` are one-sentence notes for the operator (deprecated forms that we accept). ``runs`` are the
    settings of runs, ``notify`` where messages about failures go, ``face`` how a framework's own programs find
    the locations; None where a broken file leaves them unknown. ``runs_sources`` and ``face_sources`` are where
    they stand.
    """

    title: str
    key: str
    directory: Path
    locations: tuple[LocationSpec, ...]
    files: tuple[Path, ...] = ()
    awaited: tuple[Path, ...] = ()
    environments: tuple[EnvironmentSpec, ...] = ()
    warnings: tuple[str, ...] = ()
    runs: RunSettings | None = field(default_factory=RunSettings)
    notify: tuple[Notify, ...] | None = ()
    face: FaceSettings | None = field(default_factory=FaceSettings)
    face_sources: Mapping[str, Source] = field(default_factory=dict, compare=False, repr=False)
    runs_sources: Mapping[str, Source] = field(default_factory=dict, compare=False, repr=False)

    @property
    def state_directory(self) -> Path:
        """``.supervise`` beside the workspace file: environments, logs and snapshots."""
        return self.directory / STATE_DIRECTORY
