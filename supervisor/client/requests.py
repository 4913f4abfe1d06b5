"""The client's half of the control protocol, without a socket.

Owns how a request is built, how a reply is judged and which error a refusal becomes
(docs/protocol.md, "Clients"). Both clients, the one that blocks and the one that awaits, feed it
frames and do nothing else, so there is one copy of every rule. No I/O, no clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from runner_shim import wire
from supervisor import parameters
from supervisor.errors import (
    ConfigurationError,
    ConfigurationProblem,
    NotRunningError,
    ProtocolError,
    RequestError,
    RequestTimeoutError,
    SupervisorError,
    UnfitOrderError,
    UnknownDefinitionError,
    UnknownLocationError,
    UnknownRunError,
)
from supervisor.specs import SourcePosition

if TYPE_CHECKING:
    from supervisor import documents
    from supervisor.snapshots.snapshot import Snapshot

__all__ = [
    "LONGEST_HOLD",
    "ORDERS",
    "UNDER_WAY",
    "VERSION",
    "Call",
    "Conversation",
    "diff",
    "earlier",
    "environments",
    "error_from",
    "follow",
    "history",
    "joined",
    "listing",
    "logs",
    "order",
    "settled",
    "show",
    "shutdown",
    "snapshot",
    "status",
    "wait",
]

VERSION = 1
"""Version of the control protocol; the shim protocol counts its own."""

T = TypeVar("T")

# How long one request may be held back by the supervisor: longer waits are made of several, so
# that a lost reply costs no more than this.
LONGEST_HOLD = 30.0

ORDERS = frozenset(
    {"reload", "restart", "stop", "start", "wait", "shutdown", "launch", "cancel_run", "retry_run"}
)
"""Handlers that change something, or wait for a change: they act on a supervisor that was meant."""

UNDER_WAY = frozenset({"starting", "loading", "backoff", "stopping"})
"""States that end by themselves (supervisor/locations/lifecycle.py; a test compares)."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request. ``hold`` is how many seconds the supervisor may keep the answer back on purpose."""

    method: str
    params: Mapping[str, Any]
    parse: Callable[[Any, list[bytes]], T]
    hold: float = 0.0

    @property
    def is_order(self) -> bool:
        """True for what is meant for one workspace and no other: it is not sent on a guess."""
        return self.method in ORDERS


class Conversation:
    """Gives requests their numbers and takes replies apart."""

    def __init__(self, workspace: str) -> None:
        self._workspace = workspace
        self._numbers = itertools.count(1)

    def request(self, call: Call[Any]) -> tuple[int, list[bytes]]:
        """The number of a new request, and its frames."""
        number = next(self._numbers)
        header = {"v": VERSION, "id": number, "method": call.method, "params": dict(call.params)}
        return number, [wire.pack(header)]

    @staticmethod
    def number_of(frames: Sequence[bytes]) -> tuple[int, dict[str, Any]]:
        """The number of the request that a reply belongs to, and its header.

        Raises ``ProtocolError`` for what is no reply.
        """
        try:
            header = wire.unpack(frames[0], wire.MAX_MESSAGE_BYTES)
        except (wire.WireError, IndexError) as error:
            raise ProtocolError(f"the supervisor sent what is no reply: {error}") from None
        if not isinstance(header, dict) or not isinstance(header.get("id"), int):
            raise ProtocolError("the supervisor sent a reply without a number")
        if header.get("v") != VERSION:
            raise ProtocolError(
                f"the supervisor speaks control protocol {header.get('v')!r}, this client {VERSION}",
                hint="the package was upgraded while the supervisor was running: restart it",
            )
        return header["id"], header

    def result(self, call: Call[T], header: Mapping[str, Any], payload: list[bytes]) -> T:
        """What ``call`` gives, or the error that the supervisor answered."""
        if "error" in header:
            raise error_from(header["error"], call.params, self._workspace)
        try:
            return call.parse(header["result"], payload)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ProtocolError(
                f"the supervisor's answer to {call.method!r} cannot be read: {error!r}",
                hint="are the command and the supervisor of the same version?",
            ) from error


