"""Values of native assets under a supervisor: kept for the location, from run to run."""

from __future__ import annotations

import pytest
from launched import launching

from supervisor.errors import RequestError

ASSETS = """
from runner_shim import asset

@asset
def prices():
    return {"eu": 2}

@asset(partitions_def=["eu", "us"])
def sales(context, prices):
    print(context.partition_key, prices)
"""


async def test_a_run_finds_what_an_earlier_one_has_kept(tmp_path, runtime):
    async with launching(tmp_path, runtime, ASSETS) as team:
        params = {"job": None, "assets": "sales", "partition": "eu"}
        with pytest.raises(
            RequestError, match="takes the value of prices, which is not kept"
        ) as no:
            await team.launch(**params)
        assert no.value.hint == "launch prices first, or with it: +sales"
        assert (await team.ask("runs"))["runs"] == []
        run = await team.launch(job=None, assets="prices")
        assert (await team.ended(run))["state"] == "success"
        kept = tmp_path / ".supervise" / "workspace.yaml" / "values" / "team" / "prices" / "value"
        assert kept.stat().st_mode & 0o077 == 0 or kept.parent.stat().st_mode & 0o077 == 0
        run = await team.launch(**params)
        assert (await team.ended(run))["state"] == "success"
        assert await team.written(run) == "eu {'eu': 2}\n"
