"""The pages of runs and the form that launches them, as HTML over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from supervisor.access.tokens import TokenFile
from supervisor.roles import Role

from .runs_team import CONFIG, TEAM
from .site import DEADLINE, Answer, Site, site


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    files = {"team.py": TEAM, "other.py": TEAM}
    with site(tmp_path_factory.mktemp("pages"), files, {"team": {}, "other": {}}) as made:
        yield made


def ended(of: Site, job: str = "settle", location: str = "team", **more: Any) -> Any:
    run = of.client.launch(location, job, **({"config": CONFIG} if job == "settle" else {}), **more)
    run.wait(DEADLINE)
    return run


def failed(of: Site) -> Any:
    broken = of.folder / "broken"
    broken.touch()
    try:
        return ended(of)
    finally:
        broken.unlink()


def led_to(answer: Answer) -> str:
    """The run whose page the answer leads to."""
    assert answer.status == 303, answer.text
    leads = urlsplit(answer.headers["location"])
    assert leads.path == "/run"
    return parse_qs(leads.query)["id"][0]


class _Rows(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name = dict(attrs).get("data-run-row")
        if name:
            self.found.append(name)


def rows(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.text
    parser = _Rows()
    parser.feed(answer.text)
    return parser.found


def test_the_list_and_what_narrows_it(here: Site) -> None:
    page = here.page
    good = ended(here, tags={"customer": "acme", "api_key": "hunter2"})
    bad = failed(here)
    other = ended(here, location="other")
    span = ended(here, "colors", partition_range="red..blue")
    everything = page.get("/runs")
    assert rows(everything)[:4] == [span.id, other.id, bad.id, good.id]
    assert "3 partitions: 3 success" in everything.text
    assert "the ledger does not balance" in everything.text
    assert "customer=acme" in everything.text
    assert "hunter2" not in everything.text
    assert other.id not in rows(page.get("/runs", location="team"))
    for tag in ("customer", "customer=acme"):
        assert rows(page.get("/runs", tag=tag)) == [good.id]
        assert [one["run"] for one in here.client.runs(tag=tag)] == [good.id]
    for tag in ("customer=other", "acme", "api_key=hunter2"):  # a secret is not guessed
        assert rows(page.get("/runs", tag=tag)) == []
    assert 'href="/runs?tag=customer%3Dacme"' in page.get("/run", id=good.id).text
    assert rows(page.get("/runs", location="other")) == [other.id]
    assert set(rows(page.get("/runs", state="failure"))) >= {bad.id}
    assert good.id not in rows(page.get("/runs", state=["failure", "lost"]))
    assert span.id in rows(page.get("/runs", job="colors"))
    assert good.id not in rows(page.get("/runs", job="colors"))
    assert rows(page.get("/runs", q="COLORS red..")) == []  # words are those of one run's own order
    assert span.id in rows(page.get("/runs", q="colors"))
    assert rows(page.get("/runs", q=good.id)) == [good.id]
    assert good.id in rows(page.get("/runs", since="1h"))
    assert "No run is like that" in page.get("/runs", q="nothing has this").text
    assert rows(page.get("/runs", page=999)) == rows(everything)
    found = page.api("/runs", q="settle", limit=1, offset=1)
    assert len(found["runs"]) == 1
    assert found["total"] == sum(found["states"].values()) >= 3
    assert f"/runs?location={'team'}" in page.get("/location", name="team").text


def test_a_run_in_full(here: Site) -> None:
    page = here.page
    run = ended(here, tags={"customer": "acme"})
    text = page.get("/run", id=run.id).text
    serving = here.client.status("team")["locations"][0]["serving"]
    for said in (
        "fetching 10 of s3",
        "&lt;b&gt;cleaned&lt;/b&gt;",
        "cleaning rows",
        "STEP_SUCCESS",
        "customer=acme",
        "generation 1",
        serving["fingerprint"],
        "3 steps",
        "&#34;source&#34;: &#34;s3&#34;",
        'class="bar success"',
        "forked",
    ):
        assert said in text, said
    assert page.get("/run", id=run.id[-8:]).status == 200
    assert page.get("/run", id="nothing").status == 404
    span = ended(here, "colors", partition_range="red..blue")
    shown = page.get("/run", id=span.id)
    assert len(rows(shown)) == 3
    one = page.get("/run", id=rows(shown)[0])
    assert span.id in one.text
    assert "red" in one.text


def test_a_page_that_is_drawn_again_reads_on(here: Site) -> None:
    hold = here.folder / "hold"
    hold.touch()
    try:
        run = here.client.launch("team", "settle", config=CONFIG)
        for event in run.events():
            if event["type"] == "LOGS":
                break
        text = here.page.get("/run", id=run.id).text
        assert 'class="bar running"' in text
        assert "cleaning rows" in text
        assert "published" not in text
    finally:
        hold.unlink()
    run.wait(DEADLINE)
    text = here.page.get("/run", id=run.id).text
    assert 'class="bar running"' not in text
    assert text.count("cleaning rows") == 1
    assert text.count("fetching 10") == 1
    assert "published" in text


def test_cancel_and_retry(here: Site) -> None:
    page, hold = here.page, here.folder / "hold"
    hold.touch()
    run = here.client.launch("team", "settle", config=CONFIG)
    try:
        for event in run.events():
            if event["type"] == "LOGS":
                break
        assert led_to(page.send("/runs/orders", order="cancel", run=run.id)) == run.id
        assert run.wait(DEADLINE)["state"] == "cancelled"
    finally:
        hold.unlink()
    again = led_to(page.send("/runs/orders", order="retry", run=run.id))
    assert here.client.run(again).wait(DEADLINE)["state"] == "success"
    assert again in page.get("/run", id=run.id).text
    assert run.id in page.get("/run", id=again).text
    bad = failed(here)
    text = page.get("/run", id=bad.id).text
    assert "retry from failure" in text
    assert "clean(" not in text  # the frames of the team's own code
    assert "raise ValueError" in text
    left = led_to(page.send("/runs/orders", order="retry_failed", run=bad.id))
    assert here.client.run(left).wait(DEADLINE)["state"] == "success"
    assert "fetching" not in page.get("/run", id=left).text.partition("Config")[0]
    assert page.send("/runs/orders", order="retry_failed", run=again).status == 409
    assert page.send("/runs/orders", order="nothing", run=again).status == 400
    assert page.send("/runs/orders", order="cancel", run="no-such").status == 404
    foreign = {"Origin": "http://elsewhere.example", "Content-Type": "text/plain"}
    body = urlencode({"order": "retry", "run": again}).encode()
    assert page.ask("/runs/orders", method="POST", body=body, headers=foreign).status == 403


def test_the_form_of_a_job(here: Site) -> None:
    page = here.page
    assert "/launch?location=team&amp;job=settle" in (
        page.get("/definition", location="team", kind="job", name="settle").text
    )
    form = page.get("/launch", location="team", job="settle").text
    assert 'name="c.ops.fetch.config.source"' in form
    assert 'placeholder="10"' in form
    assert "Rows at most." in form
    given = {"location": "team", "job": "settle"}
    missing = page.send("/launch", **given, do="launch")
    assert missing.status == 409
    assert "ops.fetch.config.source is missing" in missing.text
    assert 'aria-invalid="true"' in missing.text
    wrong = {**given, "c.ops.fetch.config.source": "s3", "c.ops.fetch.config.limit": "many"}
    answer = page.send("/launch", **wrong, do="preview")
    assert answer.status == 409
    assert 'value="many"' in answer.text
    assert "1 field below says what is expected" in answer.text
    unknown = page.send("/launch", **given, do="preview", config='{"opss": {}}')
    assert "<code>opss</code>" in unknown.text
    assert page.send("/launch", **given, do="preview", config="{").status == 422
    right = {**wrong, "c.ops.fetch.config.limit": "3", "tags": "customer=acme\nurgent"}
    preview = page.send("/launch", **right, do="preview")
    assert preview.status == 200
    assert "Would run 3 ops of settle in team, generation 1" in preview.text
    before = page.api("/runs", limit=1)["runs"][0]["run"]
    run = here.client.run(led_to(page.send("/launch", **right, do="launch")))
    assert run.id != before
    detail = run.wait(DEADLINE)
    assert detail["state"] == "success"
    assert detail["config"] == {"ops": {"fetch": {"config": {"source": "s3", "limit": 3}}}}
    assert detail["tags"] == {"customer": "acme", "urgent": ""}
    assert page.get("/launch", location="team", job="nothing").status == 404


def test_a_job_says_how_its_last_runs_went(here: Site) -> None:
    bad, good = failed(here), ended(here)
    text = here.page.get("/definition", location="team", kind="job", name="settle").text
    last = text.partition("<dt>Last runs</dt>")[2].partition("</div>")[0]
    assert last.index(good.id) < last.index(bad.id)
    assert "success" in last and "failure" in last


def test_the_events_of_one_step(here: Site) -> None:
    run = ended(here)
    text = here.page.get("/run", id=run.id).text
    assert f'href="/run?id={run.id}&amp;step=clean#what-happened"' in text
    for _ in range(2):  # it goes on where it has read before
        chosen = here.page.get("/run", id=run.id, step="clean").text
        events = chosen.partition('class="grid events"')[2].partition("</table>")[0]
        assert "cleaning rows" in events and "STEP_SUCCESS" in events
        assert "RUN_START" not in events and "fetch" not in events
    none = here.page.get("/run", id=run.id, step="<i>none</i>")
    assert none.status == 200
    assert "0 events of &lt;i&gt;none" in none.text


def test_an_asset_says_when_it_was_made_and_what_of_it(tmp_path: Path) -> None:
    with site(tmp_path, {"team.py": TEAM}, {"team": {}}) as there:

        def shown() -> str:
            text = there.page.get("/definition", location="team", kind="asset", name="report").text
            return text.partition("<h2>Last made</h2>")[2].partition("<h2>Dependencies")[0]

        assert "None of its newest runs made it." in shown()
        config = {"ops": {"report": {"config": {"deep": True}}}}
        run = there.client.launch("team", assets="report", config=config)
        run.wait(DEADLINE)
        text = shown()
        assert f"/run?id={run.id}" in text
        assert "<dt>rows</dt><dd><code>12</code></dd>" in text
        assert 'href="https://example.com/seen"' in text
        assert "&lt;b&gt;**n**&lt;/b&gt;" in text  # text, which is no Markdown
        events = there.page.get("/run", id=run.id).text.partition('class="grid events"')[2]
        assert '<span class="dim">rows</span> 12' in events
        assert "&lt;b&gt;**n**&lt;/b&gt;" in events


def test_the_form_of_partitions_and_assets(here: Site) -> None:
    page = here.page
    form = page.get("/launch", location="team", job="colors").text
    assert "<option>green</option>" in form
    given = {"location": "team", "job": "colors"}
    assert page.send("/launch", **given, do="launch").status == 409
    one = led_to(page.send("/launch", **given, partition="green", do="launch"))
    assert here.client.run(one).wait(DEADLINE)["partition"] == "green"
    span = led_to(page.send("/launch", **given, partition="red", last="green", do="launch"))
    assert here.client.run(span).wait(DEADLINE)["partitions"]["count"] == 2
    form = page.get("/launch", location="team", assets="report").text
    assert 'name="c.ops.report.config.deep"' in form
    sent = {"location": "team", "assets": "report", "c.ops.report.config.deep": "true"}
    made = led_to(page.send("/launch", **sent, do="launch"))
    assert here.client.run(made).wait(DEADLINE)["state"] == "success"
    assert "deep" in page.get("/run", id=made).text


def test_a_viewer_sees_runs_and_no_buttons(here: Site) -> None:
    page = here.page
    bad = failed(here)
    tokens = TokenFile(here.folder / ".supervise" / "workspace.yaml")

    def ask(secret: str, path: str, **form: str) -> Answer:
        headers = {"Authorization": f"Bearer {secret}", "Origin": page.url}
        if not form:
            return page.ask(path, headers=headers)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return page.ask(path, method="POST", body=urlencode(form).encode(), headers=headers)

    viewer = tokens.add("looks", Role.VIEWER, ("team",), None)
    launcher = tokens.add("launches", Role.LAUNCHER, ("team",), None)
    for secret, shown in ((viewer, False), (launcher, True)):
        for path in (
            f"/run?id={bad.id}",
            "/launch?location=team&job=settle",
            "/definition?location=team&kind=job&name=settle",
        ):
            answer = ask(secret, path)
            assert answer.status == 200
            buttons = 'action="/runs/orders"', 'action="/launch"', 'href="/launch'
            assert any(one in answer.text for one in buttons) == shown, path
    refused = ask(viewer, "/runs/orders", order="retry", run=bad.id)
    assert refused.status == 403
    assert "needs the role launcher" in refused.text
    sent = {"location": "team", "job": "colors", "partition": "red", "do": "launch"}
    assert ask(viewer, "/launch", **sent).status == 403
    other = ended(here, location="other")
    assert ask(launcher, f"/run?id={other.id}").status == 404
    assert other.id not in rows(ask(launcher, "/runs"))
    led = led_to(ask(launcher, "/runs/orders", order="retry", run=bad.id))
    assert here.client.run(led).wait(DEADLINE)["state"] == "success"
