"""Runs of real Dagster definitions, from 0.9 to today's, over one code path.

The measure is what Dagster itself records of the same orders in the same environment.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from places import PROGRAMS, ROOT
from running import execute, failure, shown, spans, told, validate

from .conftest import BETWEEN, RELEASES, run
from .eras import OLDEST, SINCE_JOBS, Environment

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]

EVERY = [*RELEASES, *BETWEEN]
JOBS = [*SINCE_JOBS, *BETWEEN]


def file_of(release: str) -> Path:
    return PROGRAMS / ("dagster_runs_0_9.py" if release == OLDEST else "dagster_runs.py")


def config_of(release: str, value: Any) -> dict[str, Any]:
    return {"solids" if release == OLDEST else "ops": {"load": {"config": {"n": value}}}}


def step(release: str, name: str) -> str:
    """The key of a step, which 0.9 made of two names."""
    return f"{name}.compute" if release == OLDEST else name


@pytest.mark.parametrize("release", EVERY)
def test_events_are_those_that_dagster_itself_records(
    release: str, dagster_environment: Environment
) -> None:
    orders: list[dict[str, Any]] = [
        {"job": "nightly", "config": config_of(release, 9)},
        {"job": "broken"},
        {"job": "broken", "op_selection": ["load"]},
    ]
    if release == OLDEST:
        orders.append({"job": "nightly", "partition_key": "2024-01-02"})
    else:
        orders.append({"job": "regional", "partition_key": "eu"})
        orders.append({"assets": ["raw", "report"], "partition_key": "red"})
        orders.append({"assets": ["raw"], "partition_key": "blue"})
    python, file = dagster_environment(release), file_of(release)
    theirs = run(python, str(PROGRAMS / "dagster_own_runs.py"), str(file), json.dumps(orders))
    ours = execute(file, orders, python)
    for order, own, found in zip(orders, theirs, ours, strict=True):
        expected = [(kind.replace("PIPELINE_", "RUN_"), name) for kind, name in own["events"]]
        assert told(found) == expected, order
        assert found["outcome"]["state"] == ("success" if own["success"] else "failure")

    # the config that was given, the partition's own
    assert shown(ours[0])[0] == f"{step(release, 'load')}: loading 9 rows"
    partitioned = "loading 31 rows" if release == OLDEST else "loading 2 rows"
    assert shown(ours[3])[0] == f"{step(release, 'load')}: {partitioned}"
    if release != OLDEST:
        assert "report: report of red" in shown(ours[4])
        made = [e["data"] for e in ours[4]["events"] if e["type"] == "ASSET_MATERIALIZATION"]
        assert [one["asset_key"] for one in made] == [["raw"], ["report"]]
        assert [one["partition"] for one in made] == ["red", "red"]

    broken = failure(ours[1])
    assert broken["step"] == step(release, "explode")
    assert broken["exception"] == {"type": "RuntimeError", "message": "rows cannot be read"}
    (frame,) = broken["frames"]
    assert (frame["file"], frame["function"], frame["user"]) == (file.name, "explode", True)
    assert file.read_text().splitlines()[frame["line"] - 1].strip() == frame["code"]
    (cause,) = broken["causes"]
    assert (cause["type"], cause["message"]) == ("ValueError", "no such table")
    assert [one["function"] for one in cause["frames"]] == ["explode", "helper"]


@pytest.mark.parametrize("release", EVERY)
def test_what_cannot_be_run_is_refused_before_anything_is_recorded(
    release: str, dagster_environment: Environment, tmp_path: Path
) -> None:
    here = {"instance": str(tmp_path)}
    orders: list[tuple[dict[str, Any], str, str]] = [
        ({"job": "nightli"}, "unknown_job", "did you mean nightly?"),
        ({"job": "nightly", "op_selection": ["lod"]}, "unknown_op", "did you mean load?"),
        ({"job": "nightly", "config": config_of(release, "x")}, "run_config", "Int"),
        ({"job": "nightly", "config": {"oops": {}}}, "run_config", "oops"),
        ({"job": "broken", "partition_key": "x"}, "partition", "has no partitions"),
    ]
    if release == OLDEST:
        order = {"job": "nightly", "partition_key": "2024-01-03"}
        orders.append((order, "unknown_partition", "did you mean 2024-01-0"))
    else:
        orders.append(({"job": "regional"}, "partition", "has 2 partitions, and none was given"))
        orders.append(({"assets": ["rw"]}, "unknown_asset", "did you mean raw?"))
        order = {"assets": ["raw"], "partition_key": "rd"}
        orders.append((order, "unknown_partition", "did you mean red?"))
    asked = [{**order, **here} for order, _kind, _words in orders]
    found = validate(file_of(release), asked, dagster_environment(release))
    for (order, kind, words), refused in zip(orders, found, strict=True):
        assert refused is not None, order
        assert refused["kind"] == kind, refused
        assert words in f"{refused['message']} {refused.get('hint')}"
    assert found[2] is not None
    (problem,) = found[2]["problems"]
    level = "solids" if release == OLDEST else "ops"
    assert (problem["path"], problem["expected"]) == (f"{level}.load.config.n", "Int")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("release", EVERY)
def test_an_interrupt_runs_the_finally_of_the_op_and_cancels(
    release: str, dagster_environment: Environment
) -> None:
    (found,) = execute(file_of(release), [{"job": "sleeper"}], dagster_environment(release))
    asleep = step(release, "sleep")
    assert [line for line in shown(found) if line.startswith(asleep)] == [
        f"{asleep}: asleep",
        f"{asleep}: cleaned up",
    ]
    assert failure(found)["kind"] == "interrupted"
    assert failure(found)["step"] == asleep
    ends = [kind for kind, _step in told(found, "STEP_FAILURE", "RUN_")]
    if release == OLDEST:  # it knows of no runs that are cancelled
        assert ends == ["RUN_START", "STEP_FAILURE", "RUN_FAILURE"]
    else:
        assert ends == ["RUN_START", "STEP_FAILURE", "RUN_CANCELING", "RUN_CANCELED"]


@pytest.mark.parametrize("forked", [False, True], ids=["fresh", "forked"])
@pytest.mark.parametrize("release", JOBS)
def test_an_instance_of_a_directory_keeps_what_was_materialized(
    release: str, forked: bool, dagster_environment: Environment, tmp_path: Path
) -> None:
    where = {"instance": str(tmp_path), "partition_key": "red"}
    orders = [{"assets": ["raw"], **where}, {"assets": ["report"], **where}]
    python = dagster_environment(release)
    first, second = execute(file_of(release), orders, python, forked=forked)
    assert first["outcome"]["state"] == second["outcome"]["state"] == "success"
    assert "report: report of red" in shown(second)
    assert (tmp_path / "storage").is_dir()
    recorded = run(python, str(PROGRAMS / "dagster_recorded.py"), str(tmp_path))
    assert recorded == [["SUCCESS", True]] * 2


def test_the_oldest_keeps_its_runs_in_an_instance_that_was_opened_before(
    dagster_environment: Environment, tmp_path: Path
) -> None:
    python = dagster_environment(OLDEST)
    orders = [{"job": "nightly", "instance": str(tmp_path)}] * 2
    found = execute(file_of(OLDEST), orders, python, forked=True)
    assert [one["outcome"]["state"] for one in found] == ["success"] * 2
    recorded = run(python, str(PROGRAMS / "dagster_recorded.py"), str(tmp_path))
    assert recorded == [["SUCCESS", True]] * 2


@pytest.mark.parametrize("release", EVERY)
def test_a_rehearsed_run_leaves_modules_and_nothing_else(
    release: str, dagster_environment: Environment
) -> None:
    program = str(PROGRAMS / "rehearsed_run.py")
    arguments = (str(ROOT), str(file_of(release)), "nightly")
    found = run(dagster_environment(release), program, *arguments)
    assert found["outcome"]["state"] == "success"
    assert found["before"] == found["after"]
    assert found["imported"] == []


@pytest.mark.parametrize("release", JOBS)
def test_the_rest_of_a_run_that_failed_is_run_by_dagsters_own_reexecution(
    release: str, dagster_environment: Environment, tmp_path: Path
) -> None:
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    where = {"job": "mended", "instance": str(tmp_path), "config": config_of(release, 4)}
    earlier = {"run": first, "root": first, "directory": "", "succeeded": ["load"]}
    orders = [
        {**where, "run_id": first},
        {**where, "run_id": second, "from_failure": earlier},
        {**where, "from_failure": {**earlier, "run": second, "succeeded": []}},
        {**where, "from_failure": {**earlier, "run": str(uuid.uuid4())}},
    ]
    failed, mended, _all, unknown = execute(file_of(release), orders, dagster_environment(release))
    assert failure(failed)["step"] == "mend"
    assert mended["outcome"]["state"] == "success"
    started = [name for kind, name in told(mended) if kind == "STEP_START"]
    assert started == ["mend", "publish"]
    assert "publish: publishing 5" in shown(mended)
    assert unknown["refused"]["kind"] == "not_supported"
    assert "is not recorded" in unknown["refused"]["message"]
    assert not (tmp_path / ".telemetry").exists()


@pytest.mark.parametrize("release", EVERY)
def test_a_range_of_partitions_is_listed(release: str, dagster_environment: Environment) -> None:
    if release == OLDEST:
        orders = [({"job": "nightly"}, ["2024-01-01", "2024-01-02", 5])]
        expected = [["2024-01-01", "2024-01-02"]]
    else:
        orders = [
            ({"job": "regional"}, ["eu", "us", 5]),
            ({"assets": ["raw", "report"]}, ["red", "blue", 5]),
            ({"assets": ["raw"]}, ["blue", "red", 5]),
        ]
        expected = [["eu", "us"], ["red", "blue"], []]
    found = spans(file_of(release), orders, dagster_environment(release))
    assert [one.get("partitions", []) for one in found] == expected