def error_from(data: Any, params: Mapping[str, Any], workspace: str) -> SupervisorError:
    """The exception for an ``error`` map of a reply."""
    if not isinstance(data, dict):
        return ProtocolError("the supervisor answered an error that cannot be read")
    code = data.get("code")
    message = str(data.get("message") or "the request failed")
    hint = data.get("hint") or None
    if code == NotRunningError.code:
        return NotRunningError(workspace, hint=hint)
    if code == UnknownLocationError.code:
        return UnknownLocationError(str(data.get("name") or _asked_location(params)), hint=hint)
    if code == UnknownDefinitionError.code:
        return UnknownDefinitionError(str(data.get("name") or params.get("name", "")), hint=hint)
    if code == ConfigurationError.code:
        problems = [_problem(one) for one in data.get("problems") or ({"message": message},)]
        return ConfigurationError(problems, hint=hint)
    if code == UnknownRunError.code:
        return UnknownRunError(str(data.get("name") or params.get("run", "")), hint=hint)
    kinds = {one.code: one for one in (RequestTimeoutError, ProtocolError, UnfitOrderError)}
    return kinds.get(str(code), RequestError)(message, hint=hint)


def _asked_location(params: Mapping[str, Any]) -> str:
    if params.get("location"):
        return str(params["location"])
    return ", ".join(params.get("locations") or ())


def _problem(row: Mapping[str, Any]) -> ConfigurationProblem:
    position = SourcePosition(
        str(row.get("file", "")), int(row.get("line") or 0), int(row.get("column") or 0)
    )
    texts = [str(row.get(name) or "") for name in ("path", "message", "expected", "suggestion")]
    return ConfigurationProblem(position, *texts)


# -- the methods --------------------------------------------------------------------------------


