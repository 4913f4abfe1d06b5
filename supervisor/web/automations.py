"""The pages of schedules and sensors, and the timeline of what ran and what will.

Owns what these pages ask the supervisor for and how a day is laid out, in percent of its width. When a
schedule is due, and who may switch it, is the supervisor's to say. Leaves markup to the templates.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from supervisor.errors import UnknownDefinitionError
from supervisor.presentation import automations as in_words
from supervisor.presentation import runs as run_words
from supervisor.protocol import parameters
from supervisor.web import timing
from supervisor.web.forms import form
from supervisor.web.link import Link
from supervisor.web.render import numbered, page, whole
from supervisor.web.security import safe_path
from supervisor.web.views import view_of

if TYPE_CHECKING:
    from supervisor.protocol.automation_documents import Automation, Tick
    from supervisor.protocol.run_documents import RunRow

__all__ = ["automation", "automations", "switch", "timeline"]

_MOST_TICKS = 100
_TIMES = 10
# Of the timeline: hours before and after now that may be chosen, ticks of a row that are drawn one by one, runs and rows.
_HALVES, _HALF = (3, 6, 12, 24), 12
_MOST_MARKS = 60
_MOST_RUNS = 1000
_MOST_ROWS = 100
_NARROWEST = 0.25


async def automations(request: Request) -> Response:
    """``GET /automations``: schedules and sensors; ``q``, ``location`` and ``kind`` choose."""
    link: Link = view_of(request).link
    asked = request.query_params
    text, location, kind = (asked.get(key, "") for key in ("q", "location", "kind"))
    everyone = await link.client.automations(None)
    wanted = text.lower().split()
    found = [
        one
        for one in everyone
        if location in ("", one["location"])
        and kind in ("", one["kind"])
        and all(word in _text(one) for word in wanted)
    ]
    chosen, paging = numbered(request, found)
    return page(
        request,
        "automations.html",
        live="tick",
        rows=[_shown(one) for one in chosen],
        paging=paging,
        q=text,
        location=location,
        kind=kind,
        places=sorted({one["location"] for one in everyone}),
        found=len(found),
        total=len(everyone),
    )


def _text(one: Automation) -> str:
    return "\n".join([one["name"], one["location"], one["kind"], *one["jobs"]]).lower()


def _shown(one: Automation) -> dict[str, Any]:
    """A row with its words."""
    when = (
        [timing.in_words(cron) for cron in one["cron"]]
        if one["kind"] == "schedule"
        else [in_words.when(one)]
    )
    last = one["last"]
    return {**one, "when": when, "outcome": in_words.outcome(last) if last is not None else ""}


async def automation(request: Request) -> Response:
    """``GET /automation?location=…&name=…``: one, its next times, and what became of its ticks."""
    link: Link = view_of(request).link
    location, name = (
        parameters.text(key, request.query_params.get(key, "")) for key in ("location", "name")
    )
    rows = await link.client.automations(location, name=name, times=_TIMES)
    if not rows:
        raise UnknownDefinitionError(name, f"{location} has no schedule or sensor {name!r}")
    ticks = await link.client.ticks(location, name, limit=_MOST_TICKS)
    zone = timing.zone(rows[0]["zone"]) or UTC
    return page(
        request,
        "automation.html",
        live="tick",
        one=_shown(rows[0]),
        times=[datetime.fromtimestamp(at, zone) for at in rows[0]["times"]],
        ticks=[_tick(one) for one in ticks],
    )


def _tick(one: Tick) -> dict[str, Any]:
    detail: Any = {"failure": one["failure"]}
    return {
        **one,
        "outcome": in_words.outcome(one),
        "frames": run_words.failure_lines(detail) if one["failure"] is not None else [],
    }


async def switch(request: Request) -> Response:
    """``POST /automations/switch``: ``location``, ``name``, ``on`` (1 or 0), ``back``."""
    sent = await form(request)
    location, name, on = (sent.get(key, [""])[0] for key in ("location", "name", "on"))
    if not location or not name or on not in ("0", "1"):
        raise HTTPException(400, "the form says not what is to be switched")
    params = {"location": location, "name": name, "on": on == "1"}
    await view_of(request).link.ordering_client.call_method("switch_automation", params)
    return RedirectResponse(safe_path(sent.get("back", ["/automations"])[0]), 303)


@dataclass(slots=True)
class _Row:
    """A job, or the assets of runs: what ran of it as bars, and when it will run as marks, in percent."""

    location: str
    subject: str
    job: str | None
    bars: list[dict[str, Any]] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    often: list[str] = field(default_factory=list)


async def timeline(request: Request) -> Response:
    """``GET /timeline``: the hours before and after now; ``q``, ``location`` and ``hours`` (one of ``_HALVES``)
    choose."""
    link: Link = view_of(request).link
    asked = request.query_params
    text, location = asked.get("q", ""), asked.get("location", "")
    now = time.time()
    half = whole(request.query_params.get("hours", ""))
    half = half if half in _HALVES else _HALF
    begin, span = now - half * 3600, 2 * half * 3600
    params = {"location": location or None, "since": begin - 86400, "limit": _MOST_RUNS}
    ran: Any = await link.client.call_method("runs", params)
    due = await link.client.automations(location or None, times=100)
    rows = _rows(ran["runs"], due, begin, span, now)
    wanted = text.lower().split()
    found = [
        one
        for one in rows
        if all(word in f"{one.subject} {one.location}".lower() for word in wanted)
    ]
    return page(
        request,
        "timeline.html",
        live="tick",
        rows=found[:_MOST_ROWS],
        found=len(found),
        q=text,
        location=location,
        places=[one["name"] for one in link.locations],
        half=half,
        halves=_HALVES,
        hours=list(_hours(begin, span, 1 if half < _HALF else 3 if half == _HALF else 6)),
        cut=ran["total"] > len(ran["runs"]),
        most=_MOST_RUNS,
    )


def _rows(
    runs: Sequence[RunRow], due: Sequence[Automation], begin: float, span: float, now: float
) -> list[_Row]:
    rows: dict[tuple[str, str], _Row] = {}

    def row(location: str, subject: str, job: str | None) -> _Row:
        return rows.setdefault((location, subject), _Row(location, subject, job))

    for run in runs:
        start, end = run["began"] or run["created"], run["ended"] or now
        if start is None or end < begin:
            continue
        subject = run["job"] or run_words.subject(cast("RunRow", {**run, "partition": None}))
        x = max((start - begin) / span * 100, 0.0)
        width = max((end - begin) / span * 100 - x, _NARROWEST)
        took = run_words.took(run, now)
        state = run["state"].replace("_", " ")
        title = f"{run_words.subject(run)}: {state}{' in ' + took if took else ''}"
        row(run["location"], subject, run["job"]).bars.append(
            {"run": run["run"], "state": run["state"], "x": x, "width": width, "title": title}
        )
    for one in due:
        if not one["on"] or not one["times"]:
            continue
        times = [at for at in one["times"] if at < begin + span]
        for job in one["jobs"] if times else ():
            at_home = row(one["location"], job, job)
            if len(times) > _MOST_MARKS:
                at_home.often.append(one["name"])
                continue
            at_home.marks += [
                ((at - begin) / span * 100, f"{one['name']} at {_clock(at)}") for at in times
            ]
    return sorted(rows.values(), key=lambda one: (one.location, one.subject))


def _hours(begin: float, span: float, every: int) -> Iterable[tuple[float, str, bool]]:
    """The full hours, UTC: percent, words, and whether the words are written, which those of ``every`` hours are."""
    at = begin - begin % 3600 + 3600
    while at <= begin + span:
        hour = datetime.fromtimestamp(at, UTC).hour
        yield (at - begin) / span * 100, f"{hour:02}:00", hour % every == 0
        at += 3600


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M UTC")
