"""The part of the status document that tells of a framework's own programs.

Owns its shapes; the rules are those of ``supervisor.protocol.documents``. Holds no behaviour.
"""

from typing import Annotated, Literal, TypedDict

from supervisor.protocol.document_schema import Keywords

__all__ = ["FaceStatus", "ProgramStatus"]


class ProgramStatus(TypedDict):
    """A program of a framework that the supervisor keeps running."""

    name: Annotated[str, "webserver or daemon"]
    state: Annotated[
        Literal["stopped", "running", "backoff"], "its state; in `backoff` it will be restarted"
    ]
    pid: Annotated[int | None, "its process id while it runs"]
    since: Annotated[float, "when it came into that state"]
    restarts: Annotated[int, "number of restarts", Keywords(minimum=0)]
    trouble: Annotated[str, "why its last process ended; empty once the next one works"]


class FaceStatus(TypedDict):
    """How a framework's own programs reach the locations."""

    framework: Annotated[str, "what people call it"]
    workspace_file: Annotated[str, "the file that they read"]
    url: Annotated[str, "URL of the framework's own page; empty while there is none"]
    usable: Annotated[bool, "true while that page answers"]
    pages: Annotated[
        dict[Literal["location", "run"], str],
        "where in it one of these is shown, below `url`: `{}` stands for its name, percent-encoded",
    ]
    instance: Annotated[str, "the directory of the framework's instance; empty without programs"]
    programs: Annotated[list[ProgramStatus], "programs that run beside the locations"]
