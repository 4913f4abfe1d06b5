"""Assets of real Dagster, launched through a supervisor: selections, partitions, ranges, checks."""

from __future__ import annotations

from pathlib import Path

import pytest
from launched import Launched
from places import PROGRAMS
from supervised import make_workspace, supervising

from supervisor.errors import UnfitOrderError, UnknownPartitionError

from .eras import CURRENT, SINCE_JOBS, Environment

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]

PATIENCE = 240.0


@pytest.mark.parametrize("release", SINCE_JOBS)
async def test_assets_are_launched_by_what_the_snapshot_says(
    release: str, dagster_environment: Environment, tmp_path: Path, runtime: Path
) -> None:
    python = str(dagster_environment(release))
    text = (PROGRAMS / "dagster_launched.py").read_text()
    workspace = make_workspace(
        tmp_path, {"team.py": text}, {"team": {"executable_path": python, "preload": False}}
    )
    async with supervising(workspace, runtime) as running:
        states = await running.settled(PATIENCE)
        assert states == {"team": "ready"}, await running.failure("team")
        team = Launched(running)

        async def ask(**params: object) -> dict[str, object]:
            return await team.ask("launch", location="team", **params)

        preview = await ask(assets="+report", partition="2024-01-03", dry_run=True)
        assert preview["steps"] == ["raw", "report"]
        with pytest.raises(UnknownPartitionError, match="2024-02-30"):
            await ask(assets="report", partition="2024-02-30")
        with pytest.raises(UnfitOrderError, match="partitions, and none was given"):
            await ask(assets="report")
        with pytest.raises(UnfitOrderError, match="made elsewhere"):
            await ask(assets="source")

        run = await team.launch(job=None, assets="report", partition="2024-01-03")
        failure = (await team.ended(run))["failure"]
        assert failure["exception"]["type"] == "FileNotFoundError"
        assert "make that, too, with +NAME" in failure["hint"]

        run = await team.launch(job=None, assets="group:ingest,report", partition="2024-01-03")
        kinds = await team.kinds(run)
        assert [one for one in kinds if one.startswith("ASSET_MATERIALIZATION ")] == [
            "ASSET_MATERIALIZATION raw",
            "ASSET_MATERIALIZATION report",
        ]
        row = await team.ended(run)
        assert (row["state"], row["partition"]) == ("success", "2024-01-03")

        # What was made of the partition before is loaded from the location's own instance.
        run = await team.launch(job="second", partition="2024-01-03")
        assert (await team.ended(run))["state"] == "success"
        span = await ask(assets="raw", partition_range="2024-02-28..2024-03-01")
        detail = await team.ended(span["run"]["run"])  # type: ignore[index]
        reasons = [one["reason"] for one in detail["runs"] if one["reason"]]
        assert (detail["state"], detail["reason"], reasons) == ("success", "3 success", [])

        run = await team.launch(job=None, assets="plain")
        kinds = await team.kinds(run)
        assert ("ASSET_CHECK_EVALUATION" in " ".join(kinds)) == (release == CURRENT)
        preview = await ask(assets="plain", dry_run=True)
        assert preview["checks"] == (["plain:is_plain"] if release == CURRENT else [])
