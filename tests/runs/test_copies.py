"""User code that forks and comes back in both processes: the copy neither tells nor keeps nor goes on."""

from __future__ import annotations

import json

import pytest
from launched import HEAD, launching

FORKS = (
    HEAD
    + """
import json, sys
from runner_shim import SkipReason, sensor

def fork_and_come_back():
    ended = {}
    for how in ("returns", "exits", "raises"):
        process = os.fork()
        if not process:
            if how == "exits":
                sys.exit(3)
            if how == "raises":
                raise ValueError("said by the copy")
            return None
        ended[how] = os.waitpid(process, 0)[1] >> 8
    return ended

@op
def forks():
    return fork_and_come_back()

@op
def after(found):
    with open("after", "a") as file:
        file.write(json.dumps(found) + "\\n")

@job
def nightly():
    after(forks())

@sensor(job=nightly)
def files():
    return SkipReason(json.dumps(fork_and_come_back()))
"""
)
ENDED = {"returns": 0, "exits": 3, "raises": 1}


@pytest.mark.parametrize("at_once", [1, 2])
async def test_a_copy_of_a_step_ends_where_its_function_ends(tmp_path, runtime, at_once):
    async with launching(tmp_path, runtime, FORKS) as launched:
        config = {"execution": {"max_concurrent": at_once}}
        run = await launched.launch(config=config)
        assert (await launched.ended(run))["state"] == "success"
        assert [json.loads(line) for line in (tmp_path / "after").read_text().splitlines()] == [
            ENDED
        ]
        kinds = await launched.kinds(run)
        assert [one for one in kinds if one.startswith(("STEP_", "RUN_"))] == [
            "RUN_START",
            *(f"{kind} forks" for kind in ("STEP_START", "STEP_OUTPUT", "STEP_SUCCESS")),
            *(f"{kind} after" for kind in ("STEP_START", "STEP_OUTPUT", "STEP_SUCCESS")),
            "RUN_SUCCESS",
        ]
        said = await launched.written(run, "err")
        assert "a process that forks has forked came back from its function" in said
        assert "ValueError: said by the copy" in said


async def test_a_team_that_replaces_getpid_has_its_runs(tmp_path, runtime):
    module = FORKS.replace("process = os.fork()", "process = 1; os.getpid = None")
    module = module.replace("os.waitpid(process, 0)[1] >> 8", "0")
    async with launching(tmp_path, runtime, module) as launched:
        for at_once in (1, 2):
            run = await launched.launch(config={"execution": {"max_concurrent": at_once}})
            row = await launched.ended(run)
            assert row["state"] == "success", row["reason"]


async def test_a_copy_of_a_tick_says_nothing(tmp_path, runtime):
    async with launching(tmp_path, runtime, FORKS) as launched:
        tick = await launched.ask("tick", location="team", name="files")
        assert (tick["state"], json.loads(tick["reason"])) == ("skipped", ENDED)
