"""A run in a fresh process is of the code that is served: by the digests of its files."""

from __future__ import annotations

import asyncio

import pytest
from launched import launching, one_op
from supervised import save

from supervisor.errors import RequestError

THREAD = "import threading\nthreading.Thread(target=time.sleep, args=(9999,), daemon=True).start()"
WAITS = "import os\nwhile not os.path.exists('go'): time.sleep(0.01)"


async def test_a_fresh_run_is_refused_where_the_newer_code_failed(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op("print('first')", THREAD)) as team:
        await team.running.watched()
        assert (await team.ended(await team.launch()))["state"] == "success"
        save(tmp_path / "team.py", "syntax error here")
        await team.running.until(lambda: team.running["team"].state == "failed", "failed")
        with pytest.raises(RequestError, match="changed since generation 1 was loaded") as caught:
            await team.launch()
        assert "generation 2 is failed" in str(caught.value)
        assert "leaves threads running" in str(caught.value.hint)
        assert len((await team.ask("runs"))["runs"]) == 1


async def test_a_fresh_run_waits_for_the_reload_under_way(tmp_path, runtime):
    (tmp_path / "go").touch()
    async with launching(tmp_path, runtime, one_op("print('first')", THREAD)) as team:
        await team.running.watched()
        (tmp_path / "go").unlink()
        save(tmp_path / "team.py", one_op("print('second')", f"{THREAD}\n{WAITS}"))
        await team.running.until(lambda: team.running["team"].state == "loading", "loading")
        run = await team.launch()
        await asyncio.to_thread((tmp_path / "go").touch)
        assert (await team.ended(run))["state"] == "success"
        assert await team.written(run) == "second\n"


async def test_a_touched_file_changes_nothing(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op("print('first')", THREAD)) as team:
        await team.running.watched()
        (tmp_path / "team.py").touch()
        row = await team.ended(await team.launch())
        assert row["state"] == "success"
        assert row["fresh_because"]
