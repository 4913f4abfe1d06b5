"""Servers are for what has loaded Dagster: nothing else has one, or is changed by the wish for them."""

from __future__ import annotations

from pathlib import Path

from supervised import job, make_workspace, supervising


async def test_a_location_of_another_framework_has_no_server(tmp_path: Path, runtime: Path) -> None:
    workspace = make_workspace(tmp_path, {"team.py": job("nightly")})
    async with supervising(workspace, runtime, dagster=True) as running:
        await running.ready()
        assert (await running.status("team"))["code_servers"] is None
        assert running.definitions("team") == ["job:nightly"]
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert (await running.status("team"))["code_servers"] is None
