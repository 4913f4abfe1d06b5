"""Clients of a running supervisor: ``Client`` blocks, ``AsyncClient`` awaits.

Owns the socket, the deadline of every request, and the noticing that the supervisor died while it
was asked. What can be asked is in ``supervisor.client.operations`` and ``run_operations``, what is sent and
what a reply means in ``supervisor.client.requests``, which supervisor is meant in
``supervisor.client.locate``. Touches no process and no file of the supervisor.

Every method has a deadline: ``timeout`` of the client (seconds, 10 by default) beyond the time that
the request itself may be held back. When it passes, ``RequestTimeoutError``; when the supervisor is
gone, ``NotRunningError``, at once and also in the middle of a request. Only the time in which the
client runs is counted: one that was stopped reads the answer that came meanwhile.

A ``Client`` may be shared between threads: requests are made one after the other, so a thread that
waits holds up the others; give it a client of its own. An ``AsyncClient`` belongs to one event loop,
where any number of requests may be under way. Neither survives a fork.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import zmq

from supervisor.client import automation_operations, operations, run_operations
from supervisor.client.connection import LAST_WORDS_SECONDS, LOOK_SECONDS, Endpoint
from supervisor.client.drivers import async_streaming, awaiting, blocking, streaming
from supervisor.client.operations import Order
from supervisor.client.requests import Call, Stream
from supervisor.client.runs import async_handle, handle
from supervisor.protocol.methods import LONGEST_HOLD
from supervisor.running_time import RunningTime, limit

if TYPE_CHECKING:
    import asyncio

    import zmq.asyncio

    from supervisor.protocol import documents

__all__ = ["AsyncClient", "Client", "Order"]

T = TypeVar("T")

# A poll counts milliseconds in an int of C (seconds).
_LONGEST_LOOK = 86_400.0


class Client(Endpoint):
    """A blocking client of the supervisor of ``workspace``.

    ``workspace`` is a workspace file or the directory that has one, or several; without it the workspace is searched from
    ``directory`` (the current one) upwards. Where no workspace file is found, the only running
    supervisor of this user is taken, to look at: orders (``reload``, ``restart``, ``stop``, ``start``,
    ``wait``, ``shutdown``) raise ``NotRunningError`` then. Raises that or ``ConfigurationError``. With ``address``
    (``tcp://host:port``) and ``keys`` (a file of ``supervise keys add``) it is the supervisor there,
    whose silence is a ``RequestTimeoutError``. With ``token`` (one of ``supervise tokens add``) it asks in
    the name of that token instead of its own, with ``role`` it does no more than that role may; what is
    not allowed is a ``ForbiddenError``, a token that is not valid an ``UnauthenticatedError``. A context
    manager::

        with Client("workspace.yaml") as client:
            for location in client.status()["locations"]:
                print(location["name"], location["state"])
    """

    def _open(self) -> None:
        self._lock = (
            threading.RLock()
        )  # a stream that is collected in the middle of a call ends itself
        self._streams: dict[int, Stream[Any]] = {}
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

    status = blocking(operations.status)
    watch = streaming(operations.watch)
    definitions = blocking(operations.definitions)
    show = blocking(operations.show)
    snapshot = blocking(operations.snapshot)
    diff = blocking(operations.diff)
    reload = blocking(operations.reload)
    restart = blocking(operations.restart)
    stop = blocking(operations.stop)
    start = blocking(operations.start)
    order = blocking(operations.order)
    wait = blocking(operations.wait)
    history = blocking(operations.history)
    settings = blocking(operations.settings)
    environments = blocking(operations.environments)
    logs = blocking(operations.logs)
    follow = streaming(operations.follow)
    shutdown = blocking(operations.shutdown)
    launch = handle(run_operations.launch)
    preview = blocking(run_operations.preview)
    runs = blocking(run_operations.runs)
    run = handle(run_operations.run)
    retry = handle(run_operations.retry)
    tick = blocking(automation_operations.tick)
    automations = blocking(automation_operations.automations)
    ticks = blocking(automation_operations.ticks)
    switch_automation = blocking(automation_operations.switch_automation)
    call_method = blocking(operations.call_method)

    def follow_logs(
        self, location: str, *, after: int | None = None, lines: int = 10
    ) -> Iterator[documents.LogLine]:
        """The last ``lines`` lines, or those after the cursor, and then each new one, for ever.

        Ends with ``NotRunningError`` when the supervisor does.
        """
        if after is None:
            chunk = self.logs(location, lines=lines)
            yield from chunk["lines"]
            after = chunk["next"]
        for chunk in self.follow(location, after=after):
            yield from chunk["lines"]

    # -- how ------------------------------------------------------------------------------------

    def _call(self, call: Call[T]) -> T:
        with self._lock:
            seconds = self._timeout + call.hold
            number, frames = self._request(call)
            self._socket.send_multipart(frames)
            time_left = RunningTime(seconds)
            while True:
                header, payload = self._receive(call, time_left, seconds)
                if header["id"] == number:  # else the late answer to a request given up before
                    return self._conversation.result(call, header, payload)

    def _answers(self, call: Call[T]) -> Iterator[T]:
        with self._lock:
            number, frames = self._request(call)
            stream = self._streams[number] = self._conversation.stream(number, call)
            self._socket.send_multipart(frames)
        try:
            while True:
                with self._lock:
                    seconds = self._timeout + LONGEST_HOLD  # it says so often that it is alive
                    time_left = RunningTime(seconds)
                    while stream.waits:
                        header, _ = self._receive(call, time_left, seconds)
                        if header["id"] == number:
                            time_left = RunningTime(seconds)
                    taken = stream.take()
                if taken is None:
                    return
                yield taken[0]
                with self._lock:
                    self._socket.send_multipart(stream.grant())
        finally:
            with self._lock:
                del self._streams[number]
                if not self._socket.closed:
                    with contextlib.suppress(zmq.ZMQError):
                        self._socket.send_multipart(stream.cancel(), zmq.NOBLOCK)

    def _receive(
        self, call: Call[Any], time_left: RunningTime, seconds: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The next message; one of a stream is fed to that stream, too."""
        if not self._readable(time_left):
            raise self._late(call, seconds)
        frames = self._socket.recv_multipart()
        number, header = self._conversation.number_of(frames)
        payload = frames[1:]
        stream = self._streams.get(number)
        if stream is not None:
            stream.feed(header, payload)
        return header, payload

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


class AsyncClient(Endpoint):
    """The same for asyncio: methods, results and errors are those of ``Client``.

    Made and used in one event loop. An asynchronous context manager.
    """

    def _open(self) -> None:
        self._context: zmq.asyncio.Context | None = None
        self._socket: zmq.asyncio.Socket | None = None
        self._reader: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._pending: dict[int, asyncio.Future[list[Any]]] = {}
        self._streams: dict[int, tuple[Stream[Any], asyncio.Event]] = {}
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

    status = awaiting(operations.status)
    watch = async_streaming(operations.watch)
    definitions = awaiting(operations.definitions)
    show = awaiting(operations.show)
    snapshot = awaiting(operations.snapshot)
    diff = awaiting(operations.diff)
    reload = awaiting(operations.reload)
    restart = awaiting(operations.restart)
    stop = awaiting(operations.stop)
    start = awaiting(operations.start)
    order = awaiting(operations.order)
    wait = awaiting(operations.wait)
    history = awaiting(operations.history)
    settings = awaiting(operations.settings)
    environments = awaiting(operations.environments)
    logs = awaiting(operations.logs)
    follow = async_streaming(operations.follow)
    shutdown = awaiting(operations.shutdown)
    launch = async_handle(run_operations.launch)
    preview = awaiting(run_operations.preview)
    runs = awaiting(run_operations.runs)
    run = async_handle(run_operations.run)
    retry = async_handle(run_operations.retry)
    tick = awaiting(automation_operations.tick)
    automations = awaiting(automation_operations.automations)
    ticks = awaiting(automation_operations.ticks)
    switch_automation = awaiting(automation_operations.switch_automation)
    call_method = awaiting(operations.call_method)

    async def follow_logs(
        self, location: str, *, after: int | None = None, lines: int = 10
    ) -> AsyncIterator[documents.LogLine]:
        """As ``Client.follow_logs``."""
        if after is None:
            chunk = await self.logs(location, lines=lines)
            for line in chunk["lines"]:
                yield line
            after = chunk["next"]
        async for chunk in self.follow(location, after=after):
            for line in chunk["lines"]:
                yield line

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

    async def _answers(self, call: Call[T]) -> AsyncGenerator[T, None]:
        import asyncio

        socket = self._connected()
        number, frames = self._request(call)
        stream, came = self._conversation.stream(number, call), asyncio.Event()
        self._streams[number] = stream, came
        seconds = self._timeout + LONGEST_HOLD  # it says so often that it is alive
        try:
            await socket.send_multipart(frames)
            while True:
                while stream.waits:
                    came.clear()
                    async with limit(seconds):
                        await came.wait()
                taken = stream.take()
                if taken is None:
                    return
                yield taken[0]
                await socket.send_multipart(stream.grant())
        except TimeoutError:
            raise self._late(call, seconds) from None
        finally:
            del self._streams[number]
            if not socket.closed:
                with contextlib.suppress(zmq.ZMQError):
                    # Never waits: the plain socket below, and what does not fit is dropped.
                    zmq.Socket.shadow(socket.underlying).send_multipart(
                        stream.cancel(), zmq.NOBLOCK
                    )

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
        except Exception as error:  # all that wait must hear of it
            self._fail(error)
            return
        if number in self._streams:
            stream, came = self._streams[number]
            stream.feed(header, frames[1:])
            came.set()
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
        self._fail(self._gone())

    def _fail(self, error: Exception) -> None:
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(error)
        for stream, came in self._streams.values():
            stream.fail(error)
            came.set()
