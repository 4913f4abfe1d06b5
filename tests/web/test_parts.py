"""What the pages are made from: times in words, graphs, comparisons, search, metrics' escapes."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from starlette.requests import Request

from supervisor.client.locate import Identity
from supervisor.errors import NotRunningError, RequestTimeoutError
from supervisor.web import environments, timing
from supervisor.web.catalogue import Asset, Check, Row, assets_of, search
from supervisor.web.credentials import Sessions
from supervisor.web.graphs import assets_drawn, neighbourhood, nodes_of, ops_drawn
from supervisor.web.link import Link
from supervisor.web.pages import status_code
from supervisor.web.render import ago, href, lasting
from supervisor.web.security import Policy
from supervisor.web.shapes import checked
from supervisor.web.timing import day_of, in_words, next_ticks

NOON = datetime(2024, 3, 30, 12, 0, tzinfo=UTC)


def schedule(cron: Any, zone: str = "UTC") -> dict[str, Any]:
    return {"cron_schedule": cron, "execution_timezone": zone}


def test_cron_in_words() -> None:
    assert in_words("0 1 * * 1-5") == "At 01:00, Monday through Friday"
    assert in_words("@daily") == "At 00:00"
    assert in_words("*/15 * * * *") == "Every 15 minutes"
    assert in_words("nonsense") == "nonsense"


def test_next_ticks_are_in_the_schedules_own_zone_across_a_change_of_clocks() -> None:
    ticks = next_ticks(schedule("30 2 * * *", "Europe/Berlin"), NOON.timestamp(), 3)
    assert ticks.zone == "Europe/Berlin"
    assert len(ticks.times) == 3
    assert all(at.tzinfo is not None for at in ticks.times)
    # The last Sunday of March has no 02:30 in Berlin; from then on it is two hours off UTC.
    assert ticks.times[-1].utcoffset() == (ticks.times[-1].replace(month=7)).utcoffset()
    assert (ticks.times[-1].hour, ticks.times[-1].minute) == (2, 30)


def test_what_goes_on_is_told_by_how_long() -> None:
    assert ">for 3m</time>" in lasting(1000.0, 1180.0)
    assert ">3m ago</time>" in ago(1000.0, 1180.0)
    templates = Path(timing.__file__).parent / "templates"
    for path in templates.glob("*.html"):
        assert not re.search(r"(since|for) \{\{[^}]*\|ago\(", path.read_text()), path.name


def berlin(*when: int, fold: int = 0) -> datetime:
    return datetime(2026, *when, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)


def test_the_hour_that_comes_twice_has_its_ticks_twice() -> None:
    half_hours = schedule(["0,30 * * * *", "30 * * * *"], "Europe/Berlin")
    ticks = next_ticks(half_hours, berlin(10, 25, 1, 45).timestamp())
    assert [at.strftime("%H:%M %Z") for at in ticks.times] == [
        "02:00 CEST", "02:30 CEST", "02:00 CET", "02:30 CET", "03:00 CET"
    ]  # fmt: skip
    spring = next_ticks(half_hours, berlin(3, 29, 1, 15).timestamp(), 3)
    assert [at.strftime("%H:%M %Z") for at in spring.times] == [
        "01:30 CET", "03:00 CEST", "03:30 CEST"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("begin", "hours"),
    [
        (berlin(10, 25, 0), (1.0, 13.0)),  # noon comes an hour later
        (berlin(3, 29, 0), (1.0, 11.0)),
        (berlin(10, 25, 2, fold=1), (10.0, 23.0)),
        (berlin(10, 24, 12), (0.0, 13.0)),  # the next noon is 25 hours away
    ],
)
def test_a_day_with_a_change_of_clocks_has_24_hours(
    begin: datetime, hours: tuple[float, ...]
) -> None:
    assert day_of(schedule("0 1,12 * * *", "Europe/Berlin"), begin).hours == hours


def test_cron_words_are_english_wherever_the_server_stands() -> None:
    code = (
        "import locale\n"
        "locale.getlocale = lambda *_: ('de_DE', 'UTF-8')\n"  # a machine may lack the locale itself
        "from supervisor.web.timing import in_words\n"
        "print(in_words('0 1 * * 1-5'))"
    )
    for language in ("de_DE.UTF-8", "C"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env={**os.environ, "LANG": language, "LC_ALL": language},
            capture_output=True,
            text=True,
        )
        assert done.stdout == "At 01:00, Monday through Friday\n", done.stderr


def test_several_expressions_are_one_row_of_ticks() -> None:
    ticks = next_ticks(schedule(["0 6 * * *", "0 18 * * *"]), NOON.timestamp())
    assert [at.hour for at in ticks.times] == [18, 6, 18, 6, 18]


@pytest.mark.parametrize("cron", ["nonsense", "0 0 30 2 *", "61 * * * *"])
def test_what_never_ticks_is_said(cron: str) -> None:
    ticks = next_ticks(schedule(cron), NOON.timestamp())
    assert not ticks.times
    assert cron in ticks.problem
    assert day_of(schedule(cron), NOON).hours == ()


def test_an_unknown_zone_is_said() -> None:
    ticks = next_ticks(schedule("0 0 * * *", "Mars/Olympus"), NOON.timestamp())
    assert "no timezone" in ticks.problem
    for name in ("../../etc/passwd", "/etc/passwd", "", "x\0y"):
        assert timing.zone(name) is (UTC if not name else None)


def test_a_day_on_a_line() -> None:
    assert day_of(schedule("0 0,13 * * *"), NOON).hours == (1.0, 12.0)
    assert day_of(schedule("0 14 * * *", "Europe/Berlin"), NOON).hours == (1.0,)
    often = day_of(schedule("* * * * *"), NOON)
    assert often.often
    assert often.hours == ()


def test_nested_graphs_are_groups_and_edges_know_their_ports() -> None:
    inner = {"nodes": [{"name": "x", "kind": "op"}, {"name": "y", "kind": "op", "after": ["x.r"]}]}
    one = {
        "graph": {
            "nodes": [
                {"name": "load", "kind": "graph", "graph": inner},
                {
                    "name": "end",
                    "kind": "op",
                    "definition": "finish",
                    "inputs": [{"name": "i", "type": "Int", "from": ["load.result", "gone.r"]}],
                },
            ]
        }
    }
    graphs = nodes_of(checked(one))
    assert [(it.path, [node["name"] for node in it.nodes]) for it in graphs] == [
        ((), ["load", "end"]),
        (("load",), ["x", "y"]),
    ]
    found = ops_drawn(checked(one))
    assert [(it["key"], it["is_group"], it.get("parent")) for it in found["items"]] == [
        ("load", True, None),
        ("end", False, None),
        ("load/x", False, 0),
        ("load/y", False, 0),
    ]
    assert found["edges"] == [(0, 1, "result", "i"), (2, 3, "r", "")]
    end = found["items"][1]
    assert (end["lines"], end["inputs"], end["href"]) == (
        ["op finish"],
        [{"name": "i", "type": "Int"}],
        "#node-end",
    )
    assert nodes_of({"graph": {"nodes": "none"}}) == []


def test_assets_are_drawn_in_the_groups_of_their_locations() -> None:
    raw = Asset("raw", seen_in=["b"], downstream={"made"})
    made = Asset("made", homes=["a"], group="sales", upstream={"raw", "lost"}, kinds=("dbt",))
    made.checks.append(Check("fresh", "a", "made:fresh", None, "", False, ()))
    lost = Asset("lost", downstream={"made"})
    found = assets_drawn(
        {one.name: one for one in (raw, made, lost)}, ["made", "raw", "lost"], grouped=True
    )
    told = [(it["title"], it["lines"], it.get("parent")) for it in found["items"]]
    assert told == [
        ("sales", ["a", "1 asset"], None),
        ("made", ["a · sales", "dbt · 1 check"], 0),
        ("without a group", ["b", "1 asset"], None),
        ("raw", ["b"], 2),
        ("defined nowhere", ["1 asset"], None),
        ("lost", ["defined nowhere"], 4),
    ]
    assert found["edges"] == [(5, 1, "", ""), (3, 1, "", "")]
    assert found["items"][1]["href"] == "/definition?location=a&kind=asset&name=made"
    assert found["items"][3]["marks"] == ["unknown"]
    assert "href" not in found["items"][5]


def test_the_neighbourhood_of_an_asset_is_bounded() -> None:
    assets = {"hub": Asset("hub")}
    for n in range(500):
        assets[f"a{n}"] = Asset(f"a{n}", upstream={"hub"})
        assets["hub"].downstream.add(f"a{n}")
    found = neighbourhood(assets, "hub")
    assert found[0] == "hub"
    assert len(found) == 60


def row(name: str, **more: Any) -> Row:
    given: dict[str, Any] = {
        "location": "here", "kind": "job", "repository": None, "description": "", "group": None,
        "owners": (), "tags": (), "lazy": False, "text": name.lower(),
        "external": False, "start": 0, "place": None, **more,
    }  # fmt: skip
    return Row(name=name, **given)


def test_search_wants_all_words_in_any_case() -> None:
    rows = [row("Load trades"), row("load prices"), row("x", kind="asset", text="load")]
    assert search(rows, "TRADES load") == rows[:1]
    assert search(rows, "") == rows
    assert search(rows, "load", kind="asset") == rows[2:]


def test_teams_are_owners_or_tags() -> None:
    assert row("a", owners=("x", "y")).groups("team") == ("x", "y")
    assert row("a", tags=("team=risk", "b=c")).groups("team") == ("risk",)
    assert row("a").groups("team") == ("none",)
    assert row("a", tags=("b=c",)).groups("tag") == ("b=c",)


def test_versions_that_differ_stand_out() -> None:
    def environment(**packages: str) -> dict[str, Any]:
        return {"packages": [{"name": n, "version": v} for n, v in packages.items()]}

    given = [
        environment(pandas="1.5", click="8"),
        environment(pandas="2.0", click="8"),
        {"packages": None},
    ]
    found = environments.compared(cast("Any", given))
    assert [(one.name, one.versions, one.differs) for one in found] == [
        ("click", ("8", "8", None), False),
        ("pandas", ("1.5", "2.0", None), True),
    ]


def test_every_environment_can_be_seen_beside_others() -> None:
    rows = [
        {
            "name": f"env-{n:02}", "python": "3.12.1", "executable": None, "managed": True,
            "locations": ["a"], "packages": [{"name": "pandas", "version": f"{n // 12}.0"}],
        }
        for n in range(14)
    ]  # fmt: skip

    class Client:
        async def environments(self) -> Any:
            return rows

    class FakeLink:
        client, running, document, asker = Client(), True, None, None

        def may(self, role: str) -> bool:
            return False

    state = SimpleNamespace(policy=Policy(), sessions=Sessions("a page"))

    def shown(query: str) -> str:
        scope = {
            "type": "http", "method": "GET", "path": "/environments", "headers": [],
            "query_string": query.encode(), "app": SimpleNamespace(state=state),
            "view": SimpleNamespace(link=FakeLink()),
        }  # fmt: skip
        answer = asyncio.run(environments.environments(Request(scope)))
        return bytes(answer.body).decode().partition("side by side</h2>")[2]

    first, second = shown(""), shown("columns=2")
    assert (first.count("env-"), second.count("env-")) == (12, 2)
    assert "env-13" in second
    for page in (first, second):  # within these twelve and these two nothing differs
        assert "versions differ" in page
    assert "1 to 12 of 14" in first


def test_why_there_is_no_supervisor_is_what_is_raised(tmp_path: Path) -> None:
    async def main() -> None:
        link = Link(Identity.of((tmp_path, "workspace.yaml")), {})
        with pytest.raises(NotRunningError):
            _ = link.client
        link.error = RequestTimeoutError("the supervisor did not answer in time")
        with pytest.raises(RequestTimeoutError):
            _ = link.client
        with pytest.raises(RequestTimeoutError):
            link.location("one")
        assert status_code(link.error) == 504

    asyncio.run(main())


def test_end_of_life() -> None:
    today = date(2025, 1, 1)
    assert environments.end_of_life("3.8.18", today) == date(2024, 10, 7)
    assert environments.end_of_life("3.9.1", today) is None
    assert environments.end_of_life("4.0.0", today) is None
    assert environments.end_of_life(None, today) is None


def test_addresses_carry_any_name() -> None:
    assert href("/location", name="../a b&c#d", view=None) == "/location?name=..%2Fa%20b%26c%23d"
    assert href("/", state=["a", "b"]) == "/?state=a&state=b"


def test_the_group_of_an_asset_is_its_makers() -> None:
    def shelf(location: str, *assets: dict[str, Any]) -> Any:
        return SimpleNamespace(location=location, of_kind=lambda _kind: assets)

    refers = {"name": "a", "group": "default", "execution_type": "external"}
    makes = {"name": "a", "group": "finance"}
    alone = {**refers, "name": "b"}
    found = assets_of([shelf("first", refers, alone), shelf("second", makes)])
    assert (found["a"].group, found["a"].homes, found["a"].seen_in) == (
        "finance",
        ["second"],
        ["first"],
    )
    assert found["b"].group is None
