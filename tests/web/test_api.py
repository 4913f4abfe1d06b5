"""``/api/v1``: the same as the pages say, and what its own description promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from exposed import families
from strict import Checked

from supervisor.web import documents

from .site import HOSTILE_NAME, Site, site


@pytest.mark.slow
def test_it_says_what_the_control_socket_says(quiet: Site) -> None:
    page, client = quiet.page, quiet.client
    status = page.api("/status")
    assert [one["name"] for one in status["locations"]] == [
        one["name"] for one in client.status()["locations"]
    ]
    one = page.api("/location", name="payments")
    assert one["process"]["memory"]["uss"] > 0
    assert one["log"]["tail"]
    rows = page.api("/definitions", location="payments")
    assert rows["total"] == len(client.definitions(location="payments"))
    window = page.api("/definitions", location="payments", offset=1, limit=2)
    assert window["definitions"] == rows["definitions"][1:3]
    shown = page.api("/definition", location="payments", name="settle", kind="job")
    assert shown == client.show("payments", "settle", kind="job")
    assert page.api("/duplicates") == {
        "duplicates": [{"kind": "job", "name": "settle", "locations": ["payments", "risk"]}]
    }
    assets = {one["name"]: one for one in page.api("/assets")["assets"]}
    assert assets["balances"]["downstream"] == ["exposure"]
    assert assets["balances"]["locations"] == ["payments"]
    (schedule,) = page.api("/schedules")["schedules"]
    assert schedule["in_words"] == ["At 02:30, Monday through Friday"]
    assert len(schedule["next_ticks"]) == 5
    assert page.api("/environments")["environments"] == client.environments()
    assert page.api("/history", location="risk") == client.history("risk")
    logs = page.api("/logs", location="payments", lines=5)
    assert logs["lines"] == client.logs("payments", lines=5)["lines"]
    assert page.api("/logs", location="payments", after=logs["next"])["lines"] == []
    chosen = page.api("/locations", state=["failed"])
    assert [one["name"] for one in chosen["locations"]] == ["broken"]
    assert page.api("/location", name=HOSTILE_NAME)["name"] == HOSTILE_NAME


def test_answers_are_as_described_and_hold_nothing_else(quiet: Site) -> None:
    page = quiet.page
    described = page.api("/openapi.json")
    checked = Checked(described["components"]["schemas"])

    def ask(path: str, **params: Any) -> None:
        content = described["paths"][path]["get"]["responses"]["200"]["content"]
        name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
        checked(name, page.api(path, **params))

    for path in ("/status", "/locations", "/duplicates", "/assets", "/schedules", "/environments"):
        ask(path)
    ask("/definitions", q="s", limit=3)
    for name in ("payments", "risk", "broken", HOSTILE_NAME):
        ask("/location", name=name)
        ask("/history", location=name)
        ask("/logs", location=name)
    ask("/definition", location="payments", name="settle", kind="job")
    end = page.api("/logs", location="risk")["next"]
    ask("/logs", location="risk", after=end)
    ask("/logs", location="risk", after=end, timeout=1)
    checked("ApiError", page.get("/api/v1/location", name="nobody").json())
    checked("Orders", page.post("/api/v1/orders", {"order": "start", "locations": ["risk"]}).json())
    wrong = {"location": "payments", "job": "settle", "dry_run": True}
    config = {"ops": {"fetch": {"config": {"limit": "many"}}}}
    refused = page.post("/api/v1/methods/launch", {**wrong, "config": config})
    assert checked("ApiError", refused.json())["error"]["problems"][0]["path"] == (
        "ops.fetch.config.limit"
    )
    names = ("ApiStatus", "ApiError", "Definitions", "Duplicates", "Assets", "Schedules", "Shown")
    own = {one for one in checked.unsent(*names) if one.partition(".")[0] in documents.__all__}
    assert own == {"FoundDefinition.repository", "Schedule.problem", "Schedule.repository"}


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("/location", {}, 422),
        ("/location", {"name": "nobody"}, 404),
        ("/definition", {"location": "payments", "name": "nobody"}, 404),
        ("/definition", {"location": "nobody", "name": "x"}, 404),
        ("/definitions", {"limit": "0"}, 422),
        ("/definitions", {"offset": "x"}, 422),
        ("/definitions", {"q": ["a", "b"]}, 422),
        ("/diff", {"location": "payments", "from": "9", "to": "1"}, 409),
        ("/logs", {"location": "payments", "lines": "1e9"}, 422),
        ("/nothing", {}, 404),
        ("/orders", {}, 405),
    ],
)
def test_errors_have_one_shape(quiet: Site, path: str, params: Any, status: int) -> None:
    answer = quiet.page.get(f"/api/v1{path}", **params)
    assert answer.status == status, answer.text
    assert answer.json()["error"].keys() == {"code", "message", "hint"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    [
        [],
        None,
        {"order": "explode", "all": True},
        {"order": "stop"},
        {"order": "stop", "locations": "risk"},
        {"order": "stop", "locations": [1]},
    ],
)
def test_a_wrong_order_is_refused(quiet: Site, value: Any) -> None:
    assert quiet.page.post("/api/v1/orders", value).status == 422


def test_metrics(quiet: Site) -> None:
    text = quiet.page.get("/metrics").text
    lines = text.splitlines()
    assert "supervise_up 1" in lines
    assert 'supervise_location_state{location="payments",state="ready"} 1' in lines
    assert 'supervise_location_state{location="broken",state="failed"} 1' in lines
    assert 'supervise_location_definitions{location="payments",kind="asset"} 2' in lines
    for name in (
        "loads_total",
        "load_seconds",
        "restarts_total",
        "resident_memory_bytes",
        "snapshot_bytes",
    ):
        assert any(line.startswith(f"supervise_location_{name}{{") for line in lines), name
    assert set(families(text)) == {
        line.split()[2] for line in lines if line.startswith("# HELP") and len(line.split()) > 3
    }


@pytest.mark.browser
def test_the_description_holds(tmp_path: Path) -> None:
    """Every operation answers as described, to what the description allows and to what it does not."""
    with site(tmp_path) as made:
        done = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                *("run", f"{made.page.url}/api/v1/openapi.json"),
                *("--url", f"{made.page.url}/api/v1"),
                *("--phases", "coverage,fuzzing", "--max-examples", "8"),
                *("--generation-deterministic", "--no-color"),
                *("--exclude-path", "/methods/shutdown"),  # it would end
            ],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[1]),
                "SCHEMATHESIS_HOOKS": "web.api_hooks",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout
