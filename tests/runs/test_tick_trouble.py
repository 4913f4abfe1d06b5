"""Ticks that meet trouble: a launch that is refused for now, a definition that hangs or is removed, a trial."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from launched import HEAD, Launched, launching
from places import PROGRAMS
from supervised import environ, make_workspace, poll, save, supervising
from test_automations import SENSORS, WAITS, fingerprint_of, remembered, ticks, until

from supervisor.errors import NotServedError

LAZY = (
    HEAD
    + """
from runner_shim import RunRequest, SkipReason, repository, sensor

@op
def work():
    pass

def made():
    @job
    def nightly():
        work()
    return nightly

def make_job():
    if not os.path.exists("go"):
        raise RuntimeError("the catalogue is away")
    return made()

@sensor(job=made(), minimum_interval_seconds=1, default_status="running")
def files(context):
    if context.cursor:
        return SkipReason("all of it was asked for")
    context.update_cursor("1")
    return RunRequest("one")

def make_sensor():
    {hang}
    return files

@repository
def team():
    return {{"jobs": {{"nightly": make_job}}, "sensors": {{"files": make_sensor}}}}
"""
)
HANGS = """open("hangs", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)"""


async def _on(launched: Launched) -> None:
    await launched.ask("switch_automation", location="team", name="files", on=True)


@pytest.mark.slow
async def test_a_launch_that_is_refused_for_now_is_tried_again(tmp_path, runtime):
    async with launching(tmp_path, runtime, LAZY.format(hang="pass")) as launched:
        await _on(launched)
        (tick,) = await until(launched, "files", "launching")
        while tick["reason"] is None:
            (tick,) = await until(launched, "files", "launching")
        assert tick["reason"].startswith("not launched yet, and tried again: 'nightly' cannot be")
        assert "the catalogue is away" in tick["reason"]
        (tmp_path / "go").touch()
        rows = await until(launched, "files", "launched")
        assert rows[-1]["reason"] is None
        assert len((await launched.ask("runs"))["runs"]) == 1


@pytest.mark.slow
async def test_a_definition_that_hangs_while_it_is_constructed_holds_up_its_location_alone(
    tmp_path, runtime
):
    files = {"team.py": LAZY.format(hang=HANGS), "other.py": SENSORS}
    workspace = make_workspace(tmp_path, files, {"team": {}, "other": {}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        launched = Launched(running)
        await poll(lambda: (tmp_path / "hangs").exists(), "it hangs")
        before = len((await launched.ask("ticks", location="other", name="files"))["ticks"])
        await poll(lambda: len(running.daemon.work.runs.newest_first()) >= 2, "others fire")
        rows = (await launched.ask("automations"))["automations"]
        assert {(one["location"], one["name"]) for one in rows} == {
            ("team", "files"), ("other", "files"), ("other", "quiet"),
        }  # fmt: skip
        rows = (await launched.ask("ticks", location="other", name="files"))["ticks"]
        assert len(rows) >= max(before, 2)
        assert await ticks(launched, "files") == []
        (tmp_path / "go").touch()
        await _on(launched)
        await until(launched, "files", "launched")


@pytest.mark.slow
async def test_a_tick_of_what_is_not_defined_any_more_ends(tmp_path, runtime):
    fingerprint = await fingerprint_of(tmp_path, runtime, WAITS)
    path = tmp_path / ".supervise" / "workspace.yaml" / "automations.db"
    await remembered(path, fingerprint)
    async with launching(tmp_path, runtime, WAITS) as launched:
        await poll(lambda: (tmp_path / "asked").exists(), "it is asked")
    async with launching(tmp_path, runtime, SENSORS) as launched:
        rows = await until(launched, "hourly", "skipped", 2)
        assert rows[0]["reason"] == "its location does not define it any more"
        assert rows[0]["ended"] is not None


@pytest.mark.slow
async def test_a_tick_ends_whose_definition_a_reload_removes_meanwhile(tmp_path, runtime):
    fingerprint = await fingerprint_of(tmp_path, runtime, WAITS)
    path = tmp_path / ".supervise" / "workspace.yaml" / "automations.db"
    await remembered(path, fingerprint)
    async with launching(tmp_path, runtime, WAITS) as launched:
        await poll(lambda: (tmp_path / "asked").exists(), "it is asked")
        save(tmp_path / "team.py", HEAD + "\n@job\ndef other():\n    pass\n")
        await launched.ask("restart", locations=["team"])
        rows = await until(launched, "hourly", "failed")
        (tick,) = [one for one in rows if one["state"] == "failed"]
        assert "hourly" in tick["reason"]
        assert tick["ended"] is not None
        assert (await launched.ask("runs"))["runs"] == []


@pytest.mark.slow
@pytest.mark.parametrize("words", [["check"], ["launch", "--standalone", "team", "nightly"]])
def test_a_trial_fires_nothing(words, tmp_path: Path, runtime):
    module = SENSORS.replace(
        "    seen = int", '    open("asked", "w").close()\n    seen = int', 1
    ).replace('print(context.tags["file"])', "time.sleep(2.5)")
    make_workspace(tmp_path, {"team.py": module}, {"team": {}})
    program = [sys.executable, str(PROGRAMS / "supervise.py"), "-w", "workspace.yaml", *words]
    done = subprocess.run(
        program, cwd=tmp_path, env=environ(runtime), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "asked").exists()


RESTARTED = (
    HEAD
    + """
from runner_shim import RunRequest, SkipReason, sensor

if os.path.exists("hold"):
    open("held", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)

@op
def work():
    pass

@job
def nightly():
    work()

@sensor(job=nightly)
def files():
    open("evaluating", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)
    return SkipReason("no file")
"""
)


@pytest.mark.slow
async def test_a_tick_whose_process_is_restarted_is_refused_where_none_follows_for_long(
    tmp_path, runtime
):
    async with launching(tmp_path, runtime, RESTARTED) as launched:
        ask = launched.ask("tick", location="team", name="files")
        tick = asyncio.create_task(ask)
        await poll((tmp_path / "evaluating").exists, "it is evaluated")
        (tmp_path / "hold").touch()
        await launched.ask("restart", locations=["team"])
        await poll((tmp_path / "held").exists, "the next process loads")
        with pytest.raises(NotServedError, match="the process that evaluated files was ended: "):
            await tick
        (tmp_path / "go").touch()
        await launched.running.ready()
        tick_again = await launched.ask("tick", location="team", name="files")
        assert tick_again["reason"] == "no file"
