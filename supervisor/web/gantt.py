"""The steps of a run over its time, as bars of a chart.

Owns the layout, in percent of the chart's width, so that it fits every window without a style of its own.
Pure: steps and times in, frozen rows out; the template writes the SVG.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from supervisor.presentation import words
from supervisor.web.run_record import Step

__all__ = ["Bar", "Chart", "chart"]

_MOST_TICKS = 6
_SPACING = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600,
    1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400,
)  # fmt: skip
# A bar that is narrower (percent) could not be seen.
_NARROWEST = 0.4


@dataclass(frozen=True, slots=True)
class Bar:
    """A step: ``x`` and ``width`` are percent, ``took`` is in words."""

    name: str
    state: str
    x: float
    width: float
    took: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Chart:
    """``ticks`` are pairs of percent and words."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]


def chart(steps: Iterable[Step], begin: float, end: float, *, ended: bool) -> Chart:
    """The chart of ``steps`` from ``begin`` to ``end`` (Unix seconds).

    A step without an end goes on until ``end``; where the run has ``ended`` it was stopped.
    """
    steps = list(steps)
    begin = min([begin, *(one.began for one in steps)])
    span = max(max([end, *(one.ended or 0.0 for one in steps)]) - begin, 0.001)
    bars = []
    for one in steps:
        last = end if one.ended is None else one.ended
        width = max((last - one.began) / span * 100, _NARROWEST)
        x = min(max((one.began - begin) / span * 100, 0.0), 100 - _NARROWEST)
        state = "stopped" if one.ended is None and ended else one.state
        took = words.seconds(max(last - one.began, 0.0))
        bars.append(Bar(one.name, state, x, min(width, 100 - x), took, one.attempts))
    return Chart(tuple(bars), tuple(_ticks(span)))


def _ticks(span: float) -> Iterable[tuple[float, str]]:
    spacing = next((one for one in _SPACING if span / one <= _MOST_TICKS), span / _MOST_TICKS)
    number = 0
    while number * spacing <= span:
        yield number * spacing / span * 100, _label(number * spacing)
        number += 1


def _label(at: float) -> str:
    if at == 0:
        return "0"
    if at < 1:
        return f"{at * 1000:g} ms"
    return words.seconds(at).replace(".0s", "s")
