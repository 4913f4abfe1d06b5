"""The methods of the control protocol, each declared once.

Owns, for each method: its parameters and their bounds, the document that it answers, the role that it
needs and what it concerns, whether it is an order, and whether its answer is a stream. The clients, the supervisor's
dispatch, the HTTP routes, the OpenAPI document and the tables of docs/protocol.md are made from this. What a
method does is ``supervisor.server.handlers``; what the documents hold is ``supervisor.documents``.
Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from supervisor import nearest, parameters
from supervisor.errors import InvalidParameterError
from supervisor.states import RUN_STATES

__all__ = ["LONGEST_HOLD", "METHODS", "Method", "Parameter", "Role", "Scope"]

LONGEST_HOLD = 30.0
"""Seconds that one answer is held back at most; longer waits are made of several requests, so that a
lost reply costs no more than this."""


class Role(StrEnum):
    """What a client may do; each role includes those before it."""

    VIEWER = "viewer"
    """Looks at everything."""
    LAUNCHER = "launcher"
    """Also begins and ends runs."""
    EDITOR = "editor"
    """Also reloads, restarts, starts and stops locations, and looks into their processes."""
    ADMIN = "admin"
    """Also ends the supervisor."""

    def includes(self, other: Role) -> bool:
        """True when this role may do what ``other`` may."""
        roles = list(Role)
        return roles.index(self) >= roles.index(other)


class Scope(StrEnum):
    """What a method concerns, and so which locations a client must be allowed."""

    LOCATION = "location"
    """That of the parameter ``location``; where that may be absent, all that the client may see."""
    LOCATIONS = "locations"
    """Those of the parameter ``locations``; where it is empty, all that the client may see."""
    RUN = "run"
    """That of the run or range which the parameter ``run`` or ``parent`` names."""
    SUPERVISOR = "supervisor"
    """The whole supervisor: the client must be allowed all locations."""
    CLIENT = "client"
    """The client itself."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: ``check(name, value)`` returns the value or raises ``InvalidParameterError``.

    One that is not required has ``default`` where it is absent or null. ``kind`` names its type in
    the documentation, ``schema`` is its JSON Schema.
    """

    name: str
    sentence: str
    kind: str
    schema: Mapping[str, Any]
    check: Callable[[str, Any], Any]
    required: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class Method:
    """One method; ``result`` names the document of ``supervisor.documents`` that answers it.

    A streaming one answers with any number of such documents. ``frames`` names what follows the
    answer as raw bytes. ``hold`` is how many seconds the supervisor may keep the answer back for a
    reason of its own; ``waits`` says that it does so for the parameter ``timeout``. ``scope`` is stated
    where no parameter says what it concerns.
    """

    name: str
    sentence: str
    role: Role
    result: str
    parameters: tuple[Parameter, ...] = ()
    is_order: bool = False
    streaming: bool = False
    frames: tuple[str, ...] = ()
    hold: float = 0.0
    waits: bool = False
    scope: Scope | None = None

    @property
    def scopes(self) -> frozenset[Scope]:
        """What it concerns: each is enforced. Empty where no rule is stated, which a test refuses."""
        found = {_BY_PARAMETER.get(one.name) for one in self.parameters} | {self.scope}
        return frozenset(one for one in found if one is not None)

    @property
    def over_http(self) -> bool:
        """True where ``POST /api/v1/methods/NAME`` serves it: one JSON document."""
        return not self.streaming and not self.frames

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its parameters, as one object."""
        properties = {}
        for one in self.parameters:
            kind = {**one.schema, "description": one.sentence}
            properties[one.name] = kind if one.required else {"anyOf": [kind, {"type": "null"}]}
        return {
            "type": "object",
            "properties": properties,
            "required": [one.name for one in self.parameters if one.required],
            "additionalProperties": False,
        }

    def read(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The value of each parameter; raises ``InvalidParameterError`` for what is not declared."""
        known = {one.name: one for one in self.parameters}
        for name in params:
            if name not in known:
                raise InvalidParameterError(
                    f"{self.name!r} has no parameter {str(name)[:100]!r}",
                    hint=f"it has {', '.join(known) or 'none'}",
                )
        values = {}
        for one in self.parameters:
            value = params.get(one.name)
            if value is None and not one.required:
                values[one.name] = one.default
            else:
                values[one.name] = one.check(one.name, value)
        return values


_BY_PARAMETER = {
    "location": Scope.LOCATION,
    "locations": Scope.LOCATIONS,
    "run": Scope.RUN,
    "parent": Scope.RUN,
}

_SENDABLE: Mapping[str, Any] = {
    "type": "string",
    "maxLength": parameters.LONGEST_TEXT,
    "pattern": "^[^\\u0000]*$",
}


def _text(name: str, sentence: str, *, required: bool = False) -> Parameter:
    return Parameter(name, sentence, "text", _SENDABLE, parameters.text, required)


def _run_states(name: str, value: Any) -> list[str]:
    found = parameters.texts(name, value)
    for one in found:
        if one not in RUN_STATES:
            raise InvalidParameterError(
                f"no run is ever {one[:100]!r}", hint=nearest.hint(one[:100], RUN_STATES)
            )
    return found


def _texts(name: str, sentence: str) -> Parameter:
    schema = {"type": "array", "items": _SENDABLE}
    return Parameter(name, sentence, "list of texts", schema, parameters.texts, default=[])


def _whole(
    name: str,
    sentence: str,
    least: int = 0,
    most: int = parameters.MOST,
    default: int | None = None,
) -> Parameter:
    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    if default is not None:
        schema["default"] = default
    bounds = f"integer from {least}" + (f" to {most:,}" if most != parameters.MOST else "")

    def check(name: str, value: Any) -> int:
        return parameters.whole(name, value, least, most)

    return Parameter(name, sentence, bounds, schema, check, default=default)


def _timeout(sentence: str, default: float) -> Parameter:
    schema = {"type": "number", "minimum": 0, "maximum": parameters.MOST_SECONDS}
    return Parameter("timeout", sentence, "seconds", schema, parameters.seconds, default=default)


def _flag(name: str, sentence: str) -> Parameter:
    return Parameter(name, sentence, "boolean", {"type": "boolean"}, parameters.flag, default=False)


_LOCATION = _text("location", "the name of the location", required=True)
_OF_LOCATION = _text("location", "only this location")
_LOCATIONS = _texts("locations", "their names; none means all")
_KIND = _text("kind", "only this kind")


_RUN = _text("run", "its id, or the beginning or the end of it", required=True)


def _map(name: str, sentence: str, values: Mapping[str, Any]) -> Parameter:
    schema = {"type": "object", "additionalProperties": values}
    return Parameter(name, sentence, "map", schema, parameters.mapping)


def _seconds(name: str, sentence: str, default: float | None = None) -> Parameter:
    schema = {"type": "number", "minimum": 0, "maximum": parameters.MOST_SECONDS}
    return Parameter(name, sentence, "seconds", schema, parameters.seconds, default=default)


def _order(name: str, sentence: str) -> Method:
    return Method(name, sentence, Role.EDITOR, "Orders", (_LOCATIONS,), is_order=True)


_ALL = (
    Method(
        "status",
        "The status document, at once or when its revision is another than `since`.",
        Role.VIEWER,
        "StatusDocument",
        (
            _OF_LOCATION,
            _whole("since", "answer when the revision is another than this", -1),
            _timeout("answer after this time, whether or not it is", LONGEST_HOLD),
        ),
        waits=True,
    ),
    Method(
        "watch",
        "The status document, now and each time that it has changed, as fast as the client takes it.",
        Role.VIEWER,
        "StatusDocument",
        (
            _OF_LOCATION,
            Parameter(
                "refresh",
                "send it so often although it is the same: memory and processor time change silently",
                "seconds",
                {"type": "number", "minimum": 0, "maximum": parameters.MOST_SECONDS},
                parameters.seconds,
            ),
        ),
        streaming=True,
    ),
    Method(
        "list",
        "One row for each definition.",
        Role.VIEWER,
        "DefinitionRows",
        (_KIND, _OF_LOCATION),
    ),
    Method(
        "show",
        "One definition in full; a lazy one is constructed by its shim now.",
        Role.VIEWER,
        "Shown",
        (
            _LOCATION,
            _text("name", "its name", required=True),
            _text("kind", "its kind, where several have the name"),
            _text("repository", "its repository, where several have the name"),
        ),
        hold=LONGEST_HOLD,  # the shim may be busy, and user code runs
    ),
    Method(
        "snapshot",
        "A whole snapshot: the newest that loaded, or that of a generation.",
        Role.VIEWER,
        "SnapshotHeader",
        (_LOCATION, _whole("generation", "the generation", 1)),
        frames=("definitions", "sources"),
    ),
    Method(
        "diff",
        "What changed between two generations, by default the last two that loaded.",
        Role.VIEWER,
        "Diff",
        (
            _LOCATION,
            _whole("from", "the earlier generation", 1),
            _whole("to", "the later generation", 1),
        ),
    ),
    Method(
        "history",
        "The generations of a location that are kept, oldest first: the newest 20, or as many as its "
        "`history` says.",
        Role.VIEWER,
        "History",
        (_LOCATION,),
    ),
    Method(
        "environments",
        "The environments in use and what is installed in each.",
        Role.VIEWER,
        "EnvironmentRows",
        (_OF_LOCATION,),
        hold=LONGEST_HOLD,  # a look at every metadata directory of every environment
    ),
    Method(
        "stacks",
        "The Python stacks of a location's process as it runs now, whatever it is doing.",
        Role.EDITOR,
        "Stacks",
        (_LOCATION,),
    ),
    _order("reload", "Load anew beside what serves."),
    _order("restart", "End the processes and start new ones, environments included."),
    _order("stop", "End the processes until they are started."),
    _order("start", "Start what is stopped, failed or crashed."),
    Method(
        "wait",
        "The states of locations when nothing is under way in them any more, or at the timeout.",
        Role.VIEWER,
        "Waited",
        (_LOCATIONS, _timeout("answer after this time in any case", 60.0)),
        is_order=True,
        waits=True,
    ),
    Method(
        "logs",
        "The last lines of a log, those before a cursor, or those after one as soon as there are any.",
        Role.VIEWER,
        "LogChunk",
        (
            _LOCATION,
            _whole("lines", "how many", 0, parameters.MOST_LINES, 50),
            _whole("before", "only those before this cursor"),
            _whole("after", "only those after this cursor"),
            _timeout("with `after`, answer after this time in any case", LONGEST_HOLD),
        ),
        waits=True,
    ),
    Method(
        "follow",
        "The lines of a log after a cursor, as they are written.",
        Role.VIEWER,
        "LogChunk",
        (_LOCATION, _whole("after", "the cursor; without it, from now on")),
        streaming=True,
    ),
    Method(
        "launch",
        "Run a job or assets of what a location serves; what cannot be run is refused before anything "
        "starts.",
        Role.LAUNCHER,
        "Launched",
        (
            _LOCATION,
            _text("job", "the job; or `assets`"),
            _text("assets", "a selection of assets, as `report,+raw,group:finance`"),
            _text("repository", "its repository, where several have the job"),
            _map("config", "the configuration of the run", {}),
            _map("tags", "tags of the run", _SENDABLE),
            _text("op_selection", "only these ops of the job, as `load,+clean`"),
            _text("partition", "the key of a partition"),
            _text("partition_range", "a run for each partition from `FIRST..LAST`"),
            _text("instance", "the framework's instance: `own` (default), `shared`, `ephemeral`"),
            _map(
                "limits",
                "limits of the run alone: memory (bytes), cpu, processes, open_files",
                {"type": "number"},
            ),
            _seconds("timeout", "end it after this time; without it, as its location's `runs` say"),
            _whole("retries", "how often again when it fails; without it, the same", 0, 1000),
            _seconds("grace", "how long it may take to end once it is asked to", 10.0),
            _flag("dry_run", "answer what would be run, and run nothing"),
        ),
        is_order=True,
        hold=LONGEST_HOLD,  # its shim judges the configuration
    ),
    Method(
        "runs",
        "The newest runs; a range of partitions is one row.",
        Role.VIEWER,
        "RunRows",
        (
            _OF_LOCATION,
            _text("job", "only runs of this job"),
            _text("words", "only those with all these words in their id, job, assets or partition"),
            _text("parent", "only the runs of this range of partitions"),
            Parameter(
                "states",
                "only runs in these states; none means all",
                "list of states",
                {"type": "array", "items": {"enum": list(RUN_STATES)}},
                _run_states,
                default=[],
            ),
            Parameter(
                "since",
                "only those launched at this time or later",
                "Unix seconds",
                {"type": "number", "minimum": 0, "maximum": parameters.MOST_MOMENT},
                parameters.moment,
                default=0.0,
            ),
            _whole("limit", "how many", 0, 1000, 20),
            _whole("offset", "how many of them to pass over", default=0),
        ),
    ),
    Method(
        "run_figures",
        "What is counted of runs, by location: those that live, and since the supervisor began, those that ended.",
        Role.VIEWER,
        "RunFiguresRows",
        (_OF_LOCATION,),
    ),
    Method(
        "run",
        "One run in full, at once or when it has ended.",
        Role.VIEWER,
        "RunDetail",
        (_RUN, _timeout("wait so long for its end", 0.0)),
        waits=True,
    ),
    Method(
        "follow_run",
        "What is new of a run behind each cursor that is given, until it has ended.",
        Role.VIEWER,
        "RunNews",
        (
            _RUN,
            _whole("events", "the cursor of its events; 0 is the first"),
            _whole("out", "the cursor of its standard output"),
            _whole("err", "the cursor of its standard error"),
            _flag("no_wait", "end when there is no more for now"),
        ),
        streaming=True,
    ),
    Method(
        "cancel_run",
        "Ask a run to end, or kill it. Nothing happens to one that has ended.",
        Role.LAUNCHER,
        "RunRow",
        (
            _RUN,
            _flag("now", "kill it at once"),
            _text("who", "who asks, for its reason"),
        ),
        is_order=True,
    ),
    Method(
        "retry_run",
        "Run the same again, with the code that is served now; of a range, all of its partitions.",
        Role.LAUNCHER,
        "Launched",
        (
            _RUN,
            _flag(
                "from_failure", "only the steps that have not succeeded; of a range, only such runs"
            ),
        ),
        is_order=True,
        hold=LONGEST_HOLD,
    ),
    Method(
        "shutdown",
        "Stop everything and end; the process ends after the reply.",
        Role.ADMIN,
        "Ending",
        (
            _flag("at_once", "kill the processes of locations instead of asking them to end"),
            _flag("leave_runs", "leave runs to the next supervisor"),
        ),
        is_order=True,
        scope=Scope.SUPERVISOR,
    ),
    Method(
        "whoami",
        "Who the client is to the supervisor.",
        Role.VIEWER,
        "Asker",
        scope=Scope.CLIENT,
    ),
)

METHODS: Mapping[str, Method] = {one.name: one for one in _ALL}
"""All methods by name."""
