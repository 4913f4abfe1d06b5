"""The pages of ours that lead to Dagster's: where they lead is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from supervised import poll_now
from web.site import Page

from .eras import CURRENT, Environment
from .hosted import hosted

pytestmark = [
    pytest.mark.real_dagster,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("dagster page"),
]


def test_a_location_and_a_run_lead_to_dagsters_page(
    tmp_path: Path, runtime: Path, dagster_environment: Environment
) -> None:
    host = dagster_environment("webserver-py3.13")
    with hosted(tmp_path, runtime, host, {"team": dagster_environment(CURRENT)}) as there:
        run = there.page.launch("team", "quick")
        there.page.succeeded(run)
        ours = Page(tmp_path, runtime)
        try:
            poll_now(lambda: ours.get("/run", id=run).status == 200, "the run is known here")
            location = ours.get("/location", name="team").text
            assert f'href="{there.page.url}/locations/team"' in location
            assert f'href="{there.page.url}/runs/{run}"' in ours.get("/run", id=run).text
        finally:
            ours.end()
        # The page that it is has no addresses of its own: its script asks for these by name.
        assert there.page.run(run)["__typename"] == "Run"
        assert "team" in there.page.locations()
