"""Orders on the page: which ask before, to whom, and that without JavaScript a page asks."""

from __future__ import annotations

import re

import pytest

from .site import HOSTILE_NAME, Site


def rows(text: str) -> list[str]:
    """The locations of the list, as they are ordered."""
    return re.findall(r'data-location="([^"]*)"', text)


@pytest.mark.parametrize("order", ["stop", "restart"])
def test_what_interrupts_is_asked_before(quiet: Site, order: str) -> None:
    before = quiet.client.status("risk")["locations"][0]
    names = ["risk", HOSTILE_NAME]
    asked = quiet.page.send("/orders", order=order, location=names, back="/?q=r")
    assert asked.status == 200
    assert f"{order.capitalize()} 2 locations?" in asked.text
    assert 'name="location" value="risk"' in asked.text
    assert 'name="sure" value="1"' in asked.text
    assert 'href="/?q=r"' in asked.text
    assert "<script>alert" not in asked.text
    assert "Stop 4 locations?" in quiet.page.send("/orders", order="stop", all="1").text
    after = quiet.client.status("risk")["locations"][0]
    assert (after["state"], after["generation"]) == (before["state"], before["generation"])


def test_a_question_leads_back_to_this_page_only(quiet: Site) -> None:
    asked = quiet.page.send("/orders", order="stop", location="risk", back="//elsewhere.example/")
    assert "elsewhere" not in asked.text
    assert quiet.page.send("/orders", order="stop", location="nobody").status == 404


def test_failed_locations_come_first_and_the_order_is_in_the_address(quiet: Site) -> None:
    assert rows(quiet.page.get("/").text)[0] == "broken"
    by_name = rows(quiet.page.get("/", sort="name").text)
    assert by_name == sorted(by_name) and by_name[0] != "broken"
    chosen = quiet.page.get("/", sort="memory", q="r").text
    assert '<option value="memory" selected>' in chosen
    assert 'name="back" value="/?sort=memory&amp;q=r"' in chosen
