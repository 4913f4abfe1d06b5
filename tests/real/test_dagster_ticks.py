"""Schedules and sensors of real Dagster, from 0.9 to today's, over one code path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from launched import Launched
from places import PROGRAMS, ROOT
from supervised import make_workspace, supervising

from supervisor.errors import RequestError

from .conftest import BETWEEN, RELEASES, run
from .eras import CURRENT, OLDEST, SINCE_JOBS, Environment

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]

AT = 1_704_085_200  # 2024-01-01 05:00 UTC, 06:00 in Berlin


def ticks(python: Path, file: str, *orders: dict[str, Any], **also: Any) -> list[dict[str, Any]]:
    target = {
        "kind": "python_file",
        "name": str(PROGRAMS / file),
        "working_directory": str(PROGRAMS),
    }
    request = {"target": target, "orders": [{**one, **also} for one in orders]}
    found: list[dict[str, Any]] = run(
        python, str(PROGRAMS / "tick_orders.py"), str(ROOT), json.dumps(request)
    )
    return found


def keyed(found: dict[str, Any]) -> list[tuple[str | None, str | None, list[str] | None]]:
    assert "result" in found, found
    return [(one["run_key"], one["job"], one["assets"]) for one in found["result"]["requests"]]


@pytest.mark.parametrize("release", [*RELEASES, *BETWEEN])
def test_a_schedule_at_a_time(release: str, dagster_environment: Environment) -> None:
    oldest = release == OLDEST
    file = "dagster_ticks_0_9.py" if oldest else "dagster_ticks.py"
    early, never, bad, nowhere = ticks(
        dagster_environment(release), file,
        {"name": "early", "time": AT, "offset": 3600}, {"name": "never", "time": AT},
        {"name": "bad", "time": AT}, {"name": "nowhere"},
    )  # fmt: skip
    (one,) = early["result"]["requests"]
    assert one["job"] == "nightly"
    assert one["config"] == {"solids" if oldest else "ops": {"load": {"config": {"n": 6}}}}
    assert one["tags"] == {"day": "2024-01-01"}
    assert never["result"]["requests"] == []
    assert never["result"]["skipped"]
    assert bad["failure"]["message"].startswith("KeyError: 'bucket'")
    assert bad["failure"]["frames"][-1]["function"] == "bad"
    assert nowhere["failure"]["kind"] == "unknown_definition"


@pytest.mark.parametrize("release", [*SINCE_JOBS, *BETWEEN])
def test_a_sensor_with_a_cursor(release: str, dagster_environment: Environment, tmp_path) -> None:
    first, next_, last, events, assets = ticks(
        dagster_environment(release), "dagster_ticks.py",
        {"name": "files"}, {"name": "files", "cursor": "4"},
        {"name": "files", "cursor": "12", "last_run_key": "file-11", "last_tick": float(AT)},
        {"name": "events", "last_tick": float(AT)},
        {"name": "of_assets"}, instance=str(tmp_path),
    )  # fmt: skip
    assert keyed(first) == [("file-0", "nightly", None), ("file-1", "nightly", None)]
    assert (first["result"]["cursor"], next_["result"]["cursor"]) == ("2", "6")
    assert (last["result"]["skipped"], last["result"]["cursor"]) == ("nothing after file-11", None)
    assert events["result"]["skipped"] == "0 runs"
    assert keyed(assets) == [("a", "reports", None)]


@pytest.mark.parametrize("release", [*BETWEEN, CURRENT])
def test_a_sensor_of_assets_names_them(release: str, dagster_environment: Environment) -> None:
    (found,) = ticks(dagster_environment(release), "dagster_ticks.py", {"name": "of_partition"})
    assert keyed(found) == [("p", None, ["raw"])]
    assert found["result"]["requests"][0]["partition"] == "red"


async def test_they_are_shown_and_evaluated_and_never_fired_by_us(
    tmp_path, runtime, dagster_environment: Environment
) -> None:
    file = (PROGRAMS / "dagster_ticks.py").read_text().replace('job=nightly)\ndef files',
                                                              'job=nightly, default_status=dg.DefaultSensorStatus.RUNNING)\ndef files')  # fmt: skip
    python = dagster_environment(CURRENT)
    workspace = make_workspace(
        tmp_path, {"team.py": file}, {"team": {"executable_path": str(python)}}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        launched = Launched(running)
        rows = (await launched.ask("automations"))["automations"]
        by_name = {one["name"]: one for one in rows}
        files = by_name["files"]
        assert (files["fired_by"], files["on"], files["next"]) == ("dagster", True, None)
        assert by_name["early"]["zone"] == "Europe/Berlin"
        nothing = "no dagster daemon runs: `supervise dagster`"
        assert files["waits"] == nothing
        with pytest.raises(RequestError, match="fired by the daemon of dagster") as caught:
            await launched.ask("switch_automation", location="team", name="files", on=False)
        assert caught.value.hint == nothing
        dry = await launched.ask("tick", location="team", name="files", cursor="4")
        assert (dry["state"], dry["new_cursor"]) == ("asked", "6")
        assert [one["note"] for one in dry["requests"]] == [None, None]
        found = await launched.ask("tick", location="team", name="of_partition", launch=True)
        row = await launched.ended(found["requests"][0]["run"])
        assert (row["state"], row["partition"]) == ("success", "red")
        assert len((await launched.ask("runs"))["runs"]) == 1
        again = await launched.ask("tick", location="team", name="of_partition", launch=True)
        assert again["state"] == "skipped", again  # its run key has been
