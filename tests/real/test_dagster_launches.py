"""Runs of the oldest Dagster through the whole supervisor, whose definitions are pipelines and not jobs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from launched import Launched
from places import PROGRAMS
from supervised import make_workspace, supervising

from supervisor.errors import UnfitOrderError, UnknownDefinitionError

from .eras import OLDEST, Environment

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]


async def test_a_pipeline_is_launched_like_a_job(
    dagster_environment: Environment, tmp_path: Path, runtime: Path
) -> None:
    shutil.copy(PROGRAMS / "dagster_runs_0_9.py", tmp_path / "team.py")
    python = dagster_environment(OLDEST)
    workspace = make_workspace(tmp_path, {}, {"team": {"executable_path": str(python)}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        team = Launched(running)
        config = {"solids": {"load": {"config": {"n": 9}}}}
        whole = await team.launch("nightly", config=config, retries=0)
        assert (await team.ended(whole))["state"] == "success"
        said = [e["message"] async for news in team.news(whole, events=0) for e in news["events"]]
        assert "loading 9 rows" in said
        assert "publishing 9" in said

        part = await team.launch("broken", op_selection="load")
        assert (await team.ended(part))["state"] == "success"
        assert "STEP_SUCCESS load.compute" in await team.kinds(part)

        day = await team.launch("nightly", partition="2024-01-02")
        assert (await team.ended(day))["state"] == "success"

        failed = await team.ended(await team.launch("broken"))
        assert failed["state"] == "failure"
        assert failed["failure"]["step"] == "explode.compute"

        with pytest.raises(UnknownDefinitionError, match="nightli") as unknown:
            await team.launch("nightli")
        assert unknown.value.hint == "did you mean nightly?"
        with pytest.raises(UnfitOrderError, match="Int"):
            await team.launch("nightly", config={"solids": {"load": {"config": {"n": "x"}}}})
