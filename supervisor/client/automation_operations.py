"""What a client offers about schedules and sensors, each operation once, beside those of ``operations``.

Knows neither socket nor event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from supervisor.client.operations import Plan
from supervisor.client.requests import call

if TYPE_CHECKING:
    from supervisor.protocol import automation_documents as documents

__all__ = ["automations", "switch_automation", "tick", "ticks"]


def tick(
    location: str,
    name: str,
    *,
    at: float | None = None,
    cursor: str | None = None,
    launch: bool = False,
    repository: str | None = None,
) -> Plan[documents.Tick]:
    """Evaluate a schedule or sensor once, for the time ``at`` (Unix seconds, by default now).

    What it would launch is in ``requests``; with ``launch`` it is launched, a run key once, and a sensor
    leaves its cursor, unless it began with another ``cursor``. User code has 60 seconds. What it raised is
    in ``failure``, and no error. Raises ``UnknownLocationError`` and ``UnknownDefinitionError``.
    """
    params = {
        "location": location, "name": name, "at": at, "cursor": cursor, "launch": launch,
        "repository": repository,
    }  # fmt: skip
    found: documents.Tick = yield call("tick", params)
    return found


def automations(
    location: str | None = None, *, name: str | None = None, times: int = 0
) -> Plan[list[documents.Automation]]:
    """The schedules and sensors of all locations, or of one; with so many of their next ``times``."""
    answer = yield call("automations", {"location": location, "name": name, "times": times})
    return cast("list[documents.Automation]", answer["automations"])


def ticks(location: str, name: str | None = None, *, limit: int = 20) -> Plan[list[documents.Tick]]:
    """What became of the newest ticks of a location, or of one schedule or sensor, newest first.

    Raises ``UnknownDefinitionError`` for a name that the location has not, and had no ticks of.
    """
    answer = yield call("ticks", {"location": location, "name": name, "limit": limit})
    return cast("list[documents.Tick]", answer["ticks"])


def switch_automation(location: str, name: str, on: bool = True) -> Plan[documents.Automation]:
    """Switch a native schedule or sensor ``on`` or off; it stays so whatever is loaded later.

    Raises ``UnknownDefinitionError``, and ``RequestError`` for Dagster's, which its own daemon fires.
    """
    found: documents.Automation = yield call(
        "switch_automation", {"location": location, "name": name, "on": on}
    )
    return found
