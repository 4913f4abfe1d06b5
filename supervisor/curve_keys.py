"""CURVE keys: the supervisor's own, those of clients that may connect, and the check of both.

Owns ``keys/`` in the workspace's state directory (0700): ``server.key`` (0600, made with the first
use) and ``clients/NAME.pub``, which ``supervise keys`` adds: a public key, and on a second line its grant.
A client's own file holds its pair and the supervisor's public key, is 0600, and is given to the client
that may connect.
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
from supervisor.nearest import listed
from supervisor.roles import Role
from supervisor.specs import SourcePosition

if TYPE_CHECKING:
    import zmq.asyncio

__all__ = ["ClientKeys", "Gate", "KeyDirectory", "KeyGrant", "check_address"]

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
                Path(path), "the file holds no keys of a client", "`supervise keys add NAME`"
            )
        return cls(*keys)  # type: ignore[arg-type]  # each was just found to be a text

    def apply(self, socket: zmq.Socket[Any]) -> None:
        """Have ``socket``, which is not connected yet, use them."""
        socket.curve_serverkey = self.server.encode()
        socket.curve_publickey = self.public.encode()
        socket.curve_secretkey = self.secret.encode()


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What the client ``name`` may do: ``role`` for the locations that fit one of ``locations``.

    Without a role it may connect, and do what the tokens allow that it sends. ``dated`` is True for
    keys that were made before keys had roles: they may do everything, as when they were given.
    """

    name: str
    role: Role | None
    locations: tuple[str, ...]
    dated: bool = False


class KeyDirectory:
    """``keys/`` below the state directory ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path / "keys"
        self._clients = self._path / "clients"
        self._seen: set[tuple[str, int, int, int]] | None = None
        self._by_key: dict[str, KeyGrant] = {}

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

    def add_client(
        self, name: str, file: Path, role: Role | None, locations: tuple[str, ...] = ("*",)
    ) -> None:
        """Let a new client ``name`` connect; its keys are written to ``file``, which must not exist."""
        if not _NAME.fullmatch(name):
            raise _problem(
                file, f"{name!r} cannot be a client's name", "use letters, digits, '-', '_' and '.'"
            )
        server, _ = self.server()
        entry = self._clients / f"{name}.pub"
        if entry.exists():
            raise _problem(
                entry, f"{name} has keys already", f"`supervise keys revoke {name}` first"
            )
        public, secret = (one.decode() for one in zmq.curve_keypair())
        try:
            _write_private(file, {"server": server, "public": public, "secret": secret})
            grant = {"role": "none" if role is None else role.value, "locations": list(locations)}
            _write(entry, f"{public}\n{json.dumps(grant)}\n")
        except OSError as error:
            text = (error.strerror or str(error)).lower()
            raise _problem(file, f"the keys cannot be written: {text}", "") from None

    def revoke(self, name: str) -> None:
        """Let the client ``name`` connect no more. Raises ``ConfigurationError`` when there is none."""
        entry = self._clients / f"{name}.pub"
        try:
            if not _NAME.fullmatch(name):
                raise FileNotFoundError
            entry.unlink()
        except FileNotFoundError:
            known = [one.name for one in self.all()]
            hint = listed(known) if known else "there are no clients"
            raise _problem(self._clients, f"no client is named {name!r}", hint) from None
        except OSError as error:
            text = (error.strerror or str(error)).lower()
            raise _problem(entry, f"it cannot be removed: {text}", "") from None

    def all(self) -> list[KeyGrant]:
        """What each client may do, by name; an entry that cannot be read is none."""
        self._look()
        return sorted(self._by_key.values(), key=lambda one: one.name)

    def client(self, public: str) -> KeyGrant | None:
        """What the client with that public key may do now, None for one that may not connect.

        A file that was added, changed or removed counts from then on.
        """
        self._look()
        return self._by_key.get(public)

    def _look(self) -> None:
        """Read the entries again when one of them has changed."""
        seen: set[tuple[str, int, int, int]] = set()
        entries: list[os.DirEntry[str]] = []
        with contextlib.suppress(OSError), os.scandir(self._clients) as listing:
            entries = [one for one in listing if one.name.endswith(".pub")]
        for one in entries:
            with contextlib.suppress(OSError):
                status = one.stat()
                seen.add((one.path, status.st_mtime_ns, status.st_size, status.st_ino))
        if seen != self._seen:
            granted = (_granted(Path(path)) for path, *_ in sorted(seen))
            self._by_key = dict(one for one in granted if one is not None)
            self._seen = seen

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

        public = key.decode("ascii", "replace")
        return await asyncio.to_thread(self._keys.client, public) is not None

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


def _granted(entry: Path) -> tuple[str, KeyGrant] | None:
    """The key in ``entry`` and its grant; None when it is gone meanwhile, or is no entry."""
    try:
        if entry.stat().st_size > _LONGEST_FILE:
            return None
        key, *more = entry.read_text("ascii").split("\n", 1)
        name, key, text = entry.name.removesuffix(".pub"), key.strip(), "".join(more).strip()
        if not _KEY.fullmatch(key):
            return None
        if not text:
            return key, KeyGrant(name, Role.ADMIN, ("*",), dated=True)
        grant = json.loads(text)
        role = None if grant["role"] == "none" else Role(grant["role"])
        locations = tuple(grant["locations"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not locations or not all(isinstance(one, str) for one in locations):
        return None
    return key, KeyGrant(name, role, locations)


def _write_private(path: Path, data: dict[str, str]) -> None:
    _write(path, json.dumps(data, indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    """A new file, 0600 from its first moment and whole or not there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123  # a descriptor
            file.write(text)
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
