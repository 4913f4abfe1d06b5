"""Authorizes requests: the identity of the client, its role, and its locations.

Owns the one judgement that the control socket asks for before any handler runs, the end of requests whose
token or key ceases to be valid, and what the audit is told. Rules:

- Who connects to the private ipc socket is the operator. A connection over TCP has the grant of its key.
- A request with ``bearer`` has the identity of that token instead. ``role`` makes it no more than that role.
- The role is judged first, then the locations: one that the identity is not for does not exist for it,
  and no error names it.
- A method that does not say what it concerns is for identities of all locations.

Files are read in a thread of its own. Knows no socket and no fleet.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from supervisor import nearest
from supervisor.access.identity import ANONYMOUS, OPERATOR, Identity
from supervisor.access.recorder import Recorder
from supervisor.access.tokens import TokenFile
from supervisor.conditions import Tell
from supervisor.curve_keys import KeyDirectory
from supervisor.errors import (
    ConfigurationError,
    ForbiddenError,
    ProtocolError,
    SupervisorError,
    UnauthenticatedError,
    UnknownLocationError,
)
from supervisor.protocol.methods import Method, Scope
from supervisor.roles import Role

__all__ = ["LOOK_SECONDS", "Access", "Places"]

LOOK_SECONDS = 1.0
"""So often the tokens and keys of requests under way are looked at."""
_LONGEST_TOKEN = 200
# Refusals of one identity that are recorded, and in which time (seconds): without a bound they would
# push everything else out of the audit.
_MOST_REFUSALS, _REFUSALS_IN = 20, 60.0
# So many identities are counted.
_MOST_REFUSED = 1000
_STRANGER = "unknown"
_UNREADABLE, _DATED = "tokens_unreadable", "keys_without_role"
_MOST_NAMED, _LONGEST_NAME = 100, 200
_REFUSALS = (ForbiddenError.code, UnauthenticatedError.code)


class Places(Protocol):
    """What there is to be allowed."""

    def names(self) -> Collection[str]:
        """The names of all locations."""

    def run(self, name: str, sees: Callable[[str], bool]) -> str:
        """The id of the run that ``name`` is the id, the beginning or the end of, among those of
        locations that ``sees``. Raises ``UnknownRunError``, or ``RequestError`` for several."""


class Access:
    """Judges requests by the tokens and keys in ``directory``, a workspace's state directory.

    ``tell`` sets a condition, and may be called in any thread. ``keys`` are those of clients.
    """

    def __init__(
        self,
        directory: Path,
        places: Places,
        tell: Callable[[str], Tell] = lambda key: lambda text: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = TokenFile(directory)
        self.keys = KeyDirectory(directory)
        self._places = places
        self._clock = clock
        self._files = ThreadPoolExecutor(1, "access")
        self._recorder = Recorder(directory, tell("audit_unwritable"))
        self._conditions = {key: tell(key) for key in (_UNREADABLE, _DATED)}
        self._told: dict[str, str | None] = {}
        self._under_way: dict[asyncio.Timeout, Identity] = {}
        self._refusals: dict[str, tuple[float, int]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Write what the audit has to be told yet."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.to_thread(self._recorder.close)
        self._files.shutdown(wait=False, cancel_futures=True)

    # Who asks.

    async def identify(self, key: str | None, request: Mapping[str, Any]) -> Identity:
        """Whose ``request`` it is; ``key`` is the public key of its connection, None for ipc.

        Raises ``UnauthenticatedError`` for a token or key that is not valid, or not any more.
        """
        bearer, role = request.get("bearer"), request.get("role")
        if bearer is not None:
            if not isinstance(bearer, str) or len(bearer) > _LONGEST_TOKEN:
                raise UnauthenticatedError(
                    f"a token is a text of at most {_LONGEST_TOKEN} characters",
                    hint="the operator makes one: `supervise tokens add NAME --role ROLE`",
                )
            found = await self._read(lambda: self._of_token(bearer))
        elif key is not None:
            found = await self._read(lambda: self._of_key(key))
        else:
            found = OPERATOR
        if role is None:
            return found
        if bearer is None:
            found = replace(found, name=ANONYMOUS)
        if not isinstance(role, str) or role not in list(Role):
            raise ProtocolError(f"no role is named {str(role)[:100]!r}")
        return found.limited(Role(role))

    async def _read(self, find: Callable[[], Identity]) -> Identity:
        return await asyncio.get_running_loop().run_in_executor(self._files, find)

    def _of_token(self, secret: str) -> Identity:
        try:
            token = self._tokens.find(secret, self._clock())
            self._say(_UNREADABLE, None)
        except ConfigurationError as error:
            self._say(_UNREADABLE, f"no token is accepted: {error}")
            raise UnauthenticatedError(
                "the supervisor cannot read its tokens",
                hint="the operator sees why: `supervise status`",
            ) from None
        if token is None:
            raise UnauthenticatedError(
                "the token is not known, was revoked or has expired",
                hint="the operator makes one: `supervise tokens add NAME --role ROLE`",
            )
        return Identity(f"token:{token.name}", token.role, token.locations, f"t{token.hash}")

    def _of_key(self, public: str) -> Identity:
        grant = self.keys.client(public)
        if grant is None:
            raise UnauthenticatedError(
                "the key is not known any more: it was revoked",
                hint="the operator makes one: `supervise keys add NAME --role ROLE`",
            )
        dated = ", ".join(one.name for one in self.keys.all() if one.dated)
        text = f"clients whose keys were made before keys had roles may do everything: {dated}"
        self._say(_DATED, text if dated else None)
        return Identity(f"key:{grant.name}", grant.role, grant.locations, f"k{public}")

    def _say(self, key: str, text: str | None) -> None:
        if self._told.get(key) != text:
            self._told[key] = text
            self._conditions[key](text)

    def _valid(self, credential: str) -> Identity | None:
        """What the credential of an identity stands for now."""
        if credential.startswith("k"):
            with contextlib.suppress(UnauthenticatedError):
                return self._of_key(credential[1:])
            return None
        with contextlib.suppress(ConfigurationError):
            token = self._tokens.valid(credential[1:], self._clock())
            if token is not None:
                return Identity(f"token:{token.name}", token.role, token.locations, credential)
        return None

    def _all_valid(self, credentials: Collection[str]) -> dict[str, Identity | None]:
        return {one: self._valid(one) for one in credentials}

    # What it may.

    def allow(
        self, identity: Identity, method: Method, given: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """``given``, with a run's whole id; raises ``ForbiddenError`` and what an unknown location or
        run would raise."""
        if not identity.may(method.role):
            raise ForbiddenError(
                f"{identity.words} may not {method.name!r}: that needs the role {method.role}",
                hint="the operator gives roles: `supervise tokens add NAME --role ROLE`",
            )
        if identity.everywhere:
            return given
        scopes = method.scopes
        if not scopes or Scope.SUPERVISOR in scopes:
            raise ForbiddenError(
                f"{identity.words} may not {method.name!r}: that concerns all locations"
            )
        if Scope.LOCATION in scopes and given["location"] is not None:
            self._allow(identity, given["location"])
        if Scope.LOCATIONS in scopes:
            for name in given["locations"]:
                self._allow(identity, name)
        runs = {name: given[name] for name in ("run", "parent") if given.get(name) is not None}
        return {**given, **{k: self._places.run(v, identity.sees) for k, v in runs.items()}}

    def _allow(self, identity: Identity, location: str) -> None:
        if not identity.sees(location):
            raise self._unknown(identity, location)

    def shown(self, identity: Identity, error: SupervisorError) -> SupervisorError:
        """``error`` as ``identity`` may see it: a hint names no location that it is not for."""
        if isinstance(error, UnknownLocationError) and not identity.everywhere:
            return self._unknown(identity, error.name)
        return error

    def _unknown(self, identity: Identity, location: str) -> UnknownLocationError:
        seen = [name for name in self._places.names() if identity.sees(name)]
        return UnknownLocationError(location, hint=nearest.hint(location, seen))

    # For how long.

    @contextlib.asynccontextmanager
    async def admitted(self, identity: Identity) -> AsyncIterator[None]:
        """While the request of ``identity`` is answered: raises ``UnauthenticatedError`` in it within
        ``LOOK_SECONDS`` or so of the end of its token or key, or of another grant for it."""
        if not identity.credential:
            yield
            return
        try:
            async with asyncio.timeout(None) as limit:
                self._under_way[limit] = identity
                if self._looking is None or self._looking.done():
                    self._looking = asyncio.create_task(self._look(), name="access")
                try:
                    yield
                finally:
                    del self._under_way[limit]
        except TimeoutError:
            if not limit.expired():
                raise
            raise UnauthenticatedError(
                "the token or key of this request was revoked or changed, or has expired"
            ) from None

    async def _look(self) -> None:
        while self._under_way:
            await asyncio.sleep(LOOK_SECONDS)
            held = {one.credential for one in self._under_way.values()}
            try:
                now = await asyncio.get_running_loop().run_in_executor(
                    self._files, self._all_valid, held
                )
            except OSError:  # as without descriptors: looked at again
                continue
            for limit, identity in list(self._under_way.items()):
                granted = now.get(identity.credential, identity)
                if granted is None or not _includes(granted, identity):
                    limit.reschedule(asyncio.get_running_loop().time())

    # What the audit is told.

    def record(
        self,
        identity: Identity | None,
        method: Method,
        given: Mapping[str, Any],
        result: str = "done",
        answer: Any = None,
    ) -> None:
        """Note that ``identity`` (None for one that is not known) asked for ``method``; ``result`` is
        ``done`` or the code of an error. What needs no more than to look is noted when it is refused."""
        if method.role is Role.VIEWER and result not in _REFUSALS:
            return
        who, now, missed = _STRANGER if identity is None else identity.name, self._clock(), 0
        if result != "done" and who != OPERATOR.name:
            begin, count = self._refusals.get(who, (now, 0))
            if not 0 <= now - begin <= _REFUSALS_IN:
                begin, missed, count = now, max(count - _MOST_REFUSALS, 0), 0
            self._refusals.pop(who, None)  # the latest, so the last to be forgotten
            self._refusals[who] = begin, count + 1
            while len(self._refusals) > _MOST_REFUSED:
                del self._refusals[next(iter(self._refusals))]
            if count >= _MOST_REFUSALS:
                return
        locations, run = _concerned(given, answer)
        named = [one[:_LONGEST_NAME] for one in locations[:_MOST_NAMED]]
        entry: dict[str, Any] = {"time": now, "who": who, "method": method.name, "location": named}
        if len(locations) > _MOST_NAMED:
            entry["more"] = len(locations) - _MOST_NAMED
        if run is not None:
            entry["run"] = run[:_LONGEST_NAME]
        if missed:
            entry["not_recorded_before"] = missed
        self._recorder.note({**entry, "result": result})


def _includes(granted: Identity, identity: Identity) -> bool:
    """True when what is granted now is at least what the request was admitted with."""
    same = granted.locations == identity.locations
    return same and (identity.role is None or granted.may(identity.role))


def _concerned(given: Mapping[str, Any], answer: Any) -> tuple[list[str], str | None]:
    """The locations and the run that a request concerned, as far as it or its answer says.

    What was refused for its parameters has them as they came, in any shape.
    """
    many, run = given.get("locations"), given.get("run") or given.get("parent")
    named = [given.get("location"), *(many if isinstance(many, list | tuple) else ())]
    locations = [one for one in named if isinstance(one, str) and one]
    run = run if isinstance(run, str) else None
    if isinstance(answer, dict):
        row = answer.get("run")
        row = row if isinstance(row, dict) else answer
        if isinstance(row.get("run"), str):
            run = row["run"]
        if not locations and isinstance(row.get("location"), str):
            locations = [row["location"]]
        if not locations and isinstance(answer.get("locations"), dict):
            locations = list(answer["locations"])
    return locations, run
