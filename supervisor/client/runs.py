"""Runs as clients see them: launching, following, cancelling, for both clients.

Owns the calls about runs and the handles ``Run`` and ``AsyncRun``. Knows no socket: a client is what
makes the calls.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from supervisor import parameters
from supervisor.client.requests import Call, call
from supervisor.methods import LONGEST_HOLD

if TYPE_CHECKING:
    from supervisor import run_documents as documents

__all__ = ["AsyncRun", "AsyncRunCalls", "Run", "RunCalls"]

T = TypeVar("T")
# Answers that may be on their way.
_AHEAD = 4
_FROM_THE_START: Mapping[str, int] = {"events": 0, "out": 0, "err": 0}


class _Caller(Protocol):
    def _call(self, call: Call[T]) -> T: ...
    def _answers(self, call: Call[T]) -> Iterator[T]: ...


class _AsyncCaller(Protocol):
    async def _call(self, call: Call[T]) -> T: ...
    def _answers(self, call: Call[T]) -> AsyncGenerator[T, None]: ...


def _launched(result: Any, _payload: list[bytes]) -> Any:
    return result["run"]


def _order(result: Any, _payload: list[bytes]) -> Any:
    return result["order"]


def _rows(result: Any, _payload: list[bytes]) -> Any:
    return result["runs"]


def _follow(run: str, after: Mapping[str, int] | None, wait: bool) -> Call[documents.RunNews]:
    cursors = _FROM_THE_START if after is None else after
    return call("follow_run", {"run": run, "no_wait": not wait, **cursors}, credit=_AHEAD)


def _waits(timeout: float | None) -> Iterator[float]:
    """How long each of the requests is to wait that together wait for ``timeout``."""
    left = float("inf") if timeout is None else parameters.seconds("timeout", timeout)
    while left > LONGEST_HOLD:
        yield LONGEST_HOLD
        left -= LONGEST_HOLD
    yield left


class Run:
    """A run of a ``Client``. ``row`` is what was last heard of it."""

    def __init__(self, client: _Caller, row: documents.RunRow) -> None:
        self._client = client
        self.row = row

    @property
    def id(self) -> str:
        """Its name."""
        return self.row["run"]

    @property
    def state(self) -> str:
        """Where it stood when it was last heard of."""
        return self.row["state"]

    def follow(
        self, after: Mapping[str, int] | None = None, *, wait: bool = True
    ) -> Iterator[documents.RunNews]:
        """What is new of its ``events``, ``out`` and ``err`` behind the cursors, until it has ended.

        Without ``after`` all of it, from the start. With ``wait`` False what there is now.
        """
        for news in self._client._answers(_follow(self.id, after, wait)):
            self.row = news["run"]
            yield news

    def events(self, *, wait: bool = True) -> Iterator[documents.RunEvent]:
        """Its events from the first on, as they come, until it has ended."""
        for news in self.follow({"events": 0}, wait=wait):
            yield from news.get("events", ())

    def output(self, stream: str = "out", *, wait: bool = True) -> Iterator[str]:
        """Pieces of what it wrote to ``out`` or ``err``, as they come, until it has ended."""
        for news in self.follow({stream: 0}, wait=wait):
            text: Any = news.get(stream)
            yield text

    def wait(self, timeout: float | None = None) -> documents.RunDetail:
        """The run in full once it has ended, or after ``timeout`` seconds (None: for ever)."""
        for seconds in _waits(timeout):
            detail: Any = self._client._call(call("run", {"run": self.id, "timeout": seconds}))
            self.row = detail
            if detail["ended"] is not None:
                break
        found: documents.RunDetail = detail
        return found

    def cancel(self, *, now: bool = False, who: str = "a client") -> None:
        """Ask it to end, or kill it ``now``. Returns at once; ``wait`` for the end."""
        params = {"run": self.id, "now": now, "who": who}
        self.row = self._client._call(call("cancel_run", params))


class AsyncRun:
    """As ``Run``, of an ``AsyncClient``."""

    def __init__(self, client: _AsyncCaller, row: documents.RunRow) -> None:
        self._client = client
        self.row = row

    @property
    def id(self) -> str:
        """As ``Run.id``."""
        return self.row["run"]

    @property
    def state(self) -> str:
        """As ``Run.state``."""
        return self.row["state"]

    async def follow(
        self, after: Mapping[str, int] | None = None, *, wait: bool = True
    ) -> AsyncIterator[documents.RunNews]:
        """As ``Run.follow``."""
        async for news in self._client._answers(_follow(self.id, after, wait)):
            self.row = news["run"]
            yield news

    async def events(self, *, wait: bool = True) -> AsyncIterator[documents.RunEvent]:
        """As ``Run.events``."""
        async for news in self.follow({"events": 0}, wait=wait):
            for event in news.get("events", ()):
                yield event

    async def output(self, stream: str = "out", *, wait: bool = True) -> AsyncIterator[str]:
        """As ``Run.output``."""
        async for news in self.follow({stream: 0}, wait=wait):
            text: Any = news.get(stream)
            yield text

    async def wait(self, timeout: float | None = None) -> documents.RunDetail:
        """As ``Run.wait``."""
        for seconds in _waits(timeout):
            asked: Call[Any] = call("run", {"run": self.id, "timeout": seconds})
            detail: Any = await self._client._call(asked)
            self.row = detail
            if detail["ended"] is not None:
                break
        found: documents.RunDetail = detail
        return found

    async def cancel(self, *, now: bool = False, who: str = "a client") -> None:
        """As ``Run.cancel``."""
        params = {"run": self.id, "now": now, "who": who}
        self.row = await self._client._call(call("cancel_run", params))


class RunCalls:
    """The methods of ``Client`` that concern runs."""

    def launch(self: _Caller, location: str, job: str, **options: Any) -> Run:
        """Run ``job`` of ``location``, and return at once.

        ``options``: ``config`` (a map), ``tags`` (a map of texts), ``op_selection`` (``"load,clean+"``),
        ``timeout`` and ``grace`` (seconds), ``repository``. Raises ``UnknownLocationError``,
        ``UnknownDefinitionError`` and ``UnfitOrderError`` before anything has run.
        """
        params = {"location": location, "job": job, **options}
        return Run(self, self._call(call("launch", params, _launched)))

    def preview(self: _Caller, location: str, job: str, **options: Any) -> dict[str, Any]:
        """What ``launch`` would run, with the same errors; nothing runs."""
        params = {"location": location, "job": job, **options, "dry_run": True}
        found: dict[str, Any] = self._call(call("launch", params, _order))
        return found

    def runs(
        self: _Caller,
        location: str | None = None,
        *,
        states: tuple[str, ...] = (),
        since: float = 0.0,
        limit: int = 20,
    ) -> list[documents.RunRow]:
        """The newest runs, newest first; ``since`` is Unix seconds."""
        params = {"location": location, "states": list(states), "since": since, "limit": limit}
        found: list[documents.RunRow] = self._call(call("runs", params, _rows))
        return found

    def run(self: _Caller, run: str) -> Run:
        """A run by its id, or the beginning or end of it; raises ``UnknownRunError``."""
        return Run(self, self._call(call("run", {"run": run})))

    def retry(self: _Caller, run: str) -> Run:
        """Run the same again, with the code that is served now."""
        return Run(self, self._call(call("retry_run", {"run": run}, _launched)))


class AsyncRunCalls:
    """The methods of ``AsyncClient`` that concern runs; as those of ``Client``."""

    async def launch(self: _AsyncCaller, location: str, job: str, **options: Any) -> AsyncRun:
        """As ``Client.launch``."""
        params = {"location": location, "job": job, **options}
        return AsyncRun(self, await self._call(call("launch", params, _launched)))

    async def preview(
        self: _AsyncCaller, location: str, job: str, **options: Any
    ) -> dict[str, Any]:
        """As ``Client.preview``."""
        params = {"location": location, "job": job, **options, "dry_run": True}
        found: dict[str, Any] = await self._call(call("launch", params, _order))
        return found

    async def runs(
        self: _AsyncCaller,
        location: str | None = None,
        *,
        states: tuple[str, ...] = (),
        since: float = 0.0,
        limit: int = 20,
    ) -> list[documents.RunRow]:
        """As ``Client.runs``."""
        params = {"location": location, "states": list(states), "since": since, "limit": limit}
        found: list[documents.RunRow] = await self._call(call("runs", params, _rows))
        return found

    async def run(self: _AsyncCaller, run: str) -> AsyncRun:
        """As ``Client.run``."""
        return AsyncRun(self, await self._call(call("run", {"run": run})))

    async def retry(self: _AsyncCaller, run: str) -> AsyncRun:
        """As ``Client.retry``."""
        return AsyncRun(self, await self._call(call("retry_run", {"run": run}, _launched)))
