"""For machines that watch: ``/metrics`` in the Prometheus text format, ``/healthz``, ``/readyz``.

Owns names and help texts of the metrics (docs/web.md lists them). Figures come from the status
document and, of runs, from what the supervisor has counted; the page being up with no supervisor is itself a figure, ``supervise_up 0``.
Source: Prometheus text exposition format 0.0.4.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from supervisor.errors import SupervisorError
from supervisor.presentation.words import SYMBOLS, good
from supervisor.states import RUN_ENDED, RunState
from supervisor.web.views import view_of

if TYPE_CHECKING:
    from supervisor.protocol.documents import LocationStatus
    from supervisor.protocol.run_documents import RunFigures
    from supervisor.web.link import Link

__all__ = ["exposition", "healthz", "metrics", "readyz"]

_PREFIX = "supervise"


async def metrics(request: Request) -> PlainTextResponse:
    """``GET /metrics``."""
    link = view_of(request).link
    runs: list[RunFigures] = []
    with contextlib.suppress(SupervisorError):  # ``up`` says so
        answer = await link.client.call_method("run_figures", {})
        runs = cast("list[RunFigures]", answer["locations"])
    text = exposition(link, runs)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


async def healthz(request: Request) -> JSONResponse:
    """``GET /healthz``: 200 while this process answers."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """``GET /readyz``: 200 while a supervisor runs and all its locations are ready, else 503.

    Open to all, so who has shown no token is told no names.
    """
    link = request.app.state.views.first.link
    if not link.running:
        known = (
            request.scope["credential"] is not None and request.scope["credential"].token is None
        )
        reason = str(link.error) if known else "no supervisor answers"
        return JSONResponse({"ready": False, "reason": reason}, 503)
    states = {one["name"]: one["state"] for one in link.locations}
    waiting = {name: state for name, state in states.items() if not good(state)}
    if waiting:
        reason = f"{len(waiting)} of {len(states)} locations are not ready"
        return JSONResponse({"ready": False, "reason": reason}, 503)
    return JSONResponse({"ready": True, "reason": None})


Samples = Iterable[tuple[Mapping[str, str], float | int | None]]
Add = Callable[[str, str, str, Samples], None]


def exposition(link: Link, runs: Sequence[RunFigures] = ()) -> str:
    """All metrics of what ``link`` last heard and of ``runs``; only ``up`` while there is no supervisor."""
    lines: list[str] = []

    def add(name: str, kind: str, words: str, samples: Samples) -> None:
        full = f"{_PREFIX}_{name}"
        found = [(labels, value) for labels, value in samples if value is not None]
        if found:
            lines.append(f"# HELP {full} {words}")
            lines.append(f"# TYPE {full} {kind}")
            for labels, value in found:
                part = labels.get("", "")  # of a histogram
                lines.append(f"{full}{part}{_labels(labels)} {value}")

    add("up", "gauge", "Whether a supervisor answers.", [({}, int(link.running))])
    document = link.document
    if document is None or not link.running:
        return "\n".join(lines) + "\n"
    own, locations = document["supervisor"], link.locations
    add("info", "gauge", "The supervisor's version.", [({"version": own["version"]}, 1)])
    add("start_time_seconds", "gauge", "When the supervisor started.", [({}, own["started"])])
    memory = _in(own["memory"])
    add("resident_memory_bytes", "gauge", "Memory of the supervisor.", [({}, memory.get("rss"))])
    problems = len(own["configuration_problems"])
    add("configuration_problems", "gauge", "Problems of the workspace files.", [({}, problems)])
    states = [
        ({"location": one["name"], "state": state}, int(one["state"] == state))
        for one in locations
        for state in SYMBOLS
    ]
    add("location_state", "gauge", "1 for the state that the location is in.", states)
    _of_locations(add, locations)
    _of_runs(add, runs)
    return "\n".join(lines) + "\n"


def _of_locations(add: Add, locations: list[LocationStatus]) -> None:
    """The figures that are one or a few a location; ``add`` as in ``exposition``."""

    def each(value: Callable[[LocationStatus], Any]) -> Samples:
        return [({"location": one["name"]}, value(one)) for one in locations]

    def serving(field: str) -> Samples:
        return each(lambda one: _in(one["serving"]).get(field))

    def used(kind: str) -> Samples:
        return each(lambda one: _in(_in(one["process"]).get("memory")).get(kind))

    add(
        "location_loads_total", "counter", "Generations begun.", each(lambda one: one["generation"])
    )
    add("location_serving_generation", "gauge", "Generation served.", serving("generation"))
    add("location_load_seconds", "gauge", "Time the served load took.", serving("load_seconds"))
    add("location_start_seconds", "gauge", "Time from order to ready.", serving("start_seconds"))
    add("location_loaded_timestamp_seconds", "gauge", "When it loaded.", serving("loaded_at"))
    add("location_snapshot_bytes", "gauge", "Size of the served snapshot.", serving("size"))
    add(
        "location_restarts_total",
        "counter",
        "Processes restarted after a death.",
        each(lambda one: one["restarts"]),
    )
    add("location_resident_memory_bytes", "gauge", "Resident memory.", used("rss"))
    add(
        "location_private_memory_bytes",
        "gauge",
        "Memory of the process alone, where it was measured.",
        used("uss"),
    )
    cpu = each(lambda one: _in(one["process"]).get("cpu_seconds"))
    add("location_cpu_seconds", "gauge", "CPU time of the present process.", cpu)
    counts = [
        ({"location": one["name"], "kind": kind}, number)
        for one in locations
        for kind, number in _in(_in(one["serving"]).get("counts")).items()
    ]
    add("location_definitions", "gauge", "Definitions served, by kind.", counts)


def _of_runs(add: Add, runs: Sequence[RunFigures]) -> None:
    """The figures of runs: by location, and by state where that tells them apart."""

    def each(field: str) -> Samples:
        return [({"location": one["location"]}, cast("Any", one)[field]) for one in runs]

    def by_state(field: str, states: Iterable[RunState]) -> Samples:
        return [
            ({"location": one["location"], "state": state}, cast("Any", one)[field].get(state, 0))
            for one in runs
            for state in states
        ]

    living = [state for state in RunState if state not in RUN_ENDED]
    ended = [state for state in RunState if state in RUN_ENDED]
    add("runs", "gauge", "Runs that have not ended, by state.", by_state("states", living))
    add(
        "runs_total",
        "counter",
        "Runs that ended since the supervisor started, by state.",
        by_state("ended", ended),
    )
    add("runs_adopted_total", "counter", "Runs begun by an earlier supervisor.", each("adopted"))
    add("runs_retried_total", "counter", "Runs that are repeated.", each("retried"))
    add(
        "run_longest_wait_seconds",
        "gauge",
        "How long the run has been queued that waits longest.",
        each("longest_wait"),
    )
    add(
        "run_duration_seconds",
        "histogram",
        "How long runs took that ended.",
        _histogram(runs, "durations"),
    )
    add(
        "run_queue_seconds",
        "histogram",
        "How long runs were queued that started.",
        _histogram(runs, "waits"),
    )


def _histogram(runs: Sequence[RunFigures], field: str) -> Samples:
    found: list[tuple[Mapping[str, str], float | int | None]] = []
    for one in runs:
        values, own = cast("Any", one)[field], {"location": one["location"]}
        bounds = [f"{bound:g}" for bound in values["bounds"]]
        counts = [*values["counts"], values["count"]]
        for bound, count in zip([*bounds, "+Inf"], counts, strict=True):
            found.append(({"": "_bucket", **own, "le": bound}, count))
        found.append(({"": "_sum", **own}, values["sum"]))
        found.append(({"": "_count", **own}, values["count"]))
    return found


def _labels(labels: Mapping[str, str]) -> str:
    pairs = [f'{name}="{_escaped(value)}"' for name, value in labels.items() if name]
    if not pairs:
        return ""
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _in(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """``value``, empty where there is none."""
    return value if value is not None else {}
