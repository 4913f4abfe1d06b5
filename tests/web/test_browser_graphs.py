"""Graphs in a real Chromium: all nodes are there, one moves in them, folds, jumps and follows links.

Needs the system's chromium and the extra ``web-dev``; frame times are printed, and measured by
``python -m benchmarks graph``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from supervised import save

from benchmarks.graph import ASSETS, GROUPS, assets, moved, unfolded

from .browsing import WAIT, expect
from .site import Site, site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]

JOBS = """\
from runner_shim import Definitions, Field, In, Out, graph, job, op


@op(config_schema={"limit": Field(int, default_value=10)}, description="Fetch rows.")
def fetch(context):
    return []


@op(ins={"rows": In(list)}, out=Out(str, description="Without duplicates."))
def clean(rows):
    return ""


@op
def count(rows):
    return 0


@graph
def prepare(rows):
    return count(clean(rows))


@op
def publish(rows):
    pass


@job
def settle():
    publish(prepare(fetch()))


defs = Definitions(jobs=[settle])
"""


def view(tab: Any) -> Any:
    """The graph, once it is drawn."""
    found = tab.locator(".graph-view")
    expect(found).to_have_attribute("data-state", "drawn", timeout=WAIT * 4)
    return found


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    files = {f"{name}.py": text for name, text in assets().items()}
    with site(tmp_path_factory.mktemp("many"), files) as made:
        yield made


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("jobs"), {"jobs.py": JOBS}) as made:
        yield made


def test_two_thousand_assets_are_unfolded_and_moved(
    many: Site, opened: Any, record_property: Any
) -> None:
    opened.goto(f"{many.page.url}/assets")
    graph = view(opened)
    expect(graph).to_have_attribute("data-folded", str(GROUPS))
    expect(graph).to_have_attribute("data-nodes", "0")
    layout = unfolded(opened, many.page.url)
    expect(graph).to_have_attribute("data-nodes", str(ASSETS))
    frames = moved(opened)
    record_property("frames", [frames.dragging, frames.zooming])
    for word, times in (("dragging", frames.dragging), ("zooming", frames.zooming)):
        times = sorted(times)
        middle, most = times[len(times) // 2], times[-1]
        print(f"{word}: {len(times)} frames, {middle:.0f} ms in the middle, {most:.0f} at most")
    print(f"layout: {layout:.2f} s")
    opened.get_by_role("button", name="fold all", exact=True).click()
    expect(graph).to_have_attribute("data-folded", str(GROUPS))


def test_the_search_jumps_to_an_asset_in_a_folded_group(many: Site, opened: Any) -> None:
    opened.goto(f"{many.page.url}/assets")
    graph = view(opened)
    search = opened.get_by_label("Search assets")
    search.fill("g13/asset_027")
    link = opened.locator(".graph-link")
    expect(link).to_have_attribute("aria-label", "g13/asset_027")
    expect(graph).to_have_attribute("data-folded", str(GROUPS - 1))
    expect(graph).to_have_attribute("data-nodes", str(ASSETS // GROUPS))
    expect(opened.locator(".graph-says")).to_contain_text("group_13 · dbt")
    # Where several match, one goes from each to the next.
    search.fill("asset_027")
    expect(graph).to_have_attribute("data-matches", str(GROUPS))
    search.press("Enter")
    expect(link).to_have_attribute("aria-label", "g00/asset_027")
    search.press("Enter")
    expect(link).to_have_attribute("aria-label", "g01/asset_027")
    before = link.bounding_box()
    opened.mouse.move(before["x"] - 40, before["y"] - 20)
    opened.mouse.down()
    opened.mouse.move(before["x"] - 100, before["y"] - 60, steps=4)
    opened.mouse.up()
    after = link.bounding_box()
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((-60, -40), abs=1)
    link.click()
    expect(opened.locator("h1")).to_have_text("g01/asset_027")
    expect(view(opened)).to_have_attribute("data-nodes", re.compile("[0-9]+"))
    # Who comes back finds the graph as it was left.
    opened.go_back()
    expect(view(opened)).to_have_attribute("data-nodes", str(3 * ASSETS // GROUPS))


def test_a_location_and_a_group_are_shown_with_what_is_next_to_them(
    many: Site, opened: Any
) -> None:
    opened.goto(f"{many.page.url}/assets?group=group_00")
    graph = view(opened)
    nodes = int(graph.get_attribute("data-nodes"))
    folded = int(graph.get_attribute("data-folded"))
    assert nodes > ASSETS // GROUPS
    assert folded == 0
    opened.get_by_label("group").select_option("")
    opened.get_by_label("location").select_option("team_1")
    expect(graph).not_to_have_attribute("data-nodes", str(nodes))
    expect(view(opened)).to_have_attribute("data-state", "drawn")


def test_it_is_used_with_the_keyboard(many: Site, opened: Any) -> None:
    opened.goto(f"{many.page.url}/assets")
    graph = view(opened)
    board = opened.get_by_role("application")
    board.focus()
    board.press("ArrowRight")
    says = opened.locator(".graph-says")
    expect(says).to_contain_text("50 assets")
    first = says.text_content()
    board.press("ArrowLeft")
    expect(says).not_to_have_text(first)
    board.press("Enter")
    expect(graph).to_have_attribute("data-folded", str(GROUPS - 1))
    board.press("ArrowDown")
    expect(says).to_contain_text("upstream")
    name = says.text_content().partition(" ")[0]
    board.press("Enter")
    expect(opened.locator("h1")).to_have_text(name)


def test_an_asset_shows_what_is_around_it_and_follows_changes(tmp_path: Path, opened: Any) -> None:
    text = assets(12, 2, 1)["team_0"]
    with site(tmp_path, {"one.py": text}) as made:
        opened.goto(f"{made.page.url}/definition?location=one&kind=asset&name=g00/asset_001")
        graph = view(opened)
        expect(graph).to_have_attribute("data-nodes", "5")
        opened.get_by_role("application").focus()
        more = """
