"""The Dagster adapter against real Dagster, from 0.9 to today's: each era's own style of module.

Names and kinds are measured by what each framework itself lists; the rest by reading the module.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import PROGRAMS, RELEASES
from .eras import (
    CURRENT,
    ERAS,
    FIRST_DEFINITIONS,
    OLDEST,
    SOLIDS_AND_OPS,
    Environment,
    Load,
    by_key,
    job_name,
    module,
    names,
)

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]


# --- every era ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("release", "program"), ERAS.items())
def test_names_and_kinds_are_what_the_framework_lists(
    release: str,
    program: str,
    dagster_environment: Environment,
    load_target: Load,
    listed_by_dagster: Callable[[Path, Path], dict[str, list[str]]],
) -> None:
    python = dagster_environment(release)
    file = PROGRAMS / program / "defs.py"
    answer = load_target(python, file)
    assert names(answer) == listed_by_dagster(python, file)
    assert answer["report"]["warnings"] == []
    (framework,) = answer["report"]["frameworks"]
    assert framework["name"] == "dagster"
    if not release.startswith("current"):
        assert framework["version"] == release.split("-")[0]


@pytest.mark.parametrize(("release", "program"), ERAS.items())
def test_the_document_is_the_same_from_run_to_run_and_place_to_place(
    release: str,
    program: str,
    dagster_environment: Environment,
    load_target: Load,
    tmp_path: Path,
) -> None:
    python = dagster_environment(release)
    elsewhere = tmp_path / "another" / "checkout"
    shutil.copytree(PROGRAMS / program, elsewhere)
    first = load_target(python, PROGRAMS / program / "defs.py", hash_seed="1")
    second = load_target(python, elsewhere / "defs.py", hash_seed="2")
    assert first["document"] == second["document"]
    assert first["sources"] == second["sources"]


@pytest.mark.parametrize(("release", "program"), ERAS.items())
def test_sources_are_where_the_definitions_stand(
    release: str, program: str, dagster_environment: Environment, load_target: Load
) -> None:
    file = PROGRAMS / program / "defs.py"
    answer = load_target(dagster_environment(release), file)
    lines = file.read_text().splitlines()
    kinds = {key.split(":")[0] for key in answer["sources"]}
    assert len(answer["sources"]) >= 5, answer["sources"]
    assert kinds & {"job", "pipeline"}
    assert "schedule" in kinds
    for key, (shown, line) in answer["sources"].items():
        assert shown == "defs.py"
        there = lines[line - 1]
        begins_one = there.startswith(("@", "def ", "class "))
        assert begins_one or " = " in there or "lambda" in there, (key, there)


@pytest.mark.parametrize(("release", "program"), ERAS.items())
def test_one_definition_is_described_as_in_the_document(
    release: str, program: str, dagster_environment: Environment, load_target: Load
) -> None:
    file = PROGRAMS / program / "defs.py"
    python = dagster_environment(release)
    answer = load_target(python, file)
    asked = [[d["kind"], d["name"]] for d in answer["document"]["definitions"]]
    described = load_target(python, file, describe=asked)["described"]
    assert [item["definition"] for item in described] == answer["document"]["definitions"]


# --- what each era's module says ------------------------------------------------------------------


def test_0_9_pipelines_modes_presets_and_schedules(
    dagster_environment: Environment, load_target: Load
) -> None:
    found = by_key(load_target(dagster_environment(OLDEST), PROGRAMS / "dagster_0_9" / "defs.py"))
    pipeline = found["pipeline:valuation"]
    assert pipeline["description"] == "Values the book every night."
    assert pipeline["tags"] == {"team": "risk"}
    assert pipeline["presets"] == ["small"]
    assert pipeline["resource_keys"] == ["warehouse"]
    assert [mode["name"] for mode in pipeline["modes"]] == ["prod", "test"]
    assert pipeline["modes"][0]["description"] == "for real"
    announce, load, tidy = pipeline["graph"]["nodes"]
    assert (announce["kind"], load["kind"], tidy["kind"]) == ("solid", "solid", "graph")
    assert announce["after"] == ["tidy.result"]
    assert load["config"] == [
        {"name": "limit", "type": "Int", "required": False, "default": "10"},
        {"name": "path", "type": "String", "required": True},
    ]
    assert load["outputs"] == [{"name": "rows", "type": "String", "description": "the raw rows"}]
    assert tidy["inputs"] == [{"name": "rows", "type": "String", "from": ["load.rows"]}]
    clean, again = tidy["graph"]["nodes"]
    assert (again["name"], again["definition"]) == ("clean_again", "clean")
    assert again["inputs"][0]["from"] == ["clean.result"]
    assert clean["inputs"] == [{"name": "rows", "type": "String", "description": "raw"}]
    assert found["schedule:often"] == {
        "kind": "schedule",
        "name": "often",
        "cron_schedule": "*/10 * * * *",
        "job": "valuation",
        "mode": "prod",
        "op_selection": ["load"],
        "environment_vars": {"REGION": "(hidden)"},
    }
    assert found["schedule:nightly_audit"]["execution_timezone"] == "Europe/London"
    assert found["schedule:nightly_audit"]["partition_set"] == "nightly_audit_partitions"
    assert found["partition_set:regions"]["partitions"] == {"type": "function"}
    assert "valuation in mode test" in found["job:small_valuation"]["description"]


def test_0_15_ops_beside_solids_and_the_first_assets(
    dagster_environment: Environment, load_target: Load
) -> None:
    found = by_key(
        load_target(dagster_environment(SOLIDS_AND_OPS), PROGRAMS / "dagster_0_15" / "defs.py")
    )
    settle = found["job:settle"]
    assert settle["executor"] == "in_process"
    assert settle["resource_keys"] == ["database"]
    assert "modes" not in settle
    fetch = next(node for node in settle["graph"]["nodes"] if node["name"] == "fetch")
    assert fetch["config"][1] == {
        "name": "nested",
        "type": "Shape",
        "required": True,
        "fields": [{"name": "deep", "type": "[String]", "required": True}],
    }
    assert found["job:spread"]["graph"]["nodes"][1]["outputs"][0]["dynamic"] is True
    assert found["pipeline:old_pipeline"]["graph"]["nodes"][0]["kind"] == "solid"
    assert found["job:regional"]["partitions"] == {
        "type": "static",
        "count": 2,
        "keys": ["eu", "us"],
    }
    window = found["job:daily_settle"]["partitions"]
    assert (window["type"], window["timezone"]) == ("time_window", "Europe/Paris")
    assert "keys" not in window
    positions = found["asset:core/positions"]
    assert positions["asset_key"] == ["core", "positions"]
    assert positions["dependencies"] == ["raw/payments"]
    assert positions["group"] == "settlement"
    assert positions["compute_kind"] == "pandas"
    assert positions["metadata"] == {"owner": "pay"}
    assert found["asset:raw/payments"]["is_source"] is True
    assert found["asset:report"]["jobs"] == ["report_job"]
    assert found["sensor:on_file"]["default_status"] == "running"
    assert found["sensor:on_file"]["minimum_interval_seconds"] == 45
    assert found["sensor:on_payments"]["asset_keys"] == ["raw/payments"]
    assert found["sensor:on_payments"]["jobs"] == ["settle"]
    assert found["schedule:daily_settle_schedule"]["partition_set"] == "daily_settle_partition_set"


def test_1_1_definitions_with_partitioned_assets(
    dagster_environment: Environment, load_target: Load
) -> None:
    found = by_key(
        load_target(dagster_environment(FIRST_DEFINITIONS), PROGRAMS / "dagster_1_1" / "defs.py")
    )
    sessions = found["asset:sessions"]
    assert sessions["code_version"] == "3"
    assert sessions["config"] == [{"name": "limit", "type": "Int", "required": True}]
    assert sessions["freshness_policy"]["maximum_lag_minutes"] == 60.0
    assert sessions["metadata"] == {"doc": "**clicks**", "rows": 10}
    assert sessions["markdown"] == ["doc"]
    assert sessions["resource_keys"] == ["api"]
    dimensions = found["asset:cube"]["partitions"]["dimensions"]
    assert dimensions["region"]["keys"] == ["eu", "us"]
    assert dimensions["day"]["cron_schedule"] == "0 0 * * *"
    assert found["asset:left"]["dependencies"] == ["sessions"]
    assert found["asset:clicks"]["is_source"] is True
    assert found["job:report_job"]["asset_keys"] == ["daily_report"]
    assert found["job:health"]["presets"] == ["default"]
    assert found["schedule:twice"]["cron_schedule"] == ["0 1 * * *", "0 2 * * *"]
    assert found["sensor:on_click"]["asset_selection"] == "sessions"


def test_current_definitions_resources_checks_and_conditions(
    dagster_environment: Environment, load_target: Load
) -> None:
    found = by_key(
        load_target(dagster_environment(CURRENT), PROGRAMS / "dagster_current" / "defs.py")
    )
    features = found["asset:features"]
    assert features["kinds"] == ["python", "torch"]
    assert features["owners"] == ["team:ml", "ann@example.com"]
    assert features["tags"]["tier"] == "gold"
    assert features["automation_condition"] == "eager"
    assert features["freshness_policy"]["fail_window"] == 21600.0
    assert features["metadata"] == {"doc": "**features**", "rows": 10, "set": ["a", "b", "c"]}
    assert features["markdown"] == ["doc"]
    assert features["pools"] == ["gpu"]
    assert features["execution_type"] == "materialization"
    model = found["asset:model"]
    assert model["partition_mappings"] == {"features": "AllPartitionMapping"}
    assert model["backfill_policy"] == {"type": "single_run"}
    assert model["partitions"]["dimensions"]["tenant"] == {"type": "dynamic", "name": "tenants"}
    assert [field["name"] for field in model["config"]] == ["device", "epochs"]
    assert found["asset:raw/events"]["execution_type"] == "external"
    assert found["asset:lake"]["is_observable"] is True
    assert found["asset:left"]["execution_set"] == found["asset:right"]["execution_set"]
    check = found["asset_check:features:complete"]
    assert check["blocking"] is True
    assert (check["asset"], check["check"]) == ("features", "complete")
    assert found["resource:warehouse"]["type"] == "defs.Warehouse"
    assert found["resource:warehouse"]["config"][1] == {
        "name": "url",
        "type": "StringSource",
        "required": False,
        "default": '{"env": "WAREHOUSE_URL"}',
    }
    assert found["resource:model"]["nested"] == ["warehouse"]
    anonymous = found["schedule:anonymous"]
    assert "job" not in anonymous
    assert "features" in anonymous["asset_selection"]
    assert found["sensor:on_file"]["jobs"] == ["health", "regional"]
    assert found["sensor:on_file"]["metadata"] == {"runbook": "https://example.com"}
    assert found["sensor:on_features"]["sensor_type"] == "asset"
    health = found["job:health"]["graph"]["nodes"]
    assert [node["name"] for node in health] == ["inner", "ping", "pong"]
    assert health[0]["graph"]["nodes"][0]["name"] == "add"
    assert health[2]["after"] == ["inner.result"]


# --- lazy repositories ----------------------------------------------------------------------------

LAZY_0_9 = """
    from dagster import PartitionSetDefinition, pipeline, repository, solid

    @solid
    def one(context):
        return 1

    def built():
        open("built", "a").close()

        @pipeline(description="made on demand")
        def first():
            one()

        return first

    def wrong():
        @pipeline
        def other():
            one()

        return other

    def broken():
        raise RuntimeError("the database is away")

    @pipeline
    def ready():
        one()

    @repository
    def lazy():
        return {
            "pipelines": {"first": built, "wrong": wrong, "broken": broken, "ready": ready},
            "partition_sets": {
                "days": lambda: PartitionSetDefinition("days", "first", lambda: ["a"])
            },
        }
