"""The shapes of what the control protocol answers, for those who read it with a type checker.

Owns one ``TypedDict`` for each document in docs/protocol.md, named as it is there. At run time they
are plain dicts, as they came over the socket: fields may be added within format 1, none is renamed.
Times are Unix seconds, sizes bytes. Holds no behaviour, and nobody imports it to run.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

__all__ = [
    "Change",
    "Counts",
    "DefinitionRow",
    "DefinitionRows",
    "Diff",
    "Environment",
    "EnvironmentRow",
    "EnvironmentRows",
    "Failure",
    "Generation",
    "History",
    "LocationStatus",
    "LogChunk",
    "LogLine",
    "Memory",
    "Orders",
    "Package",
    "ProblemRow",
    "Process",
    "RunDetail",
    "RunEvent",
    "RunNews",
    "RunRow",
    "Serving",
    "Shown",
    "StatusDocument",
    "SupervisorStatus",
    "Verification",
    "Waited",
    "Warning_",
]

Counts = dict[str, int]


class Memory(TypedDict):
    """Resident and unique set size; ``uss`` only when one location is asked for."""

    rss: int | None
    uss: NotRequired[int | None]


class ProblemRow(TypedDict, total=False):
    """One thing wrong in a workspace file."""

    file: str
    line: int
    column: int
    path: str
    message: str
    expected: str
    suggestion: str


class Condition(TypedDict):
    """A warning that is true now; ``since`` is Unix seconds, ``hint`` may be empty."""

    key: str
    message: str
    hint: str
    since: float


class SupervisorStatus(TypedDict):
    """The supervisor itself."""

    pid: int
    version: str
    started: float
    workspace: str
    files: list[str]
    directory: str
    state_directory: str
    memory: Memory | None
    warnings: list[str]
    conditions: list[Condition]
    configuration_problems: list[ProblemRow]


class Serving(TypedDict):
    """The generation that clients get."""

    generation: int
    fingerprint: str
    loaded_at: float
    load_seconds: float | None
    start_seconds: float | None
    alive: bool
    counts: Counts
    size: int
    python: str
    frameworks: list[dict[str, str]]


class Failure(TypedDict):
    """Why the newest attempt failed; further fields as docs/snapshot.md lists them."""

    kind: str
    message: str
    hint: NotRequired[str | None]
    generation: NotRequired[int]
    exception: NotRequired[dict[str, str]]
    frames: NotRequired[list[dict[str, Any]]]
    causes: NotRequired[list[dict[str, Any]]]
    traceback: NotRequired[str]
    detail: NotRequired[str]
    file: NotRequired[str]
    line: NotRequired[int]


class Process(TypedDict):
    """The process of the newest attempt."""

    pid: int
    started: float
    memory: Memory | None
    cpu_seconds: float | None
    cpu_percent: float | None
    start_method: str
    start_method_reason: str | None
    limits: NotRequired[dict[str, str]]


class Environment(TypedDict):
    """What a location runs in; ``python`` is a version once it is known."""

    name: str | None
    python: str | None
    executable: str | None
    prefix: str | None
    managed: bool


class Verification(TypedDict):
    """Whether a fresh process loads what was loaded forked; ``at`` is when that was found out."""

    state: Literal["verified", "pending", "off", "differs", "failed", "fork_condemned"]
    at: float | None
    reason: str


class LogLine(TypedDict):
    """``stream`` is ``out``, ``err``, or ``sup`` for the supervisor's own."""

    time: float
    stream: str
    text: str


class Warning_(TypedDict, total=False):  # noqa: N801 - the builtin keeps its name
    """Something that loaded, but not as its author may think."""

    code: str
    message: str
    hint: str
    file: str
    line: int


class LocationStatus(TypedDict):
    """One code location."""

    name: str
    state: str
    reason: str | None
    since: float
    generation: int
    serving: Serving | None
    failure: Failure | None
    process: Process | None
    restarts: int
    next_restart: float | None
    limits: NotRequired[dict[str, float]]
    strays: NotRequired[list[dict[str, Any]]]
    environment: Environment | None
    verification: NotRequired[Verification | None]
    target: dict[str, Any] | None
    remote: str | None
    form: str
    origin: Any
    metadata: dict[str, Any]
    warnings: list[Warning_]
    conditions: list[Condition]
    log: dict[str, Any] | None


