"""Clients of a running supervisor: ``Client`` blocks, ``AsyncClient`` awaits.

Owns the socket, the deadline of every request, and the noticing that the supervisor died while it
was asked. What is sent and what a reply means is in ``supervisor.client.requests``; which supervisor is meant
in ``supervisor.client.locate``. Touches no process and no file of the supervisor.

Every method has a deadline: ``timeout`` of the client (seconds, 10 by default) beyond the time that
the request itself may be held back. When it passes, ``RequestTimeoutError``; when the supervisor is
gone, ``NotRunningError``, at once and also in the middle of a request. Only the time in which the
client runs is counted: one that was stopped reads the answer that came meanwhile.

A ``Client`` may be shared between threads: requests are made one after the other, so a thread that
waits holds up the others; give it a client of its own. An ``AsyncClient`` belongs to one event loop,
where any number of requests may be under way. Neither survives a fork.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import zmq

from supervisor import parameters
from supervisor.client import requests
from supervisor.client.connection import LAST_WORDS_SECONDS, LOOK_SECONDS, Endpoint
from supervisor.client.requests import Call
from supervisor.client.runs import AsyncRunCalls, RunCalls
from supervisor.running_time import RunningTime, limit

if TYPE_CHECKING:
    import asyncio

    import zmq.asyncio

    from supervisor import documents
    from supervisor.snapshots.snapshot import Snapshot

__all__ = ["AsyncClient", "Client", "Order"]

Order = Literal["reload", "restart", "stop", "start"]

T = TypeVar("T")

# A poll counts milliseconds in an int of C (seconds).
_LONGEST_LOOK = 86_400.0


class Client(Endpoint, RunCalls):
    """A blocking client of the supervisor of ``workspace``.

    ``workspace`` is a workspace file or several; without it the workspace is searched from
    ``directory`` (the current one) upwards. Where no workspace file is found, the only running
    supervisor of this user is taken, to look at: orders (``reload``, ``restart``, ``stop``, ``start``,
    ``wait``, ``shutdown``) raise ``NotRunningError`` then. Raises that or ``ConfigurationError``. With ``address``
    (``tcp://host:port``) and ``keys`` (a file of ``supervise keys``) it is the supervisor there,
    whose silence is a ``RequestTimeoutError``. A context manager::

        with Client("workspace.yaml") as client:
            for location in client.status()["locations"]:
                print(location["name"], location["state"])
    """

    def _open(self) -> None:
        self._lock = threading.Lock()
        self._context = zmq.Context()
        try:
            self._socket = self._dealer(self._context)
        except BaseException:
            self._close_pidfd()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; may be called more than once."""
        with self._lock:
            self._socket.close()
            self._context.term()
            self._close_pidfd()

    # -- what is asked --------------------------------------------------------------------------

    def status(
        self, location: str | None = None, *, since: int | None = None, timeout: float = 30.0
    ) -> documents.StatusDocument:
        """The status document, of all locations or of one (then with memory and last log lines).

        With ``since`` it comes when its ``revision`` is another, or after at most ``timeout``
        (and 30) seconds. Raises ``UnknownLocationError``.
        """
        return self._call(requests.status(location, since, timeout))

    def definitions(
        self, kind: str | None = None, *, location: str | None = None
    ) -> list[documents.DefinitionRow]:
        """One row a definition, of all kinds and locations or of one. ``UnknownLocationError``."""
        return self._call(requests.listing(kind, location))["definitions"]

    def show(
        self,
        location: str,
        name: str,
        *,
        kind: str | None = None,
        repository: str | None = None,
    ) -> documents.Shown:
        """One definition in full; a lazy one is constructed in its shim now.

        Raises ``UnknownLocationError``, ``UnknownDefinitionError``, and ``RequestError`` when the
        name is that of several (give ``kind`` or ``repository``) or constructing it fails.
        """
        return self._call(requests.show(location, name, kind, repository))

    def snapshot(self, location: str, *, generation: int | None = None) -> Snapshot:
        """The snapshot being served, or that of ``generation``: bytes, decoded when looked at."""
        return self._call(requests.snapshot(location, generation))

    def diff(
        self, location: str, before: int | None = None, after: int | None = None
    ) -> documents.Diff:
        """What changed between two generations; without numbers, the last two that loaded."""
        return self._call(requests.diff(location, before, after))

    def reload(self, *locations: str) -> dict[str, str]:
        """Load the locations again (all, when none is named) beside what they serve now.

        Returns at once with what was begun for each; ``wait`` for the outcome.
        """
        return self.order("reload", locations)

    def restart(self, *locations: str) -> dict[str, str]:
        """Stop the locations and start them afresh, environment included. As ``reload``."""
        return self.order("restart", locations)

    def stop(self, *locations: str) -> dict[str, str]:
        """Stop the locations until they are started. As ``reload``."""
        return self.order("stop", locations)

    def start(self, *locations: str) -> dict[str, str]:
        """Start the locations that do not run. As ``reload``."""
        return self.order("start", locations)

    def order(self, order: Order, locations: Sequence[str]) -> dict[str, str]:
        """One of the four orders by name. No locations means all. ``UnknownLocationError``."""
        return self._call(requests.order(order, locations))["locations"]

    def wait(self, *locations: str, timeout: float | None = None) -> documents.Waited:
        """Until nothing is under way in the locations (all, when none is named).

        Returns whether all are ready, and their states. ``timeout`` in seconds, None for ever;
        when it passes, what is the case then is returned: the caller sees it in the states.
        """
        deadline = None
        if timeout is not None:
            deadline = time.monotonic() + parameters.seconds("timeout", timeout)
        while True:
            left = requests.LONGEST_HOLD if deadline is None else deadline - time.monotonic()
            waited = self._call(requests.wait(locations, left))
            if requests.settled(waited) or (deadline is not None and time.monotonic() >= deadline):
                return waited

    def history(self, location: str) -> documents.History:
        """The generations of ``location`` that are kept, oldest first, without their definitions."""
        return self._call(requests.history(location))

    def environments(self, location: str | None = None) -> list[documents.EnvironmentRow]:
        """The environments in use, or that of one location, and what is installed in each."""
        return self._call(requests.environments(location))["environments"]

    def logs(
        self, location: str, *, lines: int = 50, after: int | None = None, timeout: float = 30.0
    ) -> documents.LogChunk:
        """The last ``lines`` lines, and the cursor behind them.

        With ``after`` (such a cursor) the lines behind it, as soon as there are any or after at most
        ``timeout`` (and 30) seconds.
        """
        if after is not None:
            return self._call(requests.follow(location, after, timeout))
        chunk = self._call(requests.logs(location, lines))
        while (more := requests.earlier(chunk, location, lines)) is not None:
            chunk = requests.joined(self._call(more), chunk)
        return chunk

    def follow_logs(
        self, location: str, *, after: int | None = None, lines: int = 10
    ) -> Iterator[documents.LogLine]:
        """The last ``lines`` lines, or those after the cursor, and then each new one, for ever.

        Ends with ``NotRunningError`` when the supervisor does.
        """
        if after is None:
            chunk = self.logs(location, lines=lines)
        else:
            chunk = self._call(requests.follow(location, after))
        while True:
            yield from chunk["lines"]
            chunk = self._call(requests.follow(location, chunk["next"]))

    def shutdown(self, *, at_once: bool = False, leave_runs: bool = False) -> int:
        """Ask the supervisor to stop everything and end; returns its pid, at once.

        ``at_once`` kills the locations' processes instead of asking them to end. With ``leave_runs``
        runs go on, and the next supervisor adopts them.
        """
        return self._call(requests.shutdown(at_once, leave_runs))

    # -- how ------------------------------------------------------------------------------------

    def _call(self, call: Call[T]) -> T:
        with self._lock:
            seconds = self._timeout + call.hold
            number, frames = self._request(call)
            self._socket.send_multipart(frames)
            time_left = RunningTime(seconds)
            while True:
                if not self._readable(time_left):
                    raise self._late(call, seconds)
                answer = self._socket.recv_multipart()
                answered, header = self._conversation.number_of(answer)
                if answered == number:  # else the late answer to a request given up before
                    return self._conversation.result(call, header, answer[1:])

    def _readable(self, time_left: RunningTime) -> bool:
        """True when a message is there; False when the time was used up."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        if self._pidfd is not None:
            poller.register(self._pidfd, zmq.POLLIN)
        while (step := time_left.step()) > 0:
            look = min(step, _LONGEST_LOOK if self._pidfd is not None else LOOK_SECONDS)
            events = dict(poller.poll(int(look * 1000) + 1))
            if self._socket in events:
                return True
            gone = bool(events) if self._pidfd is not None else not self._alive()
            if gone:
                if self._socket.poll(int(LAST_WORDS_SECONDS * 1000)):
                    return True
                raise self._gone()
        return False


class AsyncClient(Endpoint, AsyncRunCalls):
    """The same for asyncio: methods, results and errors are those of ``Client``.

    Made and used in one event loop. An asynchronous context manager.
    """

    def _open(self) -> None:
        self._context: zmq.asyncio.Context | None = None
        self._socket: zmq.asyncio.Socket | None = None
        self._reader: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._pending: dict[int, asyncio.Future[list[Any]]] = {}
        self._ended = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the socket; requests under way end with ``NotRunningError``."""
        import asyncio

        tasks = [task for task in (self._reader, self._watcher) if task is not None]
        self._reader = self._watcher = None
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._fail_all()
            if self._context is not None:
                self._context.destroy(0)
            self._context = self._socket = None
            self._close_pidfd()

    async def status(
        self,
        location: str | None = None,
        *,
        since: int | None = None,
        timeout: float = 30.0,
    ) -> documents.StatusDocument:
        """As ``Client.status``."""
        return await self._call(requests.status(location, since, timeout))

    async def definitions(
        self, kind: str | None = None, *, location: str | None = None
    ) -> list[documents.DefinitionRow]:
        """As ``Client.definitions``."""
        return (await self._call(requests.listing(kind, location)))["definitions"]

    async def show(
        self,
        location: str,
        name: str,
        *,
        kind: str | None = None,
        repository: str | None = None,
    ) -> documents.Shown:
        """As ``Client.show``."""
        return await self._call(requests.show(location, name, kind, repository))

    async def snapshot(self, location: str, *, generation: int | None = None) -> Snapshot:
        """As ``Client.snapshot``."""
        return await self._call(requests.snapshot(location, generation))

    async def diff(
        self, location: str, before: int | None = None, after: int | None = None
    ) -> documents.Diff:
        """As ``Client.diff``."""
        return await self._call(requests.diff(location, before, after))

    async def reload(self, *locations: str) -> dict[str, str]:
        """As ``Client.reload``."""
        return await self.order("reload", locations)

    async def restart(self, *locations: str) -> dict[str, str]:
        """As ``Client.restart``."""
        return await self.order("restart", locations)

    async def stop(self, *locations: str) -> dict[str, str]:
        """As ``Client.stop``."""
        return await self.order("stop", locations)

    async def start(self, *locations: str) -> dict[str, str]:
        """As ``Client.start``."""
        return await self.order("start", locations)

    async def order(self, order: Order, locations: Sequence[str]) -> dict[str, str]:
        """As ``Client.order``."""
        return (await self._call(requests.order(order, locations)))["locations"]

    async def wait(
        self,
        *locations: str,
        timeout: float | None = None,
    ) -> documents.Waited:
        """As ``Client.wait``."""
        deadline = None
        if timeout is not None:
            deadline = time.monotonic() + parameters.seconds("timeout", timeout)
        while True:
            left = requests.LONGEST_HOLD if deadline is None else deadline - time.monotonic()
            waited = await self._call(requests.wait(locations, left))
            if requests.settled(waited) or (deadline is not None and time.monotonic() >= deadline):
                return waited

    async def history(self, location: str) -> documents.History:
        """As ``Client.history``."""
        return await self._call(requests.history(location))

    async def environments(self, location: str | None = None) -> list[documents.EnvironmentRow]:
        """As ``Client.environments``."""
        return (await self._call(requests.environments(location)))["environments"]

    async def logs(
        self, location: str, *, lines: int = 50, after: int | None = None, timeout: float = 30.0
    ) -> documents.LogChunk:
        """As ``Client.logs``."""
        if after is not None:
            return await self._call(requests.follow(location, after, timeout))
        chunk = await self._call(requests.logs(location, lines))
        while (more := requests.earlier(chunk, location, lines)) is not None:
            chunk = requests.joined(await self._call(more), chunk)
        return chunk

    async def follow_logs(
        self, location: str, *, after: int | None = None, lines: int = 10
    ) -> AsyncIterator[documents.LogLine]:
        """As ``Client.follow_logs``."""
        if after is None:
            chunk = await self.logs(location, lines=lines)
        else:
            chunk = await self._call(requests.follow(location, after))
        while True:
            for line in chunk["lines"]:
                yield line
            chunk = await self._call(requests.follow(location, chunk["next"]))

    async def shutdown(self, *, at_once: bool = False, leave_runs: bool = False) -> int:
        """As ``Client.shutdown``."""
        return await self._call(requests.shutdown(at_once, leave_runs))

    # -- how ------------------------------------------------------------------------------------

    async def _call(self, call: Call[T]) -> T:
        import asyncio

        socket = self._connected()
        number, frames = self._request(call)
        seconds = self._timeout + call.hold
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        try:
            async with limit(seconds):
                await socket.send_multipart(frames)
                header, payload = await answer
        except TimeoutError:
            raise self._late(call, seconds) from None
        finally:
            self._pending.pop(number, None)
            answer.cancel()
        return self._conversation.result(call, header, payload)

    def _connected(self) -> zmq.asyncio.Socket:
        import asyncio

        import zmq.asyncio

        if self._ended:
            raise self._gone()
        if self._socket is None:
            context = zmq.asyncio.Context()
            socket = self._dealer(context)
            self._context, self._socket = context, socket
            self._reader = asyncio.create_task(self._read(socket), name="client reader")
            self._watcher = asyncio.create_task(self._watch(), name="client watcher")
        return self._socket

    async def _read(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            self._take(await socket.recv_multipart())  # and keeps none of it

    def _take(self, frames: list[bytes]) -> None:
        try:
            number, header = self._conversation.number_of(frames)
        except Exception as error:  # whoever waits must hear of it
            for waiting in self._pending.values():
                if not waiting.done():
                    waiting.set_exception(error)
            return
        answer = self._pending.get(number)
        if answer is not None and not answer.done():
            answer.set_result([header, frames[1:]])

    async def _watch(self) -> None:
        """Ends every request under way once the supervisor is gone."""
        import asyncio

        loop = asyncio.get_running_loop()
        if self._pidfd is not None:
            gone = asyncio.Event()
            loop.add_reader(self._pidfd, gone.set)
            try:
                await gone.wait()
            finally:
                loop.remove_reader(self._pidfd)
        else:
            while self._alive():  # noqa: ASYNC110 - nothing tells of the death of a stranger
                await asyncio.sleep(LOOK_SECONDS)
        self._ended = True
        await asyncio.sleep(LAST_WORDS_SECONDS)
        self._fail_all()

    def _fail_all(self) -> None:
        self._ended = True
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(self._gone())
