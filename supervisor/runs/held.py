"""A schedule or sensor in the scheduler: its definition, what is remembered of it, and whether it is busy.

Owns that state alone; ``automations`` decides on it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from supervisor.runs.automation import Automation
from supervisor.runs.firing import NOT_THERE
from supervisor.runs.tick_store import Stored

__all__ = ["Held"]


class Held:
    """A schedule or sensor that a location defines now, and what is remembered of it.

    ``due`` is when its next tick is, as far as that is known; ``away``: why it could not be fired until now,
    "" when it could; ``busy``: one of its ticks is due or under way; ``turn`` is held by that.
    """

    __slots__ = ("away", "busy", "due", "one", "stored", "turn", "unfinished")

    def __init__(self, one: Automation, stored: Stored) -> None:
        self.one = one
        self.stored = stored
        self.due: float | None = None
        self.away = NOT_THERE
        self.busy = False
        self.turn = asyncio.Lock()
        self.unfinished: list[dict[str, Any]] = []

    @property
    def on(self) -> bool:
        """Whether it is switched on."""
        switched = self.stored.switched
        return self.one.default_on if switched is None else switched
