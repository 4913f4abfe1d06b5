"""The shim protocol, the supervisor's end: what may be said when, and what each message means.

Owns the state of one connection. Knows no socket, no clock and no event loop: it is fed the messages
that arrive (``receive``) and gives the messages to send (``request``, ``stop``).

The rules:

* A connection is GREETING until the shim says hello, once, in our version of the protocol. It says
  nothing before.
* It is GREETED until a load is asked for, LOADING until that is answered, then LOADED, or FAILED
  when the target could not be loaded. One process loads once.
* What is asked has a number, counted from 1. Its answer names the number, is of a type that fits
  what was asked, has as many payload frames as that type has, and comes once.
* Requests that run user code have their turn: one at a time. A ping may be asked at any time after
  the hello; it is answered when user code has returned.
* An answer may be a stream, if requests of its kind are: ``part`` messages that name the request
  come before it.
* A shim may speak without being asked. A forked one says ``unfit`` when a fresh process has to do
  its work: that ends its turn, if it has one, and the connection is LEAVING. ``run_begun`` and
  ``run_ended`` tell which of its children are runs; a run begins once and ends once.
* Once it has loaded it may say ``server_ended`` of a server that it was asked for, and ask: ``asks``,
  with a number of its own that is not open, for one ``answer``.
* What breaks a rule is a ``Violation``; another version an ``OtherVersion``. Either closes.
* What arrives on a connection that is CLOSED is dropped.

Whatever a shim sends, ``receive`` does not raise. To ask for what may not be asked raises
``IllegalRequestError`` and changes nothing: a defect of the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from runner_shim import wire

__all__ = [
    "MAX_ASKS",
    "MAX_RUNS",
    "REQUESTS",
    "Answer",
    "Asked",
    "Asks",
    "Event",
    "Hello",
    "IllegalRequestError",
    "Kind",
    "OtherVersion",
    "Part",
    "Phase",
    "RunBegun",
    "RunEnded",
    "ServerEnded",
    "ShimConnection",
    "Unfit",
    "Violation",
]

MAX_RUNS = 10_000
"""So many runs of one process are known at a time."""

MAX_ASKS = 2_000
"""So many questions of one process may be open."""

# Of what a shim says: why it cannot go on, a type, the name of a run (characters).
_MAX_REASON = 500
_MAX_NAME = 200
# There are very many connections, and an empty set has a size.
_NONE: frozenset[str] = frozenset()


class Phase(StrEnum):
    """Where a connection stands."""

    GREETING = "greeting"
    GREETED = "greeted"
    LOADING = "loading"
    LOADED = "loaded"
    FAILED = "failed"
    LEAVING = "leaving"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Kind:
    """Requests of one kind. ``answers`` maps the types that fit to how many payload frames each has.

    ``phases`` are those in which it may be asked. ``turn``: it runs user code. ``stream``: parts may
    come before the answer.
    """

    answers: Mapping[str, int]
    phases: frozenset[Phase]
    turn: bool = False
    stream: bool = False


REQUESTS: Mapping[str, Kind] = MappingProxyType(
    {
        # Its parts say which import it is at.
        "load": Kind(
            {"loaded": 2, "failed": 0}, frozenset({Phase.GREETED}), turn=True, stream=True
        ),
        "describe": Kind({"described": 0, "failed": 0}, frozenset({Phase.LOADED}), turn=True),
        # Either waits its turn in the shim. What they have of user code run does not run long.
        "validate_run": Kind({"run_valid": 0, "failed": 0}, frozenset({Phase.LOADED})),
        "start_run": Kind({"run_started": 0, "failed": 0}, frozenset({Phase.LOADED})),
        # Answered when its process has ended: user code runs there, and not in the shim.
        "tick": Kind({"ticked": 1, "failed": 0}, frozenset({Phase.LOADED})),
        "end_tick": Kind({"tick_told": 0}, frozenset({Phase.LOADED})),
        # Answered when the server serves, or has ended.
        "serve": Kind({"server_up": 0, "failed": 0}, frozenset({Phase.LOADED})),
        "warm": Kind({"warmed": 0}, frozenset({Phase.LOADED})),
        "retire_server": Kind({"server_retired": 0}, frozenset({Phase.LOADED})),
        "ping": Kind(
            {"pong": 0},
            frozenset({Phase.GREETED, Phase.LOADING, Phase.LOADED, Phase.FAILED}),
        ),
    }
)
"""What a shim can be asked (docs/protocol.md)."""


class IllegalRequestError(Exception):
    """``asked`` may not be asked now; the text says why."""

    def __init__(self, asked: str, phase: Phase, turn: str) -> None:
        super().__init__(asked, phase, turn)
        self.asked = asked
        self.phase = phase
        self.turn = turn

    def __str__(self) -> str:
        if self.turn:
            return f"{self.asked!r} cannot be asked while {self.turn!r} is not answered"
        return f"{self.asked!r} cannot be asked of a connection that is {self.phase.value}"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its ``number``, and the ``message`` to send."""

    number: int
    message: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hello:
    """The process speaks our protocol."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to request ``number``, with its payload frames; ``type`` is that of the message."""

    number: int
    type: str
    message: Mapping[str, Any]
    payload: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of what request ``number`` asked for; more may come, and then the answer."""

    number: int
    message: Mapping[str, Any]
    payload: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Unfit:
    """A forked process cannot go on, for this ``reason``; ``number`` is the request that this ends,
    0 when user code was not running."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class RunBegun:
    """A child of the process is the run ``run`` now."""

    run: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """``run`` is a child of the process no more."""

    run: str


