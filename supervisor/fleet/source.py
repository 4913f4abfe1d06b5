"""The contract of a source of desired state.

A source knows what should run and says when that has changed: the workspace files, or a table of
deployments. ``Fleet`` asks all of them and knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from supervisor.desired import Desired

__all__ = ["Source"]


class Source(Protocol):
    """Where desired state comes from. Everything is called in the event loop."""

    @property
    def title(self) -> str:
        """What people call it: ``workspace.yaml``. No two sources have the same."""

    async def read(self) -> Desired:
        """What it desires now; awaited once at a time, and once before anything is started.

        Must not block the event loop. Raises ``ConfigurationError`` when nothing of it can be told:
        then all that runs because of it goes on.
        """

    def listen(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called, in the event loop, whenever ``read`` may say something else."""
