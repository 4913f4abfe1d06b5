"""The command: which measurements, how many rounds, where the results go."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import (
    against_dagster,
    chart,
    dagster_page,
    graph,
    launch,
    left_out,
    limit,
    loop,
    memory,
    native_runs,
    ready,
    scale,
    snapshot,
    status,
    ticks,
)
from benchmarks.results import Machine, Result, as_json, as_markdown, as_text
from benchmarks.setting import Setting, UnavailableError, setting

_MEASUREMENTS: Mapping[str, Callable[[Setting, int], list[Result]]] = {
    "ready": ready.measure,
    "memory": memory.measure,
    "status": status.measure,
    "snapshot": snapshot.measure,
    "limit": limit.measure,
    "left-out": left_out.measure,
    "scale": scale.measure,
    "loop": loop.measure,
    "native": native_runs.measure,
    "launch": launch.measure,
    "ticks": ticks.measure,
    "graph": graph.measure,
    "dagster": against_dagster.measure,
    "dagster-page": dagster_page.measure,
    "chart": chart.measure,
}
_DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_CHART = _DOCUMENT.with_suffix(".svg")
_BEGIN = "<!-- results: written by python -m benchmarks --write-docs -->"
_END = "<!-- end of results -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; the exit status is 1 when a measurement could not be made, never for slowness."""
    options = _parser().parse_args(arguments)
    machine = Machine.here()
    results: list[Result] = []
    status = 0
    for name in options.measurement or _MEASUREMENTS:
        print(f"measuring {name} …", file=sys.stderr)
        try:
            with setting(options.supervise, options.locations) as place:
                results += _MEASUREMENTS[name](place, options.rounds)
        except UnavailableError as error:
            print(f"error: {name} cannot be measured: {error}", file=sys.stderr)
            status = 1
    print(as_json(machine, results) if options.json else as_text(machine, results))
    if options.write_docs:
        if status:
            print(
                "error: docs/benchmarks.md keeps its results: not all were measured",
                file=sys.stderr,
            )
        else:
            _write(machine, results)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "measurement",
        nargs="*",
        metavar="MEASUREMENT",
        help=f"what to measure (default: all): {', '.join(_MEASUREMENTS)}",
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count (default: 7)")
    parser.add_argument(
        "--locations",
        type=lambda text: tuple(map(int, text.split(","))),
        default=(),
        metavar="N[,N…]",
        help="with how many locations dagster-page is measured (default: 5,20)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every sample")
    parser.add_argument(
        "--supervise", type=Path, help="the supervise command (default: the one beside this Python)"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="put the table into docs/benchmarks.md"
    )
    return parser


def _write(machine: Machine, results: Sequence[Result]) -> None:
    text = _DOCUMENT.read_text()
    head, rest = text.split(_BEGIN)
    tail = rest.split(_END)[1]
    drawn = [one for one in results if one.name.startswith(chart.PREFIX)]
    table = as_markdown(machine, [one for one in results if one not in drawn])
    _DOCUMENT.write_text(f"{head}{_BEGIN}\n\n{table}\n\n{_END}{tail}")
    if drawn:
        _CHART.write_text(chart.draw(machine, drawn))


if __name__ == "__main__":
    sys.exit(main())
