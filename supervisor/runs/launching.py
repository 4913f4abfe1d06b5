"""Launching what a tick asked for: each request is a run whose id is known before it is ordered.

Owns the way from a run request to an order, and why one was refused. A request whose run exists already is
not launched again: so a launch that was interrupted is taken up, however often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supervisor.errors import SupervisorError, UnknownRunError
from supervisor.runs.automation import Automation
from supervisor.runs.ordering import Orders
from supervisor.runs.store import Runs

__all__ = ["judge", "launch", "params_of"]


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
    """Have the run ``request["run"]`` ordered, unless it is; why it is refused, or None.

    Raises ``RequestError`` where that cannot be done now: it is to be tried again.
    """
    name = request["run"]
    try:
        if runs.get(name).id == name:
            return None
    except UnknownRunError:
        pass
    try:
        ordered = await orders.make(params_of(one, request))
    except SupervisorError as error:
        return _said(error)
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
