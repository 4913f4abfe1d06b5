"""The search at the top and the keys, in a real Chromium: by keyboard alone, and without JavaScript.

Needs the system's chromium and the extra ``web-dev``.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from .browsing import expect
from .site import Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_a_definition_is_reached_by_the_keyboard_alone(quiet: Site, opened: Any) -> None:
    opened.goto(f"{quiet.page.url}/environments")
    field = opened.get_by_role("combobox", name="Search everything")
    opened.keyboard.press("/")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-expanded", "false")
    opened.keyboard.type("balances")
    listed = opened.get_by_role("listbox", name="found")
    expect(
        listed.get_by_role("option", name=re.compile("^balances asset of payments"))
    ).to_be_visible()
    expect(field).to_have_attribute("aria-expanded", "true")
    expect(listed.get_by_role("group", name="Definitions")).to_be_visible()
    opened.keyboard.press("ArrowUp")
    expect(listed.get_by_role("option", selected=True)).to_contain_text("show all")
    opened.keyboard.press("ArrowDown")
    expect(listed.get_by_role("option", selected=True)).to_have_count(0)
    opened.keyboard.press("ArrowDown")
    chosen = listed.get_by_role("option", selected=True)
    expect(chosen).to_contain_text("balances")
    expect(field).to_have_attribute("aria-activedescendant", chosen.get_attribute("id") or "")
    opened.keyboard.press("Enter")
    expect(opened.get_by_role("heading", level=1)).to_have_text("balances")


def test_enter_shows_all_and_escape_closes(quiet: Site, opened: Any) -> None:
    opened.goto(quiet.page.url)
    opened.keyboard.press("/")
    opened.keyboard.type("settle")
    listed = opened.locator("#find-list")
    expect(listed).to_be_visible()
    opened.keyboard.press("Escape")
    expect(listed).to_be_hidden()
    opened.keyboard.press("Enter")
    expect(opened.get_by_role("heading", level=1)).to_have_text("Search")
    expect(opened.locator("#results")).to_contain_text("settle")


def test_a_result_is_opened_by_the_mouse_and_stays_while_the_page_updates(
    quiet: Site, opened: Any
) -> None:
    opened.goto(quiet.page.url)
    field = opened.get_by_role("combobox", name="Search everything")
    field.fill("nightly")
    option = opened.get_by_role("option", name=re.compile("switch and its ticks"))
    expect(option).to_be_visible()
    with opened.expect_response(lambda answer: answer.url.rstrip("/") == quiet.page.url):
        pass  # the page was drawn anew
    expect(option).to_be_visible()
    expect(field).to_have_value("nightly")
    option.click()
    expect(opened.get_by_role("heading", level=1)).to_have_text("nightly")


def test_keys_are_listed_and_can_be_switched_off(quiet: Site, opened: Any) -> None:
    opened.goto(quiet.page.url)
    dialog = opened.get_by_role("dialog", name="Keys")
    opened.keyboard.press("?")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("search everything")
    dialog.get_by_role("checkbox").uncheck()
    opened.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    opened.keyboard.press("?")
    opened.keyboard.press("/")
    expect(dialog).to_be_hidden()
    expect(opened.get_by_role("combobox", name="Search everything")).not_to_be_focused()
    opened.reload()
    opened.get_by_role("button", name="keys").click()
    expect(dialog.get_by_role("checkbox")).not_to_be_checked()
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Close").click()
    opened.keyboard.press("/")
    expect(opened.get_by_role("combobox", name="Search everything")).to_be_focused()


def test_no_key_is_taken_in_a_field(quiet: Site, opened: Any) -> None:
    opened.goto(f"{quiet.page.url}/definitions")
    field = opened.get_by_role("searchbox", name="Search all definitions")
    field.press_sequentially("a/?")
    expect(field).to_have_value("a/?")
    expect(opened.get_by_role("dialog", name="Keys")).to_be_hidden()


def test_it_is_a_plain_form_without_javascript(quiet: Site, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(quiet.page.url)
    field = tab.get_by_role("searchbox", name="Search everything")
    field.fill("balances")
    field.press("Enter")
    tab.get_by_role("link", name="balances").first.click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("balances")
    context.close()
