"""The client's half of the control protocol, without a socket.

Owns how a request is built, how a reply is judged, which error a refusal becomes, and the credit of
streams (docs/protocol.md, "Clients"). Both clients, the one that blocks and the one that awaits, feed
it frames and do nothing else, so there is one copy of every rule. No I/O, no clock. What the methods
are is declared in ``supervisor.protocol.methods``.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from runner_shim import wire
from supervisor.errors import (
    ConfigurationError,
    ConfigurationProblem,
    ForbiddenError,
    InvalidParameterError,
    NotRunningError,
    NotServedError,
    ProtocolError,
    RequestError,
    RequestTimeoutError,
    SupervisorError,
    UnauthenticatedError,
    UnfitOrderError,
    UnknownDefinitionError,
    UnknownLocationError,
    UnknownPartitionError,
    UnknownRunError,
)
from supervisor.protocol.methods import LONGEST_HOLD, METHODS
from supervisor.specs import SourcePosition

__all__ = ["VERSION", "Call", "Conversation", "Stream", "call", "error_from"]

VERSION = 2
"""Version of the control protocol; the shim protocol counts its own."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request. ``hold`` is how many seconds the supervisor may keep the answer back on purpose.

    ``parse(result, frames)`` makes the value of an answer. ``is_order`` is True for what is meant for
    one workspace and no other: it is not sent on a guess. ``credit`` is that of a stream.
    """

    method: str
    params: Mapping[str, Any]
    parse: Callable[[Any, list[bytes]], T]
    hold: float = 0.0
    is_order: bool = False
    credit: int = 0


def call(
    name: str,
    params: Mapping[str, Any],
    parse: Callable[[Any, list[bytes]], T] | None = None,
    credit: int = 0,
) -> Call[T]:
    """A request for the method ``name``. ``params`` that are None are left out.

    ``credit`` is how many answers of a stream may be on their way.

    Raises ``InvalidParameterError`` for a parameter that is out of its bounds.
    """
    method = METHODS[name]
    given = {key: value for key, value in params.items() if value is not None}
    method.read(given)
    if method.waits and "timeout" in given:
        given["timeout"] = min(given["timeout"], LONGEST_HOLD)
    return Call(
        name,
        given,
        _document if parse is None else parse,
        given.get("timeout", 0.0) if method.waits else method.hold,
        method.is_order,
        credit,
    )


def _document(result: Any, _payload: list[bytes]) -> Any:
    if not isinstance(result, dict):
        raise TypeError(f"{type(result).__name__} where a map is expected")
    return result


class Conversation:
    """Gives requests their numbers and takes replies apart.

    Each request is made in the name of ``token``, where there is one, and with no more than ``role``.
    """

    def __init__(
        self, workspace: str, *, token: str | None = None, role: str | None = None
    ) -> None:
        self._workspace = workspace
        self._asker = {"bearer": token} if token is not None else {}
        if role is not None:
            self._asker["role"] = role
        self._numbers = itertools.count(1)

    def request(self, call: Call[Any]) -> tuple[int, list[bytes]]:
        """The number of a new request, and its frames."""
        number = next(self._numbers)
        header = {"v": VERSION, "id": number, "method": call.method, "params": dict(call.params)}
        header.update(self._asker)
        if call.credit:
            header["credit"] = call.credit
        try:
            wire.check(header)  # the supervisor drops what has NaN in it
            return number, [wire.pack(header)]
        except (OverflowError, TypeError, ValueError, wire.WireError) as error:
            raise InvalidParameterError(
                f"the parameters of {call.method!r} cannot be sent: {error}",
                hint="integers have at most 64 bits, and values are those of JSON",
            ) from None

    def stream(self, number: int, call: Call[T]) -> Stream[T]:
        """The stream that request ``number`` began."""
        return Stream(self, number, call)

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


class Stream(Generic[T]):
    """The answers to one streaming request, in order.

    ``feed`` each reply that has its number, ``take`` the next answer, and send ``grant()`` once there
    is room for another: the supervisor sends no more than it was granted.
    """

    def __init__(self, conversation: Conversation, number: int, call: Call[T]) -> None:
        self.number = number
        self._conversation = conversation
        self._call = call
        self._waiting: deque[tuple[dict[str, Any], list[bytes]]] = deque()
        self._error: Exception | None = None

    def feed(self, header: dict[str, Any], payload: list[bytes]) -> None:
        """A reply came. One without answer or error says that the stream is alive."""
        if "result" in header or "error" in header or header.get("end"):
            self._waiting.append((header, payload))

    def fail(self, error: Exception) -> None:
        """No reply will come any more, for this reason; what has come is given first."""
        self._error = error

    @property
    def waits(self) -> bool:
        """True while ``take`` has nothing to give."""
        return not self._waiting and self._error is None

    def take(self) -> tuple[T] | None:
        """The next answer, in a tuple; None at the end of the stream.

        Raises the error that the supervisor answered, or with which the stream failed.
        """
        if not self._waiting:
            assert self._error is not None  # the caller looks whether it waits
            raise self._error
        header, payload = self._waiting.popleft()
        if header.get("end"):
            return None
        return (self._conversation.result(self._call, header, payload),)

    def grant(self) -> list[bytes]:
        """The frames that grant one more answer."""
        return [wire.pack({"v": VERSION, "id": self.number, "credit": 1})]

    def cancel(self) -> list[bytes]:
        """The frames that end it early."""
        return [wire.pack({"v": VERSION, "id": self.number, "cancel": True})]


_SENTENCES: tuple[
    type[RequestError | RequestTimeoutError | ProtocolError | UnauthenticatedError], ...
] = (
    RequestTimeoutError,
    ProtocolError,
    UnknownPartitionError,
    NotServedError,
    ForbiddenError,
    UnauthenticatedError,
)


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
        name = str(data.get("name") or params.get("name", ""))
        return UnknownDefinitionError(name, str(data.get("message") or ""), hint=hint)
    if code == ConfigurationError.code:
        problems = [_problem(one) for one in data.get("problems") or ({"message": message},)]
        return ConfigurationError(problems, hint=hint)
    if code == UnknownRunError.code:
        return UnknownRunError(str(data.get("name") or params.get("run", "")), hint=hint)
    if code == UnfitOrderError.code:
        return UnfitOrderError(message, hint=hint, problems=_unfit(data.get("problems")))
    kinds = {one.code: one for one in _SENTENCES}
    return kinds.get(str(code), RequestError)(message, hint=hint)


def _asked_location(params: Mapping[str, Any]) -> str:
    if params.get("location"):
        return str(params["location"])
    return ", ".join(params.get("locations") or ())


def _unfit(rows: Any) -> list[dict[str, str]]:
    found = [one for one in rows if isinstance(one, dict)] if isinstance(rows, list) else []
    names = ("path", "message", "expected")
    return [{name: str(one.get(name) or "") for name in names} for one in found]


def _problem(row: Mapping[str, Any]) -> ConfigurationProblem:
    position = SourcePosition(
        str(row.get("file", "")), int(row.get("line") or 0), int(row.get("column") or 0)
    )
    texts = [str(row.get(name) or "") for name in ("path", "message", "expected", "suggestion")]
    return ConfigurationProblem(position, *texts)
