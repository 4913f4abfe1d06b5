"""CURVE keys: the supervisor's own, those of clients that may connect, and the check of both.

Owns ``keys/`` in the workspace's state directory (0700): ``server.key`` (0600, made with the first
use) and ``clients/NAME.pub``, one public key a file, which ``supervise keys`` adds. A client's own
file holds its pair and the supervisor's public key, is 0600, and is given to the client that may connect.
Keys are 40 characters of Z85, as ZeroMQ has them. Opens no socket; a secret is never in a message.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.specs import SourcePosition

if TYPE_CHECKING:
    import zmq.asyncio

__all__ = ["ClientKeys", "Gate", "KeyDirectory", "check_address"]

_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LONGEST_FILE = 4096


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a client needs to connect: the supervisor's public key and its own pair."""

    server: str
    public: str
    secret: str = field(repr=False)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ClientKeys:
        """From the file that ``supervise keys`` wrote; raises ``ConfigurationError``."""
        data = _private_data(Path(path))
        keys = [data.get(name) for name in ("server", "public", "secret")]
        if not all(isinstance(one, str) and _KEY.fullmatch(one) for one in keys):
            raise _problem(
                Path(path), "the file holds no keys of a client", "`supervise keys NAME`"
            )
        return cls(*keys)  # type: ignore[arg-type]  # each was just found to be a text

    def apply(self, socket: zmq.Socket[Any]) -> None:
        """Have ``socket``, which is not connected yet, use them."""
        socket.curve_serverkey = self.server.encode()
        socket.curve_publickey = self.public.encode()
        socket.curve_secretkey = self.secret.encode()


class KeyDirectory:
    """``keys/`` below the state directory ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path / "keys"
        self._clients = self._path / "clients"

    def server(self) -> tuple[str, str]:
        """The supervisor's public and secret key, made when there are none."""
        file = self._path / "server.key"
        self._make_directories()
        if not file.exists():
            public, secret = (one.decode() for one in zmq.curve_keypair())
            # Two that start at once: the first one's stays.
            with contextlib.suppress(FileExistsError):
                _write_private(file, {"public": public, "secret": secret})
        data = _private_data(file)
        keys = (data.get("public"), data.get("secret"))
        if not all(isinstance(one, str) and _KEY.fullmatch(one) for one in keys):
            raise _problem(file, "the file holds no keys", "remove it: new ones are made")
        return keys  # type: ignore[return-value]  # each was just found to be a text

    def add_client(self, name: str, file: Path) -> None:
        """Let a new client ``name`` connect; its keys are written to ``file``, which must not exist."""
        if not _NAME.fullmatch(name):
            raise _problem(
                file, f"{name!r} cannot be a client's name", "use letters, digits, '-', '_' and '.'"
            )
        server, _ = self.server()
        entry = self._clients / f"{name}.pub"
        if entry.exists():
            raise _problem(entry, f"{name} has keys already", "remove this file to revoke them")
        public, secret = (one.decode() for one in zmq.curve_keypair())
        try:
            _write_private(file, {"server": server, "public": public, "secret": secret})
        except OSError as error:
            text = (error.strerror or str(error)).lower()
            raise _problem(file, f"the keys cannot be written: {text}", "") from None
        entry.write_text(public + "\n")

    def is_client(self, public: str) -> bool:
        """True for a key that may connect now; files are read each time, so one can be revoked."""
        return any(_holds(entry, public) for entry in self._clients.glob("*.pub"))

    def _make_directories(self) -> None:
        for directory in (self._path, self._clients):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = directory.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                raise _problem(directory, "the directory of keys is not yours", "remove it")
            if status.st_mode & 0o077:
                directory.chmod(0o700)


class Gate:
    """Lets clients of ``keys`` through, and no others; for the sockets of one context."""

    def __init__(self, context: zmq.asyncio.Context, keys: KeyDirectory) -> None:
        from zmq.auth.asyncio import AsyncioAuthenticator

        self.public, self._secret = keys.server()
        self._keys = keys
        self._authenticator = AsyncioAuthenticator(context)

    def start(self) -> None:
        """Begin to check; before any socket is bound."""
        self._authenticator.start()
        self._authenticator.configure_curve_callback("*", self)

    async def callback(self, domain: str, key: bytes) -> bool:
        """Whether the client with the public ``key`` may connect: what the authenticator asks."""
        import asyncio  # clients, which read their keys here, have no need of it

        return await asyncio.to_thread(self._keys.is_client, key.decode("ascii", "replace"))

    def apply(self, socket: zmq.Socket[Any]) -> None:
        """Have ``socket``, which is not bound yet, take encrypted connections only."""
        socket.curve_server = 1
        socket.curve_publickey = self.public.encode()
        socket.curve_secretkey = self._secret.encode()

    def close(self) -> None:
        """Stop checking; after the sockets are closed."""
        self._authenticator.stop()


def check_address(address: str) -> tuple[str, int]:
    """Host and port of ``tcp://host:port``; the port ``*`` is 0. Raises ``ConfigurationError``."""
    found = re.fullmatch(r"tcp://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.*-]+):(\*|[0-9]{1,5})", address)
    if found is None or (found[2] != "*" and int(found[2]) > 65535):
        raise ConfigurationError(
            [
                ConfigurationProblem(
                    SourcePosition("--listen"), "", f"{address!r} is no TCP address"
                )
            ],
            hint="write it as tcp://host:port; local clients need none",
        )
    return found[1], 0 if found[2] == "*" else int(found[2])


def _holds(entry: Path, public: str) -> bool:
    try:
        return entry.stat().st_size <= _LONGEST_FILE and entry.read_text().strip() == public
    except (OSError, ValueError):  # gone meanwhile, or no text
        return False


def _write_private(path: Path, data: dict[str, str]) -> None:
    """A new file, 0600 from its first moment and whole or not there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123  # a descriptor
            file.write(json.dumps(data, indent=1) + "\n")
        os.link(temporary, path)  # fails when it is there, as rename does not
    finally:
        temporary.unlink()


def _private_data(path: Path) -> dict[str, Any]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor
            status = os.fstat(descriptor)
            text = file.read(_LONGEST_FILE)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _problem(path, f"the keys cannot be read: {reason}", "") from None
    if status.st_mode & 0o077 or status.st_uid != os.getuid():
        raise _problem(
            path, "others than you may read these keys", f"use `chmod 600 {path}`, or make new ones"
        )
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    return data if isinstance(data, dict) else {}


def _problem(path: Path, message: str, hint: str) -> ConfigurationError:
    return ConfigurationError(
        [ConfigurationProblem(SourcePosition(str(path)), "", message)], hint=hint or None
    )
