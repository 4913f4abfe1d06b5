"""Results: samples to medians, ratios and tables.

Owns the arithmetic and the presentation. Knows nothing of how a sample came about.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "Comparison",
    "Machine",
    "Result",
    "Unit",
    "View",
    "as_json",
    "as_markdown",
    "as_text",
    "gains",
]

Unit = Literal["s", "MiB", "KiB", "%", ""]
Comparison = Literal["ratio", "difference", "gain", "alone"]

# What one figure of a sample is: the suffix of its name, what, against what, its unit, and its aim.
View = tuple[str, str, str, Unit, float | None]

# Undisturbed, the median of a dozen runs is within a tenth of the fastest.
_UNSTEADY = 1.25


@dataclass(frozen=True, slots=True)
class Result:
    """One comparison: ``ours[i]`` and ``bare[i]`` were taken side by side in round ``i``.

    ``comparison`` is how they are judged: by the ``ratio`` ours to bare (the default for ``s``),
    by the ``difference`` (for other units), by the ``gain``, bare to ours, or ours ``alone``: then
    ``bare`` is empty. ``aim`` is the value to stay below, or for a gain to reach, None where there
    is none. ``what`` and ``against`` are phrases for people.
    """

    name: str
    what: str
    against: str
    unit: Unit
    ours: Sequence[float]
    bare: Sequence[float]
    aim: float | None = None
    comparison: Comparison | None = None

    @property
    def compared(self) -> Comparison:
        """How it is judged."""
        return self.comparison or ("ratio" if self.unit == "s" else "difference")

    @property
    def pairs(self) -> list[float]:
        """Each round's own value."""
        if self.compared == "alone":
            return list(self.ours)
        return [self._compare(one, other) for one, other in zip(self.ours, self.bare, strict=True)]

    @property
    def value(self) -> float:
        """The value of the medians."""
        return self._of(statistics.median)

    @property
    def best(self) -> float:
        """The value of the least of both: what other work on the machine moves least."""
        return self._of(min)

    @property
    def steady(self) -> bool:
        """False when the medians are far from the fastest: then the machine had other work.

        Longest answers, which are compared by difference, are seldom alike.
        """
        return (
            self.unit != "s"
            or self.compared == "difference"
            or all(
                statistics.median(samples) <= _UNSTEADY * min(samples)
                for samples in (self.ours, self.bare)
                if samples
            )
        )

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None without an aim, and when the samples are not steady."""
        if self.aim is None or not self.steady:
            return None
        return self.value >= self.aim if self.compared == "gain" else self.value < self.aim

    @property
    def verdict(self) -> str:
        """The aim and whether it is met, in words; empty without an aim."""
        if self.aim is None:
            return ""
        words = {True: "met", False: "MISSED", None: "not judged: the machine was busy"}
        bound = "at least" if self.compared == "gain" else "below"
        return f"aim {bound} {_shown(self, self.aim)}: {words[self.met]}"

    def _of(self, least: Callable[[Sequence[float]], float]) -> float:
        return self._compare(least(self.ours), least(self.bare) if self.bare else 0.0)

    def _compare(self, ours: float, bare: float) -> float:
        match self.compared:
            case "ratio":
                return ours / bare
            case "gain":
                return bare / ours
            case "difference":
                return ours - bare
            case "alone":
                return ours


def gains(
    name: str,
    views: Sequence[View],
    samples: Sequence[Sequence[Sequence[float]]],
) -> list[Result]:
    """A result by gain for each of ``views``; ``samples`` are ours and theirs, of a figure per view each."""
    return [
        Result(
            name + suffix,
            what,
            against,
            unit,
            [one[view] for one in samples[0]],
            [one[view] for one in samples[1]],
            aim,
            "gain",
        )
        for view, (suffix, what, against, unit, aim) in enumerate(views)
    ]


@dataclass(frozen=True, slots=True)
class Machine:
    """What it was measured on; ``load`` is the one-minute load average before it began."""

    system: str
    cores: int
    python: str
    load: float

    @classmethod
    def here(cls) -> Machine:
        """This machine, now."""
        affinity = getattr(os, "sched_getaffinity", None)
        return cls(
            system=f"{platform.system()} {platform.machine()}",
            cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
            python=platform.python_version(),
            load=os.getloadavg()[0],
        )

    def __str__(self) -> str:
        return (
            f"{self.system}, {self.cores} cores, supervisor on Python {self.python}, "
            f"load {self.load:.1f} before the run"
        )


def as_text(machine: Machine, results: Iterable[Result]) -> str:
    """For a terminal: one paragraph a result."""
    lines = [str(machine), ""]
    for result in results:
        lines += [
            f"{result.name}: {_shown(result, result.value)}  {result.verdict}".rstrip(),
            f"    {_samples(result.unit, result.ours)}  {result.what}",
            *(
                [f"    {_samples(result.unit, result.bare)}  {result.against}"]
                if result.bare
                else []
            ),
            f"    least of both {_shown(result, result.best)}; {_span(result)} over "
            f"{len(result.ours)} {_counted(result)}",
            "",
        ]
    return "\n".join(lines).rstrip()


def as_markdown(machine: Machine, results: Iterable[Result]) -> str:
    """For docs/benchmarks.md: one table."""
    rows = [
        f"{machine}.",
        "",
        "| measured | ours | against | bare | result | least of both | each pair | aim |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        rows.append(
            f"| {result.name}: {result.what} | {_samples(result.unit, result.ours)} "
            f"| {result.against} | {_samples(result.unit, result.bare) if result.bare else ''} "
            f"| **{_shown(result, result.value)}** | {_shown(result, result.best)} "
            f"| {_span(result)}, {len(result.ours)} "
            f"{_counted(result)} | {result.verdict} |"
        )
    return "\n".join(rows)


def as_json(machine: Machine, results: Iterable[Result]) -> str:
    """Everything, the samples included."""
    document: dict[str, Any] = {
        "format": 1,
        "machine": {
            "system": machine.system,
            "cores": machine.cores,
            "python": machine.python,
            "load": machine.load,
        },
        "results": [
            {
                "name": one.name,
                "what": one.what,
                "against": one.against,
                "unit": one.unit,
                "ours": list(one.ours),
                "bare": list(one.bare),
                "comparison": one.compared,
                "value": one.value,
                "best": one.best,
                "aim": one.aim,
                "steady": one.steady,
                "met": one.met,
            }
            for one in results
        ],
    }
    return json.dumps(document, indent=2)


def _shown(result: Result, value: float) -> str:
    if result.compared in ("ratio", "gain"):
        return f"{value:.2f}\u00d7"
    return _samples(result.unit, [value])


def _samples(unit: Unit, samples: Sequence[float]) -> str:
    """The median; the spread is told of the comparison, where the machine's noise cancels."""
    median = statistics.median(samples)
    if unit != "s":
        return f"{median:.2f} {unit}" if unit else f"{median:.0f}"
    return f"{median * 1000:.1f} ms" if median < 1 else f"{median:.2f} s"


def _span(result: Result) -> str:
    pairs = result.pairs
    return f"{min(pairs):.2f} to {max(pairs):.2f}" if len(pairs) > 1 else "one sample"


def _counted(result: Result) -> str:
    return "rounds" if result.unit == "s" else "processes"
