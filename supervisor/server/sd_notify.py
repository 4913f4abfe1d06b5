"""Messages to systemd: ready, reloading, stopping, and the watchdog.

Owns the datagrams of sd_notify(3) and nothing else: no dependency for one short message. Silent
where ``NOTIFY_SOCKET`` is not set. The variables are ours alone: ``from_environ``
takes them out, because user code must not send such messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

__all__ = ["Notifier"]

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Tells the service manager that listens at ``address`` ("" for none).

    ``watchdog`` is the time in seconds within which it wants to hear from us; 0 for never.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog = watchdog

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Notifier:
        """The one that ``environ`` names; its variables are removed."""
        address, interval, pid = (environ.pop(name, "") for name in _VARIABLES)
        ours = pid in ("", str(os.getpid()))
        watchdog = int(interval) / 1e6 if ours and interval.isdecimal() else 0.0
        return cls(address if address[:1] in ("/", "@") else "", watchdog)

    def ready(self, status: str) -> None:
        """Clients can connect."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read again; ``ready`` follows."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Everything is being stopped."""
        self._tell("STOPPING=1", "STATUS=stopping everything")

    async def keep_alive(self) -> None:
        """Tell it twice in each interval that the event loop turns, until cancelled."""
        while self.watchdog > 0:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog / 2)

    def _tell(self, *lines: str) -> None:
        if self._address:
            # The service manager may not listen any more: sending must not block.
            with (
                contextlib.suppress(OSError),
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
            ):
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
