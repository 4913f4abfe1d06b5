"""A native run is the same in every Python: events, values, failures, refusals."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from loading import every_interpreter
from places import PROGRAMS
from running import execute

TARGET = PROGRAMS / "native_runs.py"
ORDERS: list[dict[str, Any]] = [
    {"run_id": "1", "job": "nightly", "config": {"ops": {"load": {"config": {"n": 4}}}}},
    {"job": "nested"},
    {"job": "fan_in"},
    {"job": "ordered"},
    {"job": "broken"},
    {"job": "exits"},
    {"job": "interrupted"},
    {"job": "splits_badly"},
    {"job": "regional", "partition_key": "eu", "config": {"config": {"day": "monday"}}},
    {"job": "daily", "partition_key": "2024-02-03"},
    {"job": "with_resources"},
    {"job": "nightly", "op_selection": ["load", "publish"]},
    {
        "assets": ["mail", "core/report", "raw"],
        "config": {"ops": {"core/report": {"config": {"factor": 2}}}},
    },
    {"assets": ["color", "shade"], "partition_key": "blue"},
    # what is refused
    {"job": "nightly", "config": {"ops": {"load": {"config": {"n": "x"}}, "other": 1}}},
    {"job": "nightli"},
    {"job": "regional"},
    {"job": "waits"},
    {"job": "dynamic"},
    {"job": "needs_teardown"},
    {"assets": ["about", "round"]},
]


@functools.lru_cache(maxsize=1)
def here() -> Any:
    return without_time(execute(TARGET, ORDERS))


def without_time(value: Any) -> Any:
    """Without what no two runs share, and tracebacks, which each Python formats in its way."""
    if isinstance(value, dict):
        left_out = ("time", "seconds", "traceback")
        return {key: without_time(value[key]) for key in value if key not in left_out}
    return [without_time(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("python", every_interpreter())
def test_the_same_orders_end_the_same_in_every_python(python):
    found = without_time(execute(TARGET, ORDERS, python))
    for order, ran, expected in zip(ORDERS, found, here(), strict=True):
        assert ran == expected, order
