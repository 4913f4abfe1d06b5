"""The scheduler in a supervisor: what fires, what is kept over a restart, and what is taken up after a kill."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from launched import HEAD, UNTIL_GO, Launched, launching
from supervised import DEADLINE, poll, save

from supervisor.errors import RequestError, UnknownDefinitionError, UnknownLocationError
from supervisor.runs import tick_store
from supervisor.runs.automation import Automation
from supervisor.runs.firing import CatchUp, Memory, Overlap
from supervisor.runs.run import new_id
from supervisor.runs.tick_rows import tick_row
from supervisor.runs.tick_store import Stored, TickStore

SENSORS = (
    HEAD
    + """
from runner_shim import RunRequest, SkipReason, sensor

@op
def work(context):
    print(context.tags["file"])

@job
def nightly():
    work()

@sensor(job=nightly, minimum_interval_seconds=1, default_status="running")
def files(context):
    seen = int(context.cursor or 0)
    if seen >= 2:
        return SkipReason("there are no more")
    context.update_cursor(seen + 1)
    return RunRequest("file-%d" % seen, tags={"file": str(seen)})

@sensor(job=nightly, minimum_interval_seconds=1)
def quiet(context):
    return RunRequest("quiet", tags={"file": "quiet"})
"""
)
SCHEDULE = (
    HEAD
    + """
from runner_shim import ScheduleDefinition

@op
def work():
    pass

@job
def nightly():
    work()

hourly = ScheduleDefinition("hourly", "0 * * * *", job=nightly, default_status="running"{more})
"""
)
# Its schedule has an answer once the file "go" is there.
WAITS = (
    SCHEDULE[: SCHEDULE.index("hourly =")]
    + """
from runner_shim import schedule

@schedule("0 * * * *", job=nightly, default_status="running")
def hourly(context):
    open("asked", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)
    return {}
