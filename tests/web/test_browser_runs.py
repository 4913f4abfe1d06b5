"""Runs in a real Chromium: launched with a config, watched to their end, cancelled, retried; and how their
pages look.

Needs the system's chromium and the extra ``web-dev``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from supervised import save

from supervisor.runs.journal import Journal
from supervisor.runs.run import new_id

from .automations_team import TEAM as AUTOMATED
from .browsing import WAIT, expect
from .runs_team import CONFIG, TEAM
from .site import DEADLINE, Site, site
from .test_browser_looks import violations

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    files = {"team.py": TEAM, "other.py": TEAM}
    with site(tmp_path_factory.mktemp("runs"), files, {"team": {}, "other": {}}) as made:
        yield made


@pytest.fixture
def held(here: Site) -> Iterator[Any]:
    """The file while which runs go on."""
    hold = here.folder / "hold"
    hold.touch()
    yield hold
    hold.unlink(missing_ok=True)


def state(tab: Any, word: str) -> None:
    expect(tab.locator("#state .state")).to_have_text(re.compile(word), timeout=2 * WAIT)


def test_launched_with_a_config_and_watched_to_its_end(here: Site, held: Any, opened: Any) -> None:
    opened.goto(f"{here.page.url}/definition?location=team&kind=job&name=settle")
    opened.get_by_role("link", name="launch…").click()
    opened.get_by_label("limit").fill("many")
    opened.get_by_role("button", name="Preview").click()
    expect(opened.locator(".wrong")).to_have_count(2)
    expect(opened.get_by_label("limit")).to_have_value("many")
    opened.get_by_label("limit").fill("7")
    opened.get_by_label("source").fill("s3")
    opened.get_by_role("button", name="Preview").click()
    expect(opened.locator(".preview .steps li")).to_have_text(["fetch", "clean", "publish"])
    opened.get_by_role("button", name="Launch").click()
    state(opened, "running")
    expect(opened.locator("#out")).to_have_text(re.compile("fetching 7 of s3"))
    expect(opened.locator(".gantt .bar.running")).to_have_count(1)
    expect(opened.locator("#err")).to_have_text("<b>cleaned</b>\n")
    listed = opened.context.new_page()
    listed.goto(f"{here.page.url}/runs?state=running")
    expect(listed.locator(".runs tbody tr")).to_have_count(1)
    held.unlink()
    expect(listed.locator(".runs tbody tr")).to_have_count(0)
    opened.bring_to_front()
    state(opened, "success")
    expect(opened.locator(".gantt .bar.success")).to_have_count(3)
    expect(opened.locator("#out")).to_have_text("fetching 7 of s3\npublished\n")


def test_one_is_cancelled_and_one_retried_from_its_failure(
    here: Site, held: Any, opened: Any
) -> None:
    run = here.client.launch("team", "settle", config=CONFIG)
    opened.goto(f"{here.page.url}/run?id={run.id}")
    expect(opened.locator(".gantt .bar.running")).to_have_count(1)
    opened.get_by_role("button", name="cancel this run").click()
    state(opened, "cancelled")
    expect(opened.locator("p", has_text="cancelled by the web page")).to_be_visible()
    held.unlink()
    broken = here.folder / "broken"
    broken.touch()
    opened.get_by_role("button", name="run all of it again").click()
    state(opened, "failure")
    expect(opened.locator("section.failure")).to_contain_text("the ledger does not balance")
    broken.unlink()
    opened.get_by_role("button", name="run again what has not succeeded").click()
    state(opened, "success")
    expect(opened.locator(".gantt .bar.success")).to_have_count(2)
    expect(opened.locator("#out")).to_have_text("published\n")


def test_a_page_goes_on_with_the_next_supervisor(here: Site, held: Any, opened: Any) -> None:
    run = here.client.launch("team", "settle", config=CONFIG)
    opened.goto(f"{here.page.url}/run?id={run.id}")
    expect(opened.locator("#err")).to_have_text("<b>cleaned</b>\n")
    here.kill_supervisor()
    expect(opened.get_by_text("No supervisor is running").first).to_be_visible()
    here.start_supervisor()
    held.unlink()
    opened.goto(f"{here.page.url}/run?id={run.id}")
    state(opened, "success")
    expect(opened.locator("#out")).to_have_text("fetching 10 of s3\npublished\n")


def test_a_sensor_is_switched_on_and_seen_to_fire(tmp_path: Path, opened: Any) -> None:
    with site(tmp_path, {"team.py": AUTOMATED}) as made:
        opened.goto(f"{made.page.url}/automations?kind=sensor")
        switch = opened.get_by_role("switch", name="files of team")
        expect(switch).to_have_attribute("aria-checked", "false")
        switch.click()
        expect(switch).to_have_attribute("aria-checked", "true")
        expect(opened.locator(".automations .says")).to_contain_text("no <b>file</b> is there")
        opened.get_by_role("link", name="files", exact=True).click()
        expect(opened.locator(".history-of-ticks")).to_contain_text("launched 1 run")
        opened.get_by_role("switch", name="files of team").click()
        expect(opened.get_by_role("switch")).to_have_attribute("aria-checked", "false")
        opened.locator(".history-of-ticks a").last.click()
        state(opened, "success")
        expect(opened.locator("#out")).to_have_text("<i>worked</i>\n")
        paths = ("/automations", "/automation?location=team&name=files", "/timeline", "/schedules")
        look_at(made, opened.context.browser, paths)


def look_at(of: Site, browser: Any, paths: tuple[str, ...]) -> None:
    """axe finds nothing on them, light and dark, and nothing runs over the edge of a window."""
    for scheme in ("light", "dark"):
        found = violations(browser, of.page.url, paths, scheme)
        assert not found, json.dumps(found, indent=1)
    for width in (360, 1440):
        context = browser.new_context(viewport={"width": width, "height": 800})
        tab = context.new_page()
        for path in paths:
            tab.goto(of.page.url + path)
            assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        context.close()


def pages(of: Site) -> tuple[str, ...]:
    """The pages of runs: a list, one that succeeded, one that failed, a range, and forms."""
    good = of.client.launch("team", "settle", config=CONFIG, tags={"customer": "acme"})
    assert good.wait(DEADLINE)["state"] == "success"
    broken = of.folder / "broken"
    broken.touch()
    bad = of.client.launch("team", "settle", config=CONFIG)
    assert bad.wait(DEADLINE)["state"] == "failure"
    broken.unlink()
    span = of.client.launch("team", "colors", partition_range="red..blue")
    span.wait(DEADLINE)
    return (
        "/runs",
        "/runs?q=nothing",
        *(f"/run?id={one.id}" for one in (good, bad, span)),
        "/launch?location=team&job=settle",
        "/launch?location=team&job=colors",
        "/launch?location=team&assets=report",
    )


def test_axe_finds_no_violation_and_nothing_runs_over_the_edge(here: Site, browser: Any) -> None:
    look_at(here, browser, pages(here))


@pytest.mark.timeout(600)
def test_ten_thousand_runs_and_a_search_as_one_types(
    tmp_path: Path, opened: Any, record_property: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(tmp_path, {"team.py": TEAM}) as made:
        run = made.client.launch("team", "settle", config=CONFIG)
        run.wait(DEADLINE)
        workspace = tmp_path / "workspace.yaml"
        save(workspace, "runs: {keep: none}\n" + workspace.read_text())
        made.end_supervisor()
        directory = tmp_path / ".supervise" / "workspace.yaml" / "runs"
        order = Journal(directory / run.id).order()
        assert order is not None
        monkeypatch.setattr(
            os, "fsync", lambda descriptor: None
        )  # the disk is not what is measured
        for number in range(9_999):
            name, created = new_id(), order["created"] - 30 * number
            journal = Journal(directory / name)
            job = f"job_{number % 200:03}"
            journal.create({**order, "run": name, "job": job, "created": created})
            state = "failure" if number % 20 == 0 else "success"
            journal.finish(state, "it was so", began=created + 1.0)
        made.start_supervisor()
        opened.goto(f"{made.page.url}/runs")
        expect(opened.locator("#found")).to_have_text("10000 runs")
        expect(opened.locator(".paging")).to_contain_text("1 to 100 of 10000")
        took = opened.evaluate(
            """async () => {
              const field = document.querySelector('[data-filter] input[name=q]');
              const found = () => document.querySelector('#found').textContent;
              const times = [];
              for (const text of ['job_0', 'job_01', 'job_017', '', 'job_1', 'job_12', 'job_123']) {
                const before = found(), start = performance.now();
                field.value = text;
                field.dispatchEvent(new Event('input', {bubbles: true}));
                while (found() === before && performance.now() - start < 30_000) await new Promise(requestAnimationFrame);
                times.push(performance.now() - start);
              }
              return times;
            }"""
        )
        record_property("milliseconds", took)
        print("milliseconds from key to answer:", [round(one) for one in took])
        expect(opened.locator("#found")).to_have_text("50 runs")
        opened.get_by_label("Search runs").fill("")
        opened.locator('input[name=state][value="failure"]').check()
        expect(opened.locator("#found")).to_have_text("500 runs")
        opened.get_by_role("link", name="next →").click()
        expect(opened.locator(".paging")).to_contain_text("101 to 200 of 500")
