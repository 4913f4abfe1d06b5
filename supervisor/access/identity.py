"""The identity of a client: a name, a role and the locations that the role is for.

Owns what an identity may do and see, and which one the request that is answered now has. Pure: where
identities come from is ``access``'s.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from supervisor.roles import Role

__all__ = ["ANONYMOUS", "EVERYWHERE", "OPERATOR", "Identity", "asker", "asking"]

EVERYWHERE = "*"
"""The pattern of all locations."""


@dataclass(frozen=True, slots=True)
class Identity:
    """``role`` for the locations that fit one of ``locations``; without a role, for nothing.

    A pattern is a name, or has ``*``, ``?`` and ``[...]`` as in a shell; ``*`` is also for slashes.
    ``credential`` is what it was known by: it may cease to be valid; "" for one that cannot.
    """

    name: str
    role: Role | None
    locations: tuple[str, ...] = (EVERYWHERE,)
    credential: str = field(default="", repr=False)

    @property
    def everywhere(self) -> bool:
        """True for one that is for all locations, whichever come."""
        return EVERYWHERE in self.locations

    def may(self, role: Role) -> bool:
        """True when it has ``role``, or one that includes it."""
        return self.role is not None and self.role.includes(role)

    def sees(self, location: str) -> bool:
        """True when it is for the location of that name."""
        return any(one == location or fnmatchcase(location, one) for one in self.locations)

    def limited(self, role: Role) -> Identity:
        """The same with ``role`` at most."""
        return replace(self, role=role) if self.may(role) else self

    @property
    def words(self) -> str:
        """Such as ``token:ci (viewer of team-a/*)``."""
        role = "no role" if self.role is None else str(self.role)
        where = "" if self.everywhere else f" of {', '.join(self.locations)}"
        return f"{self.name} ({role}{where})"


ANONYMOUS = "anonymous"
"""The name of those that a connection asks for without saying who they are."""

OPERATOR = Identity("operator", Role.ADMIN)
"""Who may connect to the socket in the private runtime directory."""

_asker: ContextVar[Identity] = ContextVar("asker", default=OPERATOR)


def asker() -> Identity:
    """Whose request this task answers; the operator where it answers none."""
    return _asker.get()


@contextlib.contextmanager
def asking(identity: Identity) -> Iterator[None]:
    """This task answers ``identity`` meanwhile."""
    token = _asker.set(identity)
    try:
        yield
    finally:
        _asker.reset(token)
