"""What every page is to everybody, in a real Chromium: accessible, and no wider than the window.

Needs the system's chromium and the extra ``web-dev``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from supervised import save

from .browsing import expect
from .site import TEAM, Page, Site, site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]


PAGES = (
    "/",
    "/location?name=payments",
    "/location?name=broken",
    "/location?name=payments&view=logs",
    "/location?name=payments&view=process",
    "/location?name=payments&view=history",
    "/location?name=payments&view=workspace",
    "/definition?location=payments&kind=job&name=settle",
    "/definition?location=payments&kind=asset&name=balances",
    "/definition?location=payments&kind=schedule&name=nightly",
    "/definition?location=payments&kind=sensor&name=late_files",
    "/definition?location=payments&kind=resource&name=db",
    "/definitions",
    "/definitions?group=kind",
    "/assets",
    "/schedules",
    "/automations",
    "/automation?location=payments&name=nightly",
    "/timeline",
    "/runs",
    "/launch?location=payments&job=settle",
    "/environments",
    "/search?q=e",
    "/nothing",
)


def violations(browser: Any, url: str, paths: tuple[str, ...], scheme: str) -> list[Any]:
    """What axe-core finds on each of ``paths``."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    # Only the checker needs the last: our policy forbids every script but our own.
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    tab = context.new_page()
    summary = []
    for path in paths:
        tab.goto(url + path)
        found = axe.Axe().run(tab).response
        assert "color-contrast" in {one["id"] for one in found["passes"]}
        summary += [
            (path, one["id"], [node["html"][:200] for node in one["nodes"][:3]])
            for one in found["violations"]
        ]
    context.close()
    return summary


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(quiet: Site, browser: Any, scheme: str) -> None:
    found = violations(browser, quiet.page.url, PAGES, scheme)
    assert not found, json.dumps(found, indent=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_in_what_opens(quiet: Site, browser: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    tab = context.new_page()
    found: list[Any] = []

    def look(what: str) -> None:
        answer = axe.Axe().run(tab).response
        found.extend((what, one["id"], one["nodes"][0]["html"]) for one in answer["violations"])

    tab.goto(quiet.page.url)
    tab.keyboard.press("/")
    tab.keyboard.type("settle")
    expect(tab.locator("#find-list [role=option]").first).to_be_visible()
    tab.keyboard.press("ArrowDown")
    look("what was found")
    for _ in range(3):
        tab.keyboard.press("Escape")
    tab.keyboard.press("?")
    expect(tab.get_by_role("dialog", name="Keys")).to_be_visible()
    look("the keys")
    tab.keyboard.press("Escape")
    tab.get_by_role("checkbox", name="choose risk").check()
    look("a choice")
    tab.get_by_role("button", name="stop the chosen").click()
    expect(tab.get_by_role("dialog", name="Stop risk?")).to_be_visible()
    look("a question")
    tab.goto(f"{quiet.page.url}/location?name=payments&view=logs")
    tab.get_by_role("searchbox", name="Find in the log").fill("team")
    expect(tab.locator("#log mark").first).to_be_visible()
    look("a mark")
    context.close()
    assert not found, json.dumps(found, indent=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_in_the_form_for_the_token(
    quiet: Site, browser: Any, scheme: str
) -> None:
    page = Page(quiet.folder, quiet.runtime, SUPERVISE_WEB_TOKEN="a-token-that-nobody-guesses")
    try:
        found = violations(browser, page.url, ("/login", "/location?name=risk"), scheme)
    finally:
        page.end()
    assert not found, json.dumps(found, indent=1)


TWO = """\
from runner_shim import Definitions, job, repository

@job
def first():
    pass

@repository
def hidden():
    return [first]

defs = Definitions(jobs=[first])
"""


def test_axe_finds_no_violation_when_things_are_wrong(
    tmp_path: Path, browser: Any, opened: Any
) -> None:
    with site(tmp_path, {"one.py": TWO}) as made:
        workspace = tmp_path / "workspace.yaml"
        save(workspace, workspace.read_text().replace("python_file", "python_fiel"))
        opened.goto(made.page.url)
        expect(opened.get_by_text("did you mean python_file?")).to_be_visible()
        expect(opened.get_by_text("Warning:")).to_be_visible()
        pages = ("/", "/location?name=one", "/environments")
        found = [violations(browser, made.page.url, pages, one) for one in ("light", "dark")]
        made.kill_supervisor()
        expect(opened.get_by_text("No supervisor is running")).to_be_visible()
        found += [violations(browser, made.page.url, pages, one) for one in ("light", "dark")]
    assert not any(found), json.dumps(found, indent=1)


@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_runs_over_the_edge(quiet: Site, browser: Any, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800})
    tab = context.new_page()
    for path in PAGES:
        tab.goto(quiet.page.url + path)
        over = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, path
    context.close()


def test_a_long_name_runs_over_no_edge(tmp_path: Path, browser: Any) -> None:
    name = "a-location-that-a-program-named-" * 6
    paths = ("/", "/runs", "/definitions", "/assets", "/automations", "/timeline", "/schedules")
    with site(tmp_path, {"one.py": TEAM}, {name: {"relative_path": "one.py"}}) as made:
        for width in (360, 1280):
            context = browser.new_context(viewport={"width": width, "height": 800})
            tab = context.new_page()
            for path in (*paths, f"/location?name={name}"):
                tab.goto(made.page.url + path)
                assert name in tab.content().replace("<wbr>", "")
                over = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert over <= 0, (path, width)
            context.close()
