"""An environment that is rebuilt in a run's middle: the run goes on in the one it began in."""

from __future__ import annotations

import asyncio

import pytest
from envs_support import make_wheel
from launched import FOREVER, Launched, one_op
from supervised import make_workspace, supervising

# The second op reads from the environment's disk once it may go on.
MODULE = (
    one_op(FOREVER)
    + """
import lemon

@op
def first():
    print("running", lemon.VERSION, flush=True)
    while not os.path.exists("go"):
        time.sleep(0.01)

@op
def second(first):
    import lime
    print(lime.VERSION)

@job
def long():
    second(first())
"""
)


@pytest.mark.slow
async def test_events_have_no_gap_and_cancel_works(tmp_path, runtime):
    wanted = tmp_path / "requirements.txt"
    wheels = {
        version: [make_wheel(tmp_path / "wheels", name, version) for name in ("lemon", "lime")]
        for version in ("1.0", "2.0")
    }
    wanted.write_text("".join(f"{one}\n" for one in wheels["1.0"]))
    workspace = make_workspace(
        tmp_path,
        {"team.py": MODULE},
        {"team": {"environment": "fruit"}},
        environments={"fruit": {"requirements_file": wanted.name}},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        team = Launched(running)
        long, endless = await team.launch("long"), await team.launch()
        followed = asyncio.create_task(team.kinds(long))
        for run in (long, endless):
            await team.until(run)

        wanted.write_text("".join(f"{one}\n" for one in wheels["2.0"]))
        await running.until(lambda: running["team"].generation == 2, "a generation of the new one")
        await running.ready()

        await team.ask("cancel_run", run=endless, who="the test")
        assert (await team.ended(endless))["state"] == "cancelled"
        (tmp_path / "go").touch()
        row = await team.ended(long)
        assert (row["state"], row["generation"]) == ("success", 1)
        assert await team.written(long) == "running 1.0\n1.0\n"
        # Followed from before, and read now.
        steps = [
            f"STEP_{kind} {op}"
            for op in ("first", "second")
            for kind in ("START", "OUTPUT", "SUCCESS")
        ]
        assert await followed == await team.kinds(long) == ["RUN_START", *steps, "RUN_SUCCESS"]
        after = await team.launch("long")
        assert (await team.ended(after))["generation"] == 2
        assert await team.written(after) == "running 2.0\n2.0\n"
