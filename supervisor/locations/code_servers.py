"""A framework's own servers beside the generations: the interface that a location uses.

Owns that contract alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from supervisor.locations.generation import Generation
    from supervisor.locations.shim_connection import Asks, ServerEnded
    from supervisor.protocol import documents

__all__ = ["NO_SERVERS", "CodeServers"]


class CodeServers(Protocol):
    """Everything is called in the event loop."""

    async def serve(self, generation: Generation) -> None:
        """Have a server of what ``generation`` has loaded; done when it serves, or is known not to.

        Raises nothing: that a server cannot be had is told in its status.
        """

    def took_over(self, generation: Generation) -> None:
        """Clients get ``generation`` from now on."""

    async def retire(self, generation: Generation) -> None:
        """Have its server end once its calls are answered; done when it has."""

    def heard(self, generation: Generation, news: ServerEnded | Asks) -> None:
        """Its process said something of its server unasked."""

    def ended(self, generation: Generation) -> None:
        """The process of ``generation`` has ended, and its server with it."""

    def status(self, location: str) -> documents.CodeServers | None:
        """The servers of ``location`` in the status document; None where it has none."""


class _NoServers:
    """None are wanted."""

    async def serve(self, generation: Generation) -> None:
        """See ``CodeServers``."""

    def took_over(self, generation: Generation) -> None:
        """See ``CodeServers``."""

    async def retire(self, generation: Generation) -> None:
        """See ``CodeServers``."""

    def heard(self, generation: Generation, news: ServerEnded | Asks) -> None:
        """See ``CodeServers``."""

    def ended(self, generation: Generation) -> None:
        """See ``CodeServers``."""

    def status(self, location: str) -> documents.CodeServers | None:
        """See ``CodeServers``."""
        return None


NO_SERVERS: CodeServers = _NoServers()
"""Where none are wanted."""
