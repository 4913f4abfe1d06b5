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
    """A run that a schedule or sensor asked for."""

    job: Annotated[str | None, "the job; null for a run of assets"]
    assets: Annotated[list[str] | None, "the assets; null: it is a job's"]
    run_key: Annotated[str | None, "what makes it one run, however often it is asked for"]
    config: Annotated[dict[str, Any], "the configuration of the run, secrets hidden"]
    tags: Annotated[dict[str, str], "tags of the run, secrets hidden"]
    partition: Annotated[str | None, "the partition"]
    run: Annotated[str | None, "the run that was launched for it, now or earlier"]
    note: Annotated[str | None, "why none was launched, or could be"]


class TickLine(TypedDict):
    """A line that the function of a schedule or sensor has logged."""

    level: Annotated[str, "such as `INFO`"]
    message: Annotated[str, "the line"]


class Tick(TypedDict):
    """One evaluation of a schedule or sensor, or ticks of it that were left out."""

    tick: Annotated[
        int | None, "its number; null for one that was only asked for, which is not kept"
    ]
    location: Annotated[str, "the location"]
    name: Annotated[str, "the schedule or sensor"]
    kind: Annotated[_Kind, "what it is"]
    framework: Annotated[str | None, "whose it is: `native`, `dagster`"]
    state: Annotated[
        Annotated[str, Keywords(enum=list(TICK_STATES))], "see [automations.md](automations.md)"
    ]
    time: Annotated[float, "the time that it is for; of several, the last"]
    count: Annotated[Count, "how many ticks this tells of: several may be left out for one reason"]
    began: Annotated[float | None, "when it was evaluated; null where it was not"]
    ended: Annotated[float | None, "when all that it asked for was launched"]
    by: Annotated[str | None, "the client that asked for it; null: it was due"]
    reason: Annotated[str | None, "why nothing is launched, or what went wrong, in one sentence"]
    requests: Annotated[list[TickRequest], "the runs that it asked for"]
    cursor: Annotated[str | None, "the cursor that it began with"]
    new_cursor: Annotated[str | None, "the cursor that it left; null where it stays"]
    failure: Annotated[Failure | None, "what its function raised"]
    logs: Annotated[list[TickLine], "what its function logged"]
    fresh_because: Annotated[str | None, "why it was not forked from the process that serves"]


class Automation(TypedDict):
    """A schedule or sensor, and where it stands."""

    location: Annotated[str, "the location that defines it"]
    name: Annotated[str, "its name"]
    kind: Annotated[_Kind, "what it is"]
    repository: Annotated[str | None, "its repository, where the location has several"]
    framework: Annotated[str, "whose it is: `native`, `dagster`"]
    fired_by: Annotated[str, "what fires it: `supervise`, or `dagster`: its own daemon"]
    jobs: Annotated[list[str], "the jobs that it may launch"]
    cron: Annotated[list[str], "of a schedule, its cron strings"]
    zone: Annotated[str | None, "of a schedule, the time zone; null: UTC"]
    interval: Annotated[float | None, "of a sensor, the least seconds between two ticks"]
    catch_up: Annotated[str | None, "what becomes of ticks that were missed: `last`, `none`, `all`"]
    overlap: Annotated[str | None, "what becomes of a tick beside a run: `skip`, `queue`, `allow`"]
    on: Annotated[bool, "true while it is switched on; of Dagster's, as its definition says"]
    default_on: Annotated[bool, "whether it is on where it was never switched"]
    switched: Annotated[bool | None, "what it was switched to; null: never"]
    waits: Annotated[str | None, "why it is not fired now although it is on"]
    next: Annotated[float | None, "when its next tick is due; null where none is"]
    times: Annotated[list[float], "of a schedule, its next times, as many as were asked for"]
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
