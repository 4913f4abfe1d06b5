"""The pages in a real Chromium: what changes by itself, what a click does, and what it looks like.

Needs the system's chromium and the extra ``web-dev``; each test waits for what it expects to see.
"""

from __future__ import annotations

import http.server
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from supervised import job, save

from .browsing import WAIT, expect, row
from .site import HOSTILE_NAME, Page, Site, site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_a_saved_file_changes_the_row_and_a_broken_one_shows_its_error(
    tmp_path: Path, opened: Any
) -> None:
    with site(tmp_path, {"one.py": job("first"), "two.py": job("other")}) as made:
        opened.goto(made.page.url)
        expect(row(opened, "one")).to_contain_text("1 job")
        more = job("first") + job("second").partition("\n\n")[2]
        save(tmp_path / "one.py", more)
        expect(row(opened, "one")).to_contain_text("2 jobs")
        save(tmp_path / "one.py", more + "\nimport no_such_library_here\n")
        expect(row(opened, "one")).to_contain_text("failed")
        expect(opened.locator("tr.note.failed")).to_contain_text("no_such_library_here")
        expect(row(opened, "one")).to_contain_text("2 jobs")
        opened.get_by_role("link", name="details of the failure of one").click()
        expect(opened.locator(".failure")).to_contain_text("import no_such_library_here")
        expect(opened.locator(".failure")).to_contain_text("is still served")
        expect(opened.locator("table.definitions")).to_contain_text("second")
        expect(opened.locator("#traceback pre")).to_be_hidden()
        opened.get_by_text("The whole traceback").click()
        expect(opened.locator("#traceback pre")).to_contain_text("ModuleNotFoundError")
        save(tmp_path / "one.py", more)
        expect(opened.locator(".failure")).to_have_count(0)


def test_orders(tmp_path: Path, opened: Any) -> None:
    with site(tmp_path, {"one.py": job("first"), "two.py": job("other")}) as made:
        opened.goto(made.page.url)
        one = row(opened, "one")
        expect(one).to_contain_text("ready")
        one.get_by_role("button", name="stop one").click()
        dialog = opened.get_by_role("dialog", name="Stop one?")
        expect(dialog).to_contain_text("can still be read")
        dialog.get_by_role("link", name="Cancel").click()
        expect(dialog).to_be_hidden()
        one.get_by_role("button", name="stop one").click()
        dialog.get_by_role("button", name="Stop one").click()
        expect(dialog).to_be_hidden()
        expect(opened.locator("#told")).to_have_text("one stopping")
        expect(one.locator(".state")).to_have_text(re.compile("stopped"))
        expect(one.get_by_role("button", name="reload one")).to_be_disabled()
        opened.get_by_role("button", name="reload all locations").click()
        expect(opened.locator("#told")).to_have_text("one is stopped: use start; two reloading")
        expect(one).to_contain_text("1 job")  # what was served last can still be read
        one.get_by_role("button", name="start one", exact=True).click()
        expect(one.locator(".state")).to_have_text(re.compile("ready"))
        generation = made.client.status("one")["locations"][0]["generation"]
        one.get_by_role("button", name="reload one").click()
        made.until("one", lambda it: it["state"] == "ready" and it["generation"] > generation)
        pid = made.client.status("two")["locations"][0]["process"]["pid"]
        row(opened, "two").get_by_role("button", name="restart two").click()
        question = opened.get_by_role("dialog", name="Restart two?")
        question.get_by_role("button", name="Restart two").click()
        made.until("two", lambda it: it["state"] == "ready" and it["process"]["pid"] != pid)
        generation = made.client.status("two")["locations"][0]["generation"]
        opened.get_by_role("button", name="reload all locations").click()
        made.until("two", lambda it: it["state"] == "ready" and it["generation"] > generation)


def test_logs_are_followed(tmp_path: Path, opened: Any) -> None:
    with site(tmp_path, {"one.py": job("first") + "print('said at generation one')\n"}) as made:
        opened.goto(f"{made.page.url}/location?name=one&view=logs")
        log = opened.locator("#log")
        expect(log).to_contain_text("said at generation one")
        save(tmp_path / "one.py", job("first") + "print('<b>said</b> at generation two')\n")
        expect(log).to_contain_text("<b>said</b> at generation two")
        lines = log.locator(".line").all_inner_texts()
        assert len(lines) == len(set(lines))


