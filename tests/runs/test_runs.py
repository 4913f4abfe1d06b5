"""Runs under a supervisor: launched, told of, cancelled, and where their process comes from."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import yaml
from launched import FOREVER, HEAD, UNTIL_GO, Launched, journals, kill, launching, one_op
from loading import VERSIONS, interpreter
from monitored import written
from supervised import alive, make_workspace, poll, save, supervising, workspace_text

from supervisor.errors import (
    InvalidParameterError,
    RequestError,
    UnfitOrderError,
    UnknownDefinitionError,
    UnknownLocationError,
    UnknownRunError,
)

TWO_OPS = (
    HEAD
    + """
@op(config_schema={"n": int})
def load(context):
    return context.op_config["n"]

@op
def publish(rows):
    print("rows", rows)

@job
def nightly():
    publish(load())
"""
)
CONFIG = {"ops": {"load": {"config": {"n": 3}}}}


async def test_a_run_is_forked_from_what_is_loaded(tmp_path, runtime):
    async with launching(tmp_path, runtime, TWO_OPS) as team:
        run = await team.launch(config=CONFIG, tags={"team": "risk"})
        kinds = await team.kinds(run)
        assert kinds[0] == "RUN_START"
        assert kinds[-1] == "RUN_SUCCESS"
        assert [one for one in kinds if one.startswith("STEP_SUCCESS")] == [
            "STEP_SUCCESS load",
            "STEP_SUCCESS publish",
        ]
        row = await team.ended(run)
        assert (row["state"], row["fresh_because"], row["generation"]) == ("success", None, 1)
        assert (row["config"], row["tags"]) == (CONFIG, {"team": "risk"})
        assert await team.written(run) == "rows 3\n"
        assert [one["run"] for one in (await team.ask("runs"))["runs"]] == [run]


async def test_only_some_ops_run_when_asked(tmp_path, runtime):
    module = HEAD + (
        "@op\ndef a(): print('a')\n@op\ndef b(x=None): print('b')\n"
        "@op\ndef c(x=None): print('c')\n@job\ndef nightly():\n    c(b(a()))\n"
    )
    async with launching(tmp_path, runtime, module) as team:
        for selection, expected in (("a+1", "a b"), ("*b", "a b"), ("a", "a"), ("+b+", "a b c")):
            preview = await team.ask(
                "launch", location="team", job="nightly", op_selection=selection, dry_run=True
            )
            assert preview["order"]["op_selection"] == expected.split(), selection
        run = await team.launch(op_selection="a+1")
        assert (await team.ended(run))["state"] == "success"
        assert (await team.written(run)).split() == ["a", "b"]
        assert len((await team.ask("runs"))["runs"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "error", "message", "hint"),
    [
        ({"job": "nigtly"}, UnknownDefinitionError, "nigtly", "did you mean nightly?"),
        ({"location": "tem"}, UnknownLocationError, "tem", "did you mean team?"),
        ({"op_selection": "lod"}, UnfitOrderError, "nightly has no op 'lod'", "did you mean load?"),
        ({"tags": {"a": 1}}, InvalidParameterError, "tag 'a' must be a text", None),
        ({"config": [1]}, InvalidParameterError, "must be a map", None),
        ({"config": {}}, UnfitOrderError, "ops.load.config.n", None),
        ({"config": {"ops": {"load": {"config": {"n": "x"}}}}}, UnfitOrderError, "ops.load", None),
        ({"timeout": 0}, UnfitOrderError, "more than 0", None),
    ],
    ids=lambda one: str(one)[:30],
)
async def test_what_cannot_be_run_is_refused(params, error, message, hint, tmp_path, runtime):
    async with launching(tmp_path, runtime, TWO_OPS) as team:
        with pytest.raises(error, match=message) as caught:
            await team.ask("launch", **{"location": "team", "job": "nightly", **params})
        assert hint is None or caught.value.hint == hint
        assert (await team.ask("runs"))["runs"] == []


@pytest.mark.slow
async def test_every_python_runs_forked_and_fresh(tmp_path, runtime):
    versions = [one for one in VERSIONS if interpreter(one)]
    names = {
        f"l{version.replace('.', '_')}_{method}": (version, method)
        for version in versions
        for method in ("spawn", "forkserver")
    }
    thread = (
        "import threading\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"
    )
    files = {f"{name}.py": one_op("print(os.getppid())") for name in names}
    files.update({f"t{name}.py": one_op("print(os.getppid())", thread) for name in names})
    locations = {
        prefix + name: {"executable_path": interpreter(version), "start_method": method}
        for name, (version, method) in names.items()
        for prefix in ("", "t")
        if prefix == "" or method == "spawn"
    }
    workspace = make_workspace(tmp_path, files, locations)
    async with supervising(workspace, runtime) as running:
        await running.settled()
        launched = Launched(running)
        for name in locations:
            reply = await launched.ask("launch", location=name, job="nightly")
            row = await launched.ended(reply["run"]["run"])
            assert row["state"] == "success", (name, row)
            assert bool(row["fresh_because"]) == name.startswith("t"), (name, row)


async def test_an_import_that_leaves_a_thread_has_its_runs_in_fresh_processes(tmp_path, runtime):
    head = (
        "import threading\nthreading.Thread(target=time.sleep, args=(9999,), daemon=True).start()"
    )
    async with launching(tmp_path, runtime, one_op("print('x')", head)) as team:
        row = await team.ended(await team.launch())
        assert row["state"] == "success"
        assert row["fresh_because"].startswith("its import leaves threads running: Thread-1")


@pytest.mark.slow
async def test_a_process_that_is_busy_keeps_no_run_waiting(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op("print('x')")) as team:
        # Stopped, it answers nothing; it goes on when the run has ended.
        pid = team.running.pid("team")
        os.kill(pid, signal.SIGSTOP)
        try:
            run = await team.launch()
            row = await team.ended(run)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert row["state"] == "success"
        assert "did not answer within" in row["fresh_because"]
        # What it was asked meanwhile begins nothing any more.
        assert (await team.ended(await team.launch()))["fresh_because"] is None
        assert (await team.kinds(run)).count("RUN_START") == 1


async def test_a_location_that_is_stopped_is_started_for_a_run(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op("print('x')")) as team:
        await team.ask("stop", locations=["team"])
        await team.running.until(lambda: team.running["team"].state == "stopped", "stopped")
        assert (await team.ended(await team.launch()))["state"] == "success"


async def test_code_that_failed_to_load_is_never_run(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op("print('first')")) as team:
        await team.running.watched()
        save(tmp_path / "team.py", "syntax error here")
        await team.running.until(lambda: team.running["team"].state == "failed", "failed")
        run = await team.launch()
        assert (await team.ended(run))["generation"] == 1
        assert await team.written(run) == "first\n"
        team.running["team"].stop("for the test")
        await team.running.until(lambda: team.running["team"].state == "stopped", "stopped")
        for _ in range(2):  # the first has it started, and is judged once it has failed
            with pytest.raises(
                RequestError, match="has no process to run nightly: it is failed"
            ) as found:
                await team.launch()
            assert str(found.value.hint).startswith("correct that, and launch again: ")
        assert len((await team.ask("runs"))["runs"]) == 1


async def test_a_cancelled_run_is_over_at_once(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op(FOREVER)) as team:
        run = await team.launch()
        row = await team.until(run)
        assert row["state"] == "running"
        reply = await team.ask("cancel_run", run=run[-6:], who="the test")
        assert reply["state"] == "cancelling"
        row = await team.ended(run)
        assert (row["state"], row["reason"]) == ("cancelled", "cancelled by the test")
        again = await team.ask("cancel_run", run=run)
        assert again["state"] == "cancelled"
        with pytest.raises(UnknownRunError):
            await team.ask("cancel_run", run="none")


async def test_a_run_is_run_again(tmp_path, runtime):
    async with launching(tmp_path, runtime, TWO_OPS) as team:
        first = await team.launch(config=CONFIG, tags={"a": "b"})
        await team.ended(first)
        second = (await team.ask("retry_run", run=first))["run"]
        assert second["retry_of"] == first
        row = await team.ended(second["run"])
        assert (row["config"], row["tags"], row["state"]) == (CONFIG, {"a": "b"}, "success")


ORDERED = (
    HEAD
    + """
