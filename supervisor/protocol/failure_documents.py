"""The documents of a load that failed: part of ``supervisor.protocol.documents``, which has the rules."""

from typing import Annotated, NotRequired, TypedDict

from supervisor.protocol.document_schema import Count

__all__ = ["Cause", "ExceptionData", "Failure", "LoadWarning", "StackFrame"]


class StackFrame(TypedDict):
    """One call of a traceback, outermost first."""

    file: NotRequired[Annotated[str, "its file"]]
    line: Annotated[int, "0 where unknown"]
    function: NotRequired[Annotated[str, "its function"]]
    code: NotRequired[Annotated[str, "the source line"]]
    user: Annotated[bool, "true for the team's own files"]


class ExceptionData(TypedDict, total=False):
    """The exception that a load ended with."""

    type: Annotated[str, "the name of its class"]
    message: Annotated[str, "its text"]
    module: Annotated[str, "the module that is missing"]
    code: Annotated[int | str, "the argument of `sys.exit`"]
    not_installed: Annotated[
        str, "the library that is neither installed nor part of the team's code"
    ]


class Cause(TypedDict):
    """An exception from which another one was raised."""

    relation: NotRequired[Annotated[str, "`cause`, `context`, or `member` of a group"]]
    type: NotRequired[Annotated[str, "the name of its class"]]
    message: NotRequired[Annotated[str, "its text"]]
    frames: Annotated[list[StackFrame], "where it was raised"]


class LoadWarning(TypedDict):
    """A warning about code that loaded, but probably not as its author expects."""

    code: NotRequired[Annotated[str, "code of the warning"]]
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
    exception: NotRequired[Annotated[ExceptionData, "the exception that was raised"]]
    frames: NotRequired[Annotated[list[StackFrame], "where it was raised"]]
    causes: NotRequired[Annotated[list[Cause], "the exceptions that it was raised from"]]
    traceback: NotRequired[Annotated[str, "the complete traceback, at most 64 KiB"]]
    detail: NotRequired[Annotated[str, "output of a tool, such as an installer"]]
    file: NotRequired[Annotated[str, "the file at fault"]]
    line: NotRequired[Annotated[int, "the line at fault"]]
    warnings: NotRequired[Annotated[list[LoadWarning], "warnings before the failure"]]
    signal: NotRequired[Annotated[int, "the signal that ended the process"]]
    status: NotRequired[Annotated[int, "the exit status of the process"]]
    environment_kind: NotRequired[Annotated[str, "what is wrong with the environment"]]
