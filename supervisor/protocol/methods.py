"""The methods of the control protocol, each declared once.

Owns, for each method: its parameters and their bounds, the document that it answers, the role that it
needs and what it concerns, whether it is an order, and whether its answer is a stream. The clients, the supervisor's
dispatch, the HTTP routes, the OpenAPI document and the tables of docs/protocol.md are made from this. What a
method does is ``supervisor.server.handlers``; what the documents hold is ``supervisor.protocol.documents``.
Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.protocol import parameters
from supervisor.protocol.declared import (
    SENDABLE,
    Method,
    Parameter,
    Scope,
    flag,
    mapping,
    moment,
    run_states,
    seconds,
    text,
    texts,
    timeout,
    whole,
)
from supervisor.roles import Role
from supervisor.states import RUN_STATES

__all__ = ["LONGEST_HOLD", "METHODS", "Method", "Parameter", "Scope"]

LONGEST_HOLD = 30.0
"""Seconds that one answer is held back at most; longer waits are made of several requests, so that a
lost reply costs no more than this."""


_LOCATION = text("location", "the name of the location", required=True)
_OF_LOCATION = text("location", "only this location")
_LOCATIONS = texts("locations", "their names; none means all")
_KIND = text("kind", "only this kind")


_RUN = text("run", "its id, or the beginning or the end of it", required=True)


def _order(name: str, sentence: str) -> Method:
    return Method(name, sentence, Role.EDITOR, "Orders", (_LOCATIONS,), is_order=True)


_ALL = (
    Method(
        "status",
        "The status document, at once or when its revision differs from `since`.",
        Role.VIEWER,
        "StatusDocument",
        (
            _OF_LOCATION,
            whole("since", "answer when the revision differs from this", -1),
            timeout("answer after this time in any case", LONGEST_HOLD),
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
                "send it at this interval also without a change, because memory and CPU time change silently",
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
            text("name", "its name", required=True),
            text("kind", "its kind, where several have the name"),
            text("repository", "its repository, where several have the name"),
        ),
        hold=LONGEST_HOLD,  # the shim may be busy, and user code runs
    ),
    Method(
        "snapshot",
        "A whole snapshot: the newest that loaded, or that of a generation.",
        Role.VIEWER,
        "SnapshotHeader",
        (_LOCATION, whole("generation", "the generation", 1)),
        frames=("definitions", "sources"),
    ),
    Method(
        "diff",
        "What changed between two generations, by default the last two that loaded.",
        Role.VIEWER,
        "Diff",
        (
            _LOCATION,
            whole("from", "the earlier generation", 1),
            whole("to", "the later generation", 1),
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
        "settings",
        "The effective settings of a location, as `supervise config` shows them, and where each comes from.",
        Role.VIEWER,
        "Settings",
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
        "The Python stacks of a location's process at this moment, also while it is busy.",
        Role.EDITOR,
        "Stacks",
        (_LOCATION,),
    ),
    _order("reload", "Load the code in a new process beside the one that serves."),
    _order("restart", "End the processes and start new ones, environments included."),
    _order("stop", "End the processes until they are started."),
    _order("start", "Start what is stopped, failed or crashed."),
    Method(
        "wait",
        "The states of locations when they have settled, or at the timeout.",
        Role.VIEWER,
        "Waited",
        (_LOCATIONS, timeout("answer after this time in any case", 60.0)),
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
            whole("lines", "how many", 0, parameters.MOST_LINES, 50),
            whole("before", "only those before this cursor"),
            whole("after", "only those after this cursor"),
            timeout("with `after`, answer after this time in any case", LONGEST_HOLD),
        ),
        waits=True,
    ),
    Method(
        "follow",
        "The lines of a log after a cursor, as they are written.",
        Role.VIEWER,
        "LogChunk",
        (_LOCATION, whole("after", "the cursor; without it, from now on")),
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
            text("job", "the job; or `assets`"),
            text("assets", "a selection of assets, such as `report,+raw,group:finance`"),
            text("repository", "its repository, where several have the job"),
            mapping("config", "the configuration of the run", {}),
            mapping("tags", "tags of the run", SENDABLE),
            text("op_selection", "only these ops of the job, such as `load,+clean`"),
            text("partition", "the key of a partition"),
            text("partition_range", "a run for each partition from `FIRST..LAST`"),
            text("instance", "the framework's instance: `own` (default), `shared`, `ephemeral`"),
            mapping(
                "limits",
                "limits of this run: memory (bytes), cpu, processes, open_files",
                {"type": "number"},
            ),
            seconds(
                "timeout", "end it after this time; by default as the `runs` of its location say"
            ),
            whole("retries", "how often it is repeated when it fails; the same default", 0, 1000),
            seconds("grace", "how long it may take to end when it is cancelled", 10.0),
            flag("dry_run", "answer what would run, and run nothing"),
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
            text("job", "only runs of this job"),
            text("words", "only those with all these words in their id, job, assets or partition"),
            text("tag", "only those with this tag: `NAME`, or `NAME=VALUE`"),
            text("parent", "only the runs of this range of partitions"),
            Parameter(
                "states",
                "only runs in these states; none means all",
                "list of states",
                {"type": "array", "items": {"enum": list(RUN_STATES)}},
                run_states,
                default=[],
            ),
            moment("since", "only those launched at this time or later", 0.0),
            whole("limit", "how many", 0, 1000, 20),
            whole("offset", "how many of them to skip", default=0),
        ),
    ),
    Method(
        "run_figures",
        "Statistics of runs by location: of those that have not ended, and, since the supervisor started, of those that have.",
        Role.VIEWER,
        "RunFiguresRows",
        (_OF_LOCATION,),
    ),
    Method(
        "run",
        "One run in full, at once or when it has ended.",
        Role.VIEWER,
        "RunDetail",
        (_RUN, timeout("wait up to this time for its end", 0.0)),
        waits=True,
    ),
    Method(
        "follow_run",
        "What a run writes after each given cursor, until it has ended.",
        Role.VIEWER,
        "RunNews",
        (
            _RUN,
            whole("events", "the cursor of its events; 0 is the first"),
            whole("out", "the cursor of its standard output"),
            whole("err", "the cursor of its standard error"),
            flag("no_wait", "end instead of waiting for more"),
        ),
        streaming=True,
    ),
    Method(
        "cancel_run",
        "Ask a run to end, or kill it. A run that has ended does not change.",
        Role.LAUNCHER,
        "RunRow",
        (
            _RUN,
            flag("now", "kill it at once"),
            text("who", "who cancels it, for its reason"),
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
            flag(
                "from_failure", "only the steps that have not succeeded; of a range, only such runs"
            ),
        ),
        is_order=True,
        hold=LONGEST_HOLD,
    ),
    Method(
        "tick",
        "Evaluate a schedule or sensor once, in a process of its location: what it would launch, or why "
        "nothing. No cursor is kept, and nothing runs without `launch`.",
        Role.LAUNCHER,
        "Tick",
        (
            _LOCATION,
            text("name", "the schedule or sensor", required=True),
            text("repository", "its repository, where several have the name"),
            moment("at", "the time that it is for; by default now"),
            text("cursor", "the cursor that a sensor starts with; by default its own"),
            flag("launch", "launch the runs that it requests; each run key only once"),
        ),
        is_order=True,
        hold=100.0,  # user code has 60 s, and the process may have to be started
    ),
    Method(
        "automations",
        "The schedules and sensors, and the state of each.",
        Role.VIEWER,
        "AutomationRows",
        (
            _OF_LOCATION,
            text("name", "only those of this name"),
            whole("times", "so many of the next times of each schedule", 0, 100, 0),
        ),
    ),
    Method(
        "ticks",
        "The newest ticks of the schedules and sensors of a location, newest first; fewer "
        "than `limit` where these exceed 2 MiB.",
        Role.VIEWER,
        "TickRows",
        (
            _LOCATION,
            text("name", "only those of this schedule or sensor"),
            whole("limit", "how many", 0, 1000, 20),
        ),
    ),
    Method(
        "switch_automation",
        "Switch a native schedule or sensor on or off; it stays so after reloads and restarts.",
        Role.EDITOR,
        "Automation",
        (
            _LOCATION,
            text("name", "the schedule or sensor", required=True),
            Parameter(
                "on",
                "what it is switched to",
                "boolean",
                {"type": "boolean"},
                parameters.flag,
                True,
            ),
        ),
        is_order=True,
    ),
    Method(
        "shutdown",
        "Stop everything and end; the process ends after the reply.",
        Role.ADMIN,
        "Ending",
        (
            flag("at_once", "kill the processes of locations instead of asking them to end"),
            flag("leave_runs", "leave runs to the next supervisor"),
        ),
        is_order=True,
        scope=Scope.SUPERVISOR,
    ),
    Method(
        "whoami",
        "The identity of the client.",
        Role.VIEWER,
        "Asker",
        scope=Scope.CLIENT,
    ),
)

METHODS: Mapping[str, Method] = {one.name: one for one in _ALL}
"""All methods by name."""
