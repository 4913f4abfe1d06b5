"""What a client offers, each operation once: ``Client`` blocks in it, ``AsyncClient`` awaits it.

An operation is a generator: it yields the calls that it makes and gets the answer of each; what it
returns is the result. So it knows neither socket nor event loop, and both clients run the same code
(``supervisor.client.client``). Its docstring and parameters are those of the clients' method. Operations
on ``Call`` objects that stream yield nothing: they return the call.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from supervisor.client.requests import Call, call
from supervisor.errors import ProtocolError, RequestError
from supervisor.protocol import parameters
from supervisor.protocol.methods import LONGEST_HOLD, METHODS

if TYPE_CHECKING:
    from supervisor.protocol import documents
    from supervisor.snapshots.snapshot import Snapshot

__all__ = [
    "Order",
    "Plan",
    "call_method",
    "definitions",
    "diff",
    "environments",
    "follow",
    "history",
    "logs",
    "order",
    "reload",
    "restart",
    "settings",
    "show",
    "shutdown",
    "snapshot",
    "start",
    "status",
    "stop",
    "wait",
    "watch",
]

# Chunks of a log that may be on their way.
_AHEAD = 4

Order = Literal["reload", "restart", "stop", "start"]

T = TypeVar("T")
Plan = Generator[Call[Any], Any, T]
"""Yields calls, is sent their answers, returns a ``T``."""


def status(
    location: str | None = None, *, since: int | None = None, timeout: float = 30.0
) -> Plan[documents.StatusDocument]:
    """The status document, of all locations or of one (then with memory and last log lines).

    With ``since`` it comes when its ``revision`` is another, or after at most ``timeout``
    (and 30) seconds. Raises ``UnknownLocationError``.
    """
    parameters.seconds("timeout", timeout)
    held = timeout if since is not None else None
    params = {"location": location, "since": since, "timeout": held}
    found: documents.StatusDocument = yield call("status", params, _status)
    return found


def watch(
    location: str | None = None, *, refresh: float | None = None
) -> Call[documents.StatusDocument]:
    """The status document now, and again each time that it has changed, for ever.

    As fast as the caller takes them: changes in between are in the next one. With ``refresh``
    (seconds) so often although nothing else has changed than memory and processor time. Ends with
    ``NotRunningError`` when the supervisor does.
    """
    # One at a time: what the caller asks for next is made then.
    return call("watch", {"location": location, "refresh": refresh}, _status, credit=1)


def definitions(
    kind: str | None = None, *, location: str | None = None
) -> Plan[list[documents.DefinitionRow]]:
    """One row a definition, of all kinds and locations or of one. ``UnknownLocationError``."""
    answer = yield call("list", {"kind": kind, "location": location}, _part("definitions"))
    return cast("list[documents.DefinitionRow]", answer)


def show(
    location: str, name: str, *, kind: str | None = None, repository: str | None = None
) -> Plan[documents.Shown]:
    """One definition in full; a lazy one is constructed in its shim now.

    Raises ``UnknownLocationError``, ``UnknownDefinitionError``, and ``RequestError`` when the
    name is that of several (give ``kind`` or ``repository``) or constructing it fails.
    """
    params = {"location": location, "name": name, "kind": kind, "repository": repository}
    found: documents.Shown = yield call("show", params)
    return found


def snapshot(location: str, *, generation: int | None = None) -> Plan[Snapshot]:
    """The snapshot being served, or that of ``generation``: bytes, decoded when looked at."""
    params = {"location": location, "generation": generation}
    found: Snapshot = yield call("snapshot", params, _snapshot)
    return found


def diff(
    location: str, before: int | None = None, after: int | None = None
) -> Plan[documents.Diff]:
    """What changed between two generations; without numbers, the last two that loaded."""
    found: documents.Diff = yield call("diff", {"location": location, "from": before, "to": after})
    return found


def reload(*locations: str) -> Plan[dict[str, str]]:
    """Load the locations again (all, when none is named) beside what they serve now.

    Returns at once with what was begun for each; ``wait`` for the outcome.
    """
    return (yield from order("reload", locations))


def restart(*locations: str) -> Plan[dict[str, str]]:
    """Stop the locations and start them afresh, environment included. As ``reload``."""
    return (yield from order("restart", locations))


def stop(*locations: str) -> Plan[dict[str, str]]:
    """Stop the locations until they are started. As ``reload``."""
    return (yield from order("stop", locations))


def start(*locations: str) -> Plan[dict[str, str]]:
    """Start the locations that do not run. As ``reload``."""
    return (yield from order("start", locations))


def order(order: Order, locations: Sequence[str]) -> Plan[dict[str, str]]:
    """One of the four orders by name. No locations means all. ``UnknownLocationError``."""
    answer = yield call(order, {"locations": locations}, _part("locations"))
    return cast("dict[str, str]", answer)


def wait(*locations: str, timeout: float | None = None) -> Plan[documents.Waited]:
    """Until nothing is under way in the locations (all, when none is named).

    Returns whether all are ready, and their states. ``timeout`` in seconds, None for ever;
    when it passes, what is the case then is returned: the caller sees it in the states.
    """
    deadline = None
    if timeout is not None:
        deadline = time.monotonic() + parameters.seconds("timeout", timeout)
    while True:
        left = LONGEST_HOLD if deadline is None else max(deadline - time.monotonic(), 0.0)
        waited: documents.Waited = yield call("wait", {"locations": locations, "timeout": left})
        if waited["settled"] or (deadline is not None and time.monotonic() >= deadline):
            return waited


def history(location: str) -> Plan[documents.History]:
    """The generations of ``location`` that are kept, oldest first, without their definitions."""
    found: documents.History = yield call("history", {"location": location})
    return found


def settings(location: str) -> Plan[documents.Settings]:
    """The settings that count for ``location``, and where each comes from; variables and secrets are hidden."""
    found: documents.Settings = yield call("settings", {"location": location})
    return found


def environments(location: str | None = None) -> Plan[list[documents.EnvironmentRow]]:
    """The environments in use, or that of one location, and what is installed in each."""
    answer = yield call("environments", {"location": location}, _part("environments"))
    return cast("list[documents.EnvironmentRow]", answer)


def logs(
    location: str, *, lines: int = 50, after: int | None = None, timeout: float = 30.0
) -> Plan[documents.LogChunk]:
    """The last ``lines`` lines, and the cursor behind them.

    With ``after`` (such a cursor) the lines behind it, as soon as there are any or after at most
    ``timeout`` (and 30) seconds.
    """
    if after is not None:
        params = {"location": location, "after": after, "timeout": timeout}
        found: documents.LogChunk = yield call("logs", params)
        return found
    chunk: documents.LogChunk = yield call("logs", {"location": location, "lines": lines})
    # One answer is bounded: the rest is asked for.
    while (missing := lines - len(chunk["lines"])) > 0:
        before = chunk.get("before")
        if before is None:
            break
        params = {"location": location, "lines": missing, "before": before}
        older: documents.LogChunk = yield call("logs", params)
        chunk = {
            **chunk,
            "lines": [*older["lines"], *chunk["lines"]],
            "before": older.get("before"),
        }
    return chunk


def follow(location: str, *, after: int | None = None) -> Call[documents.LogChunk]:
    """New lines of the log as they are written, those behind the cursor ``after`` first, for ever.

    The ``next`` of each chunk is the cursor to go on from. Ends with ``NotRunningError`` when the
    supervisor does.
    """
    return call("follow", {"location": location, "after": after}, credit=_AHEAD)


def call_method(name: str, params: Mapping[str, Any]) -> Plan[dict[str, Any]]:
    """What the control method ``name`` answers, as it came (docs/protocol.md); not for streams.

    ``params`` as the method declares them. Raises ``RequestError`` for a name that is no such method.
    """
    method = METHODS.get(name)
    if method is None or method.streaming:
        raise RequestError(f"no method is named {name!r}")
    found: dict[str, Any] = yield call(name, params)
    return found


def shutdown(*, at_once: bool = False, leave_runs: bool = False) -> Plan[int]:
    """Ask the supervisor to stop everything and end; returns its pid, at once.

    ``at_once`` kills the locations' processes instead of asking them to end. With ``leave_runs``
    runs go on, and the next supervisor adopts them.
    """
    pid: int = yield call("shutdown", {"at_once": at_once, "leave_runs": leave_runs}, _pid)
    return pid


def _part(name: str) -> Any:
    def part(result: Any, _payload: list[bytes]) -> Any:
        return result[name]

    return part


def _pid(result: Any, _payload: list[bytes]) -> int:
    return int(result["pid"])


def _status(document: Any, _payload: list[bytes]) -> documents.StatusDocument:
    if document["format"] != 1:
        raise ProtocolError(
            f"the status document has format {document['format']!r}, this client knows 1"
        )
    document["revision"], document["supervisor"], document["locations"]
    return cast("documents.StatusDocument", document)


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
