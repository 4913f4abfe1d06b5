"""What both clients know of the supervisor they talk to, and how its death is noticed.

Owns the finding of the supervisor, the handle on its process and the errors for one that is gone
or does not answer, and the socket that talks to it.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from supervisor.client.locate import Found, find
from supervisor.client.requests import Call, Conversation
from supervisor.errors import NotRunningError, RequestTimeoutError
from supervisor.protocol import parameters
from supervisor.runtime_dir import process_birth

if TYPE_CHECKING:
    import zmq

    _S = TypeVar("_S", bound=zmq.Socket[Any])

__all__ = ["LAST_WORDS_SECONDS", "LOOK_SECONDS", "Endpoint", "WorkspacePath", "wait_for_end"]

WorkspacePath = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

# Where the kernel cannot tell us of a death (no pidfd), we look this often.
LOOK_SECONDS = 0.25
# A process that is gone may have answered before: its last bytes are on their way.
LAST_WORDS_SECONDS = 0.2


class Endpoint:
    """What both clients know of the supervisor they talk to."""

    def __init__(
        self,
        workspace: WorkspacePath | None = None,
        *,
        directory: str | os.PathLike[str] | None = None,
        timeout: float = 10.0,
        environ: Mapping[str, str] | None = None,
        found: Found | None = None,
        address: str | None = None,
        keys: str | os.PathLike[str] | None = None,
        token: str | None = None,
        role: str | None = None,
    ) -> None:
        self._timeout = parameters.seconds("timeout", timeout)
        if address is not None:
            if keys is None:
                raise ValueError("a supervisor elsewhere is talked to with keys only")
            from supervisor.curve_keys import ClientKeys, check_address

            check_address(address)
            found = Found.at(address, ClientKeys.read(keys))
        self._found = (
            found if found is not None else find(workspace, directory=directory, environ=environ)
        )
        self._keys = self._found.keys
        self._remote = self._keys is not None
        self._conversation = Conversation(self._found.workspace, token=token, role=role)
        self._pidfd = None if self._remote else _pidfd(self._found)
        self._open()

    def _request(self, call: Call[Any]) -> tuple[int, list[bytes]]:
        """The number of a new request and its frames; an order on a guess is refused here."""
        if call.is_order:
            self._found.take_order()
        return self._conversation.request(call)

    def _open(self) -> None:
        """Make what the client needs of its own; the supervisor is known by now."""

    @property
    def workspace(self) -> str:
        """The workspace as people name it."""
        return self._found.workspace

    @property
    def pid(self) -> int:
        """The supervisor's process."""
        return self._found.pid

    def _gone(self) -> NotRunningError:
        return NotRunningError(
            self.workspace, hint=f"pid {self.pid} ended; start it with `supervise`"
        )

    def _alive(self) -> bool:
        # One that is elsewhere is known by its answers alone.
        return self._remote or is_alive(self._found)

    def _dealer(self, context: zmq.Context[_S]) -> _S:
        """A socket of ``context`` that talks to it; the context ends when there is none to be had."""
        import zmq

        try:
            socket = context.socket(zmq.DEALER)
            socket.linger = 0
            if self._keys is not None:
                self._keys.apply(socket)
            socket.connect(self._found.address)
        except BaseException:
            context.destroy(0)
            raise
        return socket

    def _late(self, call: Call[Any], seconds: float) -> RequestTimeoutError:
        if self._remote:
            return RequestTimeoutError(
                f"{self.workspace} did not answer {call.method!r} within {seconds:g} s",
                hint="it may not run, or not know this client's keys: see `supervise keys`",
            )
        return RequestTimeoutError(
            f"the supervisor (pid {self.pid}) did not answer {call.method!r} within {seconds:g} s",
            hint=f"it may be overloaded or suspended: see `ps -o stat=,pcpu= -p {self.pid}`",
        )

    def _close_pidfd(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def is_alive(found: Found) -> bool:
    """True while the very process that was found lives."""
    birth = process_birth(found.pid)
    return birth is not None and birth == found.info.get("create_time")


def _pidfd(found: Found) -> int | None:
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(found.pid)
    except ProcessLookupError:
        raise NotRunningError(found.workspace, hint="start it with `supervise`") from None
    except OSError:
        return None  # an old kernel, or a sandbox that forbids it: we look instead


def wait_for_end(found: Found, timeout: float) -> bool:
    """True once the supervisor's process is gone; False when ``timeout`` seconds passed first."""
    deadline = time.monotonic() + timeout
    try:
        pidfd = _pidfd(found)
    except NotRunningError:
        return True
    try:
        while is_alive(found):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if pidfd is None:
                time.sleep(min(left, LOOK_SECONDS))
            elif select.select([pidfd], [], [], left)[0]:
                return True
        return True
    finally:
        if pidfd is not None:
            os.close(pidfd)
