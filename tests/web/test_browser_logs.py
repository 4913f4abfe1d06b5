"""The tools of a log, in a real Chromium.

Needs the system's chromium and the extra ``web-dev``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from supervised import job, save

from .browsing import expect
from .site import site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PRINTING = """\
import sys
for number in range(3):
    print("INFO booked", number)
print("WARNING booked late")
print("ERROR not booked")
print("  and why")
print("said " + "very " * 300 + "long")
"""


def test_a_log_is_searched_filtered_wrapped_and_paused(tmp_path: Path, opened: Any) -> None:
    with site(tmp_path, {"one.py": job("first") + PRINTING}) as made:
        opened.goto(f"{made.page.url}/location?name=one&view=logs")
        log, tools = opened.locator("#log"), opened.get_by_role("group", name="log", exact=True)
        expect(log).to_contain_text("very long")
        field = tools.get_by_role("searchbox", name="Find in the log")
        field.fill("BOOKED")
        expect(log.locator("mark")).to_have_count(5)
        count = tools.get_by_role("status")
        expect(count).to_have_text("5 of 5")
        expect(log.locator("mark.current")).to_have_text("booked")
        field.press("Enter")
        expect(count).to_have_text("1 of 5")
        field.press("Shift+Enter")
        expect(count).to_have_text("5 of 5")
        tools.get_by_role("button", name="next match").click()
        expect(count).to_have_text("1 of 5")

        level = tools.get_by_label("level")
        level.select_option("error")
        expect(log.locator(".line", has_text="not booked")).to_be_visible()
        expect(log.locator(".line", has_text="and why")).to_be_visible()
        expect(log.locator(".line", has_text="booked late")).to_be_hidden()
        expect(count).to_contain_text("of 1")
        level.select_option("warning")
        expect(log.locator(".line", has_text="booked late")).to_be_visible()
        expect(log.locator(".line", has_text="INFO booked").first).to_be_hidden()
        level.select_option("")
        expect(log.locator(".line", has_text="INFO booked").first).to_be_visible()

        wide = "document.getElementById('log').scrollWidth > document.getElementById('log').clientWidth"
        assert not opened.evaluate(wide)
        tools.get_by_role("checkbox", name="wrap").uncheck()
        assert opened.evaluate(wide)

        tools.get_by_role("button", name="pause").click()
        save(tmp_path / "one.py", job("first") + "print('booked in the second generation')\n")
        resume = tools.get_by_role("button", name="new)")
        made.until("one", lambda one: one["serving"]["generation"] == 2)
        expect(resume).not_to_have_text("resume (0 new)")
        expect(log).not_to_contain_text("second generation")
        # The page was drawn anew meanwhile: what was chosen and typed stays.
        expect(field).to_have_value("BOOKED")
        expect(tools.get_by_role("checkbox", name="wrap")).not_to_be_checked()
        resume.click()
        line = log.locator(".line", has_text="second generation")
        expect(line.locator("mark")).to_have_text("booked")
        expect(tools.get_by_role("button", name="pause")).to_be_visible()
        field.press("Escape")
        expect(log.locator("mark")).to_have_count(0)


def test_levels_and_the_download_need_no_javascript(tmp_path: Path, browser: Any) -> None:
    with site(tmp_path, {"one.py": job("first") + PRINTING}) as made:
        context = browser.new_context(java_script_enabled=False, accept_downloads=True)
        tab = context.new_page()
        tab.goto(f"{made.page.url}/location?name=one&view=logs")
        tab.get_by_label("level").select_option("error")
        expect(tab.locator(".line", has_text="not booked")).to_be_visible()
        expect(tab.locator(".line", has_text="booked late")).to_be_hidden()
        with tab.expect_download() as begun:
            tab.get_by_role("link", name="download").click()
        assert begun.value.suggested_filename == "one.log"
        assert "ERROR not booked" in Path(begun.value.path()).read_text()
        context.close()
