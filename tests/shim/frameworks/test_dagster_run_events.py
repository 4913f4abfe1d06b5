"""What Dagster records of a run, told as our events: the result of an asset check."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runner_shim.frameworks.dagster.run_events import told


def record(specific: Any, kind: str = "ASSET_CHECK_EVALUATION") -> Any:
    event = SimpleNamespace(
        event_type_value=kind,
        event_specific_data=specific,
        step_key="check",
        message="it was looked at",
    )
    return SimpleNamespace(dagster_event=event, timestamp=1.0)


def evaluation(**more: Any) -> Any:
    key = SimpleNamespace(path=["core", "orders"])
    return SimpleNamespace(asset_key=key, check_name="no_gaps", metadata={}, **more)


@pytest.mark.parametrize("word", ["passed", "success"])
@pytest.mark.parametrize("value", [True, False])
def test_the_result_of_a_check_is_told_by_every_release(word: str, value: bool) -> None:
    severity = SimpleNamespace(value="WARN")
    kind, step, message, data, at = told(record(evaluation(severity=severity, **{word: value})))
    assert (kind, step, message, at) == ("ASSET_CHECK_EVALUATION", "check", "it was looked at", 1.0)
    assert data == {
        "asset_key": ["core", "orders"],
        "check": "no_gaps",
        "passed": value,
        "severity": "WARN",
    }


def test_what_is_no_result_tells_none() -> None:
    assert told(record(evaluation(passed=None)))[3] is None
    assert told(record(SimpleNamespace()))[3] is None
