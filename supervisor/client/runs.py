"""Runs as clients see them: launching, following, cancelling, for both clients.

Owns the requests about runs, what their replies mean, and the handles ``Run`` and ``AsyncRun``. Knows
no socket: a client is what makes the calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from supervisor import parameters
from supervisor.client.requests import LONGEST_HOLD, Call

if TYPE_CHECKING:
    from supervisor import documents

__all__ = ["AsyncRun", "AsyncRunCalls", "Run", "RunCalls"]

T = TypeVar("T")


class _Caller(Protocol):
    def _call(self, call: Call[T]) -> T: ...


class _AsyncCaller(Protocol):
    async def _call(self, call: Call[T]) -> T: ...


def _row(result: Any, _payload: list[bytes]) -> Any:
    return result["run"]


def _whole(result: Any, _payload: list[bytes]) -> Any:
    return dict(result)


def launch(location: str, job: str, options: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """The request to run a job."""
    given = {name: value for name, value in options.items() if value is not None}
    return Call("launch", {"location": location, "job": job, **given}, _whole, LONGEST_HOLD)


def listing(
    location: str | None, states: list[str], since: float, limit: int
) -> Call[list[documents.RunRow]]:
    """The newest runs."""
    params = {"states": states, "since": since, "limit": limit}
    if location is not None:
        params["location"] = location
    return Call("runs", params, lambda result, _: list(result["runs"]))


def one(run: str, wait: float = 0.0) -> Call[Any]:
    """One run in full, when it has ended or after ``wait`` seconds."""
    hold = min(parameters.seconds("wait", wait), LONGEST_HOLD)
    return Call("run", {"run": run, "wait": hold}, _row, hold)


def follow(run: str, after: Mapping[str, int], timeout: float) -> Call[documents.RunNews]:
    """What is new of a run."""
    hold = min(parameters.seconds("timeout", timeout), LONGEST_HOLD)
    params = {"run": run, "after": dict(after), "timeout": hold}
    return Call("follow_run", params, _whole, hold)


def cancel(run: str, who: str, now: bool) -> Call[documents.RunRow]:
    """Ask a run to end, or kill it."""
    return Call("cancel_run", {"run": run, "who": who, "now": now}, _row)


def retry(run: str) -> Call[documents.RunRow]:
    """Run the same again."""
    return Call("retry_run", {"run": run}, _row, LONGEST_HOLD)


class Run:
    """A run of a ``Client``. ``row`` is what was last heard of it."""

    def __init__(self, call: Callable[[Call[Any]], Any], row: documents.RunRow) -> None:
        self._call = call
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

        With ``wait`` False what there is now.
        """
        cursors = dict(after or {"events": 0, "out": 0, "err": 0})
        while True:
            news = self._call(follow(self.id, cursors, LONGEST_HOLD if wait else 0.0))
            cursors, self.row = news["next"], news["run"]
            if not news.keys() & cursors.keys() and (news["done"] or not wait):
                return
            yield news

    def events(self, *, wait: bool = True) -> Iterator[documents.RunEvent]:
        """Its events from the first on, as they come, until it has ended."""
        for news in self.follow({"events": 0}, wait=wait):
            yield from news.get("events", ())

    def output(self, stream: str = "out", *, wait: bool = True) -> Iterator[str]:
        """Pieces of what it wrote to ``out`` or ``err``, as they come, until it has ended."""
        for news in self.follow({stream: 0}, wait=wait):
            text: Any = news.get(stream, "")
            if text:
                yield text

    def wait(self, timeout: float | None = None) -> documents.RunDetail:
        """The run in full once it has ended, or after ``timeout`` seconds (None: for ever)."""
        left = LONGEST_HOLD if timeout is None else parameters.seconds("timeout", timeout)
        while True:
            detail: documents.RunDetail = self._call(one(self.id, left))
            self.row = detail
            if timeout is not None:
                left = max(left - LONGEST_HOLD, 0.0)
            if detail["ended"] is not None or (timeout is not None and left <= 0):
                return detail

    def cancel(self, *, now: bool = False, who: str = "a client") -> None:
        """Ask it to end, or kill it ``now``. Returns at once; ``wait`` for the end."""
        self.row = self._call(cancel(self.id, who, now))