"""
)
HOUR = 3600.0


def keys(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(one["requests"][0]["run_key"] for one in rows if one["state"] == "launched")


async def ticks(launched: Launched, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await launched.ask("ticks", location="team", name=name))["ticks"]
    return rows


async def until(launched: Launched, name: str, state: str, count: int = 1) -> list[dict[str, Any]]:
    """The ticks of ``name``, once ``count`` of them are in that state."""
    deadline = time.monotonic() + DEADLINE
    while True:
        rows = await ticks(launched, name)
        if len([one for one in rows if one["state"] == state]) >= count:
            return rows
        assert time.monotonic() < deadline, rows
        await launched.running.daemon.fleet.news.wait(lambda: False, 0.05)


async def row(launched: Launched, name: str) -> dict[str, Any]:
    (found,) = (await launched.ask("automations", location="team", name=name))["automations"]
    one: dict[str, Any] = found
    return one


async def remembered(path: Path, fingerprint: str, hours: float = 3.5, **also: Any) -> None:
    """Have a store in which the schedule ``hourly`` was last looked at so many hours before this one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    store = TickStore(path)
    store.open()
    memory = Memory(time.time() // HOUR * HOUR - hours * HOUR, fingerprint)
    stored = Stored(memory=memory, **also)
    await store.write(lambda database: tick_store.remember(database, ("team", "hourly"), stored))
    await store.close()


async def fingerprint_of(tmp_path: Path, runtime: Path, module: str = SCHEDULE) -> str:
    async with launching(tmp_path / "before", runtime, module.replace("{more}", "")) as launched:
        one = await launched.running.daemon.work.ticking.find("team", "hourly")
        assert one.schedule is not None
        return one.schedule.fingerprint


@pytest.mark.slow
async def test_a_sensor_fires_once_for_each_run_key_also_over_a_restart(tmp_path, runtime):
    async with launching(tmp_path, runtime, SENSORS) as launched:
        rows = await until(launched, "files", "skipped")
        assert keys(rows) == ["file-0", "file-1"]
        assert rows[0]["reason"] == "there are no more"
        runs = (await launched.ask("runs"))["runs"]
        assert {one["automation"] for one in runs} == {"files"}
        assert len(runs) == 2
        assert (await row(launched, "files"))["cursor"] == "2"
        assert await ticks(launched, "quiet") == []  # it is not on
    async with launching(tmp_path, runtime, SENSORS) as launched:
        await until(launched, "files", "skipped", 2)
        assert len((await launched.ask("runs"))["runs"]) == 2
        assert (await row(launched, "files"))["cursor"] == "2"


async def test_a_switch_stays_whatever_is_loaded_later(tmp_path, runtime):
    async with launching(tmp_path, runtime, SENSORS) as launched:
        switched = await launched.ask("switch_automation", location="team", name="quiet", on=True)
        assert (switched["on"], switched["default_on"]) == (True, False)
        await until(launched, "quiet", "launched")
        await launched.ask("switch_automation", location="team", name="quiet", on=False)
        await launched.ask("switch_automation", location="team", name="files", on=False)
        with pytest.raises(UnknownDefinitionError, match="no schedule or sensor 'quite'"):
            await launched.ask("switch_automation", location="team", name="quite", on=True)
    async with launching(tmp_path, runtime, SENSORS + "\n# changed\n") as launched:
        before = [len(await ticks(launched, name)) for name in ("files", "quiet")]
        assert not (await row(launched, "quiet"))["on"]
        assert (await row(launched, "files"))["switched"] is False
        await launched.ask("switch_automation", location="team", name="quiet", on=True)
        rows = await until(launched, "quiet", "skipped")
        assert rows[0]["reason"] == "all of it was launched already"  # its key is kept
        assert len(await ticks(launched, "files")) == before[0]


@pytest.mark.slow
async def test_a_location_that_is_stopped_fires_nothing(tmp_path, runtime):
    async with launching(tmp_path, runtime, SENSORS) as launched:
        await until(launched, "files", "launched", 2)
        await launched.ask("stop", locations=["team"])
        location = launched.running["team"]
        await launched.running.until(lambda: location.state == "stopped", "stopped")
        before = len(await ticks(launched, "files"))
        found = await row(launched, "files")
        assert (found["on"], found["waits"]) == (True, "the location is stopped")
        await launched.running.daemon.fleet.news.wait(lambda: False, 2.5)
        assert len(await ticks(launched, "files")) == before
        await launched.ask("start", locations=["team"])
        await until(launched, "files", "skipped", before - 1)


@pytest.mark.parametrize(
    ("more", "states"),
    [
        ("", ["launched", "skipped"]),
        (', catch_up="none"', ["skipped"]),
        (', catch_up="all", overlap="allow"', ["launched"] * 4),
    ],
)
async def test_ticks_that_no_supervisor_was_there_for(more, states, tmp_path, runtime):
    fingerprint = await fingerprint_of(tmp_path, runtime)
    store = tmp_path / ".supervise" / "workspace.yaml" / "automations.db"
    await remembered(store, fingerprint)
    async with launching(tmp_path, runtime, SCHEDULE.replace("{more}", more)) as launched:
        rows = await until(launched, "hourly", states[0], states.count(states[0]))
        assert [one["state"] for one in rows] == states
        assert rows[0]["time"] <= time.time()
        skipped = [one for one in rows if one["state"] == "skipped"]
        assert {one["reason"] for one in skipped} <= {"no supervisor was there"}
        assert len((await launched.ask("runs"))["runs"]) == states.count("launched")
    async with launching(tmp_path, runtime, SCHEDULE.replace("{more}", more)) as launched:
        one = await row(launched, "hourly")
        assert one["last"]["state"] == states[0]
        assert one["next"] is not None
        assert len((await launched.ask("runs"))["runs"]) == states.count("launched")


@pytest.mark.slow
async def test_a_tick_waits_for_the_run_of_the_one_before(tmp_path, runtime):
    fingerprint = await fingerprint_of(tmp_path, runtime)
    await remembered(
        tmp_path / ".supervise" / "workspace.yaml" / "automations.db", fingerprint, 1.5
    )
    module = SCHEDULE.replace("{more}", ', catch_up="all", overlap="queue"')
    module = module.replace("    pass\n\n@job", UNTIL_GO + "\n@job", 1)
    async with launching(tmp_path, runtime, module) as launched:
        (first,) = await until(launched, "hourly", "launched")
        await launched.until(first["requests"][0]["run"])
        (tmp_path / "go").touch()
        second, _ = await until(launched, "hourly", "launched", 2)
        assert second["time"] == first["time"] + HOUR
        assert second["began"] >= (await launched.ended(first["requests"][0]["run"]))["ended"]


@pytest.mark.slow
async def test_many_ticks_that_were_missed_do_not_hold_up_the_event_loop(tmp_path, runtime):
    module = SCHEDULE.replace("{more}", "").replace('"0 * * * *"', '"* * * * *"')
    fingerprint = await fingerprint_of(tmp_path, runtime, module)
    store = tmp_path / ".supervise" / "workspace.yaml" / "automations.db"
    await remembered(store, fingerprint, hours=60)
    async with launching(tmp_path, runtime, module) as launched:  # the loop guard watches
        rows = await until(launched, "hourly", "launched")
        (skipped,) = (one for one in rows if one["reason"] == "no supervisor was there")
        assert 60 * 60 <= skipped["count"] + 1 <= 61 * 60 + 1


@pytest.mark.parametrize("name", ["hourly", "gone"])
async def test_what_was_planned_before_a_kill_is_launched_once(name, tmp_path, runtime):
    plan = Automation(
        "team", name, "schedule", None, "native", ("nightly",), ("0 * * * *",), None, 30.0, True,
        CatchUp.LAST, Overlap.SKIP, False,
    )  # fmt: skip
    run = new_id()
    request = {"job": "nightly", "assets": None, "run_key": "once", "config": {}, "tags": {},
               "partition": None, "run": run, "note": None}  # fmt: skip
    path = tmp_path / ".supervise" / "workspace.yaml" / "automations.db"
    path.parent.mkdir(parents=True)
    store = TickStore(path)
    store.open()
    tick = {**tick_row(plan, time.time() - 60), "state": "launching", "requests": [request]}

    def work(database: Any) -> None:
        assert tick_store.take_key(database, plan.key, "once", run) is None
        tick_store.add_tick(database, tick)

    await store.write(work)
    await store.close()
    for _ in range(2):
        async with launching(tmp_path, runtime, SCHEDULE.replace("{more}", "")) as launched:
            rows = await until(launched, name, "launched")
            assert [one["requests"][0]["run"] for one in rows] == [run]
            assert (await launched.ended(run))["automation"] == name
            assert len((await launched.ask("runs"))["runs"]) == 1


async def test_what_was_launched_before_a_kill_is_kept_until_that_is_known(tmp_path, runtime):
    module = SCHEDULE.replace("{more}", "").replace(
        "    pass\n", "    print(file=open('ran', 'a'))\n    print('x' * 2_000_000)\n"
    )
    module = module.replace('default_status="running"', 'default_status="stopped"')
    async with launching(tmp_path, runtime, module) as launched:
        run = await launched.launch()
        await launched.ended(run)
        one = await launched.running.daemon.work.ticking.find("team", "hourly")
    request = {"job": "nightly", "assets": None, "run_key": None, "config": {}, "tags": {},
               "partition": None, "run": run, "note": None}  # fmt: skip
    tick = {**tick_row(one, time.time() - 60), "state": "launching", "requests": [request]}
    store = TickStore(tmp_path / ".supervise" / "workspace.yaml" / "automations.db")
    store.open()
    await store.write(lambda database: tick_store.add_tick(database, tick))
    await store.close()
    async with launching(tmp_path, runtime, module, runs={"max_disk": "1MiB"}) as launched:
        await until(launched, "hourly", "launched")
        launched.running.daemon.work.runs.keeper.look()
        await poll(lambda: not launched.running.daemon.work.runs.newest_first(), "removed")
    assert (tmp_path / "ran").read_text() == "\n"


@pytest.mark.slow
async def test_a_store_that_is_taken_away_is_made_again_with_all_that_it_had(tmp_path, runtime):
    path = tmp_path / ".supervise" / "workspace.yaml" / "automations.db"
    async with launching(tmp_path, runtime, SENSORS) as launched:
        await until(launched, "files", "launched", 1)
        for one in path.parent.glob("automations.db*"):
            one.unlink()
        await until(launched, "files", "launched", 2)
        assert path.stat().st_mode & 0o077 == 0
    async with launching(tmp_path, runtime, SENSORS) as launched:
        assert keys(await ticks(launched, "files")) == ["file-0", "file-1"]
        assert (await row(launched, "files"))["cursor"] == "2"


@pytest.mark.slow
async def test_a_store_that_is_damaged_is_set_aside(tmp_path, runtime):
    path = tmp_path / ".supervise" / "workspace.yaml" / "automations.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database " * 100)
    async with launching(tmp_path, runtime, SENSORS) as launched:
        await until(launched, "files", "launched", 2)
    assert list(path.parent.glob("automations.db.damaged-*"))


