"""What a workspace says about its runs: how many at once, how long, how often again, how long kept.

Owns the shape of these settings and how a location's lie over those of the workspace. Every field is
None where nothing is said; ``NONE`` stands where a limit is explicitly none. Decides nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Final

__all__ = [
    "DEFAULTS",
    "NONE",
    "Backoff",
    "Instance",
    "OnStop",
    "Retries",
    "RunSettings",
    "TagLimit",
    "most_at_once",
]

NONE: Final = math.inf
"""No limit."""


class OnStop(StrEnum):
    """What becomes of runs when the supervisor is told to stop."""

    CANCEL = "cancel"
    KEEP = "keep"


class Instance(StrEnum):
    """Where a framework records runs."""

    OWN = "own"
    """In an instance that is kept for the location."""
    SHARED = "shared"
    """In the one that the environment of the location names."""


class Backoff(StrEnum):
    """How the delay grows from one retry to the next."""

    CONSTANT = "constant"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a run that fails is run again; ``delay`` is seconds before the first time."""

    count: int = 0
    delay: float = 0.0
    backoff: Backoff = Backoff.CONSTANT


@dataclass(frozen=True, slots=True)
class TagLimit:
    """At most ``limit`` runs at once that have the tag ``key``, and ``value`` where that is given.

    With ``each`` the limit is one for each value.
    """

    key: str
    limit: int
    value: str | None = None
    each: bool = False

    def __str__(self) -> str:
        if self.each:
            return f"{self.key}=*"
        return self.key if self.value is None else f"{self.key}={self.value}"


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The ``runs`` keys of a workspace or of a location.

    A run that has ended is kept while it is one of the newest ``keep_count`` and no older than
    ``keep_age``. ``timeout``, ``run_grace`` and ``keep_age`` are seconds, ``max_disk`` is bytes, ``keep_count`` and
    ``max_concurrent`` are numbers of runs.
    """

    max_concurrent: float | None = None
    tag_concurrency: tuple[TagLimit, ...] | None = None
    timeout: float | None = None
    retries: Retries | None = None
    retry_lost: bool | None = None
    keep_count: float | None = None
    keep_age: float | None = None
    max_disk: float | None = None
    on_stop: OnStop | None = None
    run_grace: float | None = None
    instance: Instance | None = None

    def over(self, below: RunSettings) -> RunSettings:
        """These, and where nothing is said those of ``below``."""
        names = (one.name for one in fields(self))
        said = {name: value for name in names if (value := getattr(self, name)) is not None}
        return replace(below, **said)


DEFAULTS: Final = RunSettings(
    tag_concurrency=(),
    timeout=NONE,
    retries=Retries(),
    retry_lost=False,
    keep_count=500,
    keep_age=NONE,
    max_disk=NONE,
    on_stop=OnStop.CANCEL,
    run_grace=5.0,
    instance=Instance.OWN,
)
"""What counts where nothing is said; of ``max_concurrent`` see ``most_at_once``."""


def most_at_once(cores: int) -> int:
    """How many runs at once of a workspace that does not say, on a machine with so many cores."""
    return max(10, 2 * cores)
