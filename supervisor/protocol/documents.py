"""Every document that crosses a socket: one ``TypedDict`` for each, a type and a meaning a field.

Owns the shapes of what the control protocol answers; ``supervisor.web.documents`` has those that the
HTTP API adds. Everything else follows: the builders are checked against them by mypy, JSON Schema and
OpenAPI are made of them (``supervisor.protocol.document_schema``), and so are the tables of docs/protocol.md
(``docs/generate.py``).
Clients get plain dicts, as they came over the socket. Within format 1 fields are added, none is
renamed. Times are Unix seconds, durations seconds, sizes bytes. Holds no behaviour; only what makes
schemas imports it to run.

``Annotated`` carries the meaning as a text, and further keywords of JSON Schema as ``Keywords``.
"""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from supervisor.protocol.document_schema import Count, Keywords
from supervisor.protocol.environment_documents import (
    Environment,
    EnvironmentRow,
    EnvironmentRows,
    Package,
)
from supervisor.protocol.face_documents import FaceStatus
from supervisor.protocol.failure_documents import (
    Cause,
    ExceptionData,
    Failure,
    LoadWarning,
    StackFrame,
)
from supervisor.states import STATES

__all__ = [
    "Cause",
    "Change",
    "CodeServer",
    "CodeServers",
    "Condition",
    "Counts",
    "DefinitionRow",
    "DefinitionRows",
    "Diff",
    "Ending",
    "Environment",
    "EnvironmentRow",
    "EnvironmentRows",
    "ErrorData",
    "ExceptionData",
    "Failure",
    "Framework",
    "Generation",
    "GenerationName",
    "History",
    "LoadWarning",
    "LocationStatus",
    "Log",
    "LogChunk",
    "LogLine",
    "Memory",
    "Orders",
    "Orphan",
    "Package",
    "ProblemRow",
    "Process",
    "Report",
    "Serving",
    "SettingValue",
    "Settings",
    "Shown",
    "SnapshotHeader",
    "StackFrame",
    "Stacks",
    "StatusDocument",
    "SupervisorStatus",
    "Target",
    "Verification",
    "VerificationState",
    "Waited",
]

_TEXT = {"type": "string"}

Counts = dict[str, int]
"""Kind of definition to number."""
State = Annotated[str, Keywords(enum=list(STATES))]
Definition = Annotated[
    dict[str, Any], Keywords(required=["kind", "name"], properties={"kind": _TEXT, "name": _TEXT})
]
Place = Annotated[
    list[Any], Keywords(items={"type": ["string", "integer"]}, minItems=2, maxItems=2)
]
VerificationState = Literal["verified", "pending", "off", "differs", "failed", "fork_condemned"]


# -- the status document --------------------------------------------------------------------------


class Memory(TypedDict):
    """Memory of a process."""

    rss: Annotated[Count | None, "resident set size"]
    uss: NotRequired[
        Annotated[
            Count | None,
            "memory that it shares with no other process; only when one location is requested",
        ]
    ]


class Usage(TypedDict):
    """What a process uses."""

    memory: Annotated[Memory | None, "null where it cannot be read"]
    cpu_seconds: Annotated[float | None, "CPU time since its start"]
    cpu_percent: Annotated[float | None, "of one core, since the last status"]


class ProblemRow(TypedDict):
    """One thing wrong in a workspace file."""

    file: Annotated[str, "the file"]
    line: Annotated[Count, "from 1; 0 where unknown"]
    column: Annotated[Count, "from 1; 0 where unknown"]
    path: Annotated[str, "the key path, as `load_from[0].python_file.relative_path`"]
    message: Annotated[str, "what is wrong, in one sentence"]
    expected: Annotated[str, "what is expected there; may be empty"]
    suggestion: Annotated[str, "a key or value that is probably meant; may be empty"]


class Condition(TypedDict):
    """A warning that is true now; it is removed when it is not true any more."""

    key: Annotated[str, "which condition it is"]
    message: Annotated[str, "one sentence"]
    hint: Annotated[str, "the remedy; may be empty"]
    since: Annotated[float, "when it became true"]


