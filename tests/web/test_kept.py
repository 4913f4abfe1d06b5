"""The page while no supervisor runs: the definitions that the last one kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from supervised import job, poll_now

from supervisor.snapshots.rows import STORE, newest_kept

from .browsing import expect
from .site import RISK, TEAM, Page, site

TEXTS = {"payments.py": TEAM, "risk.py": RISK}


@pytest.mark.slow
@pytest.mark.parametrize("end", ["kill_supervisor", "end_supervisor"])
def test_a_page_that_begins_without_a_supervisor_shows_what_was_kept(
    tmp_path: Path, end: str
) -> None:
    with site(tmp_path, TEXTS) as made:
        getattr(made, end)()
        page = Page(tmp_path, made.runtime)
        try:
            assert "the definitions that were kept" in page.get("/").text
            assert page.get("/").text.count("no supervisor runs") == 0  # the banner says it once
            for path in ("/definitions", "/assets", "/schedules", "/search?q=settle"):
                assert page.ask(path).status == 200, path
            assert "settle" in page.get("/definitions").text
            shown = page.get("/definition", location="payments", kind="job", name="settle")
            assert "Settle the day before yesterday." in shown.text
            for view in ("definitions", "logs", "process", "history", "workspace"):
                assert page.get("/location", name="payments", view=view).status == 200, view
            assert page.get("/location", name="nobody").status == 404
            assert page.get("/api/v1/definitions").status == 503  # programs are told what is
            assert page.send("/orders", order="stop", location="risk").status == 503
            made.start_supervisor()
            poll_now(lambda: page.get("/readyz").status == 200, "it is found")
            assert "were kept" not in page.get("/").text
            # That it was read by another did the store no harm.
            supervisor = made.client.status()["supervisor"]
            assert (supervisor["conditions"], supervisor["warnings"]) == ([], [])
        finally:
            assert "Traceback" not in page.end()


@pytest.mark.slow
def test_definitions_that_nobody_looked_at_are_there_when_it_goes(tmp_path: Path) -> None:
    with site(tmp_path, {"one.py": job("first")}) as made:
        made.page.get("/")
        made.kill_supervisor()
        poll_now(lambda: made.page.get("/readyz").status == 503, "it is missed")
        assert "first" in made.page.get("/definitions").text


@pytest.mark.slow
def test_the_command_says_what_it_waits_for(tmp_path: Path) -> None:
    with site(tmp_path, {"one.py": job("first")}) as made:
        page = Page(tmp_path, made.runtime)
        try:
            poll_now(lambda: page.get("/readyz").status == 200, "it is known")
            made.kill_supervisor()
            poll_now(lambda: page.get("/readyz").status == 503, "it is missed")
            made.start_supervisor()
            poll_now(lambda: page.get("/readyz").status == 200, "it is found")
            pid = made.client.status()["supervisor"]["pid"]
        finally:
            said = page.end().splitlines()
        workspace = tmp_path / "workspace.yaml"
        assert said == [
            f"supervise web: the supervisor of {workspace} has gone; waiting for the next one",
            f"supervise web: the supervisor of {workspace} is there (pid {pid})",
        ]
        made.end_supervisor()
        page = Page(tmp_path, made.runtime)
        assert page.process.stdout is not None
        line = page.process.stdout.readline()  # while it is served
        page.end()
        assert line == (
            f"supervise web: no supervisor of {workspace} runs; waiting for one: start it with `supervise`\n"
        )
        made.start_supervisor()


@pytest.mark.slow
def test_who_must_show_a_token_sees_nothing_then(tmp_path: Path) -> None:
    with site(tmp_path, {"one.py": job("first")}) as made:
        made.kill_supervisor()
        page = Page(tmp_path, made.runtime, "--require-token")
        try:
            assert page.get("/definitions").headers["location"].startswith("/login")
            shown = page.ask("/definitions", headers={"Authorization": "Bearer sup_anything"})
            assert shown.status == 503
            assert "first" not in shown.text
        finally:
            page.end()


def test_a_store_that_is_not_there_or_damaged_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / STORE
    assert newest_kept(path) == {}
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"no database" * 1000)
    assert newest_kept(path) == {}


@pytest.mark.browser
@pytest.mark.xdist_group("browser")
def test_an_open_page_goes_on_by_itself(tmp_path: Path, opened: Any) -> None:
    with site(tmp_path, {"one.py": job("first")}) as made:
        made.end_supervisor()
        page = Page(tmp_path, made.runtime)
        try:
            opened.goto(f"{page.url}/definitions")
            expect(opened.get_by_text("the definitions that were kept")).to_be_visible()
            expect(opened.locator("table.definitions")).to_contain_text("first")
            made.start_supervisor()
            expect(opened.get_by_text("the definitions that were kept")).to_have_count(0)
            expect(opened.locator("table.definitions")).to_contain_text("first")
        finally:
            page.end()
