"""The list of runs, the page of each one, and the orders given there.

Owns what these pages ask the supervisor for and in which order it is shown. What a run is, who may cancel
it and what its retry runs is the supervisor's. Leaves markup to the templates.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from supervisor.presentation import runs as in_words
from supervisor.presentation.words import RUN_SYMBOLS
from supervisor.protocol import parameters
from supervisor.states import RUN_STATES
from supervisor.web.face import place_in_face
from supervisor.web.forms import form
from supervisor.web.gantt import chart
from supervisor.web.render import PAGE_SIZE, href, page, paged, whole
from supervisor.web.run_record import OfStep, Record
from supervisor.web.views import View, view_of

if TYPE_CHECKING:
    from supervisor.protocol.run_documents import RunDetail, RunRow, RunRows
    from supervisor.web.link import Link

__all__ = ["AGES", "orders", "run", "runs"]

AGES: Mapping[str, int] = {
    "1h": 3600,
    "24h": 86400,
    "7d": 7 * 86400,
    "30d": 30 * 86400,
}
"""How far back a list of runs may go, to seconds."""

_MOST_REPEATS = 20
_MOST_STEPS = 200
ORDERS = ("cancel", "kill", "retry", "retry_failed")


async def runs(request: Request) -> Response:
    """``GET /runs``: the newest runs; ``q``, ``tag`` (``NAME`` or ``NAME=VALUE``), ``location``, ``job``,
    ``state`` (repeated), ``since`` (one of ``AGES``) and ``page`` choose."""
    link: Link = view_of(request).link
    asked = request.query_params
    states = [one for one in asked.getlist("state") if one in RUN_STATES]
    since = asked.get("since", "")
    params = {
        "location": asked.get("location") or None,
        "job": asked.get("job") or None,
        "words": asked.get("q") or None,
        "tag": asked.get("tag") or None,
        "states": states,
        "since": time.time() - AGES[since] if since in AGES else 0.0,
        "limit": PAGE_SIZE,
        "offset": (max(min(whole(asked.get("page", "1")) or 1, 10**6), 1) - 1) * PAGE_SIZE,
    }
    found = await _asked(link, params)
    paging = paged(request, found["total"])
    if not found["runs"] and found["total"]:  # behind the last page
        found = await _asked(link, {**params, "offset": paging["first"] - 1})
    return page(
        request,
        "runs.html",
        live="tick" if any(one["ended"] is None for one in found["runs"]) else "change",
        rows=[_shown(one) for one in found["runs"]],
        paging=paging,
        q=asked.get("q", ""),
        location=asked.get("location", ""),
        job=asked.get("job", ""),
        tag=asked.get("tag", ""),
        since=since,
        ages=AGES,
        states=states,
        counts={
            state: found["states"].get(state, 0)
            for state in RUN_SYMBOLS
            if found["states"].get(state) or state in states
        },
        places=[one["name"] for one in link.locations],
        total=found["total"],
    )


async def _asked(link: Link, params: Mapping[str, Any]) -> RunRows:
    return cast("RunRows", await link.client.call_method("runs", params))


def _shown(row: RunRow) -> dict[str, Any]:
    """A row with its words."""
    return {
        **row,
        "subject": in_words.subject(row),
        "took": in_words.took(row, time.time()),
        "counted": in_words.counted(row["partitions"]) if row["partitions"] else "",
    }


async def run(request: Request) -> Response:
    """``GET /run?id=…``: one run, or a range of partitions; with ``step`` the events of that step alone."""
    view: View = view_of(request)
    name = parameters.text("run", request.query_params.get("id", ""))
    record = await view.records.read(view.link, name)
    row = record.row
    step = request.query_params.get("step", "")
    shown: Record | OfStep = record
    if step and row["partitions"] is None:
        shown = await view.records.read_step(view.link, record, step)
    ended = row["ended"] is not None
    steps = list(record.steps.values())
    end = row["ended"] if row["ended"] is not None else time.time()
    return page(
        request,
        "run.html",
        live="change" if ended else "tick",
        one=_shown(row),
        ended=ended,
        record=record,
        step=step,
        events=shown.events,
        count=shown.count,
        chart=chart(steps[:_MOST_STEPS], row["began"] or end, end, ended=ended),
        steps=len(steps),
        limits=in_words.limits(row) if row["limits"] else "",
        failure=in_words.failure_lines(row),
        said=_whole_message(row),
        partitions=[_shown(one) for one in row["runs"]],
        repeats=await _repeats(view.link, row),
        elsewhere=_elsewhere(request, view.link, row),
        can_retry=ended,
        can_retry_failed=ended and row["state"] != "success",
    )


def _whole_message(row: RunDetail) -> str:
    """What the exception said where that has several lines; the heading has the first."""
    failure: Mapping[str, Any] = row["failure"] or {}
    text = str((failure.get("exception") or {}).get("message") or "")
    return text if "\n" in text.strip() else ""


def _elsewhere(request: Request, link: Link, row: RunDetail) -> tuple[str, str] | None:
    """Where the page of the framework that launched the run shows it."""
    place = next((one for one in link.locations if one["name"] == row["location"]), None)
    if link.document is None or place is None or row["origin"] is None:
        return None
    host = request.url.hostname or ""
    return place_in_face(link.document["supervisor"], place, "run", row["run"], host)


async def _repeats(link: Link, row: RunDetail) -> Sequence[RunRow]:
    """The runs that were launched to repeat this one, newest first."""
    if row["ended"] is None:
        return ()
    params = {"location": row["location"], "since": row["created"] or 0.0, "limit": 1000}
    found = await _asked(link, params)
    return [one for one in found["runs"] if one["retry_of"] == row["run"]][:_MOST_REPEATS]


async def orders(request: Request) -> Response:
    """``POST /runs/orders``: ``order`` (one of ``ORDERS``) for the run ``run``; leads to the run, or to the
    one that repeats it."""
    client = view_of(request).link.ordering_client
    sent = await form(request)
    wanted, name = sent.get("order", [""])[0], sent.get("run", [""])[0]
    if wanted not in ORDERS or not name:
        raise HTTPException(400, "there is no such order")
    if wanted in ("cancel", "kill"):
        params = {"run": name, "now": wanted == "kill", "who": "the web page"}
        await client.call_method("cancel_run", params)
        return RedirectResponse(href("/run", id=name), 303)
    params = {"run": name, "from_failure": wanted == "retry_failed"}
    answer = await client.call_method("retry_run", params)
    return RedirectResponse(href("/run", id=answer["run"]["run"]), 303)
