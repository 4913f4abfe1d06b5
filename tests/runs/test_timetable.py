"""When schedules come: against croniter, and on the days on which clocks are moved."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from supervisor.runs.timetable import Timetable, UnknownTimeError

ZONES = [
    "UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "America/New_York", "America/Chicago",
    "America/Los_Angeles", "America/St_Johns", "America/Sao_Paulo", "America/Santiago", "Asia/Kolkata",
    "Asia/Kathmandu", "Asia/Tokyo", "Asia/Tehran", "Australia/Sydney", "Australia/Lord_Howe",
    "Pacific/Auckland", "Pacific/Chatham", "Africa/Casablanca", "Africa/Johannesburg",
]  # fmt: skip
BERLIN = ZoneInfo("Europe/Berlin")


def some_cron(chance: random.Random) -> str:
    """A cron string that comes at most some times a day."""
    minute = chance.randrange(60)
    hour = chance.choice(["1", "2", "3", "0", "12", "*/6", "1-3", "23", str(chance.randrange(24))])
    day = chance.choice(["*", "*", "*", "1", "15", "L", "28-31"])
    month = chance.choice(["*", "*", "*", "3,10", "mar-nov"])
    weekday = chance.choice(["*", "*", "mon-fri", "sun", "6"])
    return f"{minute} {hour} {day} {month} {weekday}"


def by_croniter(cron: str, zone: str, begin: float, end: float) -> list[float]:
    """What croniter says, once for each time on the wall: it has those of a repeated hour twice."""
    following = croniter(cron, datetime.fromtimestamp(begin, ZoneInfo(zone)))
    found: dict[datetime, float] = {}
    moments: list[float] = []
    while (at := following.get_next(datetime)).timestamp() <= end:
        if at.replace(tzinfo=None, fold=0) not in found:
            found[at.replace(tzinfo=None, fold=0)] = at.timestamp()
            moments.append(at.timestamp())
    return sorted(set(moments))


def check_against_croniter(seed: int, count: int, begin: datetime, days: int) -> int:
    chance = random.Random(seed)
    first, last = begin.timestamp(), (begin + timedelta(days=days)).timestamp()
    ticks = 0
    for number in range(count):
        cron, zone = some_cron(chance), ZONES[number % len(ZONES)]
        ours = list(Timetable([cron], zone).between(first, last))
        assert ours == by_croniter(cron, zone, first, last), (seed, cron, zone)
        ticks += len(ours)
    return ticks


@pytest.mark.slow
@pytest.mark.parametrize(
    "begin", [datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 9, 20, tzinfo=UTC)]
)
def test_it_agrees_with_croniter_about_the_days_of_change(begin):
    assert check_against_croniter(26, 60, begin, 45) > 500


@pytest.mark.slow
def test_it_agrees_with_croniter_for_a_year_of_500_schedules_in_twenty_zones():
    assert check_against_croniter(500, 500, datetime(2026, 1, 1, tzinfo=UTC), 366) > 20_000


def clock(cron: str, zone: str, begin: datetime, hours: float = 24) -> list[str]:
    """The times in the hours from ``begin``, as the clock on the wall shows them."""
    first = begin.timestamp() - 1
    moments = Timetable([cron], zone).between(first, first + hours * 3600)
    return [datetime.fromtimestamp(one, ZoneInfo(zone)).strftime("%H:%M%z")[:8] for one in moments]


# At 2:00 on the 29th of March 2026 the clock in Berlin is put on to 3:00; at 3:00 on the 25th of October
# back to 2:00.
@pytest.mark.parametrize("hour", range(24))
@pytest.mark.parametrize("day", [datetime(2026, 3, 29), datetime(2026, 10, 25)])
def test_each_hour_of_the_days_of_change_comes_once(hour, day):
    found = clock(f"30 {hour} * * *", "Europe/Berlin", day.replace(tzinfo=BERLIN), 26)
    here = [one for one in found if one[:5] in (f"{hour:02}:30", "03:00")][:1]
    if day.month == 3 and hour == 2:
        assert here == ["03:00+02"]
    else:
        summer = (hour >= 2) if day.month == 3 else (hour <= 2)
        assert here == [f"{hour:02}:30+0{2 if summer else 1}"]


@pytest.mark.parametrize(
    ("cron", "spring", "autumn"),
    [
        ("30 1-3 * * *", "01:30+01 03:00+02 03:30+02", "01:30+02 02:30+02 03:30+01"),
        ("*/30 2 * * *", "03:00+02", "02:00+02 02:30+02"),
        ("0 1-3 * * *", "01:00+01 03:00+02", "01:00+02 02:00+02 03:00+01"),
        ("0 2,4 * * *", "03:00+02 04:00+02", "02:00+02 04:00+01"),
    ],
)
def test_what_the_clock_skips_comes_later_and_what_it_repeats_once(cron, spring, autumn):
    assert clock(cron, "Europe/Berlin", datetime(2026, 3, 29, tzinfo=BERLIN), 20) == spring.split()
    assert clock(cron, "Europe/Berlin", datetime(2026, 10, 25, tzinfo=BERLIN), 20) == autumn.split()


@pytest.mark.parametrize("cron", ["0 * * * *", "30 * * * *", "15 0-23 * * *", "@hourly"])
def test_every_hour_is_every_hour(cron):
    for day, hours in ((datetime(2026, 3, 29), 23), (datetime(2026, 10, 25), 25)):
        begin = day.replace(tzinfo=BERLIN)
        found = list(
            Timetable([cron], "Europe/Berlin").between(
                begin.timestamp() - 1, (begin + timedelta(days=1)).timestamp() - 1
            )
        )
        assert len(found) == hours
        assert {b - a for a, b in zip(found, found[1:], strict=False)} == {3600.0}


@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_is_every_minute(zone):
    table = Timetable(["* * * * *"], zone)
    for day in (datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)):
        begin = day.timestamp() + 3600  # when Europe moves its clocks
        assert list(table.between(begin - 900, begin + 900)) == [
            begin - 900 + 60 * number for number in range(1, 31)
        ]


def test_a_day_that_is_left_out_comes_when_the_clock_goes_on():
    # Samoa had no 30th of December 2011.
    table = Timetable(["0 12 * * *"], "Pacific/Apia")
    begin = datetime(2011, 12, 29, 13, tzinfo=ZoneInfo("Pacific/Apia")).timestamp()
    found = [
        datetime.fromtimestamp(one, ZoneInfo("Pacific/Apia")).strftime("%d %H:%M")
        for one in table.between(begin, begin + 40 * 3600)
    ]
    assert found == ["31 00:00", "31 12:00"]


def test_several_strings_are_one_table():
    assert clock("0 5 * * *", "UTC", datetime(2026, 1, 1, tzinfo=UTC)) == ["05:00+00"]
    table = Timetable(["0 5 * * *", "0 5,6 * * *"], None)
    begin = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert list(table.between(begin, begin + 86400)) == [begin + 5 * 3600, begin + 6 * 3600]
    assert Timetable([]).after(begin) is None


def test_what_comes_rarely_is_found_and_what_never_comes_is_none():
    begin = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    leap = Timetable(["0 0 29 2 *"]).after(begin)
    assert leap == datetime(2028, 2, 29, tzinfo=UTC).timestamp()
    assert Timetable(["0 0 30 2 *"]).after(begin) is None


@pytest.mark.parametrize(
    ("cron", "zone", "words"),
    [("61 * * * *", None, "61"), ("often", None, "often"), ("@daily", "Mars/Base", "Mars/Base")],
)
def test_what_means_nothing_is_named(cron, zone, words):
    with pytest.raises(UnknownTimeError, match=words):
        Timetable([cron], zone)