class SupervisorStatus(Usage):
    """The supervisor itself."""

    pid: Annotated[int, "its process id"]
    version: Annotated[str, "of workspace-supervisor"]
    started: Annotated[float, "when it started"]
    now: Annotated[float, "its clock, when it answered"]
    workspace: Annotated[str, "display name of the workspace"]
    files: Annotated[list[str], "all files that the workspace is read from"]
    directory: Annotated[str, "directory to which relative paths are relative"]
    state_directory: Annotated[str, "`.supervise`: environments, logs, snapshots"]
    stopping: Annotated[bool, "true once it has been asked to stop"]
    warnings: Annotated[list[str], "notes on the workspace files, and the texts of `conditions`"]
    conditions: Annotated[
        list[Condition], "warnings that are true now and concern no single location"
    ]
    configuration_problems: Annotated[
        list[ProblemRow], "problems of the edited workspace; the previous settings stay in force"
    ]
    face: Annotated[
        FaceStatus | None, "the framework's own programs; null where they are not served"
    ]


class Framework(TypedDict):
    """A framework that defined something."""

    name: Annotated[str, "as its adapter names it"]
    version: Annotated[str, "may be empty"]


class Serving(TypedDict):
    """The generation that clients get: the newest that loaded."""

    generation: Annotated[Count, "its number"]
    fingerprint: Annotated[str, "hex SHA-256 of its definitions"]
    loaded_at: Annotated[float, "when it was loaded"]
    load_seconds: Annotated[float | None, "how long the import took"]
    start_seconds: Annotated[float | None, "from the order to ready"]
    alive: Annotated[bool, "false when the process that made it is gone"]
    counts: Annotated[Counts, "kind of definition to number"]
    size: Annotated[Count, "bytes of its definitions and sources"]
    python: Annotated[str, "the version of its interpreter"]
    frameworks: Annotated[list[Framework], "in order of discovery"]


class Process(Usage):
    """The process that serves, or where none serves, that of the newest generation."""

    pid: Annotated[int, "its process id"]
    generation: Annotated[Count, "the generation that it was started for"]
    started: Annotated[float, "when"]
    start_method: Annotated[str, "`forkserver` or `spawn`"]
    start_method_reason: Annotated[str | None, "why this one, where the operator has not chosen it"]
    limits: Annotated[
        dict[str, str], "limit to how it is enforced: `cgroup`, `rlimit`, `not enforced`"
    ]


class Orphan(TypedDict):
    """A process that left the session of its location and still runs."""

    pid: Annotated[int, "its process id"]
    command: Annotated[str, "its command line"]


class Verification(TypedDict):
    """Whether a fresh process loads the same definitions as the forked one."""

    state: Annotated[VerificationState, "see below"]
    at: Annotated[float | None, "when it was compared"]
    reason: Annotated[str, "why; may be empty"]


class Target(TypedDict):
    """What the process imports."""

    kind: Annotated[str, "`python_file`, `python_module`, `python_package`, `autoload_defs_module`"]
    name: Annotated[str, "a path for `python_file`, else a dotted name"]
    attribute: Annotated[str | None, "one object in it; null searches the module"]
    working_directory: Annotated[str, "the working directory, which is also first on `sys.path`"]


class LogLine(TypedDict):
    """A line of a location's log."""

    time: Annotated[float, "when it was written"]
    stream: Annotated[str, "`out`, `err`, or `sup` for lines of the supervisor"]
    text: Annotated[str, "without the line's end"]


class Log(TypedDict):
    """Where the log of a location is."""

    path: Annotated[str, "the newer file; the older one has `.1` at the end"]
    tail: NotRequired[
        Annotated[list[LogLine], "the last lines; only when one location is requested"]
    ]


class CodeServer(TypedDict):
    """A framework's own server beside a generation."""

    generation: Annotated[Count, "the generation whose code it serves"]
    state: Annotated[
        str,
        "`starting`, `serving`, `backoff`, `crashed`, `failed`, or `retiring` beside a newer one",
    ]
    reason: Annotated[str, "one sentence; may be empty"]
    since: Annotated[float, "when it came into that state"]
    pid: Annotated[int | None, "its process, while there is one"]
    fresh_because: Annotated[str | None, "why it was not forked from the location's process"]
    restarts: Annotated[Count, "how often it was replaced after it ended"]


class CodeServers(TypedDict):
    """The servers of a location that its framework's own clients use."""

    socket: Annotated[str, "path of the socket of the server that serves; does not change"]
    servers: Annotated[list[CodeServer], "the newest first"]
    runs: Annotated[
        dict[str, Count],
        "number of runs that were launched through it and have not ended, by generation",
    ]


