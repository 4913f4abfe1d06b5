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
    """How the runs of a range stand."""

    count: Annotated[Count, "how many partitions it has"]
    states: Annotated[dict[str, int], "how many of its runs are in which state"]


class RunRow(TypedDict):
    """One run, or a range of partitions, which has one for each."""

    run: Annotated[str, "its id"]
    location: Annotated[str, "the location whose code it runs"]
    job: Annotated[str | None, "the job; null for a run of assets"]
    state: Annotated[_RunState, "see [runs.md](runs.md)"]
    reason: Annotated[str | None, "why, in one sentence"]
    place: Annotated[int | None, "its place in the queue, from 1, while it waits there"]
    created: Annotated[float | None, "when it was launched"]
    began: Annotated[float | None, "when its process began"]
    ended: Annotated[float | None, "when it ended"]
    generation: Annotated[int | None, "the generation that was served when it was launched"]
    tags: Annotated[dict[str, str], "as they were given, secrets hidden"]
    assets: Annotated[list[str] | None, "the assets that are made; null: it is a job's"]
    partition: Annotated[str | None, "the partition; of a range `FIRST..LAST`"]
    parent: Annotated[str | None, "the range that it is one run of"]
    partitions: Annotated[PartitionCounts | None, "of a range, how its runs stand"]
    op_selection: Annotated[list[str] | None, "the ops that are run; null: all"]
    timeout: Annotated[float | None, "how long it may take"]
    step: Annotated[str | None, "the step that began last, once it has ended"]
    status: Annotated[int | None, "the exit status of its process"]
    signal: Annotated[int | None, "the signal that ended its process"]
    limit: Annotated[str | None, "the limit at which its process was killed"]
    retry_of: Annotated[str | None, "the id of the run that it repeats"]
    retried_by: Annotated[str | None, "the id of the run that repeats it by its `retries`"]
    attempt: Annotated[int, "which attempt it is, by the `retries` of its location"]
    automation: Annotated[str | None, "the schedule or sensor that asked for it"]
    origin: Annotated[str | None, "the framework whose own server it was launched through"]
    fresh_because: Annotated[str | None, "why it was not forked from the process that serves"]
    adopted: Annotated[bool, "true when an earlier supervisor began it"]
    monitor: Annotated[int | None, "the process id of its monitor, while that lives"]


class RunDetail(RunRow):
    """One run in full."""

    fingerprint: Annotated[str | None, "hex SHA-256 of the definitions of its generation"]
    config: Annotated[dict[str, Any] | None, "its configuration, secrets hidden"]
    limits: Annotated[dict[str, float], "its limits, with the units of those of a location"]
    limits_by: Annotated[
        dict[str, str], "limit to how it is enforced: `cgroup`, `rlimit`, `not enforced`"
    ]
    failure: Annotated[Failure | None, "why it failed"]
    events: Annotated[Count | None, "how many were kept, once it has ended"]
    dropped: Annotated[Count | None, "how many were not"]
    lost_output: Annotated[Count | None, "bytes of output that the disk did not take"]
    untold: Annotated[str | None, "the framework whose own records have yet to hear how it ended"]
    untold_because: Annotated[str | None, "why they have not, where that was tried"]
    runs: Annotated[list[RunRow], "of a range, its runs"]
    journal: Annotated[str, "the directory that says all of it; of a range, its first run's"]


class RunRows(TypedDict):
    """Runs, newest first."""

    runs: Annotated[list[RunRow], "one row for each"]
    total: Annotated[Count, "how many there are, whatever the limit"]
    states: Annotated[
        dict[str, int], "how many there are in which state, whatever states were asked for"
    ]


class Histogram(TypedDict):
    """How many of some values are how large."""

    bounds: Annotated[list[float], "upper bounds, in seconds"]
    counts: Annotated[list[int], "how many are at most each bound"]
    count: Annotated[Count, "how many there are"]
    sum: Annotated[float, "of all, in seconds"]


class RunFigures(TypedDict):
    """What is counted of the runs of a location; all but the first three since the supervisor began."""

    location: Annotated[str, "the location"]
    states: Annotated[dict[str, int], "how many that have not ended are in which state"]
    longest_wait: Annotated[float | None, "how long one has been queued, of those that are"]
    ended: Annotated[dict[str, int], "how many ended in which state"]
    adopted: Annotated[Count, "how many an earlier supervisor had begun"]
    retried: Annotated[Count, "how many ended and are repeated by their `retries`"]
    durations: Annotated[
        Histogram, "how long those that ended took, from the start of their process"
    ]
    waits: Annotated[Histogram, "how long those that started were queued"]


class RunFiguresRows(TypedDict):
    """What is counted of runs."""

    locations: Annotated[list[RunFigures], "by their order in the workspace"]


class Launched(TypedDict):
    """What is run."""

    run: Annotated[RunRow | None, "the run; null for a dry run"]
    order: Annotated[dict[str, Any], "what it does, as it lies in its journal; secrets hidden"]
    steps: Annotated[list[str], "the ops or assets that run, in an order in which they can"]
    checks: Annotated[list[str], "the checks of assets that the framework may run along"]
    partitions: Annotated[list[str], "the partitions of a range, of which each has a run"]
    fresh_because: Annotated[str | None, "why it is not forked, as far as it is known"]
    note: Annotated[str | None, "what of the location is newer than what runs"]


class RunEvent(TypedDict):
    """Something that happened in a run."""

    type: Annotated[str, "such as `STEP_START`: the same names whatever the framework"]
    step: Annotated[str | None, "the step that it concerns"]
    time: Annotated[float, "when"]
    message: Annotated[str, "in words"]
    data: Annotated[dict[str, Any] | None, "more, by the type"]


class RunNews(TypedDict):
    """What is new of a run."""

    events: NotRequired[Annotated[list[RunEvent], "events, in order"]]
    out: NotRequired[Annotated[str, "what it wrote to standard output"]]
    err: NotRequired[Annotated[str, "what it wrote to standard error"]]
    runs: NotRequired[Annotated[list[RunRow], "of a range, the runs of which there is news"]]
    next: Annotated[dict[str, int], "the cursors behind them, by the same names"]
    run: Annotated[RunRow, "where it stands"]
