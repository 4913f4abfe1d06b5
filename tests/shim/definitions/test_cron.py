"""Cron strings and time zones: what is accepted, and what is said about the rest."""

from __future__ import annotations

import pytest

from runner_shim.definitions.cron import cron_problem, timezone_problem


@pytest.mark.parametrize(
    "text",
    [
        "* * * * *",
        "0 5 * * *",
        "*/15 0-6,20-23 1,15 JAN-mar MON-FRI",
        "0 0 L * *",
        "0 0 29 2 *",
        "0 0 31 2 1",  # or a Monday
        "0 22-2 * * *",
        "5/10 * * * *",
        "0 0 ? * sun#2",
        "0 0 * * L5",
        "0 0 * * 7",
        "@daily",
        "@Hourly",
        "  0  5 * * * ",
    ],
)
def test_good(text):
    assert cron_problem(text) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 fields, not 5"),
        ("* * * *", "has 4 fields, not 5"),
        ("60 * * * *", "has the minute '60': 60 is not within 0 to 59"),
        ("* 24 * * *", "has the hour '24': 24 is not within 0 to 23"),
        ("* * 32 * *", "has the day of month '32': 32 is not within 1 to 31"),
        ("* * 0 * *", "0 is not within 1 to 31"),
        ("* * * 13 *", "has the month '13'"),
        ("* * * * 8", "has the day of week '8'"),
        ("* * * foo *", "'foo' is not a number or a name (jan to dec)"),
        ("*/0 * * * *", "the step '0' is not a positive number"),
        ("*/61 * * * *", "the step 61 is more than 59"),
        ("1,,2 * * * *", "an empty item in the list"),
        ("1-x * * * *", "'x' is not a number"),
        ("0 0 30 2 *", "never comes: no such month has a day 30"),
        ("0 0 31 4,6 *", "never comes: no such month has a day 31"),
        ("0 0 ? 2 mon#6", "# is followed by 1 to 5"),
        ("0 0 * * mon#l", "# is followed by 1 to 5"),
        ("0 0 * * l1#2", "it is either the last or the nth of a month"),
        ("? * * * *", "? stands for a day only"),
        ("@dayly", "is no cron word"),
        ("@reboot", "is no cron word"),
        (5, "is of type int, not a string"),
        ("٣ * * * *", "is not a number"),
    ],
)
def test_bad(text, said):
    assert said in (cron_problem(text) or "nothing")


def test_timezones():
    assert timezone_problem("UTC") is None
    assert timezone_problem("Europe/Berlin") is None
    assert timezone_problem("Europe Berlin") is not None
    assert timezone_problem("../../etc/passwd") is not None
    assert timezone_problem(5) == "is of type int, not a string"


def test_an_unknown_timezone_names_a_near_one():
    import zoneinfo

    if not zoneinfo.available_timezones():
        pytest.skip("this machine has no time zone data")
    assert "did you mean Europe/Berlin?" in (timezone_problem("Europe/Berlim") or "")
