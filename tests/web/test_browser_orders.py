"""Orders to several locations, in a real Chromium.

Needs the system's chromium and the extra ``web-dev``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from supervised import job, poll_now

from supervisor.access.audit import entries

from .browsing import expect, row
from .site import Site, site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_several_are_chosen_stopped_and_started(tmp_path: Path, opened: Any) -> None:
    files = {f"{name}.py": job("first") for name in ("one", "two", "three")}
    with site(tmp_path, files) as made:
        opened.goto(made.page.url)
        bulk = opened.get_by_role("form", name="chosen locations")
        expect(bulk).to_be_hidden()
        row(opened, "one").get_by_role("checkbox", name="choose one").check()
        row(opened, "two").get_by_role("checkbox", name="choose two").check()
        expect(bulk).to_contain_text("2 chosen")
        bulk.get_by_role("button", name="stop the chosen").click()
        dialog = opened.get_by_role("dialog", name="Stop 2 locations?")
        expect(dialog).to_contain_text("one, two")
        opened.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(row(opened, "one").get_by_role("checkbox")).to_be_checked()
        bulk.get_by_role("button", name="stop the chosen").click()
        expect(dialog.get_by_role("button", name="Stop 2 locations")).to_be_focused()
        opened.keyboard.press("Enter")
        for name in ("one", "two"):
            expect(row(opened, name).locator(".state")).to_have_text(re.compile("stopped"))
            expect(row(opened, name).get_by_role("checkbox")).not_to_be_checked()
        expect(row(opened, "three").locator(".state")).to_have_text(re.compile("ready"))
        log = next(tmp_path.glob(".supervise/*/audit.log")).parent

        def noted() -> list[Any]:
            return [one["location"] for one in entries(log) if one["method"] == "stop"]

        poll_now(lambda: noted() == [["one", "two"]], "the entry of the audit")
        opened.get_by_role("checkbox", name="choose all that are shown").check()
        expect(bulk).to_contain_text("3 chosen")
        bulk.get_by_role("button", name=re.compile("^start the chosen")).click()
        for name in ("one", "two"):
            expect(row(opened, name).locator(".state")).to_have_text(re.compile("ready"))


def test_a_choice_stays_while_the_page_updates(quiet: Site, opened: Any) -> None:
    opened.goto(quiet.page.url)
    choice = row(opened, "risk").get_by_role("checkbox")
    choice.check()
    with opened.expect_response(lambda answer: answer.url.rstrip("/") == quiet.page.url):
        pass  # the page was drawn anew
    opened.get_by_label("Search locations").fill("risk")
    expect(opened.locator("tr.row")).to_have_count(1)
    expect(choice).to_be_checked()
    expect(opened.get_by_role("checkbox", name="choose all")).to_be_checked()


def test_without_javascript_a_page_asks(tmp_path: Path, browser: Any) -> None:
    with site(tmp_path, {"one.py": job("first"), "two.py": job("other")}) as made:
        context = browser.new_context(java_script_enabled=False)
        tab = context.new_page()
        tab.goto(f"{made.page.url}/?q=o")
        for name in ("one", "two"):
            tab.get_by_role("checkbox", name=f"choose {name}").check()
        tab.get_by_role("button", name="stop the chosen").click()
        expect(tab.get_by_role("heading", level=1)).to_have_text("Stop 2 locations?")
        tab.get_by_role("button", name="Stop 2 locations").click()
        assert tab.url.endswith("/?q=o")
        for name in ("one", "two"):
            made.until(name, lambda one: one["state"] == "stopped")
        context.close()