class StatusDocument(TypedDict):
    """What ``supervise status --json`` prints."""

    format: int
    revision: int
    supervisor: SupervisorStatus
    locations: list[LocationStatus]


class DefinitionRow(TypedDict):
    """One line of ``supervise list``."""

    location: str
    kind: str
    name: str
    repository: str | None
    lazy: bool
    description: str | None


class DefinitionRows(TypedDict):
    """What ``supervise list --json`` prints."""

    definitions: list[DefinitionRow]


class Shown(TypedDict):
    """One definition in full; ``source`` is ``[file, line]`` or None."""

    definition: dict[str, Any]
    source: list[Any] | None
    generation: int


class Change(TypedDict):
    """A definition that both snapshots have, with other content in ``fields``."""

    key: str
    fields: list[str]
    before: dict[str, Any]
    after: dict[str, Any]


Diff = TypedDict(
    "Diff",
    {
        "from": dict[str, Any],
        "to": dict[str, Any],
        "added": list[str],
        "removed": list[str],
        "changed": list[Change],
    },
)
"""What it takes to get from one generation to another; keys are ``kind:name``."""


class Generation(TypedDict):
    """A generation that loaded and is kept; ``counts`` is empty where they were not noted."""

    generation: int
    loaded_at: float
    fingerprint: str
    size: int
    counts: Counts
    python: str
    frameworks: list[dict[str, str]]
    load_seconds: float | None


class History(TypedDict):
    """The kept generations of a location, oldest first; ``serving`` is None before the first."""

    location: str
    serving: int | None
    generations: list[Generation]


class Package(TypedDict):
    """An installed distribution; the name is normalized, the version empty where nobody says it."""

    name: str
    version: str


class EnvironmentRow(Environment):
    """An environment in use; ``packages`` is None until it has been prepared."""

    locations: list[str]
    packages: list[Package] | None


class EnvironmentRows(TypedDict):
    """The environments in use."""

    environments: list[EnvironmentRow]


class Orders(TypedDict):
    """What became of an order, for each location: ``reloading``, ``already stopped``, …"""

    locations: dict[str, str]


class Waited(TypedDict):
    """``ready`` is True when all of ``locations`` are; the values are states."""

    ready: bool
    locations: dict[str, str]


class LogChunk(TypedDict):
    """Lines of a log; ``next`` is the cursor to go on from.

    ``before`` is the cursor at the first of the lines; None when nothing older is kept, and with
    ``after``.
    """

    lines: list[LogLine]
    next: int
    before: NotRequired[int | None]


class RunRow(TypedDict):
    """One run; ``retry_of`` is the id of the run that it repeats. ``status`` and ``signal`` are how its
    process ended, ``fresh_because`` why it was not forked from the process that serves."""

    run: str
    location: str
    job: str | None
    state: Literal[
        "queued", "starting", "running", "cancelling",
        "success", "failure", "cancelled", "timed_out", "lost",
    ]  # fmt: skip
    reason: str | None
    created: float | None
    began: float | None
    ended: float | None
    generation: int | None
    tags: dict[str, str]
    op_selection: list[str] | None
    timeout: float | None
    step: str | None
    status: int | None
    signal: int | None
    retry_of: str | None
    fresh_because: str | None
    adopted: bool
    monitor: int | None


class RunDetail(RunRow):
    """One run in full; ``dropped`` counts events that were not kept, ``lost_output`` bytes."""

    config: dict[str, Any] | None
    failure: Failure | None
    events: int | None
    dropped: int | None
    lost_output: int | None
    journal: str


class RunEvent(TypedDict):
    """Something that happened in a run; ``type`` is one of Dagster's, whatever the framework."""

    type: str
    step: str | None
    time: float
    message: str
    data: dict[str, Any] | None


class RunNews(TypedDict):
    """What is new of a run: of those that were asked for, what there is; ``next`` are the cursors."""

    events: NotRequired[list[RunEvent]]
    out: NotRequired[str]
    err: NotRequired[str]
    next: dict[str, int]
    done: bool
    run: RunRow
