"""Which runs are run again, when, how often; and that each is ordered once, whatever is killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from launched import Launched, journals, launching, one_op
from supervised import make_workspace, poll, supervising
from test_adoption import order

from supervisor.run_settings import NONE, Backoff, Retries, RunSettings
from supervisor.runs.journal import Journal
from supervisor.runs.retries import again, with_settings

FAILS = 'raise ValueError("no")'
# Fails as often as there are lines in the file ``left``.
FAILS_SOMETIMES = """
    with open("count", "a") as file:
        file.write("x")
    if len(open("count").read()) < 3:
        raise ValueError("not yet")
    """
FAILED = {"state": "failure", "failure": {"kind": "op"}}


def ordered(**settings: Any) -> dict[str, Any]:
    return {"run": "a", "job": "j", **with_settings({"run": "a"}, RunSettings(**settings))}


@pytest.mark.parametrize(
    ("final", "settings", "repeated"),
    [
        (FAILED, {}, False),
        (FAILED, {"retries": Retries(1)}, True),
        ({"state": "timed_out"}, {"retries": Retries(1)}, True),
        ({"state": "success"}, {"retries": Retries(1)}, False),
        ({"state": "cancelled"}, {"retries": Retries(1), "retry_lost": True}, False),
        ({"state": "lost"}, {"retries": Retries(1)}, False),
        ({"state": "lost"}, {"retries": Retries(1), "retry_lost": True}, True),
        ({"state": "lost"}, {"retry_lost": True}, True),
        (FAILED, {"retry_lost": True}, False),
        ({"state": "failure", "failure": {"kind": "run_config"}}, {"retries": Retries(1)}, False),
        ({"state": "failure", "failure": None}, {"retries": Retries(1)}, True),
    ],
)
def test_what_is_run_again(final: dict[str, Any], settings: dict[str, Any], repeated: bool) -> None:
    found = again(ordered(**settings), final, 100.0)
    assert (found is not None) == repeated
    if found is not None:
        assert (found["retry_of"], found["attempt"], found["not_before"]) == ("a", 2, 0.0)
        assert "run" not in found
        assert found["job"] == "j"


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [(Backoff.CONSTANT, [10, 10, 10, 10]), (Backoff.EXPONENTIAL, [10, 20, 40, 80])],
)
def test_the_delays_and_the_number(backoff: Backoff, delays: list[float]) -> None:
    one: dict[str, Any] | None = ordered(retries=Retries(4, 10.0, backoff))
    found = []
    while one is not None:
        one = again({"run": "a", **one}, FAILED, 100.0)
        if one is not None:
            found.append(one["not_before"] - 100)
    assert found == delays


def test_what_a_client_asks_for_wins_over_settings() -> None:
    settings = RunSettings(timeout=60.0, retries=Retries(3, 5.0))
    asked = {"asked": {"timeout": 5.0, "retries": 0}}
    assert with_settings(asked, settings)["timeout"] == 5.0
    assert with_settings(asked, settings)["retries"]["count"] == 0
    plain = with_settings({}, settings)
    assert (plain["timeout"], plain["retries"]["count"]) == (60.0, 3)
    assert with_settings(plain, RunSettings(timeout=NONE))["timeout"] is None


async def test_a_run_that_fails_is_run_again_until_it_succeeds(tmp_path, runtime):
    keys = {"runs": {"retries": 5}}
    async with launching(tmp_path, runtime, one_op(FAILS_SOMETIMES), **keys) as team:
        row = await team.ended(await team.launch(tags={"a": "b"}))
        found = [row]
        while row["retried_by"]:
            row = await team.ended(row["retried_by"])
            found.append(row)
        assert [one["state"] for one in found] == ["failure", "failure", "success"]
        assert [one["attempt"] for one in found] == [1, 2, 3]
        assert [one["retry_of"] for one in found] == [None, found[0]["run"], found[1]["run"]]
        assert {one["tags"]["a"] for one in found} == {"b"}
        assert len((await team.ask("runs"))["runs"]) == 3


async def test_an_order_says_how_often_itself(tmp_path, runtime):
    async with launching(tmp_path, runtime, one_op(FAILS), runs={"retries": 5}) as team:
        row = await team.ended(await team.launch(retries=0))
        assert row["retried_by"] is None
        row = await team.ended(await team.launch(retries=1))
        row = await team.ended(row["retried_by"])
        assert (row["attempt"], row["retried_by"]) == (2, None)
        again = (await team.ask("retry_run", run=row["run"]))["run"]
        row = await team.ended(again["run"])  # an order anew, with as many retries
        assert (row["attempt"], row["retry_of"]) == (1, again["retry_of"])
        assert (await team.ended(row["retried_by"]))["retried_by"] is None


async def test_a_retry_waits_for_its_delay_and_can_be_cancelled(tmp_path, runtime):
    keys = {"runs": {"retries": {"count": 1, "delay": "1h"}}}
    async with launching(tmp_path, runtime, one_op(FAILS), **keys) as team:
        row = await team.ended(await team.launch())
        row = await team.row(row["retried_by"])
        assert row["state"] == "queued"
        assert row["reason"].startswith("attempt 2 begins in 3")
        await team.ask("cancel_run", run=row["run"])
        assert (await team.row(row["run"]))["state"] == "cancelled"
        assert len(journals(tmp_path)) == 2


async def test_a_delay_is_over_after_a_while(tmp_path, runtime):
    keys = {"runs": {"retries": {"count": 2, "delay": "50ms"}}}
    async with launching(tmp_path, runtime, one_op(FAILS_SOMETIMES), **keys) as team:
        row = await team.ended(await team.launch())
        row = await team.ended((await team.ended(row["retried_by"]))["retried_by"])
        assert row["state"] == "success"


async def test_the_timeout_of_the_location_and_of_the_order(tmp_path, runtime):
    body = "print('running', flush=True)\ntime.sleep(1000)"
    async with launching(tmp_path, runtime, one_op(body), runs={"timeout": "300ms"}) as team:
        row = await team.ended(await team.launch())
        assert (row["state"], row["timeout"]) == ("timed_out", 0.3)
        run = await team.launch(timeout=3600)
        assert (await team.until(run))["timeout"] == 3600
        await team.ask("cancel_run", run=run)
        assert (await team.ended(run))["state"] == "cancelled"


RETRIES = {"count": 1, "delay": 0.0, "backoff": "constant", "lost": False}


def failed(folder: Path, **more: Any) -> Journal:
    """A journal of a run that failed while no supervisor was there to order its retry."""
    journal = order(folder, attempt=1, retries=RETRIES, **more)
    (journal.path / "begun").touch()
    assert journal.finish("failure", "no")
    return journal


def repeated(journal: Journal) -> dict[str, Any]:
    found = journal.order()
    assert found is not None
    return {**found, "attempt": 2, "retry_of": found["run"], "boot": found["boot"]}


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["before", "planned", "made", "ordered"])
async def test_a_retry_is_ordered_once_whenever_the_supervisor_was_killed(
    tmp_path, runtime, killed
):
    make_workspace(tmp_path, {"team.py": one_op("print('x')")})
    journal = failed(tmp_path)
    spare = order(tmp_path)  # gives a name, and is gone before anything is read
    name = spare.path.name
    for path in spare.path.iterdir():
        path.unlink()
    spare.path.rmdir()
    if killed != "before":
        planned = {**repeated(journal), "run": name}
        assert journal.order_again(planned) == name
    if killed in ("planned", "made"):
        (journal.path / "retried").rename(journal.path / "retry")
    if killed == "planned":
        (spare.path / "order").unlink()
        spare.path.rmdir()
    for _ in range(2):
        async with supervising(tmp_path / "workspace.yaml", runtime) as running:
            await running.ready()
            team = Launched(running)
            row = await team.row(journal.path.name)
            assert row["retried_by"] == (row["retried_by"] if killed == "before" else name)
            retry = await team.ended(row["retried_by"])
            assert (retry["state"], retry["attempt"]) == ("success", 2)
            assert retry["retry_of"] == journal.path.name
            assert len((await team.ask("runs"))["runs"]) == 2


async def test_a_lost_run_is_run_again_where_that_is_said(tmp_path, runtime):
    make_workspace(
        tmp_path, {"team.py": one_op("print('x')")}, {"team": {"runs": {"retry_lost": True}}}
    )
    elsewhere = order(tmp_path, boot="another", attempt=1, retries={**RETRIES, "lost": True})
    async with supervising(tmp_path / "workspace.yaml", runtime) as running:
        await running.ready()
        team = Launched(running)
        row = await team.ended(elsewhere.path.name)
        assert (row["state"], row["reason"]) == ("lost", "ended with its machine before it began")
        assert (await team.ended(row["retried_by"]))["state"] == "success"


async def test_what_fails_while_the_supervisor_stops_is_run_again_by_the_next(tmp_path, runtime):
    body = """
        print("running", flush=True)
        while not os.path.exists("go"):
            time.sleep(0.01)
        raise ValueError("no")
        """
    keys = {"runs": {"retries": 1, "run_grace": "1m"}}
    workspace = make_workspace(tmp_path, {"team.py": one_op(body)}, {"team": keys})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        run = await Launched(running).launch()
        await Launched(running).until(run)
        running.daemon.shutdown()
        (tmp_path / "go").touch()
        await running.until(lambda: running["team"].state == "stopped", "stopped")
    assert len(journals(tmp_path)) == 1
    async with supervising(workspace, runtime) as running:
        await running.ready()
        row = await Launched(running).row(run)
        assert (await Launched(running).ended(row["retried_by"]))["attempt"] == 2
        await poll(lambda: len(journals(tmp_path)) == 2, "both")