class Configured(TypedDict):
    """A location as the workspace has it."""

    name: Annotated[str, "unique in the workspace"]
    target: Annotated[Target | None, "null where `remote` is set"]
    remote: Annotated[str | None, "`grpc:host:port` of a location that another server serves"]
    form: Annotated[str, "the selector of its entry in the workspace file"]
    origin: Annotated[str | None, "`file:line` of its entry"]
    tags: Annotated[dict[str, str], "tags by which commands select it; values may be empty"]
    metadata: Annotated[
        dict[str, Any], "as in the workspace file; values that look like secrets are hidden"
    ]


class LocationStatus(Configured):
    """One code location."""

    state: Annotated[State, "state of the newest generation; `elsewhere` where `remote` is set"]
    reason: Annotated[str, "one sentence without a capital or full stop; may be empty"]
    since: Annotated[float, "when it came into that state"]
    generation: Annotated[Count, "number of the newest generation; 0 before the first"]
    serving: Annotated[
        Serving | None, "the generation that clients get, also when a newer one has failed"
    ]
    failure: Annotated[Failure | None, "why the newest generation failed; null while under way"]
    process: Annotated[Process | None, "null where no process runs"]
    restarts: Annotated[Count, "number of restarts after its process died"]
    restart_reason: Annotated[str, "how the process ended before the last restart; may be empty"]
    next_restart: Annotated[float | None, "when a process that died will be restarted"]
    limits: Annotated[
        dict[str, float], "as configured: `memory` in bytes, `cpu` in cores, and the others"
    ]
    strays: Annotated[list[Orphan], "processes that left the session of its process and still run"]
    environment: Annotated[Environment | None, "null where `remote` is set"]
    verification: Annotated[
        Verification | None, "whether forked loads are verified; null where `remote` is set"
    ]
    code_servers: Annotated[CodeServers | None, "null where it has none"]
    warnings: Annotated[list[LoadWarning], "warnings of the generation that clients get"]
    conditions: Annotated[list[Condition], "warnings that are true now"]
    log: Annotated[Log | None, "null where `remote` is set"]


class StatusDocument(TypedDict):
    """The supervisor and its locations."""

    format: Annotated[Literal[1], "version of this document's format"]
    revision: Annotated[Count, "a number that changes with each change; see `since`"]
    supervisor: Annotated[SupervisorStatus, "the supervisor itself"]
    locations: Annotated[list[LocationStatus], "all, by their order in the workspace, or one"]


# -- other answers --------------------------------------------------------------------------------


class DefinitionName(TypedDict):
    """What a definition is known by."""

    location: Annotated[str, "name of the location"]
    kind: Annotated[str, "`job`, `asset`, …"]
    name: Annotated[str, "unique for its kind and repository"]
    repository: Annotated[str | None, "name of the repository, where the location has several"]
    lazy: Annotated[bool, "true where it is not constructed yet"]


class DefinitionRow(DefinitionName):
    """One line of `supervise list`."""

    description: Annotated[str | None, "its description"]


class DefinitionRows(TypedDict):
    """What `supervise list --json` prints."""

    definitions: Annotated[list[DefinitionRow], "by location"]


class Shown(TypedDict):
    """One definition in full."""

    definition: Annotated[Definition, "see [snapshot.md](snapshot.md#definitions)"]
    source: Annotated[Place | None, "file and line, where they are known"]
    generation: Annotated[Count, "number of its generation"]


class Report(TypedDict):
    """How a snapshot was made: see [snapshot.md](snapshot.md#report)."""

    python: NotRequired[Annotated[str, "the version"]]
    implementation: NotRequired[Annotated[str, "`CPython`"]]
    executable: NotRequired[Annotated[str, "the interpreter"]]
    prefix: NotRequired[Annotated[str, "its `sys.prefix`"]]
    platform: NotRequired[Annotated[str, "the system"]]
    module: NotRequired[Annotated[str, "as imported"]]
    attribute: NotRequired[Annotated[str, "name of the object that was found, where it has one"]]
    files: NotRequired[Annotated[list[str], "the team's files that were imported"]]
    folders: NotRequired[Annotated[list[str], "the team's directories that its code listed"]]
    installed: NotRequired[Annotated[list[str], "installed modules that were imported"]]
    preloaded: NotRequired[Annotated[list[str], "those that a forked process had preloaded"]]
    load_seconds: NotRequired[Annotated[float, "how long the import took"]]
    imports: NotRequired[Annotated[list[dict[str, Any]], "the imports that took the most time"]]
    frameworks: Annotated[list[Framework], "in order of discovery"]
    warnings: Annotated[list[LoadWarning], "warnings about what was loaded"]


