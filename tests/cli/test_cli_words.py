"""Durations, sizes, counts and states in words."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.presentation import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.414, "0.41s"), (0, "0.00s"), (3.14, "3.1s"), (59.9, "59s"), (60, "1m"), (303, "5m 3s"),
        (3600, "1h"), (7500, "2h 5m"), (90000, "1d 1h"), (-1, "0.00s"), (None, ""),
    ],
)  # fmt: skip
def test_seconds(value: float | None, text: str) -> None:
    assert words.seconds(value) == text


def test_ago_is_in_the_largest_unit_and_never_negative() -> None:
    assert [words.ago(1000 - n, 1000) for n in (-5, 3, 90, 7200, 200000)] == [
        "0s", "3s", "1m", "2h", "2d",
    ]  # fmt: skip


def test_size() -> None:
    assert [words.size(n) for n in (0, 1023, 2048, 32715571, 3 << 30, None)] == [
        "0 B", "1023 B", "2 KiB", "31.2 MiB", "3 GiB", "",
    ]  # fmt: skip


def test_counts() -> None:
    numbers = {"job": 1, "asset_check": 2, "repository": 2, "sensor": 0, "schedule": 4}
    assert words.counts(numbers) == "1 job, 2 asset checks, 2 repositories, 4 schedules"
    assert words.counts(numbers, limit=3) == "1 job, 2 asset checks, 6 more"
    assert words.counts({}) == "no definitions"


def test_changes() -> None:
    diff: Any = {
        "added": ["job:a", "job:b", "job:c"],
        "removed": ["asset:x"],
        "changed": [{"key": "job:d", "fields": ["tags", "graph"], "before": {}, "after": {}}],
    }
    assert words.changes(diff, limit=2) == (
        "added job:a, job:b and 1 more; removed asset:x; changed job:d (tags, graph)"
    )
    assert words.changes({**diff, "added": [], "removed": [], "changed": []}) == (
        "definitions unchanged"
    )


@pytest.mark.parametrize(
    ("state", "at", "reason", "text"),
    [
        ("verified", 0.0, "", "a fresh process loaded the same definitions"),
        ("pending", None, "it waits for its turn", "not yet: it waits for its turn"),
        ("off", None, "verify: false", "no: verify: false"),
        ("later_word", None, "", "later_word"),
    ],
)
def test_what_is_known_of_the_fork(state: str, at: float | None, reason: str, text: str) -> None:
    found: Any = {"state": state, "at": at, "reason": reason}
    assert words.verified({"verification": found}) == text
    assert words.verified({}) == ""


def test_when_the_fork_was_given_up_is_said() -> None:
    found: Any = {"state": "fork_condemned", "at": 1.0, "reason": "it lies"}
    said = words.verified({"verification": found})
    assert said == f"the fork is given up: it lies ({words.moment(1.0)})"


def test_a_state_of_a_later_version_has_a_symbol_too() -> None:
    assert words.symbol("hibernating") == ("?", "")
    assert not words.good("hibernating")
