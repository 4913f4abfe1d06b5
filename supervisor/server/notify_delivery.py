"""Notifications on their way to commands and webhooks: each receiver has a queue, and none waits for another.

Owns what is one message, the attempts, what they may take, and the condition that says that a receiver does not
work. Much of one kind that happens together is one message: a little is waited before the first, and longer while
more of it comes, as Alertmanager does for a group. An attempt
is a thread of its own, because a program is started and a name looked up in it; the event loop waits for none
longer than its limit. ``notifying`` decides what is sent, and when.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import IO, Any

from supervisor.conditions import Conditions
from supervisor.notify_settings import Notify

__all__ = ["Deliveries"]

# How long one attempt may take, and the waits between them (seconds); messages that wait for one receiver;
# attempts at one receiver that may hang although their time is over: each is a thread.
ATTEMPT = 10.0
DELAYS = (1.0, 5.0, 30.0)
_MOST_WAITING = 1000
# How long more of the same is waited for: at first, at most, and after how long it is the first again (seconds).
GROUP_WAIT, _LONGEST_GROUP_WAIT, _QUIET = 0.25, 16.0, 60.0
# So many of one message are in it as documents, and so many texts in its own.
_MOST_TOGETHER, _MOST_TEXTS = 100, 5
_MOST_HANGING = 3
_TO_END = 2.0
_BEYOND = 2.0
# Characters of a variable: the kernel takes 128 KiB, and the standard input has the whole text.
_LONGEST = 8000


class Deliveries:
    """Sends messages to receivers. ``environ`` are the variables of commands."""

    def __init__(
        self,
        conditions: Conditions,
        environ: Mapping[str, str],
        delays: Sequence[float] = DELAYS,
    ) -> None:
        self._conditions = conditions
        self._environ = dict(environ)
        self._delays = tuple(delays)
        self._queues: dict[Notify, deque[dict[str, Any]]] = {}
        self._tasks: dict[Notify, asyncio.Task[None]] = {}
        self._attempts: set[_Attempt] = set()
        self._paces: dict[Notify, dict[str, _Pace]] = {}
        self._closing = asyncio.Event()

    def send(self, to: Notify, message: dict[str, Any]) -> None:
        """Have ``message`` on its way, with others of its event; returns at once. The oldest that wait go when
        there are too many."""
        queue = self._queues.setdefault(to, deque())
        if len(queue) >= _MOST_WAITING:
            queue.popleft()
            self._fails(
                to, f"more than {_MOST_WAITING} notifications wait, and the oldest were dropped"
            )
        queue.append(message)
        if to not in self._tasks:
            self._tasks[to] = asyncio.create_task(self._work(to, queue), name=str(to))

    def forget(self, receivers: set[Notify]) -> None:
        """Only ``receivers`` are told from now on."""
        for to in self._queues.keys() - receivers:
            del self._queues[to]
            self._paces.pop(to, None)
            self._conditions.clear(_key(to))
            if to in self._tasks:
                self._tasks.pop(to).cancel()

    async def close(self) -> None:
        """Let what is on its way arrive for a moment, and end the rest."""
        self._closing.set()
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=_TO_END)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for attempt in self._attempts:
            attempt.end()

    async def _work(self, to: Notify, queue: deque[dict[str, Any]]) -> None:
        paces = self._paces.setdefault(to, {})
        while queue:
            event = queue[0]["event"]
            wait = paces.setdefault(event, _Pace()).next(time.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._closing.wait()
            group = _group(queue)
            message = _together(group)
            problem = await self._deliver(to, message)
            for one in group:
                with contextlib.suppress(ValueError):  # dropped meanwhile
                    queue.remove(one)
            if problem is None:
                self._conditions.clear(_key(to))
            else:
                self._fails(to, f"{problem} (told of {message['event']} of {message['location']})")
        self._tasks.pop(to, None)

    async def _deliver(self, to: Notify, message: dict[str, Any]) -> str | None:
        """None once it is delivered, else why it is not."""
        problem = await self._try(to, message)
        for delay in self._delays:
            if problem is None:
                return None
            self._fails(to, f"{problem}, and is tried again")
            await asyncio.sleep(delay)
            problem = await self._try(to, message)
        return problem

    async def _try(self, to: Notify, message: dict[str, Any]) -> str | None:
        if sum(one.to == to for one in self._attempts) >= _MOST_HANGING:
            return f"has not answered {_MOST_HANGING} times, and is not asked again before it does"
        attempt = _Attempt(to, message, self._environ)
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[str | None] = loop.create_future()

        def done(problem: str | None) -> None:
            self._attempts.discard(attempt)
            if not ended.done():
                ended.set_result(problem)

        self._attempts.add(attempt)
        try:
            attempt.start(lambda problem: _in(loop, partial(done, problem)))
        except RuntimeError as error:  # no thread can be started
            self._attempts.discard(attempt)
            return f"cannot be told: {error}"
        try:
            async with asyncio.timeout(ATTEMPT + _BEYOND):
                return await ended
        except TimeoutError:
            return f"did not answer within {ATTEMPT:g} s"

    def _fails(self, to: Notify, why: str) -> None:
        self._conditions.set(
            _key(to),
            f"notifications do not arrive: {to} {why}",
            "see `notify` in the workspace file",
        )


class _Pace:
    """How long is waited before a message of one event, by what came before."""

    def __init__(self) -> None:
        self._wait, self._quiet_at = GROUP_WAIT, 0.0

    def next(self, now: float) -> float:
        wait = GROUP_WAIT if now >= self._quiet_at else self._wait
        self._wait, self._quiet_at = min(2 * wait, _LONGEST_GROUP_WAIT), now + _QUIET
        return wait


def _group(queue: deque[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first that waits, and all of its event that no other of the same location stands before."""
    event, passed = queue[0]["event"], set()
    group = []
    for one in queue:
        if one["event"] == event and one["location"] not in passed:
            group.append(one)
        else:
            passed.add(one["location"])
    return group