class AsyncRun:
    """As ``Run``, of an ``AsyncClient``."""

    def __init__(self, call: Callable[[Call[Any]], Any], row: documents.RunRow) -> None:
        self._call = call
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
        cursors = dict(after or {"events": 0, "out": 0, "err": 0})
        while True:
            news = await self._call(follow(self.id, cursors, LONGEST_HOLD if wait else 0.0))
            cursors, self.row = news["next"], news["run"]
            if not news.keys() & cursors.keys() and (news["done"] or not wait):
                return
            yield news

    async def events(self, *, wait: bool = True) -> AsyncIterator[documents.RunEvent]:
        """As ``Run.events``."""
        async for news in self.follow({"events": 0}, wait=wait):
            for event in news.get("events", ()):
                yield event

    async def output(self, stream: str = "out", *, wait: bool = True) -> AsyncIterator[str]:
        """As ``Run.output``."""
        async for news in self.follow({stream: 0}, wait=wait):
            text: Any = news.get(stream, "")
            if text:
                yield text

    async def wait(self, timeout: float | None = None) -> documents.RunDetail:
        """As ``Run.wait``."""
        left = LONGEST_HOLD if timeout is None else parameters.seconds("timeout", timeout)
        while True:
            detail: documents.RunDetail = await self._call(one(self.id, left))
            self.row = detail
            if timeout is not None:
                left = max(left - LONGEST_HOLD, 0.0)
            if detail["ended"] is not None or (timeout is not None and left <= 0):
                return detail

    async def cancel(self, *, now: bool = False, who: str = "a client") -> None:
        """As ``Run.cancel``."""
        self.row = await self._call(cancel(self.id, who, now))


class RunCalls:
    """The methods of ``Client`` that concern runs."""

    def launch(self: _Caller, location: str, job: str, **options: Any) -> Run:
        """Run ``job`` of ``location``, and return at once.

        ``options``: ``config`` (a map), ``tags`` (a map of texts), ``op_selection`` (``"load,clean+"``),
        ``timeout`` and ``grace`` (seconds), ``repository``. Raises ``UnknownLocationError``,
        ``UnknownDefinitionError`` and ``InvalidParameterError`` before anything has run.
        """
        return Run(self._call, self._call(launch(location, job, options))["run"])

    def preview(self: _Caller, location: str, job: str, **options: Any) -> dict[str, Any]:
        """What ``launch`` would run, with the same errors; nothing runs."""
        options["dry_run"] = True
        order: dict[str, Any] = self._call(launch(location, job, options))["order"]
        return order

    def runs(
        self: _Caller,
        location: str | None = None,
        *,
        states: tuple[str, ...] = (),
        since: float = 0.0,
        limit: int = 20,
    ) -> list[documents.RunRow]:
        """The newest runs, newest first; ``since`` is Unix seconds."""
        return self._call(listing(location, list(states), since, limit))

    def run(self: _Caller, run: str) -> Run:
        """A run by its id, or the beginning or end of it; raises ``UnknownRunError``."""
        return Run(self._call, self._call(one(run)))

    def retry(self: _Caller, run: str) -> Run:
        """Run the same again."""
        return Run(self._call, self._call(retry(run)))


class AsyncRunCalls:
    """The methods of ``AsyncClient`` that concern runs; as those of ``Client``."""

    async def launch(self: _AsyncCaller, location: str, job: str, **options: Any) -> AsyncRun:
        """As ``Client.launch``."""
        return AsyncRun(self._call, (await self._call(launch(location, job, options)))["run"])

    async def preview(
        self: _AsyncCaller, location: str, job: str, **options: Any
    ) -> dict[str, Any]:
        """As ``Client.preview``."""
        options["dry_run"] = True
        order: dict[str, Any] = (await self._call(launch(location, job, options)))["order"]
        return order

    async def runs(
        self: _AsyncCaller,
        location: str | None = None,
        *,
        states: tuple[str, ...] = (),
        since: float = 0.0,
        limit: int = 20,
    ) -> list[documents.RunRow]:
        """As ``Client.runs``."""
        return await self._call(listing(location, list(states), since, limit))

    async def run(self: _AsyncCaller, run: str) -> AsyncRun:
        """As ``Client.run``."""
        return AsyncRun(self._call, await self._call(one(run)))

    async def retry(self: _AsyncCaller, run: str) -> AsyncRun:
        """As ``Client.retry``."""
        return AsyncRun(self._call, await self._call(retry(run)))
