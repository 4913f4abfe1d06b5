"""The documents about runs, beside those of ``supervisor.protocol.documents``.

Owns their shapes; the rules are the same. Holds no behaviour; only what makes schemas imports it to run.
"""

from typing import Annotated, Any, NotRequired, TypedDict

from supervisor.protocol.document_schema import Count, Keywords
from supervisor.protocol.documents import Failure
from supervisor.states import RUN_STATES

__all__ = [
    "Histogram",
    "Launched",
    "PartitionCounts",
    "RunDetail",
    "RunEvent",
    "RunFigures",
    "RunFiguresRows",
    "RunNews",
    "RunRow",
    "RunRows",
]

_RunState = Annotated[str, Keywords(enum=list(RUN_STATES))]


class PartitionCounts(TypedDict):
    """The states of the runs of a range."""

    count: Annotated[Count, "number of its partitions"]
    states: Annotated[dict[str, int], "number of its runs in each state"]


class RunRow(TypedDict):
    """One run, or a range of partitions, which has a run for each."""

    run: Annotated[str, "its id"]
    location: Annotated[str, "the location whose code it runs"]
    job: Annotated[str | None, "the job; null for a run of assets"]
    state: Annotated[_RunState, "see [runs.md](runs.md)"]
    reason: Annotated[str | None, "why, in one sentence"]
    place: Annotated[int | None, "its position in the queue, from 1, while it waits"]
    created: Annotated[float | None, "when it was launched"]
    began: Annotated[float | None, "when its process began"]
    ended: Annotated[float | None, "when it ended"]
    generation: Annotated[int | None, "the generation that was served when it was launched"]
    tags: Annotated[dict[str, str], "as given, secrets hidden"]
    assets: Annotated[list[str] | None, "the assets that it makes; null for a run of a job"]
    partition: Annotated[str | None, "the partition; of a range `FIRST..LAST`"]
    parent: Annotated[str | None, "id of the range that it belongs to"]
    partitions: Annotated[PartitionCounts | None, "of a range, the states of its runs"]
    op_selection: Annotated[list[str] | None, "the selected ops; null for all"]
    timeout: Annotated[float | None, "its timeout in seconds"]
    step: Annotated[str | None, "the step that started last; set when the run has ended"]
    status: Annotated[int | None, "the exit status of its process"]
    signal: Annotated[int | None, "the signal that ended its process"]
    limit: Annotated[str | None, "the limit that its process exceeded"]
    retry_of: Annotated[str | None, "id of the run that it repeats"]
    retried_by: Annotated[str | None, "id of the run that repeats it because of its `retries`"]
    attempt: Annotated[int, "number of the attempt, where `retries` repeat it"]
    automation: Annotated[str | None, "the schedule or sensor that requested it"]
    origin: Annotated[str | None, "the framework through whose server it was launched"]
    fresh_because: Annotated[str | None, "why it was not forked from the process that serves"]
    adopted: Annotated[bool, "true when an earlier supervisor started it"]
    monitor: Annotated[int | None, "process id of its monitor, while that runs"]


class RunDetail(RunRow):
    """One run in full."""

    fingerprint: Annotated[str | None, "hex SHA-256 of the definitions of its generation"]
    config: Annotated[dict[str, Any] | None, "its configuration, secrets hidden"]
    limits: Annotated[dict[str, float], "its limits, with the units of those of a location"]
    limits_by: Annotated[
        dict[str, str], "limit to how it is enforced: `cgroup`, `rlimit`, `not enforced`"
    ]
    failure: Annotated[Failure | None, "why it failed"]
    events: Annotated[Count | None, "number of events that were kept; set when the run has ended"]
    dropped: Annotated[Count | None, "number of events that were not kept"]
    lost_output: Annotated[Count | None, "bytes of output that could not be written to the disk"]
    untold: Annotated[
        str | None, "the framework whose own records do not have the end of the run yet"
    ]
    untold_because: Annotated[str | None, "why the last attempt to record it there failed"]
    runs: Annotated[list[RunRow], "of a range, its runs"]
    journal: Annotated[str, "directory of its journal; of a range, that of its first run"]


class RunRows(TypedDict):
    """Runs, newest first."""

    runs: Annotated[list[RunRow], "one row for each"]
    total: Annotated[Count, "number of all that match, regardless of `limit`"]
    states: Annotated[
        dict[str, int], "number of runs in each state, regardless of the requested states"
    ]


class Histogram(TypedDict):
    """A histogram of durations."""

    bounds: Annotated[list[float], "upper bounds, in seconds"]
    counts: Annotated[list[int], "number of values up to each bound"]
    count: Annotated[Count, "number of values"]
    sum: Annotated[float, "sum of all values, in seconds"]


class RunFigures(TypedDict):
    """Statistics of the runs of a location; all but the first three are counted since the supervisor started."""

    location: Annotated[str, "the location"]
    states: Annotated[dict[str, int], "number of runs that have not ended, by state"]
    longest_wait: Annotated[float | None, "how long the oldest queued run has waited"]
    ended: Annotated[dict[str, int], "number of runs that have ended, by state"]
    adopted: Annotated[Count, "number of runs that an earlier supervisor started"]
    retried: Annotated[
        Count, "number of runs that ended and are repeated because of their `retries`"
    ]
    durations: Annotated[
        Histogram, "durations of runs that have ended, from the start of their process"
    ]
    waits: Annotated[Histogram, "how long runs that started had been queued"]


class RunFiguresRows(TypedDict):
    """Statistics of runs."""

    locations: Annotated[list[RunFigures], "by their order in the workspace"]


class Launched(TypedDict):
    """A run that was launched, or would be."""

    run: Annotated[RunRow | None, "the run; null for a dry run"]
    order: Annotated[dict[str, Any], "the order, as its journal has it; secrets hidden"]
    steps: Annotated[list[str], "the ops or assets that run, in a possible order of execution"]
    checks: Annotated[list[str], "asset checks that the framework may run with them"]
    partitions: Annotated[list[str], "the partitions of a range; each has a run"]
    fresh_because: Annotated[str | None, "why it is not forked, where known"]
    note: Annotated[
        str | None, "what has changed in the location since the code that runs was loaded"
    ]


class RunEvent(TypedDict):
    """Something that happened in a run."""

    type: Annotated[str, "such as `STEP_START`; the same names for all frameworks"]
    step: Annotated[str | None, "name of the step"]
    time: Annotated[float, "when"]
    message: Annotated[str, "one sentence"]
    data: Annotated[dict[str, Any] | None, "details, depending on the type"]


class RunNews(TypedDict):
    """What a run has written since the given cursors."""

    events: NotRequired[Annotated[list[RunEvent], "events, in order"]]
    out: NotRequired[Annotated[str, "what it wrote to standard output"]]
    err: NotRequired[Annotated[str, "what it wrote to standard error"]]
    runs: NotRequired[Annotated[list[RunRow], "of a range, the runs that have changed"]]
    next: Annotated[dict[str, int], "the cursors after them, by the same names"]
    run: Annotated[RunRow, "the state of the run"]
