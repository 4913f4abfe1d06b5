"""One tick of a schedule or sensor, asked for by a client: what it would launch, and that it is launched once."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time

import pytest
from launched import HEAD, Launched, launching
from supervised import DEADLINE, poll

from supervisor.errors import RequestError, UnknownDefinitionError
from supervisor.runs import tick_store

MODULE = (
    HEAD
    + """
import signal
from runner_shim import RunRequest, ScheduleDefinition, SkipReason, schedule, sensor

@op(config_schema={"n": int})
def work(context):
    print("n", context.op_config["n"], context.tags["file"])

@job
def nightly():
    work()

def request(n, **more):
    return RunRequest("file-%s" % n, {"ops": {"work": {"config": {"n": n}}}}, {"file": str(n)}, **more)

@sensor(job=nightly)
def files(context):
    seen = int(context.cursor or 0)
    context.update_cursor(seen + 1)
    return request(seen)

@sensor(job=nightly)
def unfit(context):
    return request("no number")

@schedule("0 5 * * *", job=nightly, execution_timezone="Europe/Berlin")
def early(context):
    context.log.info("token=abcdefghijklmnop at %s", context.scheduled_execution_time)
    return request(7)

@sensor(job=nightly)
def bad(context):
    return 1 / 0

@sensor(job=nightly)
def killed(context):
    os.kill(os.getpid(), signal.SIGSEGV)

@sensor(job=nightly)
def waits(context):
    open("waits", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)
    return request(1)

@sensor(job=nightly)
def hangs(context):
    open("hangs", "w").close()
    time.sleep(1000)
"""
)
THREADED = (
    MODULE
    + """
import threading
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
"""
)


async def tick(launched: Launched, name: str, **params):
    return await launched.ask("tick", location="team", name=name, **params)


async def test_it_says_what_would_be_launched_and_launches_nothing(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as launched:
        found = await tick(launched, "early", at=1_764_216_000)
        assert (found["state"], found["kind"], found["framework"]) == (
            "asked",
            "schedule",
            "native",
        )
        (one,) = found["requests"]
        assert (one["job"], one["tags"], one["note"], one["run"]) == (
            "nightly", {"file": "7"}, None, None
        )  # fmt: skip
        assert one["config"] == {"ops": {"work": {"config": {"n": 7}}}}
        assert "2025-11-27 05:00:00+01:00" in found["logs"][0]["message"]
        assert "abcdefghijklmnop" not in found["logs"][0]["message"]  # secrets are hidden
        found = await tick(launched, "files", cursor="4")
        assert found["requests"][0]["run_key"] == "file-4"
        assert (found["cursor"], found["new_cursor"]) == ("4", "5")
        refused = (await tick(launched, "unfit"))["requests"][0]
        assert "ops.work.config.n" in refused["note"]
        assert (await launched.ask("runs"))["runs"] == []
        assert (await launched.ask("ticks", location="team"))["ticks"] == []
        with pytest.raises(UnknownDefinitionError, match="no schedule or sensor 'filez'"):
            await tick(launched, "filez")
        with pytest.raises(RequestError, match="early is a schedule: it has no cursor"):
            await tick(launched, "early", cursor="1")


async def test_what_it_raises_has_the_users_frames(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as launched:
        found = await tick(launched, "bad")
        assert found["state"] == "failed"
        assert found["failure"]["exception"]["type"] == "ZeroDivisionError"
        assert found["failure"]["frames"][-1]["function"] == "bad"
        found = await tick(launched, "killed")
        assert found["reason"] == "its process was killed by signal 11"
        assert (await tick(launched, "early"))["state"] == "asked"


async def test_a_run_key_is_launched_once_and_the_cursor_is_kept(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as launched:
        runs = []
        for number in (0, 1):
            found = await tick(launched, "files", launch=True)
            assert (found["state"], found["by"]) == ("launched", "a client")
            assert found["requests"][0]["run_key"] == f"file-{number}"
            runs.append(found["requests"][0]["run"])
        row = await launched.ended(runs[1])
        assert (row["state"], row["automation"], row["tags"]) == ("success", "files", {"file": "1"})
        again = await tick(launched, "files", launch=True, cursor="0")
        assert (again["state"], again["requests"][0]["run"]) == ("skipped", runs[0])
        assert len((await launched.ask("runs"))["runs"]) == 2
        failed = await tick(launched, "unfit", launch=True)
        assert (failed["state"], failed["requests"][0]["run"]) == ("failed", None)
        assert "ops.work.config.n" in failed["reason"]
        again = await tick(launched, "unfit", launch=True)  # what was refused has not taken its key
        assert again["state"] == "failed"
        kept = (await launched.ask("ticks", location="team", name="files"))["ticks"]
        assert [one["state"] for one in kept] == ["skipped", "launched", "launched"]
        (row,) = (await launched.ask("automations", name="files"))["automations"]
        assert (row["cursor"], row["last"]["state"]) == ("2", "skipped")


async def test_where_nothing_can_be_forked_a_fresh_process_evaluates(tmp_path, runtime):
    async with launching(tmp_path, runtime, THREADED) as launched:
        found = await tick(launched, "files")
        assert "its import leaves threads running" in found["fresh_because"]
        assert found["requests"][0]["run_key"] == "file-0"
        assert (await tick(launched, "bad"))["failure"]["frames"][-1]["function"] == "bad"


async def test_one_that_hangs_holds_nobody_up(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as launched:
        hung = asyncio.create_task(tick(launched, "hangs"))
        await poll((tmp_path / "hangs").exists, "it hangs")
        assert (await tick(launched, "files"))["state"] == "asked"
        run = (await tick(launched, "files", launch=True))["requests"][0]["run"]
        assert (await launched.ended(run))["state"] == "success"
        assert not hung.done()
        hung.cancel()


async def test_what_a_process_that_dies_has_not_evaluated_the_next_one_does(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as launched:
        hung = asyncio.create_task(tick(launched, "waits", launch=True))
        await poll((tmp_path / "waits").exists, "it waits")
        os.kill(launched.running.pid("team"), signal.SIGKILL)
        (tmp_path / "go").touch()
        found = await asyncio.wait_for(hung, DEADLINE)
        assert found["state"] == "launched"
        assert (await launched.ended(found["requests"][0]["run"]))["state"] == "success"


@pytest.mark.slow
async def test_one_that_hangs_is_ended_after_a_minute(tmp_path, runtime):
    async with launching(tmp_path, runtime, MODULE) as launched:
        found = await asyncio.wait_for(tick(launched, "hangs"), DEADLINE + 60)
        assert (found["state"], found["reason"]) == ("failed", "hangs took longer than 60 s")
        assert "in hangs" in await launched.running.log("team")
        assert (await tick(launched, "files"))["state"] == "asked"


async def test_ticks_that_ask_for_very_much_are_listed_as_far_as_there_is_room(tmp_path, runtime):
    module = (
        MODULE
        + """
