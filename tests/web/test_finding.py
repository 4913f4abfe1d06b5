"""The one search over everything, as a plain page."""

from __future__ import annotations

import re

from .site import Site


def links(text: str) -> list[str]:
    """Where the results lead, in their order."""
    results = text.partition('id="results"')[2]
    return [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]*)"', results)]


def test_everything_is_found_with_its_own_page(quiet: Site) -> None:
    found = links(quiet.page.get("/search", q="payments").text)
    assert found[0] == "/location?name=payments"
    assert "/definition?location=payments&kind=job&name=settle" in found
    assert "/automation?location=payments&name=nightly" in found
    assert "/automation?location=payments&name=late_files" in found
    for link in found:
        assert quiet.page.ask(link).status == 200, link


def test_what_is_called_so_comes_first(quiet: Site) -> None:
    found = links(quiet.page.get("/search", q="balances").text)
    assert found[0] == "/definition?location=payments&kind=asset&name=balances"
    environment = quiet.client.environments()[0]["name"]
    assert "/environments" in links(quiet.page.get("/search", q=environment).text)


def test_a_run_is_found_by_its_id(quiet: Site) -> None:
    run = quiet.client.launch("risk", "settle")
    run.wait(60)
    assert f"/run?id={run.id}" in links(quiet.page.get("/search", q=run.id[-12:]).text)


def test_a_search_for_nothing_and_one_without_an_answer(quiet: Site) -> None:
    assert "Looks through" in quiet.page.get("/search").text
    none = quiet.page.get("/search", q="<b>no such thing</b>")
    assert "Nothing has all of these words" in none.text
    assert "<b>no such" not in none.text
    assert links(none.text) == []
    few = links(quiet.page.get("/search", q="e", few=1).text)
    assert 0 < len(few) < len(links(quiet.page.get("/search", q="e").text))
