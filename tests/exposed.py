"""Takes apart metrics in the Prometheus text format, and checks that they keep its rules."""

from __future__ import annotations

import math
import re

__all__ = ["families"]

_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)')
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
_PARTS = ("_bucket", "_sum", "_count")

Labels = frozenset[tuple[str, str]]


def families(text: str) -> dict[str, dict[tuple[str, Labels], float]]:
    """The samples of each metric by name and labels; asserts that ``text`` is as the format wants it.

    Each metric has one help, one type, and its samples behind them; a counter's name says so, and a
    histogram's buckets add up.
    """
    assert text.endswith("\n")
    found: dict[str, dict[tuple[str, Labels], float]] = {}
    kinds: dict[str, str] = {}
    helped = name = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped = line.split()[2]
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name == helped, line
            assert name not in found, line
            found[name], kinds[name] = {}, kind
            assert (kind == "counter") == name.endswith("_total"), line
        else:
            match = _SAMPLE.fullmatch(line)
            assert match is not None, line
            whole = [name + part for part in _PARTS] if kinds[name] == "histogram" else [name]
            assert match[1] in whole, line
            key = match[1], frozenset(_LABEL.findall(match[2] or ""))
            assert key not in found[name], line
            found[name][key] = float(match[3])
    for name, kind in kinds.items():
        assert found[name], name
        if kind == "histogram":
            _add_up(name, found[name])
    return found


def _add_up(name: str, samples: dict[tuple[str, Labels], float]) -> None:
    for (part, labels), count in samples.items():
        if part != f"{name}_count":
            continue
        buckets = {
            float(dict(of)["le"]): value
            for (other, of), value in samples.items()
            if other == f"{name}_bucket" and labels < of
        }
        values = [buckets[bound] for bound in sorted(buckets)]
        assert values == sorted(values), labels
        assert buckets[math.inf] == count, labels
        assert (f"{name}_sum", labels) in samples, labels