@sensor(job=nightly)
def many(context):
    return [request(n) for n in range(500)]
"""
    )
    module = module.replace(
        '{"config": {"n": n}}',
        '{"config": {"n": n, "more": {str(i): "x" * 50 for i in range(40)}}}',
    )
    async with launching(tmp_path, runtime, module) as launched:
        found = await tick(launched, "many")
        assert len(found["requests"]) == 500
        path = tmp_path / ".supervise" / "workspace.yaml" / "automations.db"
        database = sqlite3.connect(path, isolation_level=None)
        for _ in range(3):
            tick_store.add_tick(database, {**found, "state": "launched"})
        database.close()
        (one,) = (await launched.ask("ticks", location="team", name="many"))["ticks"]
        assert len(one["requests"]) == 500


async def test_what_is_asked_for_is_launched_also_where_the_client_goes_away(tmp_path, runtime):
    module = MODULE.replace(
        "    return request(seen)\n",
        """
    open("asked", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)
    return request(seen)
""",
    )
    async with launching(tmp_path, runtime, module) as launched:
        automations = launched.running.daemon.work.automations
        one = await launched.running.daemon.work.ticking.find("team", "files")
        asked = asyncio.create_task(automations.fire(one, time.time(), cursor=None, by="a client"))
        await poll(lambda: (tmp_path / "asked").exists(), "it is asked")
        asked.cancel()
        (tmp_path / "go").touch()
        await poll(lambda: launched.running.daemon.work.runs.newest_first(), "its run")
        await asyncio.gather(asked, return_exceptions=True)
        await until_ticked(launched, "files", "launched")
        found = (await launched.ask("automations", location="team", name="files"))["automations"]
        assert found[0]["cursor"] == "1"


async def until_ticked(launched: Launched, name: str, state: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        rows = (await launched.ask("ticks", location="team", name=name))["ticks"]
        if rows and rows[0]["state"] == state:
            return
        assert time.monotonic() < deadline, rows
        await launched.running.daemon.fleet.news.wait(lambda: False, 0.05)