class GenerationName(TypedDict):
    """A generation and its fingerprint."""

    generation: Annotated[Count, "its number"]
    fingerprint: Annotated[str, "hex SHA-256 of its definitions"]
    loaded_at: Annotated[float, "when it was loaded"]


class SnapshotHeader(GenerationName):
    """A snapshot without its bytes: those are the two frames after it, definitions and sources."""

    location: Annotated[str, "name of the location"]
    counts: Annotated[Counts, "kind of definition to number"]
    report: Annotated[Report, "how it was made"]


class Change(TypedDict):
    """A definition that both generations have, with different content."""

    key: Annotated[str, "`kind:name`, with `@repository` where there are several"]
    fields: Annotated[list[str], "names of the fields that differ"]
    before: Annotated[dict[str, Any], "those fields in the earlier one"]
    after: Annotated[dict[str, Any], "those fields in the later one"]


Diff = TypedDict(
    "Diff",
    {
        "location": Annotated[str, "name of the location"],
        "from": Annotated[GenerationName, "the earlier generation"],
        "to": Annotated[GenerationName, "the later generation"],
        "added": Annotated[list[str], "keys of definitions"],
        "removed": Annotated[list[str], "keys of definitions"],
        "changed": Annotated[list[Change], "by key"],
    },
)
Diff.__doc__ = "What changed between two generations."


class Generation(GenerationName):
    """A generation that loaded and is kept."""

    size: Annotated[Count, "bytes of its definitions and sources"]
    counts: Annotated[Counts, "kind of definition to number; empty where it is not known"]
    python: Annotated[str, "the version of its interpreter"]
    frameworks: Annotated[list[Framework], "in order of discovery"]
    load_seconds: Annotated[float | None, "how long the import took"]


class History(TypedDict):
    """The generations of a location that are kept: the newest 20, or as many as `history` says."""

    location: Annotated[str, "name of the location"]
    serving: Annotated[Count | None, "the generation that clients get"]
    generations: Annotated[list[Generation], "oldest first"]


SettingValue = TypedDict(
    "SettingValue",
    {
        "value": Annotated[
            Any,
            "the value: durations in seconds, sizes in bytes; null where it is not set; `(hidden)` for variables and secrets",
        ],
        "from": Annotated[
            str,
            "where it comes from: `file`, `discovered`, `workspace` (settings for all locations) or `default`",
        ],
        "at": Annotated[str | None, "file and line, where it is written in a file"],
    },
)
SettingValue.__doc__ = "A setting of a location."


class Settings(TypedDict):
    """The effective settings of a location."""

    location: Annotated[str, "its name"]
    form: Annotated[str, "the selector of its entry in the workspace file"]
    at: Annotated[str | None, "file and line of its entry"]
    settings: Annotated[dict[str, SettingValue], "by key, such as `restart.policy`"]


class Stacks(TypedDict):
    """Where the threads of a process are."""

    location: Annotated[str, "its name"]
    generation: Annotated[int, "the newest generation that has a process"]
    lines: Annotated[
        list[str], "as Python's faulthandler writes them: each thread, the innermost call first"
    ]


class Orders(TypedDict):
    """What an order has started."""

    locations: Annotated[dict[str, str], "name to `reloading`, `already stopped`, …"]


class Waited(TypedDict):
    """The states of locations when they had settled, or at the timeout."""

    ready: Annotated[bool, "true when all are ready"]
    settled: Annotated[bool, "false when some were still changing at the timeout"]
    locations: Annotated[dict[str, State], "name to state"]


class LogChunk(TypedDict):
    """Lines of a log."""

    lines: Annotated[list[LogLine], "oldest first"]
    next: Annotated[Count, "the cursor after the last of them, for the next request"]
    before: Annotated[
        Count | None, "the cursor of the first of them; null where nothing older is kept"
    ]


class Ending(TypedDict):
    """The supervisor is ending."""

    pid: Annotated[int, "process id of the supervisor"]


class ErrorData(TypedDict):
    """Why there is no result."""

    code: Annotated[str, "code of the error"]
    message: Annotated[str, "one sentence"]
    hint: NotRequired[Annotated[str, "what to do"]]
    name: NotRequired[Annotated[str, "the unknown name"]]
    problems: NotRequired[Annotated[list[ProblemRow], "of the configuration"]]
