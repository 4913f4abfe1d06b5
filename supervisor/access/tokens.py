"""Tokens: secrets that stand for a name with a grant, for clients that come over HTTP.

Owns ``tokens.json`` in the workspace's state directory (0600). Of a token its SHA-256 alone is kept:
it has 256 bits of its own, so no slow hash is needed. ``supervise tokens`` writes the file, the
supervisor reads it again when it has changed, so a token that is revoked is refused from then on. All
methods touch the disk: the event loop calls them in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.nearest import listed
from supervisor.roles import Role
from supervisor.specs import SourcePosition

__all__ = ["PREFIX", "Token", "TokenFile"]

PREFIX = "sup_"
"""How every token begins, so that scanners for secrets can know it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LONGEST_FILE = 4 * 1024 * 1024
_FIELDS: dict[str, Any] = {
    "name": str,
    "hash": str,
    "role": str,
    "locations": list,
    "created": (int, float),
}


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token: ``role`` for the locations that fit one of ``locations`` (patterns).

    ``created`` and ``expires`` are Unix seconds; ``expires`` is None for one that does not.
    """

    name: str
    hash: str
    role: Role
    locations: tuple[str, ...] = ("*",)
    created: float = 0.0
    expires: float | None = None

    def expired(self, now: float) -> bool:
        """True when it is not valid at ``now`` (Unix seconds) any more."""
        return self.expires is not None and now >= self.expires


class TokenFile:
    """The tokens kept in ``directory``, a workspace's state directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "tokens.json"
        self._seen: tuple[int, int, int] | None = None
        self._by_hash: dict[str, Token] = {}

    def find(self, secret: str, now: float) -> Token | None:
        """The token that ``secret`` is, unless it is unknown, revoked or expired at ``now``.

        Raises ``ConfigurationError`` for a file that cannot be read.
        """
        # A lookup by hash tells an attacker nothing about any secret.
        return self.valid(_digest(secret), now)

    def valid(self, digest: str, now: float) -> Token | None:
        """As ``find``, by the ``hash`` of a token that was found before."""
        try:
            found = self._path.stat()
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            return None  # there is no file: there are no tokens
        if state != self._seen:
            self._by_hash = {one.hash: one for one in self._read()}
            self._seen = state
        token = self._by_hash.get(digest)
        return None if token is None or token.expired(now) else token

    def all(self) -> list[Token]:
        """All tokens, by name. Raises ``ConfigurationError`` for a file that cannot be read."""
        return sorted(self._read(), key=lambda one: one.name)

    def add(self, name: str, role: Role, locations: tuple[str, ...], expires: float | None) -> str:
        """Make a token and return its secret, which is kept nowhere.

        Raises ``ConfigurationError`` for a name that cannot be one, or has a token already.
        """
        if not _NAME.fullmatch(name):
            raise self._problem(
                f"{name!r} cannot be a token's name", "use letters, digits, '-', '_' and '.'"
            )
        secret = PREFIX + secrets.token_urlsafe(32)
        with self._changing() as tokens:
            if any(one.name == name for one in tokens):
                raise self._problem(
                    f"{name} has a token already", f"`supervise tokens revoke {name}` first"
                )
            tokens.append(Token(name, _digest(secret), Role(role), locations, time.time(), expires))
        return secret

    def revoke(self, name: str) -> None:
        """Forget the token of ``name``. Raises ``ConfigurationError`` when there is none."""
        with self._changing() as tokens:
            kept = [one for one in tokens if one.name != name]
            if len(kept) == len(tokens):
                known = sorted(one.name for one in tokens)
                hint = listed(known) if known else "there are no tokens"
                raise self._problem(f"no token is named {name!r}", hint)
            tokens[:] = kept

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[Token]]:
        """The tokens, to be changed; written when the block ends without an error."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._path.with_name(".tokens.lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._problem(f"cannot be written: {_words(error)}", "") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tokens = self._read()
            yield tokens
            self._write(tokens)
        finally:
            os.close(lock)

    def _read(self) -> list[Token]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._problem(f"cannot be read: {_words(error)}", "") from None
        with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor
            status = os.fstat(descriptor)
            text = file.read(_LONGEST_FILE + 1)
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or status.st_uid != os.getuid():
            raise self._problem("others than you may write it", f"`chmod 600 {self._path}`")
        try:
            rows = json.loads(text)["tokens"]
            return [_token(row) for row in rows]
        except (ValueError, KeyError, TypeError):
            raise self._problem(
                "is no list of tokens", "remove it, and create the tokens again"
            ) from None

    def _write(self, tokens: list[Token]) -> None:
        rows = [asdict(one) for one in sorted(tokens, key=lambda one: one.name)]
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            descriptor = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600
            )
            with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123  # a descriptor
                json.dump({"tokens": rows}, file, indent=1)
                file.flush()
                os.fsync(descriptor)
            temporary.rename(self._path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._problem(f"cannot be written: {_words(error)}", "") from None

    def _problem(self, message: str, hint: str) -> ConfigurationError:
        return ConfigurationError(
            [ConfigurationProblem(SourcePosition(str(self._path)), "", message)], hint=hint or None
        )


def _token(row: Any) -> Token:
    if any(not isinstance(row[name], kind) for name, kind in _FIELDS.items()):
        raise TypeError
    locations = tuple(row["locations"])
    expires = row.get("expires")
    if not all(isinstance(one, str) for one in locations):
        raise TypeError
    if expires is not None and not isinstance(expires, int | float):
        raise TypeError
    role = Role(row["role"])
    return Token(row["name"], row["hash"], role, locations, row["created"], expires)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
