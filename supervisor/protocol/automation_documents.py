"""The documents about schedules and sensors, beside those of ``supervisor.protocol.documents``.

Owns their shapes; the rules are the same. Holds no behaviour; only what makes schemas imports it to run.
"""

from typing import Annotated, Any, TypedDict

from supervisor.protocol.document_schema import Count, Keywords
from supervisor.protocol.documents import Failure
from supervisor.states import TICK_STATES

__all__ = ["Automation", "AutomationRows", "Tick", "TickLine", "TickRequest", "TickRows"]

_Kind = Annotated[str, Keywords(enum=["schedule", "sensor"])]


class TickRequest(TypedDict):
    """A run that a schedule or sensor requested."""

    job: Annotated[str | None, "the job; null for a run of assets"]
    assets: Annotated[list[str] | None, "the assets; null for a run of a job"]
    run_key: Annotated[str | None, "its run key: requests with the same key launch one run"]
    config: Annotated[dict[str, Any], "the configuration of the run, secrets hidden"]
    tags: Annotated[dict[str, str], "tags of the run, secrets hidden"]
    partition: Annotated[str | None, "the partition"]
    run: Annotated[str | None, "id of the run that was launched for it, now or earlier"]
    note: Annotated[str | None, "why none was launched, or could not be"]


class TickLine(TypedDict):
    """A line that the function of a schedule or sensor has logged."""

    level: Annotated[str, "such as `INFO`"]
    message: Annotated[str, "the line"]


class Tick(TypedDict):
    """One evaluation of a schedule or sensor, or ticks that were skipped."""

    tick: Annotated[int | None, "its number; null for a trial evaluation, which is not kept"]
    location: Annotated[str, "the location"]
    name: Annotated[str, "the schedule or sensor"]
    kind: Annotated[_Kind, "`schedule` or `sensor`"]
    framework: Annotated[str | None, "its framework: `native`, `dagster`"]
    state: Annotated[
        Annotated[str, Keywords(enum=list(TICK_STATES))], "see [automations.md](automations.md)"
    ]
    time: Annotated[float, "the time that it is for; the last one where there are several"]
    count: Annotated[
        Count, "number of ticks in this row: several that were skipped for one reason are one row"
    ]
    began: Annotated[float | None, "when it was evaluated; null where it was not"]
    ended: Annotated[float | None, "when all runs that it requested were launched"]
    by: Annotated[str | None, "the client that requested it; null where it was due"]
    reason: Annotated[str | None, "why nothing is launched, or what went wrong, in one sentence"]
    requests: Annotated[list[TickRequest], "the runs that it requested"]
    cursor: Annotated[str | None, "the cursor at its start"]
    new_cursor: Annotated[str | None, "the cursor at its end; null where it has not changed"]
    failure: Annotated[Failure | None, "the exception of its function"]
    logs: Annotated[list[TickLine], "what its function logged"]
    fresh_because: Annotated[str | None, "why it was not forked from the process that serves"]


class Automation(TypedDict):
    """A schedule or sensor and its current state."""

    location: Annotated[str, "the location that defines it"]
    name: Annotated[str, "its name"]
    kind: Annotated[_Kind, "`schedule` or `sensor`"]
    repository: Annotated[str | None, "its repository, where the location has several"]
    framework: Annotated[str, "its framework: `native`, `dagster`"]
    fired_by: Annotated[
        str, "what fires it: `supervise`, or `dagster`, which is Dagster's own daemon"
    ]
    jobs: Annotated[list[str], "the jobs that it may launch"]
    cron: Annotated[list[str], "of a schedule, its cron strings"]
    zone: Annotated[str | None, "of a schedule, its time zone; null is UTC"]
    interval: Annotated[
        float | None, "of a sensor, the minimum number of seconds between two ticks"
    ]
    catch_up: Annotated[str | None, "which missed ticks are evaluated later: `last`, `none`, `all`"]
    overlap: Annotated[
        str | None, "what a tick does while a run of it has not ended: `skip`, `queue`, `allow`"
    ]
    on: Annotated[bool, "true while it is on; for Dagster's, what its definition says"]
    default_on: Annotated[bool, "whether it is on by default"]
    switched: Annotated[bool | None, "what it was switched to; null where it was never switched"]
    waits: Annotated[
        str | None,
        "why it is not fired now although it is on; of one that another daemon fires, that none runs",
    ]
    next: Annotated[float | None, "when its next tick is due; null where none is"]
    times: Annotated[list[float], "of a schedule, as many next times as were requested"]
    cursor: Annotated[str | None, "of a sensor, its cursor"]
    last: Annotated[
        Tick | None, "its last tick, without its log, and the configurations and tags of its runs"
    ]


class AutomationRows(TypedDict):
    """Schedules and sensors."""

    automations: Annotated[list[Automation], "in the order of their locations, then by name"]


class TickRows(TypedDict):
    """Ticks, newest first."""

    ticks: Annotated[list[Tick], "one row for each"]