def _together(group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One message of many."""
    texts = [one["text"] for one in group[:_MOST_TEXTS]]
    if len(group) > _MOST_TEXTS:
        texts.append(f"and {len(group) - _MOST_TEXTS} more")
    more = list(group[1:_MOST_TOGETHER])
    return {**group[0], "text": "\n".join(texts), "count": len(group), "more": more}


def _in(loop: asyncio.AbstractEventLoop, work: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(work)


def _key(to: Notify) -> str:
    parts = (*to.command, to.directory, to.webhook, *to.events)
    return f"notify_{zlib.crc32(repr(parts).encode()):08x}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        """The secret headers are for the one address alone."""


class _Attempt:
    """One attempt, in a thread of its own that does not hold up the end of the process."""

    def __init__(self, to: Notify, message: dict[str, Any], environ: Mapping[str, str]) -> None:
        self.to = to
        self._message = message
        self._environ = environ
        self._child: subprocess.Popen[bytes] | None = None
        self._ended = False

    def start(self, done: Any) -> None:
        """Begin; ``done(problem)`` is called in the thread."""
        work = self._run if self.to.command else self._post
        threading.Thread(target=lambda: done(work()), name=str(self.to), daemon=True).start()

    def end(self) -> None:
        """Kill the command."""
        self._ended = True
        child = self._child
        if child is not None and child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)

    def _run(self) -> str | None:
        message = self._message
        told = {
            "SUPERVISE_EVENT": message["event"],
            "SUPERVISE_LOCATION": message["location"],
            "SUPERVISE_RUN": (message["run"] or {}).get("run", ""),
            "SUPERVISE_MESSAGE": message["text"].replace("\0", "\ufffd")[:_LONGEST],
        }
        try:
            self._child = child = subprocess.Popen(
                self.to.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self.to.directory,
                env={**self._environ, **told},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            text = error.strerror if isinstance(error, OSError) else str(error)
            return f"cannot be started: {(text or str(error)).lower()}"
        if self._ended:
            self.end()
        try:
            child.communicate(json.dumps(message).encode() + b"\n", timeout=ATTEMPT)
        except subprocess.TimeoutExpired:
            self.end()
            child.wait()
            return f"did not end within {ATTEMPT:g} s"
        status = child.returncode
        if status < 0:
            return f"was killed by signal {-status}"
        return None if status == 0 else f"ended with status {status}"

    def _post(self) -> str | None:
        request = urllib.request.Request(  # noqa: S310 - http or https, as the workspace is read
            self.to.webhook,
            json.dumps(self._message).encode(),
            {
                "User-Agent": "supervise",
                **dict(self.to.headers),
                "Content-Type": "application/json",
            },
            method="POST",
        )
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=ATTEMPT) as answer:
                status = int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                status = error.code
        except TimeoutError:
            return f"did not answer within {ATTEMPT:g} s"
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            text = getattr(reason, "strerror", None) or type(reason).__name__
            # Never the URL: it may be a secret.
            return f"cannot be reached: {str(text).lower()}"
        return None if 200 <= status < 300 else f"answered {status}"