def _present(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _name(name: str, value: str | None) -> str | None:
    return None if value is None else parameters.text(name, value)


def _location(value: str) -> str:
    return parameters.text("location", value)


def _generation(value: int | None) -> int | None:
    return None if value is None else parameters.whole("generation", value, 1)


def _document(result: Any, _payload: list[bytes]) -> Any:
    if not isinstance(result, dict):
        raise TypeError(f"{type(result).__name__} where a map is expected")
    return result


def status(
    location: str | None, since: int | None, timeout: float
) -> Call[documents.StatusDocument]:
    """The status document, at once or when its revision is another than ``since``."""
    if since is not None:
        parameters.whole("since", since, -1)
    seconds = parameters.seconds("timeout", timeout)
    hold = min(seconds, LONGEST_HOLD) if since is not None else 0.0
    params = _present(
        location=_name("location", location),
        since=since,
        timeout=hold if since is not None else None,
    )
    return Call("status", params, _status, hold)


def _status(result: Any, payload: list[bytes]) -> documents.StatusDocument:
    document = _document(result, payload)
    if document["format"] != 1:
        raise ProtocolError(
            f"the status document has format {document['format']!r}, this client knows 1"
        )
    document["revision"], document["supervisor"], document["locations"]
    return cast("documents.StatusDocument", document)


def listing(kind: str | None, location: str | None) -> Call[documents.DefinitionRows]:
    """Definitions of one kind or all, of one location or all."""
    params = _present(kind=_name("kind", kind), location=_name("location", location))
    return Call("list", params, _document)


def show(
    location: str, name: str, kind: str | None, repository: str | None
) -> Call[documents.Shown]:
    """One definition in full; a lazy one is constructed for it."""
    params = _present(
        location=_name("location", location),
        name=parameters.text("name", name),
        kind=_name("kind", kind),
        repository=_name("repository", repository),
    )
    # The shim may be busy with another request, and user code runs: give it time of its own.
    return Call("show", params, _document, LONGEST_HOLD)


def snapshot(location: str, generation: int | None) -> Call[Snapshot]:
    """A whole snapshot: the newest one that loaded, or that of ``generation``."""
    params = _present(location=_location(location), generation=_generation(generation))
    return Call("snapshot", params, _snapshot)


def _snapshot(result: Any, payload: list[bytes]) -> Snapshot:
    from supervisor.snapshots.snapshot import Snapshot

    definitions, sources = payload
    return Snapshot(
        location=result["location"],
        generation=result["generation"],
        fingerprint=result["fingerprint"],
        loaded_at=result["loaded_at"],
        definitions=definitions,
        sources=sources,
        report=result["report"],
        counts=result["counts"],
    )


def diff(location: str, before: int | None, after: int | None) -> Call[documents.Diff]:
    """The difference between two generations, by default the last two that loaded."""
    generations = {"from": _generation(before), "to": _generation(after)}
    return Call("diff", _present(location=_location(location), **generations), _document)


def history(location: str) -> Call[documents.History]:
    """The generations of one location that are kept."""
    return Call("history", {"location": _location(location)}, _document)


def environments(location: str | None) -> Call[documents.EnvironmentRows]:
    """The environments in use and what is installed in each; or that of one location."""
    # A look at every metadata directory of every environment: give it time of its own.
    return Call(
        "environments", _present(location=_name("location", location)), _document, LONGEST_HOLD
    )


def order(method: str, locations: Sequence[str]) -> Call[documents.Orders]:
    """``reload``, ``restart``, ``stop`` or ``start``; no locations means all."""
    return Call(method, {"locations": parameters.texts("locations", locations)}, _document)


def wait(locations: Sequence[str], timeout: float) -> Call[documents.Waited]:
    """Until none of the locations is under way any more, or ``timeout`` seconds passed."""
    hold = max(0.0, min(timeout, LONGEST_HOLD))
    names = parameters.texts("locations", locations)
    return Call("wait", {"locations": names, "timeout": hold}, _document, hold)


def settled(waited: documents.Waited) -> bool:
    """True when nothing is under way any more: the answer to a ``wait`` is final."""
    return waited["ready"] or not UNDER_WAY & set(waited["locations"].values())


def logs(location: str, lines: int, before: int | None = None) -> Call[documents.LogChunk]:
    """The last ``lines`` lines of a location's log, or those before a cursor; not all may come at once."""
    parameters.whole("lines", lines, 0, parameters.MOST_LINES)
    if before is not None:
        parameters.whole("before", before)
    return Call(
        "logs", _present(location=_location(location), lines=lines, before=before), _document
    )


def earlier(
    chunk: documents.LogChunk, location: str, lines: int
) -> Call[documents.LogChunk] | None:
    """Asks for what ``chunk`` lacks of the last ``lines`` lines; None when it has all that are kept."""
    missing, before = lines - len(chunk["lines"]), chunk.get("before")
    return logs(location, missing, before) if missing > 0 and before is not None else None


def joined(older: documents.LogChunk, chunk: documents.LogChunk) -> documents.LogChunk:
    """Two parts of a log as one."""
    return {**chunk, "lines": [*older["lines"], *chunk["lines"]], "before": older.get("before")}


def follow(location: str, after: int, timeout: float = LONGEST_HOLD) -> Call[documents.LogChunk]:
    """Lines after a cursor, as soon as there are any."""
    timeout = min(parameters.seconds("timeout", timeout), LONGEST_HOLD)
    after = parameters.whole("after", after)
    params = {"location": _location(location), "after": after, "timeout": timeout}
    return Call("logs", params, _document, timeout)


def shutdown(at_once: bool, leave_runs: bool = False) -> Call[int]:
    """Asks the supervisor to stop everything, perhaps but for runs, and end; gives its pid."""
    params = {"at_once": at_once, **({"leave_runs": True} if leave_runs else {})}
    return Call("shutdown", params, lambda result, _payload: int(result["pid"]))
