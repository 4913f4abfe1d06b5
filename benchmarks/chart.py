"""All-ready time and memory against the number of locations, measured and drawn.

The same Dagster locations as in ``against_dagster``, from one to two hundred of ours, and of
Dagster's as many as are bearable: the median of three starts of ours and one of Dagster's, as a
chart shows the shape. ``draw`` makes the SVG
for docs/benchmarks.md from the results alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.against_dagster import (
    dagster_interpreter,
    dagster_workspace,
    ours_loaded,
    pss,
    theirs_loaded,
)
from benchmarks.results import Comparison, Machine, Result
from benchmarks.setting import Setting

__all__ = ["PREFIX", "draw", "measure"]

PREFIX = "chart, "
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200)
_STARTS = 3
_BEARABLE = 20  # locations; Dagster takes the better part of a minute for them


def measure(setting: Setting, rounds: int) -> list[Result]:
    """Two results a count, time and memory, one sample each: of ours a median of several starts."""
    del rounds
    interpreter, _version = dagster_interpreter(setting)
    results = []
    for count in COUNTS:
        workspace = dagster_workspace(setting, f"chart-{count}", interpreter, count)
        ours: list[tuple[float, float]] = []
        for _ in range(_STARTS + 1):
            with ours_loaded(setting, workspace) as (client, taken):
                ours.append((taken, pss(client.status()["supervisor"]["pid"])))
        del ours[0]  # it wrote the bytecode of the modules
        theirs: list[tuple[float, float]] = []
        if count <= _BEARABLE:
            with theirs_loaded(setting, interpreter, workspace, count) as (process, their_seconds):
                theirs.append((their_seconds, pss(process.pid)))
        comparison: Comparison = "gain" if theirs else "alone"
        results += [
            Result(
                f"{PREFIX}{count}",
                "all ready",
                "Dagster's loader",
                "s",
                [statistics.median(one[0] for one in ours)],
                [one[0] for one in theirs],
                None,
                comparison,
            ),
            Result(
                f"{PREFIX}{count}",
                "memory (PSS) of all processes",
                "Dagster's loader",
                "MiB",
                [statistics.median(one[1] for one in ours)],
                [one[1] for one in theirs],
                None,
                comparison,
            ),
        ]
    return results


# -- drawing --------------------------------------------------------------------------------------

_WIDTH, _HEIGHT = 880, 400
_PANEL_WIDTH, _PANEL_HEIGHT = 330, 250
_TOP, _LEFTS = 70, (70, 510)
_OURS, _THEIRS = "#1a7f64", "#b0413e"

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Panel:
    """One diagram, both axes logarithmic; ``unit`` stands at the upper axis' labels."""

    title: str
    unit: str
    left: float
    ours: Points
    theirs: Points

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        """Where a point is on the page."""
        first, last = COUNTS[0], COUNTS[-1]
        low, high = self.bounds()
        across = math.log(point[0] / first) / math.log(last / first)
        up = math.log(point[1] / low) / math.log(high / low)
        return self.left + across * _PANEL_WIDTH, _TOP + (1 - up) * _PANEL_HEIGHT

    def bounds(self) -> tuple[float, float]:
        """The powers of ten around all values."""
        values = [value for _count, value in (*self.ours, *self.theirs)]
        low = 10.0 ** math.floor(math.log10(min(values)))
        high = 10.0 ** math.ceil(math.log10(max(values)))
        return low, max(high, low * 10)


def draw(machine: Machine, results: Iterable[Result]) -> str:
    """The chart as SVG, from what ``measure`` returned; other results are left out."""
    ours: dict[str, Points] = {"s": [], "MiB": []}
    theirs: dict[str, Points] = {"s": [], "MiB": []}
    for one in results:
        if not one.name.startswith(PREFIX):
            continue
        count = float(one.name.removeprefix(PREFIX))
        ours[one.unit].append((count, statistics.median(one.ours)))
        if one.bare:
            theirs[one.unit].append((count, statistics.median(one.bare)))
    panels = (
        _Panel("Until all are ready", "s", _LEFTS[0], ours["s"], theirs["s"]),
        _Panel("Memory of all processes (PSS)", "MiB", _LEFTS[1], ours["MiB"], theirs["MiB"]),
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
    ]
    for panel in panels:
        lines += _drawn(panel)
    lines += [_text(_LEFTS[0], _HEIGHT - 8, f"{machine}.", "start", 'font-size="10"')]
    return "\n".join([*lines, "</svg>", ""])


def _drawn(panel: _Panel) -> list[str]:
    low, high = panel.bounds()
    bottom, right = _TOP + _PANEL_HEIGHT, panel.left + _PANEL_WIDTH
    lines = [_text(panel.left, _TOP - 40, panel.title, "start", 'font-size="15"')]
    value = low
    while value <= high * 1.001:
        _x, y = panel.place((COUNTS[0], value))
        lines += [_line([(panel.left, y), (right, y)], "#ddd", 1)]
        lines += [_text(panel.left - 8, y + 4, f"{_number(value)} {panel.unit}", "end")]
        value *= 10
    for count in COUNTS:
        x, _y = panel.place((count, low))
        lines += [_line([(x, bottom), (x, bottom + 4)], "#999", 1)]
        lines += [_text(x, bottom + 18, str(count), "middle")]
    lines += [_text((panel.left + right) / 2, bottom + 38, "Dagster locations", "middle")]
    for name, colour, points in (
        ("supervise", _OURS, panel.ours),
        ("Dagster's loader", _THEIRS, panel.theirs),
    ):
        placed = [panel.place(point) for point in points]
        if not placed:
            continue
        lines += [_line(placed, colour, 2)]
        lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        x, y = placed[-1]
        label = f"{name}: {_number(points[-1][1])} {panel.unit} for {points[-1][0]:.0f}"
        # Ours is the lower line: its label has room below, theirs above.
        shift = 50 if colour == _OURS else -10
        lines += [_text(x, y + shift, label, "end", f'fill="{colour}"')]
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _line(points: Sequence[tuple[float, float]], colour: str, width: int) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{escape(text)}</text>'
