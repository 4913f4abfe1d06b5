"""The settings of a location on its page: those that count, and where each comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import supervise_json
from supervised import job, poll_now

from .site import Site, site


def test_the_page_has_what_the_command_has(quiet: Site) -> None:
    said = supervise_json("config", "payments", cwd=quiet.folder, runtime=quiet.runtime)
    wanted = said["locations"]["payments"]["settings"]
    got = quiet.client.settings("payments")
    hidden = {key for key in wanted if key.startswith("env.")}
    assert hidden == {"env.PASSWORD_OF_DB"}
    assert {key: one for key, one in got["settings"].items() if key not in hidden} == {
        key: one for key, one in wanted.items() if key not in hidden
    }
    shown = quiet.page.get("/location", name="payments", view="workspace").text
    assert "<b>" not in shown.partition('class="grid settings"')[2].partition("</table>")[0]
    assert "workspace.yaml:" in shown and "PASSWORD" in shown
    assert "hunter2" not in shown + json.dumps(got)


@pytest.mark.slow
def test_no_variable_is_told_and_runs_have_the_workspaces(tmp_path: Path) -> None:
    locations = {"one": {"env": {"PLACE": "told-to-nobody"}, "stop_timeout": 90}}
    with site(tmp_path, {"one.py": job("first")}, locations) as there:
        text = there.page.get("/location", name="one", view="workspace").text
        assert "PLACE" in text.replace("<wbr>", "")
        assert "told-to-nobody" not in text
        assert "told-to-nobody" not in json.dumps(there.client.settings("one"))
        assert "90s" in text
        there.kill_supervisor()
        poll_now(lambda: there.page.get("/readyz").status == 503, "the page has noticed")
        late = there.page.get("/location", name="one", view="workspace")
        assert late.status == 200
        assert "told-to-nobody" not in late.text
