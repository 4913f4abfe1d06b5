"""Results of verification: which loads agree with a fresh one, and where forking is given up.

Owns ``verified.json`` in the workspace's state directory. A load is known by a digest (its ``key``)
of all that may make it another one, a fork that is given up by a digest of the location's target
and environment (its ``subject``). Bounded: the oldest is forgotten. Judges nothing. Read and written
in a thread; a file that cannot be read is replaced, one that cannot be written is kept in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

__all__ = ["GivenUp", "Verified"]

_FORMAT = 1
_MAX_AGREED = 5000
_MAX_GIVEN_UP = 1000
_MAX_TEXT = 1000


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Why a location is not forked any more, since when (Unix seconds), and for which ``subject``.

    ``kept`` is False for what is forgotten when the supervisor ends.
    """

    subject: str
    reason: str
    at: float
    kept: bool = True


class Verified:
    """The file at ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._agreed: dict[str, float] = {}
        self._given_up: dict[str, GivenUp] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="verified")
        self._writing = False

    async def open(self) -> None:
        """Read what an earlier supervisor found out."""
        loop = asyncio.get_running_loop()
        agreed, given_up = await loop.run_in_executor(self._thread, _read, self._path)
        self._agreed, self._given_up = agreed, given_up

    def close(self) -> None:
        """Return when all is written."""
        if self._writing:
            self._write_now()
        self._thread.shutdown()

    def agreed(self, key: str) -> float | None:
        """When a load with this key was seen to agree with a fresh one, or None."""
        return self._agreed.get(key)

    def agree(self, key: str, at: float) -> None:
        """A load with this key agrees with a fresh one."""
        self._agreed.pop(key, None)  # the latest, so the last to be forgotten
        self._agreed[key] = at
        _shorten(self._agreed, _MAX_AGREED)
        self._write()

    def given_up(self, location: str) -> GivenUp | None:
        """Why ``location`` is not forked any more, if it is not; its subject may be another now."""
        return self._given_up.get(location)

    def give_up(self, location: str, why: GivenUp) -> None:
        """Fork ``location`` no more while its subject is the same."""
        self._given_up.pop(location, None)
        self._given_up[location] = why
        _shorten(self._given_up, _MAX_GIVEN_UP)
        if why.kept:
            self._write()

    def forgive(self, location: str) -> None:
        """Fork ``location`` again."""
        why = self._given_up.pop(location, None)
        if why is not None and why.kept:
            self._write()

    def _write(self) -> None:
        """Have it written soon; what comes until then is written with it."""
        if not self._writing:
            self._writing = True
            asyncio.get_running_loop().call_soon(self._write_now)

    def _write_now(self) -> None:
        self._writing = False
        given_up = {
            name: {"subject": one.subject, "reason": one.reason, "at": one.at}
            for name, one in self._given_up.items()
            if one.kept
        }
        data = {"format": _FORMAT, "agreed": dict(self._agreed), "given_up": given_up}
        with contextlib.suppress(RuntimeError):  # closed in this very moment: known in memory
            self._thread.submit(_save, self._path, data)


def _save(path: Path, data: Mapping[str, Any]) -> None:
    temporary = path.with_suffix(".new")
    with contextlib.suppress(OSError):  # a full disk: it is known in memory
        temporary.write_text(json.dumps(data))
        temporary.replace(path)


def _read(path: Path) -> tuple[dict[str, float], dict[str, GivenUp]]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        data = None  # a first start, or a damaged file
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        return {}, {}
    agreed = {key: float(at) for key, at in _items(data.get("agreed")) if _is_number(at)}
    given_up = {}
    for name, one in _items(data.get("given_up")):
        if isinstance(one, dict):
            subject, reason, at = one.get("subject"), one.get("reason"), one.get("at")
            if isinstance(subject, str) and isinstance(reason, str) and _is_number(at):
                given_up[name] = GivenUp(subject, reason[:_MAX_TEXT], at)
    _shorten(agreed, _MAX_AGREED)
    _shorten(given_up, _MAX_GIVEN_UP)
    return agreed, given_up


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shorten(known: dict[str, Any], most: int) -> None:
    while len(known) > most:
        del known[next(iter(known))]
