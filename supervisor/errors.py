"""The one tree of errors; each class says whose fault it is.

SupervisorError
├── ConfigurationError      the operator's files or flags (exit status 2)
├── NotRunningError         no supervisor answers for this workspace (exit status 3)
├── UnreachableError        one runs and cannot be reached now (exit status 1)
├── AlreadyRunningError     another supervisor holds this workspace (exit status 2)
├── StartError              the machine or its limits do not let one start (exit status 1)
├── UnknownLocationError    no location of that name (exit status 4)
├── UnknownDefinitionError  no definition of that name in the location (exit status 4)
├── UnknownRunError         no run of that id (exit status 4)
├── UnauthenticatedError    the token or key is not known, not valid any more, or missing (exit status 1)
├── RequestError            the supervisor understood the request and refused it (exit status 1)
│   ├── ForbiddenError      the role of the one who asks does not allow it (exit status 1)
│   ├── UnfitOrderError     what is to be run does not fit what is loaded (exit status 2)
│   ├── UnknownPartitionError  what is to be run has no such partition (exit status 4)
│   └── NotServedError      the location has no process to run anything (exit status 4)
├── RequestTimeoutError     the deadline passed before what was waited for came (exit status 1)
└── ProtocolError           the other side sent what the protocol does not allow (exit status 1)
    └── InvalidParameterError  the caller asks with what no request may hold (exit status 2)

Each carries its facts as fields and builds its text in ``__str__``: one lowercase sentence that
names the thing, its state and the remedy. ``hint`` is printed on a line of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from supervisor.specs import SourcePosition

if TYPE_CHECKING:
    from supervisor.protocol.documents import ProblemRow

__all__ = [
    "AlreadyRunningError",
    "ConfigurationError",
    "ConfigurationProblem",
    "ForbiddenError",
    "InvalidParameterError",
    "NotRunningError",
    "NotServedError",
    "ProtocolError",
    "RequestError",
    "RequestTimeoutError",
    "StartError",
    "SupervisorError",
    "UnauthenticatedError",
    "UnfitOrderError",
    "UnknownDefinitionError",
    "UnknownLocationError",
    "UnknownPartitionError",
    "UnknownRunError",
    "UnreachableError",
]


# Characters of a list of all keys, beyond which the one that is meant is enough.
_LONG = 80


class SupervisorError(Exception):
    """Base of all errors that a user may see. ``exit_status`` is what the command returns."""

    exit_status: ClassVar[int] = 1
    code: ClassVar[str] = "error"
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigurationProblem:
    """One thing wrong in one place.

    ``path`` is the key path as people write it (``load_from[0].python_file.relative_path``).
    ``expected`` and ``suggestion`` ("did you mean …") may be empty.
    """

    position: SourcePosition
    path: str
    message: str
    expected: str = ""
    suggestion: str = ""

    def as_data(self) -> ProblemRow:
        """As plain data."""
        return {
            "file": self.position.file,
            "line": self.position.line,
            "column": self.position.column,
            "path": self.path,
            "message": self.message,
            "expected": self.expected,
            "suggestion": self.suggestion,
        }

    def __str__(self) -> str:
        return self.sentence(str(self.position), self.as_data())

    @staticmethod
    def sentence(place: str, row: ProblemRow) -> str:
        """A problem in one line; a long list of what is expected gives way to a suggestion."""
        parts = [": ".join(filter(None, (place, row["path"], row["message"])))]
        if row["expected"] and not (row["suggestion"] and len(row["expected"]) > _LONG):
            parts.append(f"expected {row['expected']}")
        if row["suggestion"]:
            parts.append(f"did you mean {row['suggestion']}?")
        return "; ".join(parts)


class ConfigurationError(SupervisorError):
    """All problems of the configuration at once."""

    exit_status = 2
    code = "configuration"

    def __init__(
        self, problems: Sequence[ConfigurationProblem], *, hint: str | None = None
    ) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)
        self.hint = hint

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class NotRunningError(SupervisorError):
    """No supervisor of ``workspace`` runs, or none is meant.

    ``others`` are the workspaces of those that do run, where that was looked for. With
    ``nothing_here`` no workspace was named, and ``workspace`` is the directory from which upwards no
    workspace file was found.
    """

    exit_status = 3
    code = "not_running"

    def __init__(
        self,
        workspace: str,
        *,
        hint: str | None = None,
        others: Sequence[str] = (),
        nothing_here: bool = False,
    ) -> None:
        super().__init__(workspace)
        self.workspace = workspace
        self.hint = hint
        self.others = tuple(others)
        self.nothing_here = nothing_here

    def __str__(self) -> str:
        if self.nothing_here:
            return f"no workspace file is in {self.workspace} or above, and none was named"
        return f"no supervisor is running for {self.workspace}"


class AlreadyRunningError(SupervisorError):
    """Another supervisor (``pid``) holds ``workspace``."""

    exit_status = 2
    code = "already_running"

    def __init__(self, workspace: str, pid: int, *, hint: str | None = None) -> None:
        super().__init__(workspace, pid)
        self.workspace = workspace
        self.pid = pid
        self.hint = (
            hint or "use `supervise status` to look at it, or `supervise shutdown` to stop it"
        )

    def __str__(self) -> str:
        who = f"pid {self.pid}" if self.pid > 0 else "a process that does not tell its pid"
        return f"{self.workspace} is already supervised by {who}"


class UnreachableError(SupervisorError):
    """A supervisor (``pid``, 0 when it is not known) runs for ``workspace`` and cannot be reached."""

    code = "unreachable"

    def __init__(self, workspace: str, pid: int, reason: str, *, hint: str | None = None) -> None:
        super().__init__(workspace, pid, reason)
        self.workspace = workspace
        self.pid = pid
        self.reason = reason
        self.hint = hint

    def __str__(self) -> str:
        who = f"pid {self.pid} supervises" if self.pid > 0 else "a supervisor runs for"
        return f"{who} {self.workspace} and cannot be reached: {self.reason}"


class _UnknownError(SupervisorError):
    exit_status = 4

    def __init__(self, name: str, *, hint: str | None = None) -> None:
        super().__init__(name)
        self.name = name
        self.hint = hint


class UnknownLocationError(_UnknownError):
    """``message`` says what no location has, where that is no name."""

    code = "unknown_location"

    def __init__(self, name: str, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(name, hint=hint)
        self.message = message or f"no code location is named {name!r}"

    def __str__(self) -> str:
        return self.message


class UnknownDefinitionError(_UnknownError):
    """``message`` says what has no such definition, where that is known."""

    code = "unknown_definition"

    def __init__(self, name: str, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(name, hint=hint)
        self.message = message or f"no definition is named {name!r}"

    def __str__(self) -> str:
        return self.message


class UnknownRunError(_UnknownError):
    code = "unknown_run"

    def __str__(self) -> str:
        return f"no run has the id {self.name!r}"


class _SentenceError(SupervisorError):
    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class StartError(_SentenceError):
    code = "cannot_start"


class RequestError(_SentenceError):
    code = "refused"


class ForbiddenError(RequestError):
    code = "forbidden"


class UnauthenticatedError(_SentenceError):
    code = "unauthenticated"


class UnfitOrderError(RequestError):
    """``problems`` are what is wrong in the configuration, each a map of ``path``, ``message`` and
    ``expected``."""

    exit_status = 2
    code = "unfit_order"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        problems: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class NotServedError(RequestError):
    exit_status = 4
    code = "not_served"


class UnknownPartitionError(RequestError):
    exit_status = 4
    code = "unknown_partition"


class RequestTimeoutError(_SentenceError):
    code = "timeout"


class ProtocolError(_SentenceError):
    code = "protocol"


class InvalidParameterError(ProtocolError):
    exit_status = 2
