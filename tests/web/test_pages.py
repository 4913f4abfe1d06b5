"""The pages over HTTP: what they show of a real supervisor, and what orders do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from supervised import job, poll_now, save

from .site import HOSTILE_NAME, RISK, TEAM, Site, site


def text_of(html: str) -> str:
    """The words of a page, without its markup."""
    import html as entities

    return entities.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)))


def test_locations_show_state_environment_counts_and_errors(quiet: Site) -> None:
    answer = quiet.page.get("/")
    assert answer.status == 200
    words = text_of(answer.text)
    assert "● ready payments" in words
    assert "✗ failed broken" in words
    assert "no_such_library_here is not installed" in words
    assert "hint" not in words.split("no_such_library_here")[0]  # the remedy follows the error
    assert "2 assets, 1 job" in words
    assert "workspace.yaml" in words
    assert quiet.page.get("/", q="no such location").text.count("<tr") == 0
    only = text_of(quiet.page.get("/", state=["failed"]).text)
    assert "broken" in only
    assert "● ready payments" not in only
    assert 'value="failed" checked' in quiet.page.get("/", state=["failed", "crashed"]).text


def test_one_location_has_its_failure_definitions_process_and_origin(quiet: Site) -> None:
    broken = text_of(quiet.page.get("/location", name="broken").text)
    own, _, rest = broken.partition("Your code")
    assert "failed" in own
    assert rest.index("broken.py:2") < rest.index("broken.py:4") < rest.index("whole traceback")
    assert "Traceback (most recent call last)" in rest
    listed = text_of(quiet.page.get("/location", name="payments").text)
    for name in ("settle", "nightly", "late_ files", "transactions", "balances", "db"):
        assert name in listed, name
    searched = text_of(quiet.page.get("/location", name="payments", q="every booked").text)
    assert "transactions" in searched
    assert "late_ files" not in searched
    process = text_of(quiet.page.get("/location", name="payments", view="process").text)
    assert "Start method" in process
    assert "Verified" in process
    assert "click" in process
    logs = quiet.page.get("/location", name="payments", view="logs").text
    assert "team was loaded" in logs
    origin = text_of(quiet.page.get("/location", name="payments", view="workspace").text)
    assert "workspace.yaml" in origin
    history = text_of(quiet.page.get("/location", name="payments", view="history").text)
    assert "1 served" in history


def test_a_definition_is_shown_as_people_read_it(quiet: Site) -> None:
    def shown(kind: str, name: str) -> str:
        return text_of(
            quiet.page.get("/definition", location="payments", kind=kind, name=name).text
        )

    schedule = shown("schedule", "nightly")
    assert "At 02:30, Monday through Friday" in schedule
    assert "Europe/Berlin" in schedule
    assert len(re.findall(r"\d{4}-\d\d-\d\d 02:30 CES?T", schedule)) == 5
    assert "Launches settle" in schedule
    asset = shown("asset", "balances")
    assert "Upstream transactions payments" in asset
    assert "Downstream exposure risk" in asset
    found = shown("job", "settle")
    assert "payments@example.com" in found
    assert "team=payments" in found
    assert "nightly schedule" in found
    assert "clean" in found
    assert "fetch.result" in found
    assert "Also defined in risk" in found
    assert re.search(r"payments\.py:\d+", found)
    resource = shown("resource", "db")
    assert "url String required" in resource
    assert "Used by settle job" in resource


def test_all_definitions_are_searched_grouped_and_doubles_are_named(quiet: Site) -> None:
    everything = text_of(quiet.page.get("/definitions").text)
    assert "1 name defined in more than one location" in everything
    assert "2 of" in text_of(quiet.page.get("/definitions", q="settle", kind="job").text)
    grouped_page = quiet.page.get("/definitions", group="team").text
    grouped = text_of(grouped_page)
    assert "payments@example.com" in grouped
    headings = re.findall(r'<th scope="rowgroup"[^>]*>(.*?) <span class="dim">(\d+)', grouped_page)
    assert headings[0][0] == "none"
    assert ("risk", "1") in headings
    assert len(headings) == len(set(headings))
    for params in ({"in": "risk"}, {"group": "team", "in": "nobody"}):
        answer = text_of(quiet.page.get("/definitions", **params).text)
        assert "No definition is like that" not in answer
        assert "all groups" not in answer
    inside = text_of(quiet.page.get("/definitions", **{"group": "tag", "in": "team=risk"}).text)
    assert "1 of" in inside
    assert "Another of that name." in inside


def test_assets_schedules_and_environments(quiet: Site) -> None:
    assets = quiet.page.get("/assets")
    assert 'data-graph="/graph"' in assets.text
    assert len(json.loads(quiet.page.get("/graph").text)["edges"]) == 2
    assert "exposure" in text_of(assets.text)
    narrowed = quiet.page.get("/assets", q="exposure")
    assert "1 of 4 assets" in text_of(narrowed.text)
    schedules = quiet.page.get("/schedules")
    assert "At 02:30, Monday through Friday" in text_of(schedules.text)
    environments = text_of(quiet.page.get("/environments").text)
    assert "Packages side by side" in environments
    assert "pytest" in environments
    assert "click" not in text_of(quiet.page.get("/environments", q="pytest").text)
    assert "No schedule is like that" in quiet.page.get("/schedules", q="nothing so named").text


def test_hostile_names_are_text_everywhere(quiet: Site) -> None:
    name = "<script>document.title='owned'</script>"
    key = f"../{name}/a b?c#d%2F/weird"
    for answer in (
        quiet.page.get("/"),
        quiet.page.get("/", q=name),
        quiet.page.get("/location", name=HOSTILE_NAME),
        quiet.page.get("/location", name=HOSTILE_NAME, view="logs"),
        quiet.page.get("/location", name=HOSTILE_NAME, view="process"),
        quiet.page.get("/definition", location=HOSTILE_NAME, kind="job", name=name),
        quiet.page.get("/definition", location=HOSTILE_NAME, kind="asset", name=key),
        quiet.page.get("/definitions", q=name),
        quiet.page.get("/definitions", group="tag"),
        quiet.page.get("/assets"),
        quiet.page.get("/environments"),
    ):
        assert answer.status == 200, answer.text
        assert "<script>" not in answer.text
        assert "<img" not in answer.text
        assert "49" not in re.findall(r"\{\{.*?\}\}|49 </title>", answer.text)
    missing = quiet.page.get("/location", name="<script>x</script>")
    assert missing.status == 404
    assert "<script>" not in missing.text


def test_errors_are_pages(quiet: Site) -> None:
    assert quiet.page.get("/nothing").status == 404
    assert quiet.page.get("/location", name="nobody").status == 404
    assert quiet.page.get("/definition", location="payments", name="nobody").status == 404
    assert quiet.page.get("/orders").status == 405
    assert quiet.page.send("/orders", order="explode", all="1").status == 400
    assert quiet.page.send("/orders", order="stop").status == 400
    assert quiet.page.send("/orders", order="stop", location="nobody").status == 404
    for page in ("0", "-1", "x", "9" * 30, "9" * 5000):
        assert quiet.page.get("/", page=page).status == 200


REPOSITORIES = """\
from runner_shim import asset, job, op, repository, schedule
from runner_shim import GraphDefinition, graph