@asset(deps=["g00/asset_001"])
def extra():
    pass


defs = Definitions(assets=[extra, *(made(group, number) for group in mine for number in range(EACH))])
"""
        save(tmp_path / "one.py", text + more)
        expect(opened.locator("main")).to_contain_text("generation 2")
        expect(graph).to_have_attribute("data-nodes", "6")
        expect(opened.get_by_role("application")).to_be_focused()


def test_a_job_shows_its_ops_and_leads_to_what_they_are(jobs: Site, opened: Any) -> None:
    opened.goto(f"{jobs.page.url}/definition?location=jobs&kind=job&name=settle")
    graph = view(opened)
    expect(graph).to_have_attribute("data-nodes", "4")
    board = opened.get_by_role("application")
    says = opened.locator(".graph-says")
    board.focus()
    board.press("ArrowLeft")
    for _ in range(8):
        board.press("ArrowLeft")
    expect(says).to_contain_text("fetch · op")
    expect(says).to_contain_text("outputs result: Any")
    row = opened.locator('[id="node-fetch"]')
    expect(row).to_be_hidden()
    board.press("Enter")
    expect(row).to_be_visible()
    expect(row).to_contain_text("limit")
    expect(row).to_contain_text(re.compile(r"jobs\.py:[0-9]+"))
    assert opened.url.endswith("#node-fetch")
    opened.get_by_role("button", name="fold all", exact=True).click()
    expect(graph).to_have_attribute("data-nodes", "2")
    expect(graph).to_have_attribute("data-folded", "1")


def test_without_scripts_tables_say_the_same(jobs: Site, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{jobs.page.url}/definition?location=jobs&kind=job&name=settle")
    expect(tab.locator(".graph-view")).to_be_hidden()
    tab.get_by_text("2 nodes of prepare in detail").click()
    expect(tab.locator('[id="node-prepare/clean"]')).to_contain_text("rows: Array")
    context.close()
