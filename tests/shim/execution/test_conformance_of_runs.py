"""A native run is the same in every Python: events, values, failures, refusals."""

from __future__ import annotations

import functools
import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest
from loading import every_interpreter
from places import PROGRAMS
from running import execute

TARGET = PROGRAMS / "native_runs.py"
FEATURES = PROGRAMS / "native_features.py"
ASSETS = PROGRAMS / "native_assets.py"
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
    {"assets": ["about", "round"]},
]


def of_features(root: Path) -> list[dict[str, Any]]:
    """Orders of the other program, with directories of their own below ``root``."""
    numbers = itertools.count()

    def place(name: str = "") -> str:
        path = root / (name or f"place{next(numbers)}")
        path.mkdir(exist_ok=True)
        return str(path)

    def config(fails: int, name: str = "") -> dict[str, Any]:
        return {"config": {"directory": place(name), "fails": fails}}

    def retry(of: str, order: dict[str, Any]) -> dict[str, Any]:
        return {**order, "from_failure": {"run": of, "directory": place(of)}}

    etl = {"job": "etl", "config": config(1, "etl")}
    parallel_etl = {"job": "parallel_etl", "config": config(1, "parallel etl")}
    return [
        {"job": "branches"},
        {"job": "job_that_yields"},
        {"job": "job_that_yields_twice"},
        {"job": "told_failure"},
        {"job": "asked_again"},
        {"job": "retried", "config": config(2)},
        {"job": "retried", "config": config(3)},
        {"job": "no_retries"},
        {"job": "with_teardown"},
        {"job": "teardown_fails"},
        {"job": "teardown_at_cancel"},
        {"job": "never_yields"},
        # steps in processes of their own
        {"job": "parallel"},
        {"job": "parallel", "config": {"execution": {"max_concurrent": 1}}},
        {"job": "deaths"},
        {"job": "alone_asleep"},
        {"job": "parallel_retries", "config": config(2)},
        {"job": "told_failure", "config": {"execution": {"max_concurrent": 2}}},
        # retries from failure
        {**etl, "directory": place("run 1")},
        {**retry("run 1", etl), "directory": place("run 2")},
        retry("run 2", etl),
        {**parallel_etl, "directory": place("run 3")},
        {**retry("run 3", parallel_etl), "directory": place("run 4")},
        {"job": "told_failure", "config": {"execution": {"max_concurrent": 0}}},
        {"job": "told_failure", "config": {"execution": {"threads": 2}}},
    ]


def of_assets(root: Path) -> list[dict[str, Any]]:
    """Orders of assets, with their values below ``root``."""

    def storage(*keys: str, partition: str | None = None) -> dict[str, Any]:
        return {"assets": list(keys), "partition_key": partition, "storage": str(root / "kept")}

    failing = storage("prices", "after_broken", "broken_asset")
    (root / "failed").mkdir()
    earlier = {"run": "failed", "directory": str(root / "failed")}
    return [
        storage("orders"),
        storage("prices"),
        storage("orders", "invoice"),
        storage("sales", partition="eu"),
        storage("margin", partition="eu"),
        storage("margin", partition="us"),
        storage("margin", partition="asia"),
        storage("total"),
        storage("measured", "core/region", partition="us"),
        {**storage("measured"), "config": {"execution": {"max_concurrent": 2}}},
        {**storage("prices", "orders", "invoice"), "config": {"execution": {"max_concurrent": 2}}},
        {"assets": ["core/continent", "core/region"], "partition_key": "us"},
        storage("kept_by_nothing"),
        {**failing, "directory": earlier["directory"]},
        {**failing, "from_failure": earlier},
    ]


def run_features(python: str | None = None) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as directory:
        found = execute(FEATURES, of_features(Path(directory)), python)
        found += execute(ASSETS, of_assets(Path(directory)), python)
        return [by_step(without_time(one)) for one in found]


@functools.lru_cache(maxsize=1)
def here() -> Any:
    return without_time(execute(TARGET, ORDERS))


@functools.lru_cache(maxsize=1)
def features_here() -> list[dict[str, Any]]:
    return run_features()


def without_time(value: Any) -> Any:
    """Without what no two runs share, and tracebacks, which each Python formats in its way."""
    if isinstance(value, dict):
        left_out = ["time", "seconds", "traceback"]
        if value.get("kind") == "interrupted":
            left_out.append("frames")  # where the signal has met it
        return {key: without_time(value[key]) for key in value if key not in left_out}
    return [without_time(one) for one in value] if isinstance(value, list) else value


def by_step(run: dict[str, Any]) -> dict[str, Any]:
    """With the events of each step by themselves: those of steps that run at the same time mix."""
    events: dict[str, list[Any]] = {}
    for event in run["events"]:
        events.setdefault(str(event["step"]), []).append(event)
    return {**run, "events": events}


@pytest.mark.slow
@pytest.mark.parametrize("python", every_interpreter())
def test_the_same_orders_end_the_same_in_every_python(python):
    found = without_time(execute(TARGET, ORDERS, python))
    for order, ran, expected in zip(ORDERS, found, here(), strict=True):
        assert ran == expected, order


@pytest.mark.slow
@pytest.mark.parametrize("python", every_interpreter())
def test_retries_resources_processes_and_kept_values_are_the_same_in_every_python(python):
    for ran, expected in zip(run_features(python), features_here(), strict=True):
        assert ran == expected