@pytest.mark.slow
async def test_a_store_that_cannot_be_read_at_first_is_read_once_it_can(tmp_path, runtime):
    fingerprint = await fingerprint_of(tmp_path, runtime)
    path = tmp_path / ".supervise" / "workspace.yaml" / "automations.db"
    await remembered(path, fingerprint, switched=False)
    path.rename(path.with_name("kept"))
    path.mkdir()
    async with launching(tmp_path, runtime, SCHEDULE.replace("{more}", "")) as launched:
        conditions = launched.running.daemon.fleet.conditions
        assert "automations_unwritable" in conditions
        with pytest.raises(RequestError, match="cannot be written"):
            await launched.ask("switch_automation", location="team", name="hourly", on=True)
        with pytest.raises(RequestError, match="cannot be written"):
            await launched.ask("tick", location="team", name="hourly", launch=True)
        path.rmdir()
        path.with_name("kept").rename(path)
        await poll(lambda: "automations_unwritable" not in conditions, "read")
        assert (await row(launched, "hourly"))["switched"] is False
        await launched.ask("switch_automation", location="team", name="hourly", on=True)
        assert (await row(launched, "hourly"))["on"]


async def test_a_tick_whose_process_is_replaced_is_evaluated_by_the_next(tmp_path, runtime):
    fingerprint = await fingerprint_of(tmp_path, runtime, WAITS)
    path = tmp_path / ".supervise" / "workspace.yaml" / "automations.db"
    await remembered(path, fingerprint)
    async with launching(tmp_path, runtime, WAITS) as launched:
        await poll(lambda: (tmp_path / "asked").exists(), "it is asked")
        await launched.ask("restart", locations=["team"])
        (tmp_path / "go").touch()
        rows = await until(launched, "hourly", "launched")
        assert {one["reason"] for one in rows[1:]} == {"no supervisor was there"}
        assert len((await launched.ask("runs"))["runs"]) == 1