"""

LAZY_JOBS = """
    from dagster import ScheduleDefinition, job, op, repository

    @op
    def one():
        return 1

    def built():
        open("built", "a").close()

        @job(description="made on demand")
        def first():
            one()

        return first

    def wrong():
        @job
        def other():
            one()

        return other

    def broken():
        raise RuntimeError("the database is away")

    @job
    def ready():
        one()

    @repository
    def lazy():
        return {
            "jobs": {"first": built, "wrong": wrong, "broken": broken, "ready": ready},
            "schedules": {
                "often": ScheduleDefinition(
                    name="often", JOB_NAME="first", cron_schedule="* * * * *"
                )
            },
        }
"""


@pytest.mark.parametrize("release", RELEASES)
def test_a_lazy_repository_is_listed_without_calling_its_functions(
    release: str, dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    old = release == OLDEST
    kind = "pipeline" if old else "job"
    source = LAZY_0_9 if old else LAZY_JOBS.replace("JOB_NAME", job_name(release))
    file = module(tmp_path, source)
    python = dagster_environment(release)
    answer = load_target(python, file)
    found = by_key(answer)
    for name in ("first", "wrong", "broken"):
        assert found[f"{kind}:{name}"] == {"kind": kind, "name": name, "lazy": True}
    assert "graph" in found[f"{kind}:ready"]
    if old:
        assert found["partition_set:days"] == {
            "kind": "partition_set",
            "name": "days",
            "lazy": True,
        }
    else:
        assert found["schedule:often"]["job"] == "first"
    assert not (tmp_path / "built").exists()

    asked = [[kind, "first"], [kind, "wrong"], [kind, "broken"], [kind, "absent"]]
    first, wrong, broken, absent = load_target(python, file, describe=asked)["described"]
    assert (tmp_path / "built").exists()
    assert first["definition"]["description"] == "made on demand"
    assert first["definition"]["graph"]["nodes"][0]["name"] == "one"
    assert first["source"][0] == "defs.py"
    assert wrong["failure"]["kind"] == "invalid_definition"
    assert "other" in wrong["failure"]["message"]
    assert broken["failure"]["kind"] == "exception"
    assert "the database is away" in broken["failure"]["message"]
    assert absent["failure"]["kind"] == "unknown_definition"
