"""The roles of a client, each with what it may do. Who has which is ``supervisor.access``. Pure."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Role"]


class Role(StrEnum):
    """What a client may do; each role includes those before it."""

    VIEWER = "viewer"
    """Looks at everything."""
    LAUNCHER = "launcher"
    """Also begins and ends runs."""
    EDITOR = "editor"
    """Also reloads, restarts, starts and stops locations, and looks into their processes."""
    ADMIN = "admin"
    """Also ends the supervisor."""

    def includes(self, other: Role) -> bool:
        """True when this role may do what ``other`` may."""
        roles = list(Role)
        return roles.index(self) >= roles.index(other)
