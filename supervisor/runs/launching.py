"""Launching what a tick asked for: each request is a run whose id is known before it is ordered.

Owns the way from a run request to an order, and why one was refused. A request whose run exists already is
not launched again: so a launch that was interrupted is taken up, however often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supervisor.errors import (
    RequestError,
    SupervisorError,
    UnfitOrderError,
    UnknownDefinitionError,
    UnknownLocationError,
    UnknownPartitionError,
    UnknownRunError,
)
from supervisor.runs.automation import Automation
from supervisor.runs.ordering import Orders
from supervisor.runs.store import Runs

__all__ = ["RefusedForNowError", "judge", "launch", "params_of"]

# What no later moment changes, as long as the same is served.
_FINAL = (UnfitOrderError, UnknownDefinitionError, UnknownLocationError, UnknownPartitionError)


class RefusedForNowError(RequestError):
    """It may be launched later; the text says why not now."""


def params_of(one: Automation, request: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the launch that ``request`` asks for (the method ``launch``)."""
    assets = request["assets"]
    return {
        "location": one.location,
        "job": None if assets else request["job"],
        "assets": ",".join(assets) if assets else None,
        "repository": one.repository,
        "config": request["config"],
        "tags": request["tags"],
        "partition": request["partition"],
    }


async def judge(orders: Orders, one: Automation, request: Mapping[str, Any]) -> str | None:
    """Why what ``request`` asks for would be refused; None: it would not."""
    try:
        await orders.make(params_of(one, request))
    except SupervisorError as error:
        return _said(error)
    return None


async def launch(
    orders: Orders, runs: Runs, one: Automation, tick: Mapping[str, Any], request: Mapping[str, Any]
) -> str | None:
    """Have the run ``request["run"]`` ordered, unless it is; why it is refused for good, or None.

    Raises ``RefusedForNowError`` where it is refused for a reason that may pass, and ``RequestError`` where its order
    cannot be written now: that is to be tried again.
    """
    name = request["run"]
    try:
        if runs.get(name).id == name:
            return None
    except UnknownRunError:
        pass
    try:
        ordered = await orders.make(params_of(one, request))
    except _FINAL as error:
        return _said(error)
    except SupervisorError as error:
        raise RefusedForNowError(_said(error)) from None
    ordered.order["automation"] = {
        "name": one.name,
        "kind": one.kind,
        "time": tick["time"],
        "run_key": request["run_key"],
        "by": tick["by"],
    }
    await runs.launch(ordered.order, name=name)
    return None


def _said(error: SupervisorError) -> str:
    return f"{error} ({error.hint})" if error.hint else str(error)
