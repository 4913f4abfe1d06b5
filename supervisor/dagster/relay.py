"""A process that listens on TCP for servers that listen on sockets: ``python -I -S relay.py FILE``.

Owns bytes in both directions, and nothing of what they mean. ``FILE`` is JSON: ``{"host": …, "routes":
{"<port>": [<name>, <socket>]}}``; it is read again on SIGURG. A port that cannot be listened on is said,
and tried again. Apart from the supervisor, whose event loop is not for other people's megabytes; imports
nothing of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from functools import partial

__all__: list[str] = []

_AGAIN = 2.0  # seconds
_CHUNK = 256 * 1024


class Relay:
    """Listens as ``file`` says."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._routes: dict[tuple[str, int], tuple[str, str]] = {}
        self._told: set[tuple[str, int]] = set()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """For ever."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGURG, self._news.set)
        while True:
            self._news.clear()
            self._read()
            await self._listen()
            missing = len(self._servers) < len(self._routes)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN if missing else None):
                    await self._news.wait()

    def _read(self) -> None:
        try:
            with open(self._file, encoding="utf-8") as file:  # noqa: PTH123  # pathlib is slow to import
                data = json.load(file)
            host = data["host"]
            self._routes = {
                (host, int(port)): (name, path) for port, (name, path) in data["routes"].items()
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            _say(f"ERROR: {self._file} cannot be read: {error}")

    async def _listen(self) -> None:
        for address in self._servers.keys() - self._routes.keys():
            self._servers.pop(address).close()
        for address in self._routes.keys() - self._servers.keys():
            name = self._routes[address][0]
            try:
                take = partial(self._take, address)
                self._servers[address] = await asyncio.start_server(take, *address)
            except OSError as error:
                if address not in self._told:
                    self._told.add(address)
                    reason = (error.strerror or str(error)).lower()
                    _say(
                        f"ERROR: {name} cannot be served at {address[0]}:{address[1]}, trying again: {reason}"
                    )
            else:
                self._told.discard(address)
                _say(f"{name} is served at {address[0]}:{address[1]}")

    async def _take(
        self, address: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            server = await asyncio.open_unix_connection(self._routes[address][1])
        except (OSError, KeyError):  # nothing is served there now: the client tries again
            writer.close()
            return
        try:
            await asyncio.gather(_copy(reader, server[1]), _copy(server[0], writer))
        except OSError:
            pass
        finally:
            server[1].close()
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Relay(sys.argv[1]).run())