def test_logs_go_on_when_the_supervisor_comes_back(tmp_path: Path, opened: Any) -> None:
    """In a page that showed them before, and in one that was opened while there was none."""
    with site(tmp_path, {"one.py": job("first") + "print('said first')\n"}) as made:
        opened.goto(f"{made.page.url}/location?name=one&view=logs")
        log = opened.locator("#log")
        expect(log).to_contain_text("said first")
        made.kill_supervisor()
        expect(opened.get_by_text("not read while no supervisor")).to_be_visible()
        expect(log).to_contain_text("said first")
        late = opened.context.new_page()
        late.goto(opened.url)
        expect(late.get_by_text("not read while no supervisor")).to_be_visible()
        save(tmp_path / "one.py", job("first") + "print('said second')\n")
        made.start_supervisor()
        for tab in (opened, late):
            tab.bring_to_front()
            expect(tab.locator("#log")).to_contain_text("said second")
        save(tmp_path / "one.py", job("first") + "print('said third')\n")
        for tab in (opened, late):
            tab.bring_to_front()
            expect(tab.locator("#log")).to_contain_text("said third")
            for text in ("said first", "said second", "said third"):
                expect(tab.locator("#log .line", has_text=text)).to_have_count(1)


def test_a_stream_that_is_refused_is_asked_for_again(tmp_path: Path, opened: Any) -> None:
    with site(tmp_path, {"one.py": job("first")}) as made:
        refused: list[str] = []

        def refuse(route: Any) -> None:
            refused.append(route.request.url)
            route.fulfill(status=502, body="no")

        opened.route("**/events*", refuse)
        opened.goto(made.page.url)
        expect(opened.locator("#offline")).to_be_visible()
        opened.unroute("**/events*")
        expect(opened.locator("#offline")).to_be_hidden()
        assert refused
        save(tmp_path / "one.py", job("first") + job("second").partition("\n\n")[2])
        expect(row(opened, "one")).to_contain_text("2 jobs")


def test_history_is_compared(tmp_path: Path, opened: Any) -> None:
    with site(tmp_path, {"one.py": job("first")}) as made:
        for generation, name in ((2, "second"), (3, "third")):
            save(tmp_path / "one.py", job(name))
            made.until("one", lambda it, n=generation: it["serving"]["generation"] == n)
        opened.goto(f"{made.page.url}/location?name=one&view=history")
        expect(opened.locator(".diff")).to_contain_text("added job:third")
        expect(opened.locator(".diff")).to_contain_text("removed job:second")
        opened.get_by_label("compare from generation 1").check()
        expect(opened.locator(".diff")).to_contain_text("removed job:first")
        assert "from=1" in opened.url


def test_a_supervisor_that_is_killed_and_comes_back(tmp_path: Path, opened: Any) -> None:
    with site(tmp_path, {"one.py": job("first")}) as made:
        opened.goto(made.page.url)
        expect(row(opened, "one")).to_contain_text("ready")
        made.kill_supervisor()
        banner = opened.get_by_text("No supervisor is running")
        expect(banner).to_be_visible()
        expect(row(opened, "one")).to_contain_text("1 job")
        expect(row(opened, "one").get_by_role("button", name="stop one")).to_be_disabled()
        made.start_supervisor()
        expect(banner).to_have_count(0)
        expect(row(opened, "one").get_by_role("button", name="stop one")).to_be_enabled()


def test_filters_are_kept_in_the_address(quiet: Site, opened: Any) -> None:
    opened.goto(quiet.page.url)
    opened.get_by_label("Search locations").press_sequentially("pay")
    expect(opened.locator("tr.row")).to_have_count(1)
    expect(opened).to_have_url(re.compile(r"\?q=pay$"))
    opened.reload()
    expect(opened.get_by_label("Search locations")).to_have_value("pay")
    expect(opened.locator("tr.row")).to_have_count(1)
    opened.get_by_label("Search locations").fill("")
    opened.locator('input[name=state][value="failed"]').check()
    expect(opened.locator("tr.row")).to_have_count(1)
    expect(opened).to_have_url(re.compile(r"\?state=failed$"))


