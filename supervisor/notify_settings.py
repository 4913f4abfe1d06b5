"""Receivers of notifications in a workspace: commands and webhooks, and the events that they get.

Owns the shape of these settings. Sends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

__all__ = ["Notify", "Occasion"]


class Occasion(StrEnum):
    """What is told."""

    RUN_FAILED = "run_failed"
    """A run failed or took too long, and is not repeated."""
    RUN_LOST = "run_lost"
    RUN_LATE = "run_late"
    """A run has not ended so long after its launch."""
    LOCATION_FAILED = "location_failed"
    LOCATION_CRASHED = "location_crashed"
    """Its process died."""
    LOCATION_RECOVERED = "location_recovered"
    """It is ready again."""
    AUTOMATION_FAILED = "automation_failed"
    """A tick of a schedule or sensor failed, and none before."""
    AUTOMATION_RECOVERED = "automation_recovered"
    """One that was evaluated did not fail any more."""


@dataclass(frozen=True, slots=True)
class Notify:
    """One receiver: a ``command``, which runs in ``directory``, or a ``webhook``.

    ``events`` are the events that it gets, ``late_after`` (seconds) is when a run is late. Its URL and
    ``headers`` may hold secrets, and are never shown.
    """

    command: tuple[str, ...] = ()
    directory: str = ""
    webhook: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    events: tuple[Occasion, ...] = tuple(Occasion)
    late_after: float | None = None

    def __str__(self) -> str:
        if self.command:
            return f"the command {self.command[0]}"
        return f"the webhook at {urlsplit(self.webhook).hostname}"