@op
def first(): print("first")
@op
def second():
    print("second")
    if not os.path.exists("mended"): raise ValueError("not yet")
@op
def third(): print("third")
@job
def nightly():
    third(after=second(after=first()))
@op
def gives(): print("gives"); return [1]
@op
def takes(value):
    if not os.path.exists("mended"): raise ValueError("not yet")
    print("took", value)
@job
def values():
    takes(gives())
@op
def gives_rows(): return (row for row in (1, 2))
@job
def rows():
    takes(gives_rows())
"""
)


async def test_the_rest_of_a_run_that_failed_is_run(tmp_path, runtime):
    async with launching(tmp_path, runtime, ORDERED) as team:
        first = await team.launch()
        assert (await team.ended(first))["state"] == "failure"
        (tmp_path / "mended").touch()
        second = (await team.ask("retry_run", run=first, from_failure=True))["run"]
        assert second["retry_of"] == first
        assert (await team.ended(second["run"]))["state"] == "success"
        assert await team.written(second["run"]) == "second\nthird\n"
        with pytest.raises(RequestError, match="has succeeded: nothing of it is left"):
            await team.ask("retry_run", run=second["run"], from_failure=True)
        all_of_it = (await team.ask("retry_run", run=second["run"]))["run"]["run"]
        assert (await team.ended(all_of_it))["state"] == "success"
        assert await team.written(all_of_it) == "first\nsecond\nthird\n"


async def test_the_rest_of_a_run_has_what_the_steps_before_made(tmp_path, runtime):
    async with launching(tmp_path, runtime, ORDERED) as team:
        first = await team.launch("values")
        assert (await team.ended(first))["state"] == "failure"
        second = (await team.ask("retry_run", run=first, from_failure=True))["run"]["run"]
        assert (await team.ended(second))["state"] == "failure"
        (tmp_path / "mended").touch()
        third = (await team.ask("retry_run", run=second, from_failure=True))["run"]["run"]
        assert (await team.ended(third))["state"] == "success"
        assert await team.written(third) == "took [1]\n"


async def test_the_rest_of_a_run_is_refused_where_a_value_was_not_kept(tmp_path, runtime):
    async with launching(tmp_path, runtime, ORDERED) as team:
        first = await team.launch("rows")
        assert (await team.ended(first))["state"] == "failure"
        with pytest.raises(UnfitOrderError, match="takes the output result of gives_rows, which"):
            await team.ask("retry_run", run=first, from_failure=True)
        assert len((await team.ask("runs"))["runs"]) == 1


async def test_reloads_and_deaths_of_the_shim_are_nothing_to_a_run(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op(UNTIL_GO)) as team:
        runs = [await team.launch() for _ in range(2)]
        for run in runs:
            await team.until(run)
        await team.ask("reload", locations=["team"])
        await team.running.until(lambda: team.running["team"].generation == 2, "reloaded")
        await team.running.ready()
        await kill(team.running.pid("team"))
        assert [(await team.row(run))["state"] for run in runs] == ["running", "running"]
        (tmp_path / "go").touch()
        for run in runs:
            assert (await team.ended(run))["state"] == "success"
            kinds = await team.kinds(run)
            assert (kinds[0], kinds[-1]) == ("RUN_START", "RUN_SUCCESS")


async def test_the_run_of_a_location_that_was_removed_goes_on(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op(FOREVER)) as team:
        run = await team.launch()
        row = await team.until(run)
        (tmp_path / "other.py").write_text(one_op("pass"))
        save(tmp_path / "workspace.yaml", yaml.safe_dump(workspace_text({"other": {}})))
        await team.running.until(
            lambda: "team" not in [one.spec.name for one in team.running.daemon.fleet.ordered()],
            "removed",
        )
        await poll(lambda: len(team.running.daemon.fleet.all()) == 1, "gone")
        assert alive(row["monitor"])
        await team.ask("cancel_run", run=run)
        assert (await team.ended(run))["state"] == "cancelled"


async def test_a_run_whose_monitor_is_killed_is_lost_and_leaves_nothing(tmp_path, runtime):
    body = """
        nowhere = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        for command in (["setsid"], ["env", "-i", "setsid"]):
            child = subprocess.Popen([*command, "sleep", "1000"], **nowhere)
            print(child.pid, flush=True)
        print("running", flush=True)
        time.sleep(1000)
        """
    async with launching(tmp_path, runtime, one_op(body)) as team:
        run = await team.launch()
        row = await team.until(run)
        (journal,) = journals(tmp_path).values()
        out = written(journal)
        await kill(row["monitor"])
        row = await team.ended(run)
        assert (row["state"], row["reason"]) == ("lost", "its monitor was killed")
        pids = [int(one) for one in out.split()[:2]]
        await poll(lambda: not any(map(alive, pids)), "the end of its children")


async def test_many_runs_at_once(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op("print('x')")) as team:
        runs = await asyncio.gather(*(team.launch() for _ in range(20)))
        rows = await asyncio.gather(*(team.ended(run) for run in runs))
        assert {row["state"] for row in rows} == {"success"}
        assert len(set(runs)) == 20