def test_it_is_whole_without_scripts(quiet: Site, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(quiet.page.url)
    tab.get_by_label("Search locations").fill("risk")
    tab.get_by_role("button", name="Apply").click()
    expect(tab.locator("tr.row")).to_have_count(1)
    before = quiet.client.status("risk")["locations"][0]["generation"]
    tab.get_by_role("button", name="reload risk").click()
    assert tab.url.endswith("?q=risk&sort=failed")
    quiet.until("risk", lambda one: one["state"] == "ready" and one["generation"] > before)
    tab.get_by_role("link", name="risk").click()
    expect(tab.locator("h1")).to_have_text("risk")
    context.close()


def test_everything_can_be_reached_with_the_keyboard(quiet: Site, opened: Any) -> None:
    opened.goto(quiet.page.url)
    opened.keyboard.press("Tab")
    expect(opened.get_by_text("Skip to the content")).to_be_focused()
    seen = set()
    for _ in range(60):
        opened.keyboard.press("Tab")
        seen.add(
            opened.evaluate(
                "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
            )
        )
    assert {"Definitions", "Search locations", "reload all locations", "stop payments"} <= seen


def test_the_page_keeps_focus_and_open_details_when_it_changes(tmp_path: Path, opened: Any) -> None:
    broken = job("first") + "raise ValueError('number one')\n"
    with site(tmp_path, {"one.py": broken}) as made:
        opened.goto(f"{made.page.url}/location?name=one")
        opened.get_by_text("The whole traceback").click()
        opened.get_by_role("button", name="reload one").focus()
        save(tmp_path / "one.py", broken.replace("one", "two"))
        expect(opened.locator(".exception").first).to_contain_text("number two")
        expect(opened.locator("#traceback pre")).to_be_visible()
        expect(opened.get_by_role("button", name="reload one")).to_be_focused()


def test_the_focus_stays_when_rows_above_go_or_move(tmp_path: Path, opened: Any) -> None:
    # Not for want of a module: such a one is loaded again whenever a file beside it is saved.
    broken = "1 / 0\n"
    names = ("one", "two", "three")
    with site(tmp_path, {f"{name}.py": broken for name in names}) as made:
        opened.goto(f"{made.page.url}/?state=failed")
        expect(opened.locator("tr.row")).to_have_count(3)
        button = opened.get_by_role("button", name="restart two")
        button.focus()
        opened.evaluate(
            "document.activeElement.addEventListener('blur', () => (window.lost = true))"
        )
        save(tmp_path / "one.py", job("first"))
        expect(opened.locator("tr.row")).to_have_count(2)
        expect(button).to_be_focused()
        assert opened.evaluate("window.lost") is None
        # Whatever has to move keeps it, too.
        opened.evaluate(
            "document.querySelector('#locations tbody').append(document.querySelector('#l-two'))"
        )
        button.focus()
        save(tmp_path / "three.py", broken + "\n1 +\n")
        expect(opened.locator("#n-three")).to_contain_text("yntax")
        expect(opened.locator("#l-two + #n-two")).to_have_count(1)
        expect(button).to_be_focused()


def test_hostile_names_run_nothing(quiet: Site, opened: Any) -> None:
    opened.on("dialog", lambda dialog: pytest.fail(dialog.message))
    opened.goto(quiet.page.url)
    opened.get_by_role("link", name=HOSTILE_NAME, exact=True).click()
    expect(opened.locator("h1")).to_have_text(HOSTILE_NAME)
    opened.get_by_role("link", name="document.title").first.click()
    expect(opened.locator("h1")).to_contain_text("<script>document.title")
    for path in ("/definitions", "/assets", "/location?name=" + HOSTILE_NAME + "&view=logs"):
        opened.goto(quiet.page.url + path)
        assert "owned" not in opened.title() or "script" in opened.title()
        assert opened.evaluate("document.title") != "owned"


def test_a_foreign_page_cannot_give_orders(quiet: Site, browser: Any) -> None:
    class Foreign(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>foreign</title>")

        def log_message(self, *_: Any) -> None:
            pass

    before = quiet.client.status("risk")["locations"][0]["generation"]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context()
        tab = context.new_page()
        sent: list[str] = []
        tab.on("requestfailed", lambda asked: sent.append(asked.method))  # no answer may be seen
        tab.goto(f"http://127.0.0.1:{server.server_port}/")
        for path, body in (
            ("/orders", "order=reload&location=risk"),
            ("/api/v1/orders", '{"order": "reload", "locations": ["risk"]}'),
        ):
            tab.evaluate(
                """([url, body]) => fetch(url, {method: 'POST', mode: 'no-cors', body,
                     headers: {'Content-Type': 'text/plain'}}).catch(() => null)""",
                [quiet.page.url + path, body],
            )
        read = tab.evaluate(
            "url => fetch(url).then(a => a.text()).catch(() => null)",
            quiet.page.url + "/api/v1/status",
        )
        context.close()
        server.shutdown()
    assert sent == ["POST", "POST", "GET"]
    assert read is None
    quiet.client.wait("risk", timeout=60)
    assert quiet.client.status("risk")["locations"][0]["generation"] == before


def test_a_link_leads_where_it_points_once_the_token_is_given(quiet: Site, opened: Any) -> None:
    token = "a-token-that-nobody-guesses"
    page = Page(quiet.folder, quiet.runtime, SUPERVISE_WEB_TOKEN=token)
    try:
        opened.goto(f"{page.url}/location?name=risk&view=workspace")
        opened.get_by_label("Token").fill(token)
        opened.get_by_role("button", name="Open").click()
        expect(opened.locator("h1")).to_have_text("risk")
        assert opened.url.endswith("/location?name=risk&view=workspace")
        opened.goto(f"{page.url}/definitions?q=settle")
        expect(opened.locator("#found")).to_contain_text("of")
    finally:
        page.end()


def test_ten_thousand_definitions_and_a_search_as_one_types(
    tmp_path: Path, opened: Any, record_property: Any
) -> None:
    many = (
        "from runner_shim import Definitions, JobDefinition\n"
        "defs = Definitions(jobs=[JobDefinition(f'job_{n:05}', tags={'team': f'team-{n % 50}'})"
        " for n in range(10_000)])\n"
    )
    with site(tmp_path, {"many.py": many}) as made:
        opened.goto(f"{made.page.url}/definitions")
        expect(opened.locator("#found")).to_have_text("10000 of 10000 definitions")
        assert opened.locator("table.definitions tbody tr").count() == 100
        # From the key to the drawn answer, as the page itself sees it.
        took = opened.evaluate(
            """async () => {
              const field = document.querySelector('[data-filter] input[name=q]'), found = document.querySelector('#found');
              const times = [];
              for (const text of ['7', '77', '777', '7777', '777', '77', '7777']) {
                const before = found.textContent, start = performance.now();
                field.value = text;
                field.dispatchEvent(new Event('input', {bubbles: true}));
                while (found.textContent === before && performance.now() - start < 10_000) await new Promise(requestAnimationFrame);
                times.push(performance.now() - start);
              }
              return times;
            }"""
        )
        record_property("milliseconds", took)
        print("milliseconds from key to answer:", [round(one) for one in took])
        expect(opened.locator("#found")).to_contain_text("of 10000 definitions")
        opened.get_by_label("Search all definitions").fill("job_09999")
        expect(opened.locator("#found")).to_have_text("1 of 10000 definitions")
        opened.get_by_label("grouped by").select_option("team")
        opened.get_by_label("Search all definitions").fill("")
        expect(opened.locator(".groups")).to_contain_text("team-49")


@pytest.mark.timeout(300)
def test_a_thousand_locations(tmp_path: Path, opened: Any) -> None:
    """All of them processes that run, and all reloaded at once while the page is used."""
    names = [f"team_{number:04}" for number in range(1000)]
    texts = {f"{name}.py": job("nightly") for name in names}
    with site(tmp_path, texts) as made:
        opened.goto(made.page.url)
        expect(opened.locator(".paging")).to_contain_text("1 to 100 of 1000")
        opened.get_by_label("Search locations").fill("team_0998")
        expect(opened.locator("tr.row")).to_have_count(1)
        expect(row(opened, "team_0998")).to_contain_text("ready")
        save(tmp_path / "team_0998.py", texts["team_0998.py"].replace("nightly", "weekly"))
        expect(row(opened, "team_0998").locator("td[data-label=generation]")).to_have_text("2")
        made.client.reload()
        opened.get_by_label("Search locations").fill("")
        expect(opened.locator(".paging")).to_contain_text("1 to 100 of 1000")
        opened.get_by_label("Search locations").fill("team_0999")
        last = row(opened, "team_0999").locator("td[data-label=generation]")
        expect(last).to_have_text("2", timeout=WAIT * 4)
        opened.goto(f"{made.page.url}/definitions?q=weekly")
        expect(opened.locator("#found")).to_have_text("1 of 1000 definitions")
