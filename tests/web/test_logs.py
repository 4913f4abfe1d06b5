"""Logs on the page: the level of a line, and the log as one file."""

from __future__ import annotations

import re

import pytest

from supervisor.presentation.log_levels import level_of

from .site import HOSTILE_NAME, Site


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("2026-11-27 17:00:00 +0000 - dagster - ERROR - settle - it failed", "error"),
        ("2026-11-27 17:00:00,120 INFO sqlalchemy.engine BEGIN", "info"),
        ("WARNING:root:low on space", "warning"),
        ("[DEBUG] x", "debug"),
        ("CRITICAL the disk is full", "error"),
        ('{"time": 1, "level": "warn", "message": "x"}', "warning"),
        ("time=1 level=error msg=x", "error"),
        ("Traceback (most recent call last):", "error"),
        ('  File "x.py", line 3, in f', None),
        ("ValueError: ERRORS are no levels", "error"),
        ("sqlalchemy.exc.OperationalError: (x)", "error"),
        ("/lib/x.py:3: DeprecationWarning: gone soon", "warning"),
        ("no error at all", ""),
        ("ERRORS and INFOS", ""),
        ("level=unheard", ""),
        ("x" * 10_000 + " ERROR", ""),
        ("", ""),
    ],
)
def test_levels_are_recognized(text: str, level: str | None) -> None:
    assert level_of(text) == level


def test_a_log_is_downloaded_whole(quiet: Site) -> None:
    answer = quiet.page.get("/location/log", name="payments")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''payments.log"
    lines = answer.text.splitlines()
    assert any(line.endswith(" out team was loaded") for line in lines)
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \w+ ", line) for line in lines)
    hostile = quiet.page.get("/location/log", name=HOSTILE_NAME)
    assert "<" not in hostile.headers["content-disposition"]
    assert quiet.page.get("/location/log", name="nobody").status == 404


def test_lines_have_their_levels(quiet: Site) -> None:
    text = quiet.page.get("/location", name="payments", view="logs").text
    assert re.search(r'class="line out" data-level="[a-z]*"', text)
    assert "/location/log?name=payments" in text
