"""How both clients run what ``operations`` and ``run_operations`` declare: one blocks, one awaits.

Owns the making of a method from a declared operation: of a client, or of the handle of a run
(``supervisor.client.runs``). Knows no socket: a client is what makes calls.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from supervisor.client.operations import Plan
from supervisor.client.requests import Call

__all__ = [
    "AsyncCaller",
    "Caller",
    "async_streaming",
    "awaited",
    "awaiting",
    "blocking",
    "declared",
    "finished",
    "streaming",
]

P = ParamSpec("P")
T = TypeVar("T")


class Caller(Protocol):
    """What ``Client`` is here."""

    def _call(self, call: Call[T]) -> T: ...
    def _answers(self, call: Call[T]) -> Iterator[T]: ...


class AsyncCaller(Protocol):
    """What ``AsyncClient`` is here."""

    async def _call(self, call: Call[T]) -> T: ...
    def _answers(self, call: Call[T]) -> AsyncGenerator[T, None]: ...


def declared(method: Any, operation: Callable[..., Any], *, without: int = 0) -> None:
    """Give ``method`` the name, the documentation and the parameters of ``operation``.

    ``without`` is how many of the first parameters the method itself gives.
    """
    functools.update_wrapper(method, operation)
    del method.__wrapped__
    signature = inspect.signature(operation)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    others = list(signature.parameters.values())[without:]
    method.__signature__ = signature.replace(parameters=[own, *others])


def finished(client: Caller, plan: Plan[T]) -> T:
    """What ``plan`` returns, its calls made by ``client``."""
    call = next(plan)
    while True:
        answer = client._call(call)
        try:
            call = plan.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what a plan returns is its T


async def awaited(client: AsyncCaller, plan: Plan[T]) -> T:
    """As ``finished``."""
    call = next(plan)
    while True:
        answer = await client._call(call)
        try:
            call = plan.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what a plan returns is its T


def blocking(operation: Callable[P, Plan[T]]) -> Callable[Concatenate[Caller, P], T]:
    """The method of ``Client`` that does ``operation``."""

    def method(client: Caller, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return finished(client, operation(*args, **kwargs))

    declared(method, operation)
    return method


def awaiting(
    operation: Callable[P, Plan[T]],
) -> Callable[Concatenate[AsyncCaller, P], Awaitable[T]]:
    """The method of ``AsyncClient`` that does ``operation``."""

    async def method(client: AsyncCaller, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await awaited(client, operation(*args, **kwargs))

    declared(method, operation)
    return method


def streaming(operation: Callable[P, Call[T]]) -> Callable[Concatenate[Caller, P], Iterator[T]]:
    """The method of ``Client`` that gives the answers to ``operation``."""

    def method(client: Caller, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return client._answers(operation(*args, **kwargs))

    declared(method, operation)
    return method


def async_streaming(
    operation: Callable[P, Call[T]],
) -> Callable[Concatenate[AsyncCaller, P], AsyncGenerator[T, None]]:
    """The method of ``AsyncClient`` that gives the answers to ``operation``."""

    def method(
        client: AsyncCaller, /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[T, None]:
        return client._answers(operation(*args, **kwargs))

    declared(method, operation)
    return method