@dataclass(frozen=True, slots=True)
class ServerEnded:
    """The server that it was asked for has ended by itself, or was ended for the ``reason``."""

    status: int | None
    signal: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Asks:
    """The shim wants an answer to its question ``number``; ``what`` is the kind of it."""

    number: int
    what: str
    message: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """The shim broke the protocol: ``text`` says what it did."""

    text: str


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """The shim speaks another version of the protocol."""

    version: int


Event = (
    Hello
    | Answer
    | Part
    | Unfit
    | RunBegun
    | RunEnded
    | ServerEnded
    | Asks
    | Violation
    | OtherVersion
)


class ShimConnection:
    """One connection to a shim, which can be asked what ``requests`` declare.

    ``forked`` is for the owner to set once it is known that the process was forked. ``runs`` are
    those of its children that are runs.
    """

    __slots__ = ("_asked", "_asks", "_next", "_requests", "_turn", "forked", "phase", "runs")

    def __init__(self, requests: Mapping[str, Kind] = REQUESTS) -> None:
        self.forked = False
        self.phase = Phase.GREETING
        self.runs = _NONE
        self._requests = requests
        self._asked: dict[int, str] = {}
        self._asks: frozenset[int] | set[int] = frozenset()
        self._turn = 0  # the number of the request that runs user code
        self._next = 1

    @property
    def idle(self) -> bool:
        """True while everything that was asked is answered."""
        return not self._asked

    @property
    def busy(self) -> bool:
        """True while user code runs, as far as is known here."""
        return self._turn != 0

    # What is to be sent.

    def request(self, kind: str, /, **fields: Any) -> Asked:
        """Ask for ``kind`` with its ``fields``; raises ``IllegalRequestError``."""
        if self.phase not in self._requests[kind].phases:
            raise IllegalRequestError(kind, self.phase, "")
        if self._requests[kind].turn:
            if self._turn:
                raise IllegalRequestError(kind, self.phase, self._asked[self._turn])
            self._turn = self._next
        if kind == "load":
            self.phase = Phase.LOADING
        number, self._next = self._next, self._next + 1
        self._asked[number] = kind
        return Asked(number, {**fields, "type": kind, "request": number})

    def answer(self, number: int, **fields: Any) -> dict[str, Any] | None:
        """Answer what the shim asks under ``number``; None when that is not open any more."""
        if number not in self._asks:
            return None
        self._asks -= {number}
        return {**fields, "type": "answer", "ask": number}

    def stop(self) -> dict[str, Any] | None:
        """Have it end. None when that would not be read: user code runs, or it does not speak."""
        if self.busy or self.phase in (Phase.GREETING, Phase.LEAVING, Phase.CLOSED):
            return None
        return {"type": "stop"}

    def close(self) -> None:
        """Drop whatever comes from now on: the process has ended, or is made to."""
        self.phase = Phase.CLOSED
        self._asked, self._turn, self.runs, self._asks = {}, 0, _NONE, frozenset()

    # What arrives.

    def receive(
        self, message: Mapping[str, Any] | wire.WireError, payload: Sequence[bytes]
    ) -> Event | None:
        """What a message means; None for one that is dropped.

        ``message`` is as ``wire.decode`` gives it, or the error that it raised.
        """
        if self.phase is Phase.CLOSED:
            return None
        if isinstance(message, wire.WireError):
            return self._violation(f"the shim sent {message}")
        kind, version = message["type"], message["v"]
        if version != wire.VERSION:
            self.close()
            return OtherVersion(version)
        if kind == "hello":
            return self._hello()
        if self.phase is Phase.GREETING:
            return self._violation(f"the shim said {_shown(kind)} before its hello")
        if self.phase is Phase.LEAVING:
            return self._violation(f"the shim said {_shown(kind)} after it was unfit")
        if kind == "unfit" and self.forked:
            return self._unfit(message)
        if kind in ("run_begun", "run_ended"):
            return self._run(kind, message.get("run"))
        if kind in ("server_ended", "asks"):
            return self._server(kind, message)
        return self._answer(kind, message, tuple(payload))

    def _hello(self) -> Event:
        if self.phase is not Phase.GREETING:
            return self._violation("the shim said hello twice")
        self.phase = Phase.GREETED
        return Hello()

    def _unfit(self, message: Mapping[str, Any]) -> Event:
        number, self._turn = self._turn, 0
        self._over(number)
        self.phase = Phase.LEAVING
        return Unfit(number, str(message.get("reason"))[:_MAX_REASON])

    def _run(self, kind: str, run: Any) -> Event:
        if not isinstance(run, str) or not 0 < len(run) <= _MAX_NAME:
            return self._violation(f"the shim said {kind} of a run without a name")
        begun = kind == "run_begun"
        if begun is (run in self.runs):
            return self._violation(f"the shim said {kind} twice of the run {_shown(run)}")
        if not begun:
            self.runs -= {run}
            return RunEnded(run)
        if len(self.runs) >= MAX_RUNS:
            return self._violation(f"the shim has more than {MAX_RUNS} runs")
        self.runs |= {run}
        return RunBegun(run)

    def _server(self, kind: str, message: Mapping[str, Any]) -> Event:
        if self.phase is not Phase.LOADED:
            return self._violation(f"the shim said {_shown(kind)} before it had loaded")
        if kind == "server_ended":
            status, signal = (_number(message.get(name)) for name in ("status", "signal"))
            return ServerEnded(status, signal, str(message.get("reason") or "")[:_MAX_REASON])
        number, what = _number(message.get("ask")), message.get("what")
        if number is None or number in self._asks or not isinstance(what, str):
            return self._violation("the shim asked without a number of its own")
        if len(self._asks) >= MAX_ASKS:
            return self._violation(f"the shim has more than {MAX_ASKS} questions")
        self._asks |= {number}
        return Asks(number, what[:_MAX_NAME], message)

    def _answer(self, kind: str, message: Mapping[str, Any], payload: tuple[bytes, ...]) -> Event:
        number = message.get("request")
        if not isinstance(number, int) or isinstance(number, bool) or number not in self._asked:
            return self._violation(
                f"the shim answered a request that was not made ({_shown(kind)[1:-1]})"
            )
        asked = self._asked[number]
        if kind == "part" and self._requests[asked].stream:
            return Part(number, message, payload)
        frames = self._requests[asked].answers.get(kind)
        if frames is None:
            return self._violation(f"the shim answered {asked!r} with {_shown(kind)}")
        if len(payload) != frames:
            what = "a snapshot" if kind == "loaded" else f"{kind!r}"
            return self._violation(f"{what} came in {len(payload)} parts instead of {frames}")
        self._over(number)
        if number == self._turn:
            self._turn = 0
        if asked == "load":
            self.phase = Phase.LOADED if kind == "loaded" else Phase.FAILED
        return Answer(number, kind, message, payload)

    def _over(self, number: int) -> None:
        self._asked.pop(number, None)
        if not self._asked:
            self._asked = {}  # an empty one takes less than one that was emptied

    def _violation(self, text: str) -> Violation:
        self.close()
        return Violation(text)


def _shown(text: str) -> str:
    return f"{text[:_MAX_NAME]!r}"


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
