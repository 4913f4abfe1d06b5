"""Runs as clients see them: the handles ``Run`` and ``AsyncRun``.

Owns what a handle remembers, the row that was last heard and the note of its launch. What can be asked of it is in
``supervisor.client.run_operations``, each once for both.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, TypeVar

from supervisor.client import run_operations as operations
from supervisor.client.drivers import AsyncCaller, Caller, awaited, declared, finished
from supervisor.client.operations import Plan
from supervisor.client.run_operations import Following

if TYPE_CHECKING:
    from supervisor.protocol import run_documents as documents

__all__ = ["AsyncRun", "Run", "async_handle", "handle"]

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound="Caller | AsyncCaller")
Row = TypeVar("Row", bound="documents.RunRow")


class _Handle(Generic[C]):
    """``row`` is what was last heard of the run. ``note`` says, where it was launched with this handle, what of
    its location is newer than what runs, or that it was started for it; None without either."""

    def __init__(self, client: C, row: documents.RunRow, note: str | None = None) -> None:
        self._client = client
        self.row = row
        self.note = note

    @property
    def id(self) -> str:
        """Its name."""
        return self.row["run"]

    @property
    def state(self) -> str:
        """Where it stood when it was last heard of."""
        return self.row["state"]


def _asking(
    operation: Callable[Concatenate[str, P], Plan[Row]],
) -> Callable[Concatenate[Run, P], Row]:
    def method(run: Run, /, *args: P.args, **kwargs: P.kwargs) -> Row:
        row = finished(run._client, operation(run.id, *args, **kwargs))
        run.row = row
        return row

    declared(method, operation, without=1)
    return method


def _async_asking(
    operation: Callable[Concatenate[str, P], Plan[Row]],
) -> Callable[Concatenate[AsyncRun, P], Awaitable[Row]]:
    async def method(run: AsyncRun, /, *args: P.args, **kwargs: P.kwargs) -> Row:
        row = await awaited(run._client, operation(run.id, *args, **kwargs))
        run.row = row
        return row

    declared(method, operation, without=1)
    return method


def _following(
    operation: Callable[Concatenate[str, P], Following[T]],
) -> Callable[Concatenate[Run, P], Iterator[T]]:
    def method(run: Run, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        following = operation(run.id, *args, **kwargs)
        for news in run._client._answers(following.call):
            run.row = news["run"]
            yield from following.pieces(news)

    declared(method, operation, without=1)
    return method


def _async_following(
    operation: Callable[Concatenate[str, P], Following[T]],
) -> Callable[Concatenate[AsyncRun, P], AsyncGenerator[T, None]]:
    async def method(
        run: AsyncRun, /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[T, None]:
        following = operation(run.id, *args, **kwargs)
        async for news in run._client._answers(following.call):
            run.row = news["run"]
            for piece in following.pieces(news):
                yield piece

    declared(method, operation, without=1)
    return method


class Run(_Handle[Caller]):
    """A run of a ``Client``. ``row`` is what was last heard of it."""

    follow = _following(operations.follow)
    events = _following(operations.events)
    output = _following(operations.output)
    wait = _asking(operations.wait)
    cancel = _asking(operations.cancel)


class AsyncRun(_Handle[AsyncCaller]):
    """As ``Run``, of an ``AsyncClient``."""

    follow = _async_following(operations.follow)
    events = _async_following(operations.events)
    output = _async_following(operations.output)
    wait = _async_asking(operations.wait)
    cancel = _async_asking(operations.cancel)


def handle(
    operation: Callable[P, Plan[operations.Heard]],
) -> Callable[Concatenate[Caller, P], Run]:
    """The method of ``Client`` that gives the handle of the run of ``operation``."""

    def method(client: Caller, /, *args: P.args, **kwargs: P.kwargs) -> Run:
        return Run(client, *finished(client, operation(*args, **kwargs)))

    declared(method, operation)
    return method


def async_handle(
    operation: Callable[P, Plan[operations.Heard]],
) -> Callable[Concatenate[AsyncCaller, P], Awaitable[AsyncRun]]:
    """As ``handle``, of ``AsyncClient``."""

    async def method(client: AsyncCaller, /, *args: P.args, **kwargs: P.kwargs) -> AsyncRun:
        return AsyncRun(client, *await awaited(client, operation(*args, **kwargs)))

    declared(method, operation)
    return method