@op(tags={"tier": "gold"}, description="Deep down.")
def innermost():
    pass


@graph
def inner():
    innermost()


def team(name):
    @job
    def load():
        inner()

    @schedule(cron_schedule="0 1 * * *", job=load)
    def nightly(context):
        return {}

    @asset
    def prices():
        pass

    def made():
        return [load, nightly, prices]

    made.__name__ = name
    return repository(made)


east, west = team("east"), team("west")
"""


@pytest.mark.slow
def test_repositories_of_one_location_are_told_apart(tmp_path: Path) -> None:
    with site(tmp_path, {"both.py": REPOSITORIES}) as made:
        asked = {"location": "both", "kind": "job", "name": "load", "repository": "west"}
        shown = made.page.get("/definition", **asked).text
        links = set(re.findall(r'href="(/definition\?[^"]*)"', shown))
        assert links == {
            "/definition?location=both&amp;kind=schedule&amp;name=nightly&amp;repository=west"
        }
        schedule = made.page.get("/definition", **{**asked, "kind": "schedule", "name": "nightly"})
        assert "kind=job&amp;name=load&amp;repository=west" in schedule.text
        assert "repository=east" not in schedule.text
        assert "more than one" not in made.page.get("/assets").text
        assert "more than one" not in made.page.get("/definitions").text
        assert made.page.api("/duplicates")["duplicates"] == []
        # What is in a graph within the graph.
        words = text_of(shown)
        assert "1 node of inner in detail" in words
        assert "innermost" in words
        assert "Deep down. tier=gold" in words


@pytest.mark.slow
def test_orders_history_and_a_failed_reload(tmp_path: Path) -> None:
    with site(tmp_path, {"one.py": job("first"), "two.py": job("other")}) as made:
        page, client = made.page, made.client
        save(tmp_path / "one.py", job("second"))
        made.until("one", lambda one: one["serving"]["generation"] == 2)
        sent = page.send("/orders", order="stop", location="two", sure="1", back="/?state=stopped")
        assert (sent.status, sent.headers["location"]) == (303, "/?state=stopped")
        away = page.send("/orders", order="stop", location="two", sure="1", back="//evil.example/")
        assert away.headers["location"] == "/"
        client.wait("two", timeout=60)
        assert client.status("two")["locations"][0]["state"] == "stopped"
        refused = page.send("/orders", order="reload", location="two")
        assert refused.status == 409
        assert "two is stopped: use start" in text_of(refused.text)
        poll_now(lambda: 'disabled aria-label="reload two"' in page.get("/").text, "it is off")
        assert page.post("/api/v1/orders", {"order": "start", "locations": ["two"]}).status == 200
        assert client.wait(timeout=60)["ready"]
        before = client.status("one")["locations"][0]["generation"]
        assert page.send("/orders", order="reload", all="1").status == 303
        client.wait(timeout=60)
        assert client.status("one")["locations"][0]["generation"] == before + 1

        kept = [one["generation"] for one in client.history("one")["generations"]]
        diff = page.get(
            "/location", name="one", view="history", **{"from": kept[0], "to": kept[-1]}
        )
        words = text_of(diff.text)
        assert "+ added job:second" in words
        assert "− removed job:first" in words

        save(tmp_path / "one.py", "import no_such_library_here\n")
        made.until("one", lambda one: one["state"] == "failed")
        broken = text_of(page.get("/location", name="one").text)
        assert "is still served" in broken
        assert "second" in broken
        assert "import no_such_library_here" in broken


@pytest.mark.slow
def test_the_page_lives_through_the_end_of_its_supervisor(tmp_path: Path) -> None:
    with site(tmp_path, {"payments.py": TEAM, "risk.py": RISK}) as made:
        assert "● ready payments" in text_of(made.page.get("/").text)
        assert "settle" in made.page.get("/definitions").text
        made.kill_supervisor()
        gone = made.page.get("/definition", location="payments", kind="job", name="settle")
        assert gone.status == 200
        for path in ("/", "/definitions", "/assets", "/environments", "/schedules"):
            answer = made.page.get(path)
            assert answer.status == 200
        assert made.page.send("/orders", order="stop", location="risk", sure="1").status == 503
        assert made.page.get("/healthz").status == 200
        poll_now(lambda: made.page.get("/readyz").status == 503, "it is missed")
        assert "supervise_up 0" in made.page.get("/metrics").text
        for path in ("status", "locations", "definitions", "duplicates", "assets", "schedules"):
            assert made.page.get(f"/api/v1/{path}").status == 503, path
        assert made.page.get("/api/v1/openapi.json").status == 200
        for view in ("definitions", "logs", "process", "history", "workspace"):
            assert made.page.get("/location", name="risk", view=view).status == 200
        page = text_of(made.page.get("/").text)
        assert "No supervisor is running" in page
        assert "payments" in page
        made.start_supervisor()
        poll_now(lambda: made.page.get("/readyz").status == 200, "it is found again")
        assert "No supervisor" not in made.page.get("/").text


@pytest.mark.slow
def test_it_starts_before_there_is_a_supervisor(tmp_path: Path, runtime: Path) -> None:
    from supervised import make_workspace

    from .site import Page

    make_workspace(tmp_path, {"one.py": job("first")})
    page = Page(tmp_path, runtime)
    try:
        answer = page.get("/")
        assert answer.status == 200
        assert "No supervisor is running" in text_of(answer.text)
        for path in ("assets", "duplicates", "schedules", "environments", "metrics?", "nothing?"):
            status = {"metrics?": 404, "nothing?": 404}.get(path, 503)
            assert page.get(f"/api/v1/{path}").status == status, path
        named = page.get("/api/v1/definition", location="one", name="first")
        assert (named.status, named.json()["error"]["code"]) == (503, "not_running")
        assert page.get("/location", name="one").status == 503
        assert "No location defines a schedule" in page.get("/schedules").text
    finally:
        assert "Traceback" not in page.end()
    assert page.process.returncode == 0


@pytest.mark.slow
def test_a_long_history_is_cut(tmp_path: Path) -> None:
    many = (
        "from runner_shim import Definitions, JobDefinition\n"
        "defs = Definitions(jobs=[JobDefinition(f'{prefix}_{n}') for n in range(150)])\n"
    )
    with site(tmp_path, {"one.py": "prefix = 'old'\n" + many}) as made:
        save(tmp_path / "one.py", "prefix = 'new'\n" + many)
        made.until("one", lambda one: one["serving"]["generation"] == 2)
        for _ in range(2):  # the second time without asking the supervisor
            shown = made.page.get("/location", name="one", view="history").text
            assert shown.count("+ added") == 150
            assert shown.count("− removed") == 50
            assert "and 100 more" in text_of(shown)


@pytest.mark.slow
def test_what_is_wrong_with_the_workspace_is_at_the_top_of_every_page(tmp_path: Path) -> None:
    with site(tmp_path, {"one.py": job("first")}) as made:
        workspace = tmp_path / "workspace.yaml"
        save(workspace, workspace.read_text().replace("python_file", "python_fiel"))
        problems: list[object] = []
        while not problems:
            document = made.client.status()
            problems = list(document["supervisor"]["configuration_problems"])
            if not problems:
                made.client.status(since=document["revision"], timeout=5)
        poll_now(lambda: "The workspace has a problem" in made.page.get("/").text, "the page knows")
        for path, params in (
            ("/", {}),
            ("/location", {"name": "one"}),
            ("/location", {"name": "one", "view": "history"}),
            ("/definition", {"location": "one", "name": "first"}),
            ("/definitions", {}),
            ("/assets", {}),
            ("/schedules", {}),
            ("/environments", {}),
        ):
            answer = made.page.get(path, **params)
            assert answer.status == 200, (path, params)
            assert "did you mean python_file?" in text_of(answer.text)