@pytest.mark.slow
async def test_a_tick_that_could_not_be_written_is_launched_once_it_can(tmp_path, runtime):
    fingerprint = await fingerprint_of(tmp_path, runtime, WAITS)
    path = tmp_path / ".supervise" / "workspace.yaml" / "automations.db"
    await remembered(path, fingerprint)
    async with launching(tmp_path, runtime, WAITS) as launched:
        conditions = launched.running.daemon.fleet.conditions
        await poll(lambda: (tmp_path / "asked").exists(), "it is asked")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # as good as a full disk
        (tmp_path / "go").touch()
        await poll(lambda: "automations_unwritable" in conditions, "refused")
        other.close()
        rows = await until(launched, "hourly", "launched")
        assert {one["reason"] for one in rows[1:]} == {"no supervisor was there"}
        assert len((await launched.ask("runs"))["runs"]) == 1


async def test_what_is_removed_is_not_listed_and_what_is_not_there_is_refused(tmp_path, runtime):
    async with launching(tmp_path, runtime, SENSORS) as launched:
        await until(launched, "files", "launched")
        save(tmp_path / "team.py", HEAD + "\n@job\ndef nightly():\n    pass\n")
        await launched.running.until(
            lambda: "sensor:files" not in launched.running.definitions("team"), "reloaded"
        )
        assert (await launched.ask("automations"))["automations"] == []
        with pytest.raises(UnknownLocationError):
            await launched.ask("ticks", location="nowhere")


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_a_schedule_of_each_minute_fires_in_its_minute(tmp_path, runtime):
    module = SCHEDULE.replace("{more}", "").replace('"0 * * * *"', '"* * * * *"')
    async with launching(tmp_path, runtime, module) as launched:
        begun = time.time()
        rows = []
        while not rows and time.time() < begun + 120:
            await launched.running.daemon.fleet.news.wait(lambda: False, 1)
            rows = [one for one in await ticks(launched, "hourly") if one["state"] == "launched"]
        assert rows[0]["time"] % 60 == 0
        assert begun <= rows[0]["time"] <= begun + 61
        await poll(lambda: time.time() > rows[0]["time"], "its minute has come")
