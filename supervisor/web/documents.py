"""The documents of the HTTP API that the control protocol does not have.

Owns their shapes, as ``supervisor.protocol.documents`` does those of the others. Holds no behaviour; only what
makes schemas imports it to run.
"""

from typing import Annotated, NotRequired, TypedDict

from supervisor.protocol.document_schema import Count, Keywords
from supervisor.protocol.documents import DefinitionName, LocationStatus, StatusDocument
from supervisor.protocol.run_documents import RunDetail, RunEvent, RunRow

__all__ = [
    "ApiError",
    "ApiErrorData",
    "ApiProblem",
    "ApiStatus",
    "ApiWorkspace",
    "Asset",
    "Assets",
    "Definitions",
    "Duplicate",
    "Duplicates",
    "FoundDefinition",
    "Locations",
    "RunPage",
    "Schedule",
    "Schedules",
]


class ApiProblem(TypedDict):
    """One thing wrong in the configuration of a launch."""

    path: Annotated[str, "the key path, as `ops.load.config.limit`"]
    message: Annotated[str, "what is wrong, in one sentence"]
    expected: Annotated[str, "what is expected there; may be empty"]


class ApiErrorData(TypedDict):
    """What went wrong."""

    code: Annotated[str, "which error"]
    message: Annotated[str, "one sentence"]
    hint: Annotated[str | None, "what to do"]
    problems: NotRequired[Annotated[list[ApiProblem], "in the configuration of a launch"]]


class ApiError(TypedDict):
    """Why there is no answer."""

    error: Annotated[ApiErrorData, "what went wrong"]


class ApiWorkspace(TypedDict):
    """The workspace that a page belongs to."""

    name: Annotated[str, "with the full path"]
    directory: Annotated[str, "where it lies"]
    key: Annotated[str, "what tells it from others there"]


class ApiStatus(StatusDocument):
    """The status document, and the workspace that the page belongs to."""

    workspace: Annotated[ApiWorkspace, "the page's own"]


class Locations(TypedDict):
    """Locations that were searched for."""

    locations: Annotated[list[LocationStatus], "by their order in the workspace"]


class FoundDefinition(DefinitionName):
    """A definition that was searched for."""

    description: Annotated[str, "may be empty"]
    group: Annotated[str | None, "of an asset"]
    owners: Annotated[list[str], "its own"]
    tags: Annotated[list[str], "as `key=value`"]


class Definitions(TypedDict):
    """A part of the definitions that were found."""

    total: Annotated[Count, "how many were found"]
    offset: Annotated[Count, "how many were passed over"]
    definitions: Annotated[list[FoundDefinition], "the part"]


class Duplicate(TypedDict):
    """A name that more than one location defines."""

    kind: Annotated[str, "of definition"]
    name: Annotated[str, "the name"]
    locations: Annotated[list[str], "who defines it"]


class Duplicates(TypedDict):
    """Names that more than one location defines."""

    duplicates: Annotated[list[Duplicate], "by kind and name"]


class Asset(TypedDict):
    """An asset over all locations."""

    name: Annotated[str, "its key, joined by `/`"]
    locations: Annotated[list[str], "who makes it"]
    known_in: Annotated[list[str], "who only knows it"]
    group: Annotated[str | None, "its group"]
    kinds: Annotated[list[str], "what it is made with or as"]
    checks: Annotated[list[str], "their own names, those of all locations"]
    upstream: Annotated[list[str], "what it is made from"]
    downstream: Annotated[list[str], "what is made from it"]


class Assets(TypedDict):
    """The graph of assets over all locations."""

    assets: Annotated[list[Asset], "by name"]


class RunPage(TypedDict):
    """What is known of a run behind a cursor, as far as one answer has room."""

    events: NotRequired[Annotated[list[RunEvent], "events, in order"]]
    out: NotRequired[Annotated[str, "what it wrote to standard output"]]
    err: NotRequired[Annotated[str, "what it wrote to standard error"]]
    runs: NotRequired[Annotated[list[RunRow], "of a range of partitions, its runs"]]
    after: Annotated[str, "the cursor behind them"]
    run: Annotated[RunDetail, "the run, as it was before they were read"]


class Schedule(TypedDict):
    """A schedule in words, with its next ticks."""

    location: Annotated[str, "where it is"]
    name: Annotated[str, "its name"]
    repository: Annotated[str | None, "where a location has several"]
    cron_schedule: Annotated[list[str], "its cron expressions"]
    in_words: Annotated[list[str], "each in words"]
    timezone: Annotated[str, "that they are meant in"]
    next_ticks: Annotated[
        list[Annotated[str, Keywords(format="date-time")]], "the next five, ISO 8601"
    ]
    problem: Annotated[str | None, "why there are none"]


class Schedules(TypedDict):
    """The schedules."""

    schedules: Annotated[list[Schedule], "by location"]
