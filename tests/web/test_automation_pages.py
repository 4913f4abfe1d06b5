"""The pages of schedules and sensors, and the timeline, as HTML over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from supervised import poll_now

from supervisor.access.tokens import TokenFile
from supervisor.roles import Role

from .automations_team import TEAM
from .site import DEADLINE, Answer, Site, site


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    files = {"team.py": TEAM, "other.py": TEAM}
    with site(tmp_path_factory.mktemp("ticks"), files, {"team": {}, "other": {}}) as made:
        yield made


def switched(of: Site, name: str, on: int, **more: Any) -> Answer:
    return of.page.send("/automations/switch", location="team", name=name, on=on, **more)


def test_the_list_and_what_narrows_it(here: Site) -> None:
    page = here.page
    text = page.get("/automations").text
    assert "6 schedules and sensors" in text
    assert text.count('data-automation="early"') == 2
    assert "At 05:30" in text
    assert "3 schedules and sensors" in page.get("/automations", location="team").text
    assert "2 schedules and sensors" in page.get("/automations", kind="sensor").text
    assert "1 schedule or sensor" in page.get("/automations", q="early team").text
    assert "is like that" in page.get("/automations", q="nothing").text
    assert "/automation?location=team&amp;name=files" in (
        page.get("/definition", location="team", kind="sensor", name="files").text
    )


def test_one_is_switched_on_fires_and_tells(here: Site) -> None:
    page = here.page
    path = "/automation?location=team&name=files"
    assert 'aria-checked="false"' in page.get(path).text
    answer = switched(here, "files", 1, back=path)
    assert (answer.status, answer.headers["location"]) == (303, path)

    def ticked(state: str) -> bool:
        found = here.client.ticks("team", "files")
        return any(one["state"] == state for one in found)

    poll_now(lambda: ticked("launched") and ticked("failed"), "its ticks")
    assert switched(here, "files", 0).headers["location"] == "/automations"
    run = next(
        asked["run"]
        for tick in here.client.ticks("team", "files")
        for asked in tick["requests"]
        if asked["run"]
    )
    assert here.client.run(run).wait(DEADLINE)["state"] == "success"
    text = page.get(path).text
    assert 'aria-checked="false"' in text
    for said in (f"/run?id={run}", "file 0", "info: a file has come", "no &lt;b&gt;file&lt;/b&gt;"):
        assert said in text, said
    assert "raise ValueError" in text
    assert "launched 1 run" in text
    assert page.get("/automation", location="team", name="nothing").status == 404
    assert switched(here, "nothing", 1).status in (404, 409)
    assert page.send("/automations/switch", location="team", name="files", on="maybe").status == 400


def test_the_timeline_has_what_ran_beside_what_will(here: Site) -> None:
    page = here.page
    run = here.client.launch("other", "checks")
    run.wait(DEADLINE)
    text = page.get("/timeline", location="other").text
    assert f"/run?id={run.id}" in text
    assert 'class="bar success"' in text
    assert 'data-row="checks"' in text
    here.client.switch_automation("other", "often", True)
    text = page.get("/timeline", location="other", q="checks").text
    assert 'class="often"' in text
    here.client.switch_automation("other", "often", False)
    early = here.client.automations("other", name="early", times=1)[0]
    due_soon = early["times"][0] < here.client.status()["supervisor"]["now"] + 12 * 3600 - 60
    if due_soon:
        assert "early at 05:30 UTC" in page.get("/timeline", location="other").text
    assert "Nothing is like that" in page.get("/timeline", q="nothing").text
    for asked, hours in (("3", 3), ("24", 24), ("5", 12), ("x", 12)):
        assert f"in the last {hours} hours" in page.get("/timeline", hours=asked).text


def test_a_viewer_sees_no_switch(here: Site) -> None:
    tokens = TokenFile(here.folder / ".supervise" / "workspace.yaml")
    viewer = tokens.add("looks", Role.VIEWER, ("team",), None)
    headers = {"Authorization": f"Bearer {viewer}", "Origin": here.page.url}
    text = here.page.ask("/automations", headers=headers).text
    assert "3 schedules and sensors" in text
    assert 'role="switch"' not in text
    body = urlencode({"location": "team", "name": "early", "on": 0}).encode()
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    refused = here.page.ask("/automations/switch", method="POST", body=body, headers=headers)
    assert refused.status == 403
    assert "needs the role editor" in refused.text
