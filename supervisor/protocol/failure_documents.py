"""The documents of a load that failed: part of ``supervisor.protocol.documents``, which has the rules."""

from typing import Annotated, NotRequired, TypedDict

from supervisor.protocol.document_schema import Count

__all__ = ["Cause", "ExceptionData", "Failure", "LoadWarning", "StackFrame"]


class StackFrame(TypedDict):
    """One call of a traceback, outermost first."""

    file: NotRequired[Annotated[str, "its file"]]
    line: Annotated[int, "0 where it is not known"]
    function: NotRequired[Annotated[str, "its function"]]
    code: NotRequired[Annotated[str, "the source line"]]
    user: Annotated[bool, "true for the team's own files"]


class ExceptionData(TypedDict, total=False):
    """The exception that a load ended with."""

    type: Annotated[str, "its class"]
    message: Annotated[str, "its text"]
    module: Annotated[str, "the module that is missing"]
    code: Annotated[int | str, "what `sys.exit` was called with"]
    not_installed: Annotated[str, "the library that neither environment nor team provides"]


class Cause(TypedDict):
    """An exception behind the exception."""

    relation: NotRequired[Annotated[str, "`cause`, `context`, or `member` of a group"]]
    type: NotRequired[Annotated[str, "its class"]]
    message: NotRequired[Annotated[str, "its text"]]
    frames: Annotated[list[StackFrame], "where it was raised"]


class LoadWarning(TypedDict):
    """Something that loaded, but not as its author may think."""

    code: NotRequired[Annotated[str, "which warning"]]
    message: Annotated[str, "one sentence"]
    hint: NotRequired[Annotated[str, "what to do"]]
    file: NotRequired[Annotated[str, "the file"]]
    line: NotRequired[Annotated[int, "the line"]]


class Failure(TypedDict):
    """Why the newest generation failed.

    Of all locations at once it has `kind`, `message`, `hint` and `generation` only.
    """

    kind: Annotated[str, "see [snapshot.md](snapshot.md#load-failures)"]
    message: Annotated[str, "one sentence; a syntax error has the source line below it"]
    hint: NotRequired[Annotated[str, "what to do"]]
    generation: Annotated[Count, "the one that failed"]
    exception: NotRequired[Annotated[ExceptionData, "what was raised"]]
    frames: NotRequired[Annotated[list[StackFrame], "where"]]
    causes: NotRequired[Annotated[list[Cause], "what it was raised from"]]
    traceback: NotRequired[Annotated[str, "the whole text, at most 64 KiB"]]
    detail: NotRequired[Annotated[str, "a tool's own words"]]
    file: NotRequired[Annotated[str, "the file at fault"]]
    line: NotRequired[Annotated[int, "the line at fault"]]
    warnings: NotRequired[Annotated[list[LoadWarning], "given before it failed"]]
    signal: NotRequired[Annotated[int, "that the process died of"]]
    status: NotRequired[Annotated[int, "that the process exited with"]]
    environment_kind: NotRequired[Annotated[str, "what is wrong with the environment"]]
